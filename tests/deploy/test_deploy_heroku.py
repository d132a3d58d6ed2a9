"""Tests of ``deploy/heroku.sh`` against a fake Heroku: git over HTTP, Platform API and dyno."""

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from conftest import ROOT
from fake_heroku import KEY, NAME, heroku_running
from swapping import until

SCRIPT = ROOT / "deploy" / "heroku.sh"
# The files of a service.
PARTS = (
    "app.py",
    "gunicorn.conf.py",
    "slipway.toml",
    "Procfile",
    "model.pkl",
    "model.json",
    "model.covariance",
)
FOLDERS = ("slipway", "flights", "templates", "deploy")
pytestmark = pytest.mark.slow


class Project:
    """A clone of the project, and the fake Heroku."""

    def __init__(self, folder, heroku, environ):
        self.folder, self.heroku = folder, heroku
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environ = {**os.environ, **environ, "PATH": path, "GIT_CURL_VERBOSE": "1"}
        self.git("init", "--quiet", "--initial-branch=main")
        self.commit("first")

    def git(self, *words):
        author = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
        command = ["git", *author, *words]
        done = subprocess.run(command, cwd=self.folder, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def commit(self, message, **files):
        """Write files and commit; two underscores in a name mean a dot."""
        for name, content in files.items():
            path = self.folder / name.replace("__", ".")
            path.write_text(content, encoding="utf-8")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)

    def deploy(self, *words, status=0, **environ):
        """Run the script and return its output."""
        done = subprocess.run(
            ["bash", self.folder / "deploy" / "heroku.sh", *words],
            cwd=self.folder,
            env=self.environ | environ,
            check=False,
            capture_output=True,
            text=True,
        )
        output = done.stdout + done.stderr
        assert done.returncode == status, output
        # The key must not appear in outputs, command lines or files.
        assert KEY not in output
        assert not self.heroku.leaks
        assert KEY not in (self.folder / ".git" / "config").read_text()
        return output

    def releases(self):
        releases = self.heroku.releases
        return [(release["description"].split()[0], release["status"]) for release in releases]

    def version(self):
        """Return the response of /version."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.heroku.port}/version") as answer:
            return json.load(answer)


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    for name in PARTS:
        shutil.copy(ROOT / name, folder)
    for name in FOLDERS:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    with heroku_running(tmp_path) as (heroku, environ):
        yield Project(folder, heroku, environ)


def spoiled_model():
    """Return the shipped manifest with another intercept."""
    manifest = json.loads((ROOT / "model.json").read_bytes())
    manifest["scorecard"]["sums"][0]["intercept"] += 1.0
    return json.dumps(manifest)


UNVERIFIED = (ROOT / "Procfile").read_text().replace("flask model verify", "true")
BROKEN = "raise RuntimeError('this does not start')"
# Starts and is ready, but every prediction fails.
WRONG = """
from app_before import app

@app.before_request
def no_predictions():
    from flask import abort, request
    if request.path == "/predict":
        abort(404)

lane = app.wsgi_app
app.wsgi_app = lambda environ, start: lane({**environ, "QUERY_STRING": "x"}, start)
"""


def test_deploy_pushes_the_commit_and_passes_the_smoke_test(project, manifest):
    output = project.deploy()
    assert "heroku: release v2 serves" in output
    assert project.version()["model_version"] == manifest.version
    assert project.releases() == [("Initial", "succeeded"), ("Deploy", "succeeded")]
    assert project.heroku.commit == project.git("rev-parse", "HEAD")
    # The same commit again creates no release and is not an error.
    assert "made no release of it" in project.deploy()
    assert len(project.heroku.releases) == 2


def test_deploy_broken_model_fails_in_the_release_command(project):
    project.deploy()
    before = project.version()
    project.commit("another intercept", model__json=spoiled_model())
    output = project.deploy(status=1)
    assert "heroku: release v3 failed, v2 goes on serving" in output
    assert "Error: golden row 1 gives" in (project.heroku.folder / "v3.log").read_text()
    assert project.version() == before
    # The commit is already pushed, so Heroku does not build it again; the script must still fail.
    assert "and its release failed" in project.deploy(status=1)
    project.git("revert", "--no-edit", "HEAD")
    assert "heroku: release v4 serves" in project.deploy()


@pytest.mark.parametrize(
    ("code", "message"),
    [(BROKEN, "the web dynos of v3 are crashed"), (WRONG, "WRONG  prediction")],
    ids=["does not start", "answers wrongly"],
)
def test_deploy_faulty_service_is_rolled_back_automatically(project, code, message):
    project.deploy()
    before = project.version()
    # The release command checks only the model, and this Procfile skips even that.
    before_py = (ROOT / "app.py").read_text()
    project.commit("wrong", app__py=code, app_before__py=before_py, Procfile=UNVERIFIED)
    output = project.deploy(status=1, HEROKU_BOOT_SECONDS="60")
    assert message in output
    assert "heroku: release v3 was wrong; the code of v2 serves again" in output
    assert project.heroku.releases[-1]["description"] == "Rollback to v2"
    assert project.version() == before


# Replaces the smoke test: another user rolls back while it runs.
MEANWHILE = """
import json, os, sys, urllib.request
head = {
    "Authorization": "Bearer " + os.environ["HEROKU_API_KEY"],
    "Accept": "application/vnd.heroku+json; version=3",
}
address = os.environ["HEROKU_API_URL"] + "/apps/" + os.environ["HEROKU_APP_NAME"] + "/releases"
body = json.dumps({"release": os.environ["BACK_TO"]}).encode()
urllib.request.urlopen(urllib.request.Request(address, body, head)).close()
sys.exit("WRONG")
"""


def test_deploy_faulty_service_keeps_a_concurrent_release(project):
    project.deploy()
    good = project.heroku.releases[-1]["id"]
    project.commit("change", Procfile=UNVERIFIED)
    # Only in the checkout, not committed.
    (project.folder / "deploy" / "smoke.py").write_text(MEANWHILE)
    output = project.deploy(status=1, BACK_TO=good)
    assert "heroku: release v4 was made meanwhile, and is left alone" in output
    until(lambda: project.heroku.releases[-1]["status"] == "succeeded", 60)
    descriptions = [release["description"] for release in project.heroku.releases[3:]]
    assert descriptions == ["Rollback to v2"]


def test_rollback_twice_goes_back_two_releases(project):
    for number in range(3):
        # Another test covers the release command.
        project.commit(f"change {number}", Procfile=UNVERIFIED)
        project.deploy()
    assert "heroku: the code of v3 serves again" in project.deploy("rollback")
    assert "heroku: the code of v2 serves again" in project.deploy("rollback")
    assert "cannot roll back: no such release" in project.deploy("rollback", status=1)
    assert "heroku: the code of v4 serves again" in project.deploy("rollback", "v4")
    assert "cannot roll back: no such release: v99" in project.deploy("rollback", "v99", status=1)
    assert project.releases()[4:] == [("Rollback", "succeeded")] * 3


@pytest.mark.parametrize(
    ("words", "environ", "message"),
    [
        ([], {"HEROKU_API_KEY": ""}, "HEROKU_API_KEY is not set"),
        ([], {"HEROKU_API_KEY": 'a"b'}, "HEROKU_API_KEY is not a valid key"),
        ([], {"HEROKU_API_KEY": "HRKU-another"}, "are HEROKU_API_KEY and HEROKU_APP_NAME right?"),
        ([], {"HEROKU_APP_NAME": "another-app"}, "are HEROKU_API_KEY and HEROKU_APP_NAME right?"),
        ([], {"HEROKU_APP_NAME": "../evil"}, "HEROKU_APP_NAME is not a valid app name"),
        ([], {"HEROKU_EMAIL": "nobody"}, "HEROKU_EMAIL is not a valid address"),
        ([], {"HEROKU_EMAIL": "eve@example.com"}, "the push was refused"),
        (["roll"], {}, "usage: "),
        (["rollback", "v"], {}, "usage: "),
        (["rollback", "v1; id"], {}, "cannot roll back: no such release"),
    ],
)
def test_deploy_invalid_settings_are_reported_and_change_nothing(project, words, environ, message):
    output = project.deploy(*words, status=1, **environ)
    assert message in output
    assert project.releases() == [("Initial", "succeeded")]
    assert project.heroku.commit == ""


def test_deploy_shallow_clone_is_rejected_before_the_push(project, tmp_path):
    project.commit("second")
    shallow = tmp_path / "shallow"
    command = ["git", "clone", "--quiet", "--depth=1", f"file://{project.folder}", shallow]
    subprocess.run(command, check=True)
    project.folder = shallow
    assert "fetch-depth: 0" in project.deploy(status=1)


def test_deploy_script_passes_shellcheck_and_does_not_trace_the_key(project):
    subprocess.run(["shellcheck", SCRIPT], check=True, env=project.environ)
    done = subprocess.run(
        ["bash", "-x", SCRIPT, "rollback"],
        cwd=project.folder,
        env=project.environ,
        check=False,
        capture_output=True,
        text=True,
    )
    assert KEY not in done.stdout + done.stderr
    assert f"GET /api/apps/{NAME} Bearer {KEY}" in project.heroku.asked
