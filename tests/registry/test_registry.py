"""A registry in a folder and in a bucket: what is pushed is what is fetched, and nothing else."""

import json
import os
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
from slipway.registry.pruning import remove_version

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


def test_pushed_version_is_fetched_with_all_its_files(registry, tmp_path):
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


def test_pushed_version_is_listed_with_what_it_was_trained_on(registry):
    registry.push(ROOT / "model.pkl", who="me")
    (stored,) = registry.versions()
    manifest = read_manifest(ROOT / "model.pkl")
    assert (stored.who, stored.trained.rows) == ("me", manifest.training.rows_fit)
    assert stored.trained.roc_auc == pytest.approx(0.73, abs=0.02)
    assert stored.size > 100_000


def test_push_of_the_same_again_does_nothing(registry, address, tmp_path):
    path = write_version(tmp_path, 1)
    assert registry.push(path, who="me") == registry.push(path, who="you")
    before = objects_of(address)
    registry.push(path, who="you")
    assert objects_of(address) == before
    assert registry.stored(version_name(1)).who == "me"


def test_push_of_other_bytes_under_a_name_that_is_taken_is_refused(registry, address, tmp_path):
    push_some(registry, tmp_path, 1)
    before = objects_of(address)
    with pytest.raises(NotTrusted, match=r"there already with another model\.pkl, model\.json"):
        registry.push(write_version(tmp_path, 1, content=b"other"), who="me")
    assert objects_of(address) == before


def test_push_of_files_that_do_not_fit_together_is_refused(registry, address, tmp_path):
    path = write_version(tmp_path, 1)
    path.write_bytes(b"changed")
    with pytest.raises(ModelError, match="sha256 differs"):
        registry.push(path, who="me")
    path.with_suffix(".json").unlink()
    with pytest.raises(ModelError, match=r"cannot read model\.json"):
        registry.push(path, who="me")
    assert objects_of(address) == {}


def test_push_leaves_out_a_report_of_another_version(registry, tmp_path):
    path = write_version(tmp_path, 1)
    head = '<head><meta name="model-version" content="{}"></head>'
    path.with_name("report.html").write_text(head.format("another"))
    registry.push(path, who="me")
    path = write_version(tmp_path, 2)
    path.with_name("report.html").write_text(head.format(version_name(2)))
    registry.push(path, who="me")
    names = [[file.name for file in each.files] for each in registry.versions()]
    assert names == [["model.pkl", "model.json", "report.html"], ["model.pkl", "model.json"]]


def test_half_pushed_version_is_not_there(registry, address, tmp_path):
    push_some(registry, tmp_path, 1)
    for name in ("model.pkl", "model.json"):
        put_object(address, f"versions/{version_name(2)}/{name}", b"half")
    assert [each.version for each in registry.versions()] == [version_name(1)]
    for ask in (registry.resolve, registry.stored):
        with pytest.raises(Unknown, match="no version 2026"):
            ask(version_name(2))
    with pytest.raises(Unknown):
        registry.fetch(version_name(2), tmp_path / "here")
    with pytest.raises(Unknown):
        registry.move("production", version_name(2), who="me")


def test_push_that_never_ended_is_ended_by_the_next(registry, address, tmp_path):
    path = write_version(tmp_path, 1)
    put_object(address, f"versions/{version_name(1)}/model.pkl", path.read_bytes())
    assert registry.push(path, who="me") == version_name(1)
    put_object(address, f"versions/{version_name(2)}/model.pkl", b"other")
    with pytest.raises(RegistryError, match=r"never ended left another model\.pkl"):
        registry.push(write_version(tmp_path, 2), who="me")


@pytest.mark.parametrize("name", BAD_NAMES, ids=ascii)
def test_name_that_could_lead_elsewhere_is_refused_before_anything_is_asked(
    name, tmp_path, monkeypatch
):
    # Whatever asked this address would get another error.
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    nowhere = open_registry("s3://nowhere/prefix", {})
    for ask in (
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
            ask(name)
    assert not (tmp_path / "here").exists()


def test_version_of_a_manifest_that_could_lead_elsewhere_is_not_pushed(tmp_path):
    path = write_version(tmp_path, 1)
    text = path.with_suffix(".json").read_text()
    path.with_suffix(".json").write_text(text.replace(version_name(1), "../../secret"))
    with pytest.raises(BadName):
        open_registry(str(tmp_path / "registry"), {}).push(path, who="me")
    assert not (tmp_path / "registry").exists()


@pytest.mark.parametrize("name", ["../model.pkl", "/tmp/x", "other", "version.json"])
def test_file_list_that_names_another_place_is_refused(tmp_path, name):
    address = str(tmp_path / "registry")
    registry = open_registry(address, {})
    (version,) = push_some(registry, tmp_path, 1)
    mark = f"versions/{version}/version.json"
    put_object(address, mark, objects_of(address)[mark].replace(b"model.json", name.encode()))
    with pytest.raises(NotTrusted, match="names files that no version has"):
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
def test_address_that_cannot_be_a_registry_is_refused(url):
    with pytest.raises(
        RegistryError, match=r"a registry is a folder|the URL of a registry is s3"
    ) as e:
        open_registry(url, {})
    assert "secret" not in e.value.message


def test_looking_into_a_folder_that_is_not_there_makes_none(tmp_path):
    registry = open_registry(str(tmp_path / "absent"), {})
    assert (registry.versions(), registry.aliases(), registry.prune(1)) == ([], {}, [])
    with pytest.raises(Unknown):
        registry.resolve("@production")
    assert not (tmp_path / "absent").exists()


def test_alias_stands_for_what_it_was_moved_to_last(registry, tmp_path):
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


def test_alias_moves_only_from_what_is_expected(registry, tmp_path):
    one, two = push_some(registry, tmp_path, 2)
    with pytest.raises(Conflict, match="production is no version, not 2026"):
        registry.move("production", one, who="me", expected=two)
    registry.move("production", one, who="me", expected=None)
    with pytest.raises(Conflict, match=f"production is {one}, not no version"):
        registry.move("production", two, who="me", expected=None)
    registry.move("production", two, who="me", expected=one)
    assert len(registry.history("production")) == 2


def test_alias_that_stands_for_it_already_is_not_moved(registry, tmp_path):
    (one,) = push_some(registry, tmp_path, 1)
    first = registry.move("production", one, who="me")
    assert registry.move("production", one, who="you") == first
    assert registry.history("production") == [first]


def test_rollbacks_go_further_back_and_a_promotion_starts_anew(registry, tmp_path):
    one, two, three, four = push_some(registry, tmp_path, 4)
    for version in (one, two, three):
        registry.move("production", version, who="me")
    assert registry.rollback(who="me").version == two
    assert registry.rollback(who="me", why="worse still").version == one
    with pytest.raises(Unknown, match="nothing that production could go back to"):
        registry.rollback(who="me")
    registry.move("production", four, who="me")
    assert registry.rollback(who="me").version == one
    actions = [move.action for move in registry.history("production")]
    assert actions == ["promote"] * 3 + ["rollback"] * 2 + ["promote", "rollback"]


def test_rollback_to_a_version_takes_off_what_came_after_it(registry, tmp_path):
    one, two, three, four = push_some(registry, tmp_path, 4)
    for version in (one, two, three):
        registry.move("production", version, who="me")
    registry.rollback(to=one, who="me")
    # It was rolled back from; going there is a move forth, and back is again the first.
    assert registry.rollback(to=three, who="me").version == three
    assert registry.rollback(who="me").version == one
    with pytest.raises(Unknown, match="was never production; promote it instead"):
        registry.rollback(to=four, who="me")


def test_foreign_files_beside_entries_are_no_entries(tmp_path):
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


def test_prune_keeps_the_newest_and_what_aliases_need(registry, tmp_path):
    versions = push_some(registry, tmp_path, 8)
    for i in (0, 1, 2, 3):
        registry.move("production", versions[i], who="me")
    registry.rollback(who="me")
    registry.move("candidate", versions[4], who="me")
    assert registry.prune(1) == [versions[6], versions[5], versions[0]]
    assert [each.version for each in registry.versions()] == versions[7:0:-1][:1] + versions[4:0:-1]
    # What a rollback goes to, and what the last two entries name.
    assert registry.rollback(who="me").version == versions[1]


def test_prune_leaves_no_object_of_what_it_removes(registry, address, tmp_path):
    versions = push_some(registry, tmp_path, 3)
    registry.prune(1)
    assert {path.split("/")[1] for path in objects_of(address)} == {versions[2]}


def test_prune_leaves_a_push_that_may_still_end(registry, address, tmp_path):
    put_object(address, f"versions/{version_name(9)}/model.pkl", b"half")
    assert registry.prune(1) == []
    assert list(objects_of(address)) == [f"versions/{version_name(9)}/model.pkl"]


def test_prune_removes_what_a_push_that_never_ended_has_left(tmp_path):
    address = str(tmp_path / "registry")
    registry = open_registry(address, {})
    versions = push_some(registry, tmp_path, 1)
    put_object(address, f"versions/{version_name(9)}/model.pkl", b"half")
    for file in Path(address).rglob("*"):
        os.utime(file, (0, 0))
    assert registry.prune(1) == []
    assert {path.split("/")[1] for path in objects_of(address)} == set(versions)


def test_version_that_an_alias_comes_to_while_it_is_pruned_stays(registry, tmp_path):
    (version,) = push_some(registry, tmp_path, 1)
    heads = registry._journal.heads()
    registry.move("production", version, who="me")
    stored = registry.stored(version)
    assert not remove_version(registry._objects, registry._journal, stored, heads)
    assert registry.fetch(version, tmp_path / "here").exists()


def test_move_to_a_version_that_is_pruned_meanwhile_says_so(address, tmp_path):
    registry = open_registry(address, {})
    (version,) = push_some(registry, tmp_path, 1)
    append = registry._journal.append

    def pruned_meanwhile(move):
        put_object(address, f"versions/{version}/version.json", None)
        return append(move)

    registry._journal.append = pruned_meanwhile
    with pytest.raises(RegistryError, match="was pruned meanwhile: move production again"):
        registry.move("production", version, who="me")


def test_fetched_copy_is_used_again_without_the_registry(registry, address, tmp_path):
    (version,) = push_some(registry, tmp_path, 1)
    path = registry.fetch(version, tmp_path / "here")
    for name in objects_of(address):
        put_object(address, name, None)
    stamp = path.stat().st_mtime_ns
    assert registry.fetch(version, tmp_path / "here") == path
    assert path.stat().st_mtime_ns == stamp


@pytest.mark.parametrize("name", ["model.pkl", "model.json", "version.json"])
@pytest.mark.parametrize("content", [None, b"", b"changed"], ids=["absent", "empty", "changed"])
def test_fetched_copy_that_was_changed_is_replaced(registry, tmp_path, name, content):
    (version,) = push_some(registry, tmp_path, 1)
    path = registry.fetch(version, tmp_path / "here")
    due = path.read_bytes()
    broken = path.with_name(name)
    broken.unlink() if content is None else broken.write_bytes(content)
    assert registry.fetch(version, tmp_path / "here").read_bytes() == due
    assert names_in(tmp_path / "here") == [version]


@pytest.mark.parametrize("change", ["absent", "empty", "cut", "longer", "one bit"])
@pytest.mark.parametrize("name", ["model.pkl", "model.json"])
def test_object_that_is_not_what_was_pushed_is_refused(registry, address, tmp_path, name, change):
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
    with pytest.raises(RegistryError, match=r"is not what was pushed|has lost") as refused:
        registry.fetch(version, tmp_path / "here")
    assert name in refused.value.message
    assert names_in(tmp_path / "here") == []


def test_signed_version_is_taken_with_the_key_only(address, tmp_path):
    ours = open_registry(address, KEY)
    (version,) = push_some(ours, tmp_path, 1)
    ours.move("production", version, who="me")
    assert ours.fetch(version, tmp_path / "ours")
    theirs = open_registry(address, OTHER_KEY)
    for ask in (lambda: theirs.fetch(version, tmp_path / "theirs"), theirs.versions):
        with pytest.raises(NotTrusted, match="is not signed with this SLIPWAY_SIGNING_KEY"):
            ask()
    with pytest.raises(NotTrusted):
        theirs.alias("production")
    # Whoever has no key checks the hashes alone.
    assert open_registry(address, {}).fetch(version, tmp_path / "keyless")


def test_unsigned_version_and_alias_are_refused_where_there_is_a_key(address, tmp_path):
    plain = open_registry(address, {})
    (version,) = push_some(plain, tmp_path, 1)
    plain.move("production", version, who="me")
    copy = plain.fetch(version, tmp_path / "here")
    ours = open_registry(address, KEY)
    for ask in (
        lambda: ours.fetch(version, copy.parent.parent),
        lambda: ours.resolve("@production"),
        lambda: ours.push(tmp_path / "1" / "model.pkl", who="me"),
    ):
        with pytest.raises(NotTrusted, match="is not signed, but SLIPWAY_SIGNING_KEY is set"):
            ask()


def test_changed_entry_of_a_signed_version_is_refused_whatever_was_changed(tmp_path):
    address = str(tmp_path / "registry")
    registry = open_registry(address, KEY)
    (version,) = push_some(registry, tmp_path, 1)
    mark = f"versions/{version}/version.json"
    entry = json.loads(objects_of(address)[mark])
    changes = {
        "who": "another",
        "when": "2020",
        "files": [{**file, "size": 0} for file in entry["files"]],
        "signature": "0" * 64,
    }
    for name, value in changes.items():
        put_object(address, mark, json.dumps({**entry, name: value}).encode())
        with pytest.raises(NotTrusted):
            registry.fetch(version, tmp_path / "here")
    put_object(address, mark, json.dumps({**entry, "more": 1}).encode())
    with pytest.raises(NotTrusted, match="unknown field"):
        registry.fetch(version, tmp_path / "here")
    put_object(address, mark, json.dumps(entry, indent=3).encode())
    assert registry.fetch(version, tmp_path / "here")


def test_signed_entries_are_not_taken_for_another_number_alias_or_version(tmp_path):
    address = str(tmp_path / "registry")
    registry = open_registry(address, KEY)
    one, two = push_some(registry, tmp_path, 2)
    registry.move("production", one, who="me")
    registry.move("production", two, who="me")
    old = objects_of(address)["aliases/production/00000001.json"]
    put_object(address, "aliases/production/00000003.json", old)
    with pytest.raises(NotTrusted, match="is another entry"):
        registry.resolve("@production")
    put_object(address, "aliases/candidate/00000001.json", old)
    with pytest.raises(NotTrusted, match="is another entry"):
        registry.resolve("@candidate")
    mark = objects_of(address)[f"versions/{one}/version.json"]
    put_object(address, f"versions/{two}/version.json", mark)
    with pytest.raises(RegistryError, match="says that it is another"):
        registry.stored(two)


def test_history_with_a_hole_is_refused(registry, address, tmp_path):
    for version in push_some(registry, tmp_path, 3):
        registry.move("production", version, who="me")
    put_object(address, "aliases/production/00000002.json", None)
    with pytest.raises(NotTrusted, match="the history of production was changed at entry 2"):
        registry.history("production")


@pytest.mark.parametrize("key", ["short", "x" * 31])
def test_key_that_could_be_guessed_is_refused(tmp_path, key):
    with pytest.raises(RegistryError, match="must have 32 characters or more") as refused:
        open_registry(str(tmp_path), {"SLIPWAY_SIGNING_KEY": key})
    assert key not in refused.value.message


def test_moves_keep_their_order_when_the_clock_jumps_back(registry, address, tmp_path):
    one, two, three = push_some(registry, tmp_path, 3)
    registry.move("production", one, who="me")
    registry.move("production", two, who="me")
    entry = "aliases/production/00000002.json"
    late = msgspec.json.decode(objects_of(address)[entry]) | {"when": "2099-01-01T00:00:00+00:00"}
    put_object(address, entry, msgspec.json.encode(late))
    # To the next promoter, that entry is of a time to come.
    assert registry.move("production", three, who="me").number == 3
    assert registry.resolve("@production") == three
    assert registry.rollback(who="me").version == two


def test_registry_is_a_folder_that_can_be_copied(tmp_path):
    registry = open_registry(str(tmp_path / "registry"), KEY)
    (one,) = push_some(registry, tmp_path, 1)
    registry.move("production", one, who="me")
    shutil.copytree(tmp_path / "registry", tmp_path / "copy")
    copy = open_registry(str(tmp_path / "copy"), KEY)
    assert copy.fetch(copy.resolve("@production"), tmp_path / "here").exists()
