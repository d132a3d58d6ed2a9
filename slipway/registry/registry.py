"""Registry of model versions: push, fetch, list and prune versions; move aliases."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import EllipsisType
from typing import Literal

from slipway.registry.alias_journal import Journal, rollback_stack
from slipway.registry.download import download_version, local_copy, version_path
from slipway.registry.errors import Conflict, RegistryError, Unknown
from slipway.registry.object_store import ObjectStore
from slipway.registry.pruning import prune
from slipway.registry.records import NAME, VERSION_JSON, Move, StoredVersion, decode, validate_name
from slipway.registry.signing import Signer
from slipway.registry.upload import read_version, require_same_files, upload_version

PRODUCTION = "production"
_VERSION_PATH = re.compile(rf"versions/({NAME})/{re.escape(VERSION_JSON)}", re.ASCII)


def open_registry(url: str, environ: Mapping[str, str] = os.environ) -> Registry:
    """Open a registry, without sending a request.

    Parameters
    ----------
    url : str
        A folder, or ``s3://bucket/prefix``, ``gs://`` or ``az://``. The credentials are in the
        cloud's environment variables.
    environ : mapping of str to str
        ``SLIPWAY_SIGNING_KEY`` is the key for signatures.

    Returns
    -------
    Registry

    Raises
    ------
    RegistryError
        The URL or the key is not valid.
    """
    return Registry(ObjectStore(url), Signer.from_environ(environ))


class Registry:
    """Model versions and aliases in a folder or a bucket.

    ``resolve``, ``alias`` and ``fetch`` end within 20 seconds, plus one second per megabyte.
    Methods that read many entries have this limit for each entry. Registries are not thread-safe,
    and a process must not use a bucket before it forks.

    Parameters
    ----------
    store : ObjectStore
    signer : Signer
    """

    def __init__(self, store: ObjectStore, signer: Signer) -> None:
        self._store = store
        self._signer = signer
        self._journal = Journal(store, signer)

    def push(self, model: Path, *, who: str) -> str:
        """Push a version; do nothing if it already exists.

        Parameters
        ----------
        model : Path
            The pickle, beside its manifest and optionally a covariance and a report.
        who : str

        Returns
        -------
        str
            The version.

        Raises
        ------
        ModelError
            The files do not match the manifest.
        RegistryError
            The version exists with other files.
        """
        stored, contents = read_version(model, who)
        existing = self.find(stored.version)
        if existing is None and upload_version(self._store, self._signer, stored, contents) is None:
            existing = self.stored(stored.version)
        if existing is not None:
            require_same_files(existing, stored)
        return stored.version

    def find(self, version: str) -> StoredVersion | None:
        """Return the entry of a version, or None if it does not exist."""
        try:
            return self.stored(version)
        except Unknown:
            return None

    def stored(self, version: str) -> StoredVersion:
        """Return the entry of a version.

        Raises
        ------
        Unknown
            The version does not exist.
        NotTrusted
            The entry is not signed with this key.
        """
        validate_name(version)
        self._store.begin()
        try:
            content = self._store.get(version_path(version, VERSION_JSON))
        except Unknown:
            raise Unknown(f"no version {version} in {self._store.redacted}") from None
        where = f"version {version} in {self._store.redacted}"
        stored = self._signer.verify(decode(content, StoredVersion, where), where)
        if stored.version != version:
            raise RegistryError(f"{where} has the entry of another version: {stored.version}")
        return stored

    def versions(self) -> list[StoredVersion]:
        """Return the entries of all versions, the newest first."""
        self._store.begin()
        matches = (_VERSION_PATH.fullmatch(info.path) for info in self._store.list("versions"))
        entries = (self.find(match[1]) for match in matches if match)
        existing = [entry for entry in entries if entry is not None]
        return sorted(existing, key=lambda v: (v.trained.created, v.version), reverse=True)

    def resolve(self, name: str) -> str:
        """Return the version of a reference: an alias such as ``@production``, or a version.

        Raises
        ------
        Unknown
            The alias or the version does not exist.
        """
        if not name.startswith("@"):
            return self.stored(name).version
        move = self.alias(name[1:])
        if move is None:
            raise Unknown(f"no alias {name[1:]} in {self._store.redacted}")
        return move.version

    def aliases(self) -> dict[str, str]:
        """Return the versions of all aliases by name."""
        self._store.begin()
        moves = (self._journal.last_entry(alias) for alias in self._journal.aliases())
        return {move.alias: move.version for move in moves if move}

    def alias(self, alias: str) -> Move | None:
        """Return the last entry in the journal of an alias, or None."""
        self._store.begin()
        return self._journal.last_entry(alias)

    def history(self, alias: str) -> list[Move]:
        """Return the journal of an alias, the oldest entry first."""
        self._store.begin()
        return self._journal.entries(alias)

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
        """Move an alias to a version.

        Parameters
        ----------
        alias, version, who, why : str
        expected : str or None, optional
            The current version that is required; None for a new alias. By default any version.
        action : {"promote", "rollback"}
            The action in the journal.

        Returns
        -------
        Move
            The new entry, or the last one if the alias already has that version.

        Raises
        ------
        Conflict
            The alias has another version than expected, or was moved concurrently.
        Unknown
            The version does not exist.
        """
        validate_name(alias, "an alias")
        self.stored(version)
        last = self.alias(alias)
        before = last.version if last else None
        if expected is not ... and expected != before:
            raise Conflict(
                f"{alias} has {before or 'no version'}, expected {expected or 'no version'}"
            )
        if last and before == version:
            return last
        when = datetime.now(UTC).isoformat(timespec="seconds")
        number, nonce = (last.number if last else 0) + 1, secrets.token_hex(8)
        move = Move(alias, number, version, before, action, who, when, why, nonce)
        return self._append(self._signer.sign(move))

    def _append(self, move: Move) -> Move:
        """Write an entry, and check that its version still exists."""
        if not self._journal.append(move):
            current = self.alias(move.alias)
            destination = f"to {current.version} by {current.who}" if current else "elsewhere"
            before = move.before or "no version"
            raise Conflict(f"{move.alias} moved meanwhile from {before} {destination}; retry")
        if self.find(move.version) is None:
            raise RegistryError(f"{move.version} was pruned meanwhile; move {move.alias} again")
        return move

    def rollback(
        self, alias: str = PRODUCTION, to: str | None = None, *, who: str, why: str = ""
    ) -> Move:
        """Move an alias back to an earlier version.

        Parameters
        ----------
        alias : str
        to : str, optional
            Any earlier version of the alias. By default the previous one; repeated rollbacks go
            further back, see ``rollback_stack``.
        who, why : str

        Returns
        -------
        Move

        Raises
        ------
        Unknown
            The alias has no earlier version.
        Conflict
            The alias was moved concurrently.
        """
        to = self.rollback_target(alias, to)
        present = self.history(alias)[-1].version
        return self.move(alias, to, who=who, why=why, expected=present, action="rollback")

    def rollback_target(self, alias: str, to: str | None = None) -> str:
        """Return the version that a rollback would move to."""
        moves = self.history(alias)
        if to is not None and to not in {move.version for move in moves}:
            raise Unknown(f"{to!a} was never {alias}; promote it instead")
        stack = rollback_stack(moves)
        if to is None and len(stack) < 2:
            raise Unknown(f"{alias} has no earlier version to roll back to")
        return to or stack[-2]

    def fetch(self, version: str, folder: Path) -> Path:
        """Copy a version to ``folder/<version>/``, verified and atomically.

        An unchanged copy from an earlier call is used without a request.

        Parameters
        ----------
        version : str
        folder : Path

        Returns
        -------
        Path
            The pickle of the copy.

        Raises
        ------
        RegistryError
            The version cannot be downloaded, or a file was changed.
        """
        existing = local_copy(version, folder, self._signer)
        return existing or download_version(self._store, self.stored(version), folder, self._signer)

    def prune(self, keep: int) -> list[str]:
        """Remove all versions except the newest and those that an alias needs.

        Parameters
        ----------
        keep : int
            The number of newest versions to keep.

        Returns
        -------
        list of str
            The removed versions.
        """
        old = self.versions()[max(keep, 0) :]
        self._store.begin()
        return prune(self._store, self._journal, old, self._store.list("versions"))
