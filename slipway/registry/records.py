"""The entries of a registry: the files of versions, and the moves of aliases."""

from __future__ import annotations

import re
from typing import Literal, TypeVar

import msgspec

from slipway.models.manifest import Manifest
from slipway.registry.errors import BadName, NotTrusted, RegistryError

MODEL = "model.pkl"
FILES = (MODEL, "model.json", "model.covariance", "report.html")
VERSION_JSON = "version.json"
# A name with a leading hyphen would be an option on a command line.
NAME = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}"
_NAME = re.compile(NAME, re.ASCII)
# Limits protect the memory and disks of readers from other writers.
MAX_ENTRY = 64 * 2**10
MAX_FILES = {
    # The largest object that a bucket accepts in one put.
    MODEL: 5 * 2**30,
    "model.json": 64 * 2**20,
    "model.covariance": 2**30,
    "report.html": 256 * 2**20,
}
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
Entry = TypeVar("Entry", "StoredVersion", "Move")


class VersionFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Name, size and hash of a version's file."""

    name: str
    size: int
    sha256: str


class TrainingSummary(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Summary of a manifest, for lists of versions.

    Attributes
    ----------
    name, estimator, created, source : str
    rows : int
        The number of training rows.
    roc_auc, log_loss : float, optional
        Scores on the hold-out set.
    """

    name: str
    estimator: str
    created: str
    source: str
    rows: int
    roc_auc: float | None
    log_loss: float | None


class StoredVersion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The ``version.json`` of a version, which exists only with this file.

    Attributes
    ----------
    version : str
    files : tuple of VersionFile
    trained : TrainingSummary
    who, when : str
        Who pushed the version, and the time in UTC.
    signature : str
        HMAC-SHA256 of the other fields; empty without a key.
    """

    version: str
    files: tuple[VersionFile, ...]
    trained: TrainingSummary
    who: str
    when: str
    signature: str = ""

    @property
    def size(self) -> int:
        """The size of all files in bytes."""
        return sum(file.size for file in self.files)


class Move(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An entry in the journal of an alias; the last one has the current version.

    Attributes
    ----------
    alias : str
    number : int
        Consecutive numbers from 1; they define the order, regardless of times.
    version : str
    before : str, optional
        The previous version; None in the first entry.
    action : {"promote", "rollback"}
    who, when, why : str
    nonce : str
        Random text by which a promoter recognises its own entry after a lost response.
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


def validate_name(name: str, what: str = "a version") -> str:
    """Return a name if it is valid for a version or an alias.

    Raises
    ------
    BadName
        The name is not valid, for example a path to another folder.
    """
    if not _NAME.fullmatch(name):
        rule = "use up to 64 letters, digits, '.', '_' and '-', not starting with '.' or '-'"
        raise BadName(f"{name[:80]!a} cannot be {what}: {rule}")
    return name


def encode(entry: StoredVersion | Move) -> bytes:
    """Return the canonical JSON of an entry.

    Raises
    ------
    RegistryError
        The entry is too long.
    """
    content = msgspec.json.encode(entry, order="sorted")
    if len(content) > MAX_ENTRY:
        longest = max(msgspec.structs.asdict(entry).items(), key=lambda item: len(str(item[1])))[0]
        raise RegistryError(
            f"the entry for {entry.version[:80]!a} has {len(content):,} bytes; the limit is "
            f"{MAX_ENTRY:,}; shorten {longest!a}"
        )
    return content


def decode(content: bytes, kind: type[Entry], where: str) -> Entry:
    """Decode and validate an entry.

    Raises
    ------
    NotTrusted
        The content is not an entry of a registry.
    """
    try:
        entry = msgspec.json.decode(content, type=kind)
        validate_name(entry.version)
    except (msgspec.DecodeError, BadName) as error:
        raise NotTrusted(f"{where} is not an entry of a registry: {error}") from error
    if isinstance(entry, StoredVersion):
        if not _are_version_files(entry.files):
            raise NotTrusted(f"{where} has unknown or invalid files")
        for file in entry.files:
            require_size(file.name, file.size, where)
    return entry


def require_size(name: str, size: int, where: str) -> None:
    """Reject a file of a version that exceeds its size limit.

    Raises
    ------
    NotTrusted
        The file is too large.
    """
    if size > MAX_FILES[name]:
        raise NotTrusted(f"{where}: {name} has {size:,} bytes; the limit is {MAX_FILES[name]:,}")


def _are_version_files(files: tuple[VersionFile, ...]) -> bool:
    """Return whether names, sizes and hashes of a version's files are valid."""
    names = [file.name for file in files]
    are_known = set(names) <= set(FILES) and len(set(names)) == len(names)
    are_valid = all(file.size >= 0 and _SHA256.fullmatch(file.sha256) for file in files)
    return are_known and are_valid and set(FILES[:2]) <= set(names)


def summarize_training(manifest: Manifest) -> TrainingSummary:
    """Return the summary of a manifest."""
    holdout = manifest.evaluations.get("holdout")
    # The first scores are those of the model; the others are baselines.
    scores = next(iter(holdout.scores.values()), None) if holdout else None
    return TrainingSummary(
        name=manifest.name,
        estimator=manifest.estimator,
        created=manifest.created,
        source=manifest.training.source,
        rows=manifest.training.rows_fit,
        roc_auc=scores.roc_auc if scores else None,
        log_loss=scores.log_loss if scores else None,
    )
