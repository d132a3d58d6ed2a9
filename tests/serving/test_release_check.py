"""Test ``flask model verify``, the release command, and each fault that must stop a release."""

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
    """Create the app even if its model is broken, as under the ``flask`` command."""
    monkeypatch.setenv("FLASK_RUN_FROM_CLI", "true")
    monkeypatch.delenv("SLIPWAY_SIGNING_KEY", raising=False)


@pytest.fixture
def shipped(tmp_path):
    """A copy of the shipped model that a test can damage."""
    for name in ("model.pkl", "model.json", "model.covariance"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path / "model.pkl"


def run_verify(settings, *options, status=0):
    """Run the command and return its lines; a fault has one line."""
    done = run(add_commands(create_app(ROOT, settings)), "verify", *options)
    lines = squeezed(done.output)
    assert done.exit_code == status, done.output
    assert status == 0 or len(lines) == 1, done.output
    return lines


def change_manifest(path, **changes):
    write_manifest(msgspec.structs.replace(read_manifest(path), **changes), path)


def replace_pickle(path, content):
    """Replace the pickle and its hash in the manifest."""
    path.write_bytes(content)
    change_manifest(path, sha256=hashlib.sha256(content).hexdigest())


def test_verify_served_file_checks_both_engines(shipped):
    lines = run_verify(Settings(shipped))
    golden = len(read_manifest(shipped).golden)
    assert lines[0] == "model.pkl is right"
    assert lines[2:] == [
        "signature none; a file is as trusted as the code beside it",
        f"version {read_manifest(shipped).version}, LogisticRegression",
        "files model.pkl and model.covariance, sha256 as in model.json",
        "pickle opened; made by scikit-learn 1.9.1",
        f"by scorecard {golden} golden rows reproduced",
        f"by pickle {golden} golden rows reproduced",
    ]


def test_verify_bare_pickle_passes(shipped):
    manifest_path(shipped).unlink()
    lines = run_verify(Settings(shipped))
    assert "files model.pkl alone, without a manifest" in lines


def no_file(path):
    path.unlink()


def no_manifest_to_read(path):
    manifest_path(path).write_text("{}")


def truncated(path):
    path.write_bytes(path.read_bytes()[:-100])


def truncated_and_hashed(path):
    replace_pickle(path, path.read_bytes()[:-100])


def edited_points(path):
    manifest = json.loads(manifest_path(path).read_bytes())
    manifest["scorecard"]["sums"][0]["intercept"] += 1e-9
    manifest_path(path).write_text(json.dumps(manifest))


def wrong_golden_answer(path):
    first, *others = read_manifest(path).golden
    changed_row = msgspec.structs.replace(first, answer=first.answer + 1e-9)
    change_manifest(path, golden=(changed_row, *others))


def no_golden_rows(path):
    change_manifest(path, golden=())


def another_model_in_the_pickle(path):
    manifest = read_manifest(path)
    other = path.with_name("other.pkl")
    subprocess.run([sys.executable, "-c", OTHER, path, other], check=True, cwd=ROOT)
    replace_pickle(path, other.read_bytes())
    assert read_manifest(path).golden == manifest.golden


# The shipped pipeline with another intercept, so that scorecard and pickle differ.
OTHER = """
import pickle, sys
with open(sys.argv[1], "rb") as file:
    pipeline = pickle.load(file)
pipeline[-1].intercept_ += 1e-6
with open(sys.argv[2], "wb") as file:
    pickle.dump(pipeline, file)
"""


def other_scikit_learn(path):
    change_manifest(path, libraries=read_manifest(path).libraries | {"scikit-learn": "1.8.0"})


def other_covariance(path):
    path.with_suffix(".covariance").write_bytes(b"other")


FAULTS = {
    no_file: "cannot read model.pkl: No such file or directory",
    no_manifest_to_read: "model.json is not a manifest: ",
    truncated: "model.pkl is not the file its manifest describes: sha256 differs",
    truncated_and_hashed: "cannot read the pickle: ",
    edited_points: "golden row 1 gives ",
    wrong_golden_answer: "golden row 1 gives ",
    no_golden_rows: " has no golden rows to check it with",
    another_model_in_the_pickle: "golden row 1 gives ",
    other_scikit_learn: "pip install scikit-learn==1.8.0, or train again",
    other_covariance: "model.covariance is not the file its manifest describes: sha256 differs",
}


@pytest.mark.parametrize(
    ("spoil", "message"), FAULTS.items(), ids=lambda value: getattr(value, "__name__", "")
)
def test_verify_fault_exits_with_one_line(shipped, spoil, message):
    spoil(shipped)
    (line,) = run_verify(Settings(shipped), status=1)
    assert line.startswith("Error: ")
    assert message in line


@pytest.mark.parametrize("name", ["os.system", "STACK_GLOBAL by the memo", "broken at its end"])
def test_verify_malicious_pickle_is_rejected_without_running(shipped, tmp_path, name):
    canary = tmp_path / "canary"
    replace_pickle(shipped, attack(name, canary))
    (line,) = run_verify(Settings(shipped), status=1)
    assert "rejected the pickle, which uses posix.system" in line
    assert not canary.exists()


def test_verify_other_scikit_learn_passes_if_allowed(shipped):
    other_scikit_learn(shipped)
    lines = run_verify(Settings(shipped, allow_version_skew=True))
    assert "pickle opened; made by scikit-learn 1.8.0" in lines


def test_verify_without_scikit_learn_reports_unopened_pickle(shipped, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    lines = run_verify(Settings(shipped))
    assert "pickle NOT OPENED, hashed alone: scikit-learn is not installed here; made by" in (
        next(line for line in lines if line.startswith("pickle"))
    )
    assert not any(line.startswith("by pickle") for line in lines)
    for settings, options in ((Settings(shipped), ["--pickle"]), (Settings(shipped, "pickle"), [])):
        (line,) = run_verify(settings, *options, status=1)
        assert line == "Error: cannot open the pickle: scikit-learn is not installed here"


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """Settings that serve the shipped model from a signed registry."""
    monkeypatch.setenv("SLIPWAY_SIGNING_KEY", KEY["SLIPWAY_SIGNING_KEY"])
    url = str(tmp_path / "models")
    store = open_registry(url)
    version = store.push(ROOT / "model.pkl", who="a test")
    store.move("production", version, who="a test")
    return Settings(ROOT / "none.pkl", reference=Reference(url, "@production"))


def test_verify_alias_checks_the_signature(registry):
    lines = run_verify(registry, "--pickle")
    assert lines[0] == f"{registry.reference} is right"
    assert "signature valid for SLIPWAY_SIGNING_KEY" in lines
    assert any(line.startswith("by pickle") for line in lines)
    fixed = read_manifest(ROOT / "model.pkl").version
    reference = Reference(registry.reference.url, fixed)
    lines = run_verify(Settings(ROOT / "none.pkl", reference=reference))
    assert lines[0] == f"{reference} is right"


@pytest.mark.parametrize(
    ("key", "message"),
    [(OTHER_KEY, "is not signed with this SLIPWAY_SIGNING_KEY"), ("short", "32 characters")],
    ids=["other", "short"],
)
def test_verify_wrong_key_is_rejected(registry, monkeypatch, key, message):
    value = key if isinstance(key, str) else key["SLIPWAY_SIGNING_KEY"]
    monkeypatch.setenv("SLIPWAY_SIGNING_KEY", value)
    (line,) = run_verify(registry, status=1)
    assert message in line
    assert value not in line.split()


def test_verify_unsigned_version_with_key_is_rejected(registry, monkeypatch, tmp_path):
    url = str(tmp_path / "unsigned")
    store = open_registry(url, {})
    store.move("production", store.push(ROOT / "model.pkl", who="a test"), who="a test")
    unsigned = Settings(ROOT / "none.pkl", reference=Reference(url, "@production"))
    (line,) = run_verify(unsigned, status=1)
    assert "is not signed, but SLIPWAY_SIGNING_KEY is set here" in line
    monkeypatch.delenv("SLIPWAY_SIGNING_KEY")
    lines = run_verify(unsigned)
    assert "signature NOT CHECKED: SLIPWAY_SIGNING_KEY is not set" in lines


def test_verify_missing_registry_is_rejected(tmp_path):
    nowhere = Settings(ROOT / "none.pkl", reference=Reference(str(tmp_path / "no"), "@production"))
    (line,) = run_verify(nowhere, status=1)
    assert "no alias production" in line


def release(**environ):
    """Run the release line of the Procfile, as a dyno does."""
    path = f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", RELEASE],
        cwd=ROOT,
        env=os.environ | {"PATH": path, "DYNO": "release.1"} | environ,
        check=False,
        capture_output=True,
        text=True,
    )


def test_release_of_a_file_with_signing_key_passes():
    """The Deploy button creates a key, but the shipped model is a file, not in a registry."""
    done = release(**KEY)
    assert (done.returncode, done.stderr) == (0, "")
    assert "by pickle" in done.stdout
    assert KEY["SLIPWAY_SIGNING_KEY"] not in done.stdout


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("SLIPWAY_MODEL", "absent.pkl", "Error: cannot read absent.pkl: No such file or directory"),
        ("SLIPWAY_ENGINE", "magic", "slipway cannot serve: SLIPWAY_ENGINE must be one of"),
    ],
)
def test_release_fault_exits_with_one_line(name, value, message):
    done = release(**{name: value})
    assert done.returncode != 0
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
