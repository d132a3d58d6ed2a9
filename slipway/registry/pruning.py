"""Old versions, taken out of a registry while others use it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from slipway.registry.alias_journal import Journal, standing
from slipway.registry.download import version_path
from slipway.registry.object_store import Listed, Objects
from slipway.registry.records import STORED, StoredVersion

# A push that has not ended by then never will.
UNFINISHED = timedelta(days=1)
_LAST_ENTRIES = 2


def in_use(journal: Journal) -> set[str]:
    """Name the versions that must stay, for the sake of an alias.

    They are those that the last two entries of its journal name, and what a rollback goes to.
    """
    used: set[str] = set()
    for alias in journal.aliases():
        moves = journal.all(alias)
        used.update(standing(moves)[-2:])
        for move in moves[-_LAST_ENTRIES:]:
            used.update({move.version, move.before or move.version})
    return used


def prune(
    objects: Objects, journal: Journal, versions: Sequence[StoredVersion], listed: Sequence[Listed]
) -> list[str]:
    """Remove versions that no alias uses, and what pushes that never ended have left.

    Parameters
    ----------
    objects : Objects
    journal : Journal
    versions : sequence of StoredVersion
        Those that may go.
    listed : sequence of Listed
        All objects of all versions.

    Returns
    -------
    list of str
        The versions that are gone.
    """
    heads = journal.heads()
    used = in_use(journal)
    old = (each for each in versions if each.version not in used)
    gone = [each for each in old if remove_version(objects, journal, each, heads)]
    _remove_unfinished(objects, listed)
    return [each.version for each in gone]


def remove_version(
    objects: Objects, journal: Journal, stored: StoredVersion, heads: dict[str, int]
) -> bool:
    """Remove one version; give whether it is gone.

    Parameters
    ----------
    objects : Objects
    journal : Journal
    stored : StoredVersion
    heads : dict of str to int
        The last entries of all journals, before it was found that no alias needs the version.

    Returns
    -------
    bool
    """
    objects.begin()
    mark = version_path(stored.version, STORED)
    content = objects.get(mark)
    # From here on the version is not there, so that nobody sees a part of it.
    objects.delete(mark)
    if journal.heads() != heads and stored.version in in_use(journal):
        # An alias came to it after the first look; whoever moved it looks for the mark as well.
        objects.put_new(mark, content)
        return False
    for file in stored.files:
        objects.delete(version_path(stored.version, file.name))
    return True


def _remove_unfinished(objects: Objects, listed: Sequence[Listed]) -> None:
    """Remove the files of pushes that never ended."""
    now = datetime.now(UTC)
    for version, files in _by_version(listed).items():
        if version_path(version, STORED) in {file.path for file in files}:
            continue
        if all(now - file.modified > UNFINISHED for file in files):
            for file in files:
                objects.begin()
                objects.delete(file.path)


def _by_version(listed: Iterable[Listed]) -> dict[str, list[Listed]]:
    files: dict[str, list[Listed]] = {}
    for each in listed:
        files.setdefault(each.path.split("/")[1], []).append(each)
    return files
