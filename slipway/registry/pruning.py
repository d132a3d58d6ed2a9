"""Remove old versions from a registry that others use at the same time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from slipway.registry.alias_journal import Journal, rollback_stack
from slipway.registry.download import version_path
from slipway.registry.object_store import ObjectInfo, ObjectStore
from slipway.registry.records import VERSION_JSON, StoredVersion

# After this time an unfinished push counts as aborted.
UNFINISHED = timedelta(days=1)
_LAST_ENTRIES = 2


def versions_in_use(journal: Journal) -> set[str]:
    """Return the versions that an alias needs.

    These are the versions in the last two entries of its journal, and the target of a rollback.
    """
    used: set[str] = set()
    for alias in journal.aliases():
        moves = journal.entries(alias)
        used.update(rollback_stack(moves)[-2:])
        for move in moves[-_LAST_ENTRIES:]:
            used.update({move.version, move.before or move.version})
    return used


def prune(
    store: ObjectStore,
    journal: Journal,
    versions: Sequence[StoredVersion],
    objects: Sequence[ObjectInfo],
) -> list[str]:
    """Remove versions that no alias uses, and the files of aborted pushes.

    Parameters
    ----------
    store : ObjectStore
    journal : Journal
    versions : sequence of StoredVersion
        The versions to remove unless an alias uses them.
    objects : sequence of ObjectInfo
        All objects of all versions.

    Returns
    -------
    list of str
        The removed versions.
    """
    last_numbers = journal.last_numbers()
    used = versions_in_use(journal)
    old = (stored for stored in versions if stored.version not in used)
    removed = [stored for stored in old if remove_version(store, journal, stored, last_numbers)]
    _remove_unfinished(store, objects)
    return [stored.version for stored in removed]


def remove_version(
    store: ObjectStore, journal: Journal, stored: StoredVersion, last_numbers: dict[str, int]
) -> bool:
    """Remove one version; return False if an alias now uses it.

    Parameters
    ----------
    store : ObjectStore
    journal : Journal
    stored : StoredVersion
    last_numbers : dict of str to int
        The last entries of all journals, read before the check that no alias uses the version.

    Returns
    -------
    bool
    """
    store.begin()
    path = version_path(stored.version, VERSION_JSON)
    content = store.get(path)
    # From here on the version does not exist for readers.
    store.delete(path)
    if journal.last_numbers() != last_numbers and stored.version in versions_in_use(journal):
        # An alias was moved to the version meanwhile; the mover also checks for its version.json.
        store.put_if_absent(path, content)
        return False
    for file in stored.files:
        store.delete(version_path(stored.version, file.name))
    return True


def _remove_unfinished(store: ObjectStore, objects: Sequence[ObjectInfo]) -> None:
    """Remove the files of aborted pushes."""
    now = datetime.now(UTC)
    for version, files in _group_by_version(objects).items():
        if version_path(version, VERSION_JSON) in {file.path for file in files}:
            continue
        if all(now - file.modified > UNFINISHED for file in files):
            for file in files:
                store.begin()
                store.delete(file.path)


def _group_by_version(objects: Iterable[ObjectInfo]) -> dict[str, list[ObjectInfo]]:
    files: dict[str, list[ObjectInfo]] = {}
    for info in objects:
        files.setdefault(info.path.split("/")[1], []).append(info)
    return files
