"""Limits that protect the memory and disks of readers of a registry."""

import json
import subprocess
import sys

import pytest
from conftest import ROOT
from registries import push_some, version_name, write_version

from slipway.cli import add_commands
from slipway.registry import BadName, NotTrusted, RegistryError, object_store, open_registry
from slipway.registry.records import MAX_ENTRY, MAX_FILES

HUGE = 300 * 2**20
CALLS = {
    "alias": ("aliases/production/00000002.json", "registry.alias('production')"),
    "resolve": ("aliases/production/00000002.json", "registry.resolve('@production')"),
    "aliases": ("aliases/production/00000002.json", "registry.aliases()"),
    "history": ("aliases/production/00000002.json", "registry.history('production')"),
    "move": ("aliases/production/00000002.json", "registry.move('production', version, who='me')"),
    "prune": ("aliases/production/00000002.json", "registry.prune(1)"),
    "version": ("versions/{}/version.json", "registry.stored(version)"),
    "versions": ("versions/{}/version.json", "registry.versions()"),
    "fetch": ("versions/{}/version.json", "registry.fetch(version, folder / 'here')"),
    "push": ("versions/{}/version.json", "registry.push(folder / '1' / 'model.pkl', who='me')"),
}
CALL_CODE = """
import resource, sys
from pathlib import Path
from slipway.registry import NotTrusted, open_registry
folder, version, call = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
registry = open_registry(str(folder / "registry"), {})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    eval(call)
except NotTrusted as error:
    print(error.message)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.fixture
def registry(tmp_path):
    registry = open_registry(str(tmp_path / "registry"), {})
    (version,) = push_some(registry, tmp_path, 1)
    registry.move("production", version, who="me")
    return registry


@pytest.mark.parametrize(("path", "call"), CALLS.values(), ids=CALLS)
def test_registry_huge_entry_is_rejected_and_not_read(registry, tmp_path, path, call):
    version = version_name(1)
    with (tmp_path / "registry" / path.format(version)).open("wb") as file:
        file.truncate(HUGE)
    command = [sys.executable, "-c", CALL_CODE, tmp_path, version, call]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    message, kilobytes = process.stdout.splitlines()
    assert message.endswith(f"has more than {MAX_ENTRY:,} bytes and was not read")
    assert path.format(version) in message
    # Importing obstore needs 30 MB.
    assert int(kilobytes) < 100_000


@pytest.mark.parametrize("name", MAX_FILES)
@pytest.mark.parametrize("size", [10**11, 2**62, 2**64])
def test_registry_version_of_impossible_size_is_not_fetched(registry, tmp_path, name, size):
    path = tmp_path / "registry" / "versions" / version_name(1) / "version.json"
    entry = json.loads(path.read_text())
    files = {file["name"]: file for file in entry["files"]}
    files[name] = {**files["model.pkl"], "name": name, "size": size}
    path.write_text(json.dumps({**entry, "files": list(files.values())}))
    with pytest.raises(NotTrusted, match=rf"{name} has [\d,]+ bytes; the limit is [\d,]+"):
        registry.fetch(version_name(1), tmp_path / "here")
    assert not (tmp_path / "here").exists()


@pytest.mark.parametrize("name", ["model.pkl", "model.json", "report.html"])
def test_registry_file_over_limit_is_not_pushed(registry, tmp_path, monkeypatch, name):
    path = write_version(tmp_path, 2)
    (path.parent / "report.html").write_text(
        f'<meta name="model-version" content="{version_name(2)}">' + "x" * 10_000
    )
    monkeypatch.setitem(MAX_FILES, name, 10)
    with pytest.raises(NotTrusted, match=rf"{name} has [\d,]+ bytes; the limit is 10"):
        registry.push(path, who="me")
    assert not (tmp_path / "registry" / "versions" / version_name(2)).exists()


def test_registry_entry_over_limit_is_not_written(registry):
    with pytest.raises(RegistryError, match=r"has 70,\d+ bytes; .* shorten 'why'"):
        registry.move("candidate", version_name(1), who="me", why="x" * 70_000)
    assert registry.aliases() == {"production": version_name(1)}


def test_registry_with_too_many_objects_is_rejected(registry, tmp_path, monkeypatch):
    monkeypatch.setattr(object_store, "MAX_LISTED", 20)
    for n in range(30):
        (tmp_path / "registry" / "aliases" / "production" / f"x{n}").write_bytes(b"")
    for call in (registry.aliases, lambda: registry.alias("production")):
        with pytest.raises(RegistryError, match=r"more than 20 objects in aliases.*prune"):
            call()


@pytest.mark.parametrize("name", ["-x", "--help", "-", "-.", ".x", "x" * 65])
def test_registry_name_like_an_option_is_rejected(registry, tmp_path, name):
    for call in (
        lambda: registry.move(name, version_name(1), who="me"),
        lambda: registry.move("production", name, who="me"),
        lambda: registry.alias(name),
        lambda: registry.resolve(f"@{name}"),
        lambda: registry.resolve(name),
        lambda: registry.history(name),
        lambda: registry.rollback(name, who="me"),
        lambda: registry.fetch(name, tmp_path / "here"),
    ):
        with pytest.raises(BadName, match="not starting with"):
            call()


def test_registry_foreign_folders_are_ignored(registry, tmp_path):
    for name in ("-x", ".x", "x" * 65):
        for path in (f"versions/{name}/version.json", f"aliases/{name}/00000001.json"):
            file = tmp_path / "registry" / path
            file.parent.mkdir()
            file.write_bytes(b"{}")
    assert [stored.version for stored in registry.versions()] == [version_name(1)]
    assert registry.aliases() == {"production": version_name(1)}


def test_flask_model_promote_alias_like_an_option_exits_with_1(app, registry, tmp_path):
    command = ["model", "promote", version_name(1), "--registry", str(tmp_path / "registry")]
    result = add_commands(app).test_cli_runner().invoke(args=[*command, "--alias=-x"])
    assert result.exit_code == 1
    assert "'-x' cannot be an alias" in result.output
