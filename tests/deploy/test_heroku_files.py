"""Tests of Heroku's files at the root: they follow the buildpack's rules and agree.

Sources of the rules: heroku/heroku-buildpack-python (``package_manager.sh``, ``checks.sh`` and
``python_version.sh`` in ``lib/``), and Heroku's schema of app.json.
"""

import json
import re
import shlex
import subprocess

import yaml
from conftest import ROOT
from dynos import COMMANDS

from slipway.core.settings import Settings

APP = json.loads((ROOT / "app.json").read_text(encoding="utf-8"))
CONTAINER = yaml.safe_load((ROOT / "heroku.yml").read_text(encoding="utf-8"))
FIXED = "gunicorn --workers=4 --bind 0.0.0.0:$PORT app:app"


def tracked():
    """Return the files that git tracks."""
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout.split("\0")[:-1]


def test_procfile_has_four_workers_and_a_release_command():
    assert COMMANDS == {"web": FIXED, "release": "flask model verify"}


def test_root_has_one_package_manager_and_one_python_for_the_buildpack():
    names = set(tracked())
    managers = {"requirements.txt", "Pipfile", "Pipfile.lock", "poetry.lock", "uv.lock"}
    assert names & managers == {"requirements.txt"}
    assert "runtime.txt" not in names
    # A patch number would block security fixes.
    assert re.fullmatch(r"3\.\d+\n?", (ROOT / ".python-version").read_text())
    assert not [name for name in names if name.split("/")[0] in ("venv", ".venv", ".heroku")]


def test_app_json_has_only_known_keys_and_settings():
    known = {"name", "description", "keywords", "repository", "success_url", "buildpacks"}
    assert set(APP) == known | {"formation", "env", "environments"}
    assert len(APP["name"]) <= 30
    assert APP["buildpacks"] == [{"url": "heroku/python"}]
    assert APP["formation"] == {"web": {"quantity": 1, "size": "basic"}}
    assert set(APP["environments"]) == {"review", "test"}
    for variable in APP["env"].values():
        assert set(variable) <= {"description", "value", "required", "generator"}
    own_settings = {name for name in APP["env"] if name.startswith("SLIPWAY_")}
    text = "".join(path.read_text() for path in (ROOT / "slipway").rglob("*.py"))
    assert own_settings <= set(re.findall(r'"(SLIPWAY_\w+)"', text))


def test_app_json_values_serve_the_shipped_model_and_generate_a_key():
    assert APP["env"]["SLIPWAY_SIGNING_KEY"]["generator"] == "secret"
    assert "value" not in APP["env"]["SLIPWAY_SIGNING_KEY"]
    values = {name: variable.get("value", "") for name, variable in APP["env"].items()}
    settings = Settings.from_environ(ROOT, values)
    assert (settings.model, settings.trusted_hosts) == (ROOT / "model.pkl", ())
    assert f"--workers={values['WEB_CONCURRENCY']}" in COMMANDS["web"]


def test_app_json_test_command_uses_known_markers():
    words = shlex.split(APP["environments"]["test"]["scripts"]["test"])
    assert words[:3] == ["python", "-m", "pytest"]
    known = (ROOT / "pyproject.toml").read_text()
    for marker in set(re.findall(r"\w+", words[-1])) - {"not", "and"}:
        assert f'"{marker}: ' in known


def test_heroku_yml_commands_equal_the_procfile():
    assert set(CONTAINER) == {"build", "release", "run"}
    assert CONTAINER["release"] == {"image": "web", "command": [COMMANDS["release"]]}
    assert CONTAINER["run"] == {"web": COMMANDS["web"]}
    assert set(CONTAINER["build"]) == {"docker", "config"}
    assert (ROOT / CONTAINER["build"]["config"]["REQUIREMENTS"]).exists()


def test_heroku_yml_build_arguments_exist_in_the_dockerfile():
    dockerfile = (ROOT / CONTAINER["build"]["docker"]["web"]).read_text(encoding="utf-8")
    arguments = set(re.findall(r"^ARG (\w+)", dockerfile, re.MULTILINE))
    assert set(CONTAINER["build"]["config"]) <= arguments
