"""A registry of model versions: push, look, move an alias, fetch, prune."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import EllipsisType
from typing import Literal

from slipway.registry.alias_journal import Journal, standing
from slipway.registry.download import fetch, local_copy, version_path
from slipway.registry.errors import Conflict, RegistryError, Unknown
from slipway.registry.object_store import Objects
from slipway.registry.pruning import prune
from slipway.registry.records import NAME, STORED, Move, StoredVersion, checked_name, decode
from slipway.registry.signing import Signer
from slipway.registry.upload import describe, require_same, upload

PRODUCTION = "production"
_MARK = re.compile(rf"versions/({NAME})/{re.escape(STORED)}", re.ASCII)


def open_registry(url: str, environ: Mapping[str, str] = os.environ) -> Registry:
    """Open a registry; nothing is asked of it yet.

    Parameters
    ----------
    url : str
        A folder, or ``s3://bucket/prefix``, ``gs://`` or ``az://``; the cloud's own variables
        of the process hold the credentials.
    environ : mapping of str to str
        ``SLIPWAY_SIGNING_KEY`` is the key for signatures.

    Returns
    -------
    Registry

    Raises
    ------
    RegistryError
        The address or the key cannot be one.
    """
    return Registry(Objects(url), Signer.from_environ(environ))


class Registry:
    """Model versions in a folder or a bucket, and the aliases that stand for them.

    ``resolve``, ``alias`` and ``fetch`` end within 20 seconds, and a second more for each megabyte
    that they carry; what asks for many entries does so for each of them. A thread needs a
    registry of its own, and a process must not have asked a bucket before its fork.

    Parameters
    ----------
    objects : Objects
    signer : Signer
    """

    def __init__(self, objects: Objects, signer: Signer) -> None:
        self._objects = objects
        self._signer = signer
        self._journal = Journal(objects, signer)

    def push(self, model: Path, *, who: str) -> str:
        """Put a version into the registry; if it is there already, nothing is done.

        Parameters
        ----------
        model : Path
            The pickle, with its manifest and perhaps a covariance and a report beside it.
        who : str

        Returns
        -------
        str
            The version.

        Raises
        ------
        ModelError
            The files do not fit together.
        RegistryError
            Other files are there under the same name.
        """
        stored, contents = describe(model, who)
        there = self.find(stored.version)
        if there is None and upload(self._objects, self._signer, stored, contents) is None:
            there = self.stored(stored.version)
        if there is not None:
            require_same(there, stored)
        return stored.version

    def find(self, version: str) -> StoredVersion | None:
        """Give what is known of a version; None if it is not there."""
        try:
            return self.stored(version)
        except Unknown:
            return None

    def stored(self, version: str) -> StoredVersion:
        """Give what is known of a version.

        Raises
        ------
        Unknown
            It is not there.
        NotTrusted
            What is there is not signed with this key.
        """
        checked_name(version)
        self._objects.begin()
        try:
            content = self._objects.get(version_path(version, STORED))
        except Unknown:
            raise Unknown(f"there is no version {version} in {self._objects.redacted}") from None
        where = f"version {version} in {self._objects.redacted}"
        stored = self._signer.verify(decode(content, StoredVersion, where), where)
        if stored.version != version:
            raise RegistryError(f"{where} says that it is another: {stored.version}")
        return stored

    def versions(self) -> list[StoredVersion]:
        """Give all versions, the newest first."""
        self._objects.begin()
        marks = (_MARK.fullmatch(listed.path) for listed in self._objects.list("versions"))
        stored = (self.find(mark[1]) for mark in marks if mark)
        found = [each for each in stored if each is not None]
        return sorted(found, key=lambda each: (each.trained.created, each.version), reverse=True)

    def resolve(self, name: str) -> str:
        """Give the version that a name stands for: ``@production``, or a version's own name.

        Raises
        ------
        Unknown
            It stands for none.
        """
        if not name.startswith("@"):
            return self.stored(name).version
        move = self.alias(name[1:])
        if move is None:
            raise Unknown(f"no version was ever {name[1:]} in {self._objects.redacted}")
        return move.version

    def aliases(self) -> dict[str, str]:
        """Give the version of every alias."""
        self._objects.begin()
        moves = (self._journal.last(alias) for alias in self._journal.aliases())
        return {move.alias: move.version for move in moves if move}

    def alias(self, alias: str) -> Move | None:
        """Give the last entry in the journal of an alias; None if there is none."""
        checked_name(alias, "an alias")
        self._objects.begin()
        return self._journal.last(alias)

    def history(self, alias: str) -> list[Move]:
        """Give the journal of an alias, the first entry first."""
        checked_name(alias, "an alias")
        self._objects.begin()
        return self._journal.all(alias)

    def move(
        self,
        alias: str,
        version: str,
        *,
        who: str,
        why: str = "",
        expected: str | EllipsisType | None = ...,
        action: Literal["promote", "rollback"] = "promote",
    ) -> Move:
        """Let an alias stand for a version.

        Parameters
        ----------
        alias, version, who, why : str
        expected : str or None, optional
            What the alias must stand for now; None for nothing yet. Without it, whatever it is
            when the call begins.
        action : {"promote", "rollback"}
            What the move is in the journal.

        Returns
        -------
        Move
            The new entry; the present one if it stands for that version already.

        Raises
        ------
        Conflict
            It stands for something else, or somebody else moved it meanwhile.
        Unknown
            There is no such version.
        """
        checked_name(alias, "an alias")
        self.stored(version)
        last = self.alias(alias)
        before = last.version if last else None
        if expected is not ... and expected != before:
            raise Conflict(f"{alias} is {before or 'no version'}, not {expected or 'no version'}")
        if last and before == version:
            return last
        when = datetime.now(UTC).isoformat(timespec="seconds")
        number, nonce = (last.number if last else 0) + 1, secrets.token_hex(8)
        move = Move(alias, number, version, before, action, who, when, why, nonce)
        return self._append(self._signer.sign(move))

    def _append(self, move: Move) -> Move:
        """Write an entry, and look whether its version is still there."""
        if not self._journal.append(move):
            now = self.alias(move.alias)
            told = f"to {now.version} by {now.who}" if now else "elsewhere"
            before = move.before or "no version"
            raise Conflict(f"{move.alias} moved meanwhile, from {before} {told}; look again")
        if self.find(move.version) is None:
            raise RegistryError(f"{move.version} was pruned meanwhile: move {move.alias} again")
        return move

    def rollback(
        self, alias: str = PRODUCTION, to: str | None = None, *, who: str, why: str = ""
    ) -> Move:
        """Let an alias stand for an earlier version of its own.

        Parameters
        ----------
        alias : str
        to : str, optional
            Any version that it ever stood for. By default the one before the present; the next
            rollback goes one further back, see ``standing``.
        who, why : str

        Returns
        -------
        Move

        Raises
        ------
        Unknown
            There is nothing to go back to.
        Conflict
            Somebody else moved it meanwhile.
        """
        to = self.rollback_target(alias, to)
        present = self.history(alias)[-1].version
        return self.move(alias, to, who=who, why=why, expected=present, action="rollback")

    def rollback_target(self, alias: str, to: str | None = None) -> str:
        """Give the version that a rollback would go to."""
        moves = self.history(alias)
        if to is not None and to not in {move.version for move in moves}:
            raise Unknown(f"{to!a} was never {alias}; promote it instead")
        stack = standing(moves)
        if to is None and len(stack) < 2:
            raise Unknown(f"there is nothing that {alias} could go back to")
        return to or stack[-2]

    def fetch(self, version: str, folder: Path) -> Path:
        """Copy a version to ``folder/<version>/``, whole and checked, or not at all.

        A copy that is there and still what was pushed is used without asking the registry.

        Parameters
        ----------
        version : str
        folder : Path

        Returns
        -------
        Path
            The copy's pickle.

        Raises
        ------
        RegistryError
            It cannot be had, or is not what was pushed.
        """
        there = local_copy(version, folder, self._signer)
        return there or fetch(self._objects, self.stored(version), folder, self._signer)

    def prune(self, keep: int) -> list[str]:
        """Remove all versions but the newest, and but those that an alias needs.

        Parameters
        ----------
        keep : int

        Returns
        -------
        list of str
            What is gone.
        """
        old = self.versions()[max(keep, 0) :]
        self._objects.begin()
        listed = self._objects.list("versions")
        return prune(self._objects, self._journal, old, listed)
