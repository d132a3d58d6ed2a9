"""Registries in a folder and in a bucket: push, fetch, aliases."""

import json
import shutil
from pathlib import Path

import msgspec
import pytest
from conftest import ROOT
from registries import (
    KEY,
    OTHER_KEY,
    objects_of,
    push_some,
    put_object,
    version_name,
    write_version,
)

from slipway.core.errors import ModelError
from slipway.models.manifest import read_manifest
from slipway.registry import (
    BadName,
    Conflict,
    NotTrusted,
    RegistryError,
    Unknown,
    open_registry,
)

pytest_plugins = ["registry_servers"]
BAD_NAMES = [
    "",
    ".",
    "..",
    ".hidden",
    "../secret",
    "..\\secret",
    "a/b",
    "/etc/passwd",
    "a\0b",
    "a\n",
    "a b",
    "%2e%2e",
    "..%2fsecret",
    "a?b=c",
    "a#1",
    "é",
    "\N{FULLWIDTH FULL STOP}" * 2,
    "s3://bucket",
    "~root",
    "$HOME",
    "x" * 65,
]


def names_in(folder):
    return sorted(path.name for path in Path(folder).iterdir())


def test_fetch_pushed_version_returns_all_files(registry, tmp_path):
    version = registry.push(ROOT / "model.pkl", who="me")
    assert version == read_manifest(ROOT / "model.pkl").version
    path = registry.fetch(version, tmp_path / "here")
    assert path == tmp_path / "here" / version / "model.pkl"
    assert path.read_bytes() == (ROOT / "model.pkl").read_bytes()
    assert {"model.covariance", "model.json", "model.pkl", "version.json"} <= set(
        names_in(path.parent)
    )
    assert names_in(tmp_path / "here") == [version]
    assert path.parent.stat().st_mode & 0o777 == 0o755


def test_versions_pushed_version_has_training_summary(registry):
    registry.push(ROOT / "model.pkl", who="me")
    (stored,) = registry.versions()
    manifest = read_manifest(ROOT / "model.pkl")
    assert (stored.who, stored.trained.rows) == ("me", manifest.training.rows_fit)
    assert stored.trained.roc_auc == pytest.approx(0.73, abs=0.02)
    assert stored.size > 100_000


def test_push_existing_version_changes_nothing(registry, address, tmp_path):
    path = write_version(tmp_path, 1)
    assert registry.push(path, who="me") == registry.push(path, who="you")
    before = objects_of(address)
    registry.push(path, who="you")
    assert objects_of(address) == before
    assert registry.stored(version_name(1)).who == "me"


def test_push_other_files_of_existing_version_raises_error(registry, address, tmp_path):
    push_some(registry, tmp_path, 1)
    before = objects_of(address)
    with pytest.raises(NotTrusted, match=r"already exists with another model\.pkl, model\.json"):
        registry.push(write_version(tmp_path, 1, content=b"other"), who="me")
    assert objects_of(address) == before


def test_push_files_not_matching_manifest_raises_error(registry, address, tmp_path):
    path = write_version(tmp_path, 1)
    path.write_bytes(b"changed")
    with pytest.raises(ModelError, match="sha256 differs"):
        registry.push(path, who="me")
    path.with_suffix(".json").unlink()
    with pytest.raises(ModelError, match=r"cannot read model\.json"):
        registry.push(path, who="me")
    assert objects_of(address) == {}


def test_push_report_of_other_version_is_left_out(registry, tmp_path):
    path = write_version(tmp_path, 1)
    head = '<head><meta name="model-version" content="{}"></head>'
    path.with_name("report.html").write_text(head.format("another"))
    registry.push(path, who="me")
    path = write_version(tmp_path, 2)
    path.with_name("report.html").write_text(head.format(version_name(2)))
    registry.push(path, who="me")
    names = [[file.name for file in stored.files] for stored in registry.versions()]
    assert names == [["model.pkl", "model.json", "report.html"], ["model.pkl", "model.json"]]


def test_unfinished_version_does_not_exist(registry, address, tmp_path):
    push_some(registry, tmp_path, 1)
    for name in ("model.pkl", "model.json"):
        put_object(address, f"versions/{version_name(2)}/{name}", b"half")
    assert [stored.version for stored in registry.versions()] == [version_name(1)]
    for call in (registry.resolve, registry.stored):
        with pytest.raises(Unknown, match="no version 2026"):
            call(version_name(2))
    with pytest.raises(Unknown):
        registry.fetch(version_name(2), tmp_path / "here")
    with pytest.raises(Unknown):
        registry.move("production", version_name(2), who="me")


def test_push_after_unfinished_push_completes_it(registry, address, tmp_path):
    path = write_version(tmp_path, 1)
    put_object(address, f"versions/{version_name(1)}/model.pkl", path.read_bytes())
    assert registry.push(path, who="me") == version_name(1)
    put_object(address, f"versions/{version_name(2)}/model.pkl", b"other")
    with pytest.raises(RegistryError, match=r"unfinished push left another model\.pkl"):
        registry.push(write_version(tmp_path, 2), who="me")


@pytest.mark.parametrize("name", BAD_NAMES, ids=ascii)
def test_registry_bad_name_raises_error_before_request(name, tmp_path, monkeypatch):
    # A request to this address would raise another error.
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    nowhere = open_registry("s3://nowhere/prefix", {})
    for call in (
        nowhere.stored,
        nowhere.alias,
        nowhere.history,
        lambda name: nowhere.resolve(f"@{name}"),
        lambda name: nowhere.resolve(name) if name[:1] != "@" else nowhere.stored(name),
        lambda name: nowhere.fetch(name, tmp_path / "here"),
        lambda name: nowhere.move("production", name, who="me"),
        lambda name: nowhere.move(name, version_name(1), who="me"),
        lambda name: nowhere.rollback(name, who="me"),
    ):
        with pytest.raises(BadName, match=r"cannot be an? (version|alias)"):
            call(name)
    assert not (tmp_path / "here").exists()


def test_push_manifest_with_bad_version_raises_error(tmp_path):
    path = write_version(tmp_path, 1)
    text = path.with_suffix(".json").read_text()
    path.with_suffix(".json").write_text(text.replace(version_name(1), "../../secret"))
    with pytest.raises(BadName):
        open_registry(str(tmp_path / "registry"), {}).push(path, who="me")
    assert not (tmp_path / "registry").exists()


@pytest.mark.parametrize("name", ["../model.pkl", "/tmp/x", "other", "version.json"])
def test_fetch_entry_with_unknown_file_raises_error(tmp_path, name):
    address = str(tmp_path / "registry")
    registry = open_registry(address, {})
    (version,) = push_some(registry, tmp_path, 1)
    entry_path = f"versions/{version}/version.json"
    put_object(
        address, entry_path, objects_of(address)[entry_path].replace(b"model.json", name.encode())
    )
    with pytest.raises(NotTrusted, match="has unknown or invalid files"):
        registry.fetch(version, tmp_path / "here")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host/x",
        "http://host/x",
        "s3://",
        "s3://key:secret@bucket/x",
        "s3://bucket?key=secret",
    ],
)
def test_open_registry_bad_url_raises_error(url):
    with pytest.raises(
        RegistryError, match=r"a registry is a folder|the URL of a registry is s3"
    ) as caught:
        open_registry(url, {})
    assert "secret" not in caught.value.message


def test_registry_absent_folder_is_empty_and_not_created(tmp_path):
    registry = open_registry(str(tmp_path / "absent"), {})
    assert (registry.versions(), registry.aliases(), registry.prune(1)) == ([], {}, [])
    with pytest.raises(Unknown):
        registry.resolve("@production")
    assert not (tmp_path / "absent").exists()


def test_alias_moved_twice_has_last_version(registry, tmp_path):
    one, two = push_some(registry, tmp_path, 2)
    assert registry.alias("production") is None
    first = registry.move("production", one, who="me", why="first")
    second = registry.move("production", two, who="you", why="better")
    assert registry.resolve("@production") == two
    assert registry.alias("production") == second
    assert registry.history("production") == [first, second]
    assert (second.number, second.before, second.who, second.why) == (2, one, "you", "better")
    assert registry.alias("candidate") is None
    registry.move("candidate", one, who="me")
    assert registry.aliases() == {"candidate": one, "production": two}


def test_move_unexpected_version_raises_conflict(registry, tmp_path):
    one, two = push_some(registry, tmp_path, 2)
    with pytest.raises(Conflict, match="production has no version, expected 2026"):
        registry.move("production", one, who="me", expected=two)
    registry.move("production", one, who="me", expected=None)
    with pytest.raises(Conflict, match=f"production has {one}, expected no version"):
        registry.move("production", two, who="me", expected=None)
    registry.move("production", two, who="me", expected=one)
    assert len(registry.history("production")) == 2


def test_move_to_current_version_adds_no_entry(registry, tmp_path):
    (one,) = push_some(registry, tmp_path, 1)
    first = registry.move("production", one, who="me")
    assert registry.move("production", one, who="you") == first
    assert registry.history("production") == [first]


def test_rollback_repeated_goes_further_back_until_promotion(registry, tmp_path):
    one, two, three, four = push_some(registry, tmp_path, 4)
    for version in (one, two, three):
        registry.move("production", version, who="me")
    assert registry.rollback(who="me").version == two
    assert registry.rollback(who="me", why="worse still").version == one
    with pytest.raises(Unknown, match="production has no earlier version"):
        registry.rollback(who="me")
    registry.move("production", four, who="me")
    assert registry.rollback(who="me").version == one
    actions = [move.action for move in registry.history("production")]
    assert actions == ["promote"] * 3 + ["rollback"] * 2 + ["promote", "rollback"]


def test_rollback_to_version_drops_later_versions(registry, tmp_path):
    one, two, three, four = push_some(registry, tmp_path, 4)
    for version in (one, two, three):
        registry.move("production", version, who="me")
    registry.rollback(to=one, who="me")
    # A rollback to a later version adds it; the next rollback returns to the first version.
    assert registry.rollback(to=three, who="me").version == three
    assert registry.rollback(who="me").version == one
    with pytest.raises(Unknown, match="was never production; promote it instead"):
        registry.rollback(to=four, who="me")


def test_alias_foreign_files_beside_entries_are_ignored(tmp_path):
    address = str(tmp_path / "registry")
    registry = open_registry(address, {})
    (one,) = push_some(registry, tmp_path, 1)
    registry.move("production", one, who="me")
    for name in (
        "notes.txt",
        "9.json",
        "000000099.json",
        "00000099.json.bak",
        "deep/00000099.json",
    ):
        put_object(address, f"aliases/production/{name}", b"x")
    assert registry.alias("production").number == 1
    put_object(address, "aliases/production/00000099.json", b"{}")
    with pytest.raises(NotTrusted, match="is not an entry of a registry"):
        registry.alias("production")


def test_fetch_unchanged_copy_sends_no_request(registry, address, tmp_path):
    (version,) = push_some(registry, tmp_path, 1)
    path = registry.fetch(version, tmp_path / "here")
    for name in objects_of(address):
        put_object(address, name, None)
    stamp = path.stat().st_mtime_ns
    assert registry.fetch(version, tmp_path / "here") == path
    assert path.stat().st_mtime_ns == stamp


@pytest.mark.parametrize("name", ["model.pkl", "model.json", "version.json"])
@pytest.mark.parametrize("content", [None, b"", b"changed"], ids=["absent", "empty", "changed"])
def test_fetch_changed_copy_is_replaced(registry, tmp_path, name, content):
    (version,) = push_some(registry, tmp_path, 1)
    path = registry.fetch(version, tmp_path / "here")
    expected = path.read_bytes()
    broken = path.with_name(name)
    broken.unlink() if content is None else broken.write_bytes(content)
    assert registry.fetch(version, tmp_path / "here").read_bytes() == expected
    assert names_in(tmp_path / "here") == [version]


@pytest.mark.parametrize("change", ["absent", "empty", "cut", "longer", "one bit"])
@pytest.mark.parametrize("name", ["model.pkl", "model.json"])
def test_fetch_changed_object_raises_error(registry, address, tmp_path, name, change):
    (version,) = push_some(registry, tmp_path, 1)
    path = f"versions/{version}/{name}"
    content = objects_of(address)[path]
    changed = {
        "absent": None,
        "empty": b"",
        "cut": content[:-1],
        "longer": content + b"x",
        "one bit": bytes([content[0] ^ 1]) + content[1:],
    }
    put_object(address, path, changed[change])
    with pytest.raises(RegistryError, match=r"was changed or truncated|lacks its") as caught:
        registry.fetch(version, tmp_path / "here")
    assert name in caught.value.message
    assert names_in(tmp_path / "here") == []


def test_signed_version_other_key_raises_error(address, tmp_path):
    ours = open_registry(address, KEY)
    (version,) = push_some(ours, tmp_path, 1)
    ours.move("production", version, who="me")
    assert ours.fetch(version, tmp_path / "ours")
    theirs = open_registry(address, OTHER_KEY)
    for call in (lambda: theirs.fetch(version, tmp_path / "theirs"), theirs.versions):
        with pytest.raises(NotTrusted, match="is not signed with this SLIPWAY_SIGNING_KEY"):
            call()
    with pytest.raises(NotTrusted):
        theirs.alias("production")
    # Without a key, only the hashes are checked.
    assert open_registry(address, {}).fetch(version, tmp_path / "keyless")


def test_unsigned_version_with_key_raises_error(address, tmp_path):
    plain = open_registry(address, {})
    (version,) = push_some(plain, tmp_path, 1)
    plain.move("production", version, who="me")
    copy = plain.fetch(version, tmp_path / "here")
    ours = open_registry(address, KEY)
    for call in (
        lambda: ours.fetch(version, copy.parent.parent),
        lambda: ours.resolve("@production"),
        lambda: ours.push(tmp_path / "1" / "model.pkl", who="me"),
    ):
        with pytest.raises(NotTrusted, match="is not signed, but SLIPWAY_SIGNING_KEY is set"):
            call()


def test_signed_version_any_changed_field_raises_error(tmp_path):
    address = str(tmp_path / "registry")
    registry = open_registry(address, KEY)
    (version,) = push_some(registry, tmp_path, 1)
    entry_path = f"versions/{version}/version.json"
    entry = json.loads(objects_of(address)[entry_path])
    changes = {
        "who": "another",
        "when": "2020",
        "files": [{**file, "size": 0} for file in entry["files"]],
        "signature": "0" * 64,
    }
    for name, value in changes.items():
        put_object(address, entry_path, json.dumps({**entry, name: value}).encode())
        with pytest.raises(NotTrusted):
            registry.fetch(version, tmp_path / "here")
    put_object(address, entry_path, json.dumps({**entry, "more": 1}).encode())
    with pytest.raises(NotTrusted, match="unknown field"):
        registry.fetch(version, tmp_path / "here")
    put_object(address, entry_path, json.dumps(entry, indent=3).encode())
    assert registry.fetch(version, tmp_path / "here")


def test_signed_entry_at_other_place_raises_error(tmp_path):
    address = str(tmp_path / "registry")
    registry = open_registry(address, KEY)
    one, two = push_some(registry, tmp_path, 2)
    registry.move("production", one, who="me")
    registry.move("production", two, who="me")
    old = objects_of(address)["aliases/production/00000001.json"]
    put_object(address, "aliases/production/00000003.json", old)
    with pytest.raises(NotTrusted, match="has the entry of another place"):
        registry.resolve("@production")
    put_object(address, "aliases/candidate/00000001.json", old)
    with pytest.raises(NotTrusted, match="has the entry of another place"):
        registry.resolve("@candidate")
    entry_path = objects_of(address)[f"versions/{one}/version.json"]
    put_object(address, f"versions/{two}/version.json", entry_path)
    with pytest.raises(RegistryError, match="has the entry of another version"):
        registry.stored(two)


def test_history_missing_entry_raises_error(registry, address, tmp_path):
    for version in push_some(registry, tmp_path, 3):
        registry.move("production", version, who="me")
    put_object(address, "aliases/production/00000002.json", None)
    with pytest.raises(NotTrusted, match="the history of production was changed at entry 2"):
        registry.history("production")


@pytest.mark.parametrize("key", ["short", "x" * 31])
def test_open_registry_short_key_raises_error_without_it(tmp_path, key):
    with pytest.raises(RegistryError, match="must have at least 32 characters") as caught:
        open_registry(str(tmp_path), {"SLIPWAY_SIGNING_KEY": key})
    assert key not in caught.value.message


def test_move_after_clock_change_keeps_order(registry, address, tmp_path):
    one, two, three = push_some(registry, tmp_path, 3)
    registry.move("production", one, who="me")
    registry.move("production", two, who="me")
    entry = "aliases/production/00000002.json"
    later_entry = msgspec.json.decode(objects_of(address)[entry]) | {
        "when": "2099-01-01T00:00:00+00:00"
    }
    put_object(address, entry, msgspec.json.encode(later_entry))
    # The last entry now has a time in the future.
    assert registry.move("production", three, who="me").number == 3
    assert registry.resolve("@production") == three
    assert registry.rollback(who="me").version == two


def test_registry_copied_folder_works(tmp_path):
    registry = open_registry(str(tmp_path / "registry"), KEY)
    (one,) = push_some(registry, tmp_path, 1)
    registry.move("production", one, who="me")
    shutil.copytree(tmp_path / "registry", tmp_path / "copy")
    copy = open_registry(str(tmp_path / "copy"), KEY)
    assert copy.fetch(copy.resolve("@production"), tmp_path / "here").exists()
