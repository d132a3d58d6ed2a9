"""``flask model verify``: what a release runs, and every fault that must stop it."""

import hashlib
import json
import os
import shutil
import subprocess
import sys

import msgspec
import pytest
from attack_pickles import attack
from conftest import ROOT
from registries import KEY, OTHER_KEY
from versions import run, squeezed

from slipway.cli import add_commands
from slipway.core.settings import Reference, Settings
from slipway.models.artifacts import manifest_path
from slipway.models.manifest import read_manifest, write_manifest
from slipway.registry import open_registry
from slipway.web import create_app

RELEASE = next(
    line.removeprefix("release: ")
    for line in (ROOT / "Procfile").read_text().splitlines()
    if line.startswith("release: ")
)


@pytest.fixture(autouse=True)
def as_a_command(monkeypatch):
    """The app is made although its model is broken, as under the ``flask`` command."""
    monkeypatch.setenv("FLASK_RUN_FROM_CLI", "true")
    monkeypatch.delenv("SLIPWAY_SIGNING_KEY", raising=False)


@pytest.fixture
def shipped(tmp_path):
    """A copy of the shipped model that can be spoiled."""
    for name in ("model.pkl", "model.json", "model.covariance"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path / "model.pkl"


def verified(settings, *options, status=0):
    """Run the command; its lines, of which a fault has but one."""
    done = run(add_commands(create_app(ROOT, settings)), "verify", *options)
    lines = squeezed(done.output)
    assert done.exit_code == status, done.output
    assert status == 0 or len(lines) == 1, done.output
    return lines


def changed(path, **changes):
    write_manifest(msgspec.structs.replace(read_manifest(path), **changes), path)


def with_pickle(path, content):
    """Exchange the pickle, and let the manifest speak of it, as a clever fault would."""
    path.write_bytes(content)
    changed(path, sha256=hashlib.sha256(content).hexdigest())


def test_verify_without_a_version_checks_the_served_file_and_both_engines(shipped):
    lines = verified(Settings(shipped))
    golden = len(read_manifest(shipped).golden)
    assert lines[0] == "model.pkl is right"
    assert lines[2:] == [
        "signature none: a file is trusted like the code beside it",
        f"version {read_manifest(shipped).version}, LogisticRegression",
        "files model.pkl and model.covariance, as model.json says (sha256)",
        "pickle opened; made by scikit-learn 1.9.1",
        f"by scorecard {golden} golden rows, all right",
        f"by pickle {golden} golden rows, all right",
    ]


def test_verify_takes_a_bare_pickle(shipped):
    manifest_path(shipped).unlink()
    lines = verified(Settings(shipped))
    assert "files model.pkl alone, without a manifest" in lines


def no_file(path):
    path.unlink()


def no_manifest_to_read(path):
    manifest_path(path).write_text("{}")


def truncated(path):
    path.write_bytes(path.read_bytes()[:-100])


def truncated_and_hashed(path):
    with_pickle(path, path.read_bytes()[:-100])


def edited_points(path):
    told = json.loads(manifest_path(path).read_bytes())
    told["scorecard"]["sums"][0]["intercept"] += 1e-9
    manifest_path(path).write_text(json.dumps(told))


def wrong_golden_answer(path):
    first, *others = read_manifest(path).golden
    wrong = msgspec.structs.replace(first, answer=first.answer + 1e-9)
    changed(path, golden=(wrong, *others))


def no_golden_rows(path):
    changed(path, golden=())


def another_model_in_the_pickle(path):
    told = read_manifest(path)
    other = path.with_name("other.pkl")
    subprocess.run([sys.executable, "-c", OTHER, path, other], check=True, cwd=ROOT)
    with_pickle(path, other.read_bytes())
    assert read_manifest(path).golden == told.golden


# The shipped pipeline with another intercept: the scorecard is right, and the pickle is not its.
OTHER = """
import pickle, sys
with open(sys.argv[1], "rb") as file:
    pipeline = pickle.load(file)
pipeline[-1].intercept_ += 1e-6
with open(sys.argv[2], "wb") as file:
    pickle.dump(pipeline, file)
"""


def other_scikit_learn(path):
    changed(path, libraries=read_manifest(path).libraries | {"scikit-learn": "1.8.0"})


def other_covariance(path):
    path.with_suffix(".covariance").write_bytes(b"other")


FAULTS = {
    no_file: "cannot read model.pkl: No such file or directory",
    no_manifest_to_read: "model.json is not a manifest: ",
    truncated: "model.pkl is not the file its manifest describes: sha256 differs",
    truncated_and_hashed: "cannot read the pickle: ",
    edited_points: "golden row 1 gives ",
    wrong_golden_answer: "golden row 1 gives ",
    no_golden_rows: " has no golden rows: nothing shows that it is right",
    another_model_in_the_pickle: "golden row 1 gives ",
    other_scikit_learn: "pip install scikit-learn==1.8.0, or train again",
    other_covariance: "model.covariance is not the file its manifest describes: sha256 differs",
}


@pytest.mark.parametrize(
    ("spoil", "says"), FAULTS.items(), ids=lambda each: getattr(each, "__name__", "")
)
def test_verify_fault_is_told_in_one_line_with_a_status(shipped, spoil, says):
    spoil(shipped)
    (line,) = verified(Settings(shipped), status=1)
    assert line.startswith("Error: ")
    assert says in line


@pytest.mark.parametrize("name", ["os.system", "STACK_GLOBAL by the memo", "broken at its end"])
def test_verify_attack_in_the_pickle_is_refused_and_does_nothing(shipped, tmp_path, name):
    canary = tmp_path / "canary"
    with_pickle(shipped, attack(name, canary))
    (line,) = verified(Settings(shipped), status=1)
    assert "the pickle asks for posix.system" in line
    assert not canary.exists()


def test_verify_other_scikit_learn_passes_where_it_is_allowed(shipped):
    other_scikit_learn(shipped)
    lines = verified(Settings(shipped, allow_version_skew=True))
    assert "pickle opened; made by scikit-learn 1.8.0" in lines


def test_verify_without_scikit_learn_says_loudly_that_the_pickle_was_not_opened(
    shipped, monkeypatch
):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    lines = verified(Settings(shipped))
    assert "pickle NOT OPENED, hashed alone: scikit-learn is not installed here; made by" in (
        next(line for line in lines if line.startswith("pickle"))
    )
    assert not any(line.startswith("by pickle") for line in lines)
    for settings, options in ((Settings(shipped), ["--pickle"]), (Settings(shipped, "pickle"), [])):
        (line,) = verified(settings, *options, status=1)
        assert line == "Error: the pickle cannot be opened: scikit-learn is not installed here"


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """A signed registry whose production is the shipped model; the settings that serve it."""
    monkeypatch.setenv("SLIPWAY_SIGNING_KEY", KEY["SLIPWAY_SIGNING_KEY"])
    url = str(tmp_path / "models")
    place = open_registry(url)
    version = place.push(ROOT / "model.pkl", who="a test")
    place.move("production", version, who="a test")
    return Settings(ROOT / "none.pkl", reference=Reference(url, "@production"))


def test_verify_follows_an_alias_and_checks_the_signature(registry):
    lines = verified(registry, "--pickle")
    assert lines[0] == f"{registry.reference} is right"
    assert "signature right, by SLIPWAY_SIGNING_KEY" in lines
    assert any(line.startswith("by pickle") for line in lines)
    fixed = read_manifest(ROOT / "model.pkl").version
    reference = Reference(registry.reference.url, fixed)
    assert verified(Settings(ROOT / "none.pkl", reference=reference))[0] == f"{reference} is right"


@pytest.mark.parametrize(
    ("key", "says"),
    [(OTHER_KEY, "is not signed with this SLIPWAY_SIGNING_KEY"), ("short", "32 characters")],
    ids=["other", "short"],
)
def test_verify_with_another_key_is_refused(registry, monkeypatch, key, says):
    value = key if isinstance(key, str) else key["SLIPWAY_SIGNING_KEY"]
    monkeypatch.setenv("SLIPWAY_SIGNING_KEY", value)
    (line,) = verified(registry, status=1)
    assert says in line
    assert value not in line.split()


def test_verify_unsigned_version_is_refused_where_there_is_a_key(registry, monkeypatch, tmp_path):
    url = str(tmp_path / "unsigned")
    place = open_registry(url, {})
    place.move("production", place.push(ROOT / "model.pkl", who="a test"), who="a test")
    unsigned = Settings(ROOT / "none.pkl", reference=Reference(url, "@production"))
    (line,) = verified(unsigned, status=1)
    assert "is not signed, but SLIPWAY_SIGNING_KEY is set here" in line
    monkeypatch.delenv("SLIPWAY_SIGNING_KEY")
    lines = verified(unsigned)
    assert "signature NOT CHECKED: SLIPWAY_SIGNING_KEY is not set" in lines


def test_verify_registry_that_is_not_there_is_a_fault(tmp_path):
    nowhere = Settings(ROOT / "none.pkl", reference=Reference(str(tmp_path / "no"), "@production"))
    (line,) = verified(nowhere, status=1)
    assert "no version was ever production" in line


def release(**environ):
    """Run the Procfile's own line, as a dyno does."""
    path = f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", RELEASE],
        cwd=ROOT,
        env=os.environ | {"PATH": path, "DYNO": "release.1"} | environ,
        check=False,
        capture_output=True,
        text=True,
    )


def test_release_passes_with_a_key_that_signed_nothing_because_a_file_is_served():
    """The Deploy button makes a key, and the shipped model is no registry's."""
    done = release(**KEY)
    assert (done.returncode, done.stderr) == (0, "")
    assert "by pickle" in done.stdout
    assert KEY["SLIPWAY_SIGNING_KEY"] not in done.stdout


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("SLIPWAY_MODEL", "absent.pkl", "Error: cannot read absent.pkl: No such file or directory"),
        ("SLIPWAY_ENGINE", "magic", "slipway cannot serve: SLIPWAY_ENGINE must be one of"),
    ],
)
def test_release_fault_ends_with_a_status_and_one_line(name, value, says):
    done = release(**{name: value})
    assert done.returncode != 0
    assert done.stderr.startswith(says)
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
