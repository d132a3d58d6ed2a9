"""Pruning: removed and kept versions, aborted pushes, concurrent moves."""

import os
from pathlib import Path

import pytest
from registries import objects_of, push_some, put_object, version_name

from slipway.registry import RegistryError, open_registry
from slipway.registry.pruning import remove_version

pytest_plugins = ["registry_servers"]


def test_prune_keeps_newest_and_used_versions(registry, tmp_path):
    versions = push_some(registry, tmp_path, 8)
    for i in (0, 1, 2, 3):
        registry.move("production", versions[i], who="me")
    registry.rollback(who="me")
    registry.move("candidate", versions[4], who="me")
    assert registry.prune(1) == [versions[6], versions[5], versions[0]]
    assert [stored.version for stored in registry.versions()] == versions[7:0:-1][:1] + versions[
        4:0:-1
    ]
    # The target of a rollback, and the versions in the last two entries, are kept.
    assert registry.rollback(who="me").version == versions[1]


def test_prune_deletes_all_objects_of_removed_versions(registry, address, tmp_path):
    versions = push_some(registry, tmp_path, 3)
    registry.prune(1)
    assert {path.split("/")[1] for path in objects_of(address)} == {versions[2]}


def test_prune_recent_unfinished_push_is_kept(registry, address, tmp_path):
    put_object(address, f"versions/{version_name(9)}/model.pkl", b"half")
    assert registry.prune(1) == []
    assert list(objects_of(address)) == [f"versions/{version_name(9)}/model.pkl"]


def test_prune_aborted_push_is_removed(tmp_path):
    address = str(tmp_path / "registry")
    registry = open_registry(address, {})
    versions = push_some(registry, tmp_path, 1)
    put_object(address, f"versions/{version_name(9)}/model.pkl", b"half")
    for file in Path(address).rglob("*"):
        os.utime(file, (0, 0))
    assert registry.prune(1) == []
    assert {path.split("/")[1] for path in objects_of(address)} == set(versions)


def test_prune_version_promoted_meanwhile_is_kept(registry, tmp_path):
    (version,) = push_some(registry, tmp_path, 1)
    last_numbers = registry._journal.last_numbers()
    registry.move("production", version, who="me")
    stored = registry.stored(version)
    assert not remove_version(registry._store, registry._journal, stored, last_numbers)
    assert registry.fetch(version, tmp_path / "here").exists()


def test_move_to_version_pruned_meanwhile_raises_error(address, tmp_path):
    registry = open_registry(address, {})
    (version,) = push_some(registry, tmp_path, 1)
    append = registry._journal.append

    def pruned_meanwhile(move):
        put_object(address, f"versions/{version}/version.json", None)
        return append(move)

    registry._journal.append = pruned_meanwhile
    with pytest.raises(RegistryError, match="was pruned meanwhile; move production again"):
        registry.move("production", version, who="me")
