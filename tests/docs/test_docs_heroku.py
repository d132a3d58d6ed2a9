"""Tests of the Heroku pages: commands without an account run, and names exist."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, running
from doc_pages import read_pages
from dynos import COMMANDS

TEXT = read_pages("deploy-heroku", "heroku-automate", "heroku-operate")
BLOCKS = [
    re.sub(r"^ +", "", body, flags=re.MULTILINE).strip()
    for body in re.findall(r"^ *```sh\n(.*?)^ *```$", TEXT, re.MULTILINE | re.DOTALL)
]
NEEDS_ACCOUNT = re.compile(r"heroku |docker |git push|export HEROKU_|deploy/heroku\.sh")
LINES = dict.fromkeys(line for block in BLOCKS for line in block.splitlines())
LOCAL_COMMANDS = [line for line in LINES if not NEEDS_ACCOUNT.match(line)]
ENVIRON = os.environ | {
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.com",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.com",
}


def run(line, folder=ROOT):
    done = subprocess.run(
        ["bash", "-euc", line], cwd=folder, env=ENVIRON, check=True, capture_output=True, text=True
    )
    return done.stdout


def test_heroku_page_commands_without_account_are_tested():
    assert LOCAL_COMMANDS == [
        "flask model verify",
        "honcho start web",
        "python3 -P deploy/smoke.py http://127.0.0.1:5000",
        "git revert --no-edit HEAD",
    ]


def test_heroku_page_verify_output_matches_the_command():
    (example,) = re.findall(r"^ *```\n( *model.pkl is right\n.*?)^ *```$", TEXT, re.M | re.S)
    output = run(LOCAL_COMMANDS[0]).splitlines()
    expected = [" ".join(line.split()) for line in example.splitlines()]
    actual = [re.sub(r"\d{8}T\d{6}Z-\w+", "…", " ".join(line.split())) for line in output]
    # Numbers of rows and versions depend on the shipped model.
    assert [re.sub(r"[\d.]+", "N", line) for line in actual] == [
        re.sub(r"[\d.]+", "N", line) for line in expected
    ]


@pytest.mark.slow
def test_heroku_page_start_command_passes_the_smoke_test():
    path = ENVIRON["PATH"]
    with running("bash", "-c", f"exec {LOCAL_COMMANDS[1]}", PATH=path) as (base, _):
        output = run(LOCAL_COMMANDS[2].replace("http://127.0.0.1:5000", base))
    assert re.search(r"^(\d+) of \1 passed", output, re.MULTILINE), output


def test_heroku_page_revert_command_restores_the_previous_code(tmp_path):
    file = tmp_path / "app.py"
    run("git init --quiet", tmp_path)
    for text in ("right", "wrong"):
        file.write_text(text)
        run(f"git add app.py && git commit --quiet -m {text}", tmp_path)
    run(LOCAL_COMMANDS[3], tmp_path)
    assert file.read_text() == "right"


def test_heroku_page_procfile_equals_the_file():
    example = re.search(r"^```\n(web: .*?)^```$", TEXT, re.MULTILINE | re.DOTALL)[1]
    assert dict(line.split(": ", 1) for line in example.splitlines()) == COMMANDS


def test_heroku_page_settings_exist_in_the_code():
    code = "".join(path.read_text() for path in (ROOT / "slipway").rglob("*.py"))
    assert set(re.findall(r"SLIPWAY_\w+", TEXT)) <= set(re.findall(r"SLIPWAY_\w+", code))


def test_heroku_page_files_exist():
    for name in re.findall(r"`((?:tests|slipway|deploy)/[\w./]+)", TEXT):
        assert (ROOT / name).exists(), name
