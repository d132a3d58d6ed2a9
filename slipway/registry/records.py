"""What is written down in a registry: a version's files, and an alias' moves."""

from __future__ import annotations

import re
from typing import Literal, TypeVar

import msgspec

from slipway.models.manifest import Manifest
from slipway.registry.errors import BadName, NotTrusted, RegistryError

MODEL = "model.pkl"
FILES = (MODEL, "model.json", "model.covariance", "report.html")
STORED = "version.json"
# A hyphen in front would make a name an option wherever it is passed to a command.
NAME = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}"
_NAME = re.compile(NAME, re.ASCII)
# Whoever can write to a registry must not be able to fill the memory or the disk of its readers.
MAX_ENTRY = 64 * 2**10
MAX_FILES = {
    # As much as a bucket takes in one put.
    MODEL: 5 * 2**30,
    "model.json": 64 * 2**20,
    "model.covariance": 2**30,
    "report.html": 256 * 2**20,
}
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
Entry = TypeVar("Entry", "StoredVersion", "Move")


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of a version."""

    name: str
    size: int
    sha256: str


class Trained(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a list tells of a version, so that it need not read every manifest.

    Attributes
    ----------
    name, estimator, created, source : str
    rows : int
        It was fitted on.
    roc_auc, log_loss : float, optional
        On the rows held out.
    """

    name: str
    estimator: str
    created: str
    source: str
    rows: int
    roc_auc: float | None
    log_loss: float | None


class StoredVersion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A version in a registry, its ``version.json``: without it, it is not there.

    Attributes
    ----------
    version : str
    files : tuple of File
    trained : Trained
    who, when : str
        Who pushed it, and the UTC time.
    signature : str
        HMAC-SHA256 of all the others; empty where there was no key.
    """

    version: str
    files: tuple[File, ...]
    trained: Trained
    who: str
    when: str
    signature: str = ""

    @property
    def size(self) -> int:
        """The bytes of all files."""
        return sum(file.size for file in self.files)


class Move(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry in the journal of an alias; the last one says what the alias stands for.

    Attributes
    ----------
    alias : str
    number : int
        From 1 on, without a gap. The order is that of the numbers, whatever the clocks say.
    version : str
    before : str, optional
        What the alias stood for; None of its first entry.
    action : {"promote", "rollback"}
    who, when, why : str
    nonce : str
        Random, so that a promoter knows its own entry again after a lost answer.
    signature : str
    """

    alias: str
    number: int
    version: str
    before: str | None
    action: Literal["promote", "rollback"]
    who: str
    when: str
    why: str
    nonce: str
    signature: str = ""


def checked_name(name: str, what: str = "a version") -> str:
    """Give a name back if it can be one of a version or an alias.

    Raises
    ------
    BadName
        It could lead to another place; no file and no bucket was asked for it.
    """
    if not _NAME.fullmatch(name):
        rule = "letters, digits, '.', '_' and '-', 64 at most, and no dot or hyphen in front"
        raise BadName(f"{name[:80]!a} cannot be {what}: {rule}")
    return name


def encode(entry: StoredVersion | Move) -> bytes:
    """Write an entry in the one way there is, so that equal entries are equal bytes.

    Raises
    ------
    RegistryError
        It is longer than an entry may be.
    """
    content = msgspec.json.encode(entry, order="sorted")
    if len(content) > MAX_ENTRY:
        longest = max(msgspec.structs.asdict(entry).items(), key=lambda item: len(str(item[1])))[0]
        raise RegistryError(
            f"the entry for {entry.version[:80]!a} would have {len(content):,} bytes of at most "
            f"{MAX_ENTRY:,}; shorten {longest!a}"
        )
    return content


def decode(content: bytes, kind: type[Entry], where: str) -> Entry:
    """Read an entry, and check what it says.

    Raises
    ------
    NotTrusted
        It was not written here.
    """
    try:
        entry = msgspec.json.decode(content, type=kind)
        checked_name(entry.version)
    except (msgspec.DecodeError, BadName) as error:
        raise NotTrusted(f"{where} is not an entry of a registry: {error}") from error
    if isinstance(entry, StoredVersion):
        if not _plausible(entry.files):
            raise NotTrusted(f"{where} names files that no version has")
        for file in entry.files:
            require_size(file.name, file.size, where)
    return entry


def require_size(name: str, size: int, where: str) -> None:
    """Reject a file of a version that is too large to be one.

    Raises
    ------
    NotTrusted
    """
    if size > MAX_FILES[name]:
        raise NotTrusted(
            f"{where}: {name} has {size:,} bytes; a registry takes {MAX_FILES[name]:,} at most"
        )


def _plausible(files: tuple[File, ...]) -> bool:
    """Whether the files are a version's: a name could lead elsewhere."""
    names = [file.name for file in files]
    known = set(names) <= set(FILES) and len(set(names)) == len(names)
    sane = all(file.size >= 0 and _SHA256.fullmatch(file.sha256) for file in files)
    return known and sane and set(FILES[:2]) <= set(names)


def trained(manifest: Manifest) -> Trained:
    """Give what a list tells of a version."""
    held_out = manifest.evaluations.get("holdout")
    # The first of the scores is the model's own; the others are for comparison.
    scores = next(iter(held_out.scores.values()), None) if held_out else None
    return Trained(
        name=manifest.name,
        estimator=manifest.estimator,
        created=manifest.created,
        source=manifest.training.source,
        rows=manifest.training.rows_fit,
        roc_auc=scores.roc_auc if scores else None,
        log_loss=scores.log_loss if scores else None,
    )
