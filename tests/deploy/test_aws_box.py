"""Tests of the box's user data: linted and run."""

import hashlib
import io
import json
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from boxes import assert_ran, run_on_box, write_programs
from conftest import ROOT
from stacks import user_data

REMOTE = ROOT / "deploy" / "aws" / "remote.sh"
pytest_plugins = ["boxes"]
SHELLCHECK = Path(sys.executable).with_name("shellcheck")


def scripts_of(text):
    """Return the scripts that the user data writes, by path."""
    return dict(re.findall(r"cat >(/usr/\S+) <<'END'\n(.*?)\nEND\n", text, re.DOTALL))


def test_user_data_scripts_pass_shellcheck(tmp_path):
    written = scripts_of(user_data())
    assert set(written) == {"/usr/local/sbin/slipway-set", "/usr/local/sbin/slipway-runner"}
    for number, text in enumerate((user_data(), *written.values())):
        (tmp_path / f"{number}.sh").write_text(text)
    words = [SHELLCHECK, "--enable", "quote-safe-variables", *tmp_path.glob("*.sh"), REMOTE]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    for path in (*tmp_path.glob("*.sh"), REMOTE):
        subprocess.run(["bash", "-n", path], check=True)


@pytest.mark.slow
@pytest.mark.proxy
def test_user_data_prepares_a_box_that_waits_for_an_image(folder):
    curl = "curl --silent --include http://127.0.0.1"
    script = f"""
    cat /etc/slipway/env; stat --format '%A %U %G' /etc/slipway/env /var/lib/slipway
    id --name --groups runner; cat /root/.docker/config.json /home/runner/.docker/config.json
    runuser --user runner -- test -r /etc/slipway/env
    {curl}/livez; {curl}:8000/readyz
    """
    done = run_on_box(folder, user_data(), script)
    assert_ran(done, folder)
    lines = done.stdout.splitlines()
    assert lines[:5] == [
        "AWS_REGION=ap-south-1",
        "SLIPWAY_MODEL=s3://slipway-bucket-1/models@production",
        "-rw-r----- root runner",
        "drwxr-xr-x runner runner",
        "runner docker",
    ]
    helper = {"credHelpers": {"123456789012.dkr.ecr.ap-south-1.amazonaws.com": "ecr-login"}}
    assert [json.loads(line) for line in lines[5:7]] == [helper, helper]
    answers = done.stdout.split("HTTP/1.1 ")[1:]
    assert [answer[:3] for answer in answers] == ["502", "502"]
    assert json.loads(answers[0].splitlines()[-1])["code"] == "unavailable"
    log = (folder / "user-data.log").read_text()
    assert log.endswith("slipway: the box is ready\n")
    calls = (folder / "calls").read_text()
    assert re.search("^apt-get install .*docker.io.* nginx", calls, re.MULTILINE)
    assert "github.com" not in calls


def package(folder):
    """Write a package like that of GitHub's runner; return its sha256."""
    note = '#!/bin/bash\necho "$(basename "$0") $* as $(id -un) at $HOME"\n'
    path = folder / "package"
    with tarfile.open(path, "w:gz") as archive:
        for name in ("config.sh", "svc.sh", "bin/installdependencies.sh"):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(note), 0o755
            archive.addfile(entry, io.BytesIO(note.encode()))
    path.chmod(0o644)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.slow
@pytest.mark.proxy
def test_runner_registration_verifies_the_package_and_stores_no_token(folder):
    sha256 = package(folder)
    script = """
    slipway-runner register https://github.com/ada/flights <<<A-TOKEN
    slipway-runner remove <<<A-TOKEN
    slipway-runner register || echo "status $?"
    stat --format %U /home/runner/actions/config.sh
    grep --recursive --files-with-matches A-TOKEN /etc /home /root /var/log /usr/local || true
    """
    data = user_data(RunnerVersion="2.337.0", RunnerSha256=sha256)
    done = run_on_box(folder, data, script, PACKAGE=str(folder / "package"))
    assert_ran(done, folder)
    place = "https://github.com/actions/runner/releases/download/v2.337.0"
    assert f"{place}/actions-runner-linux-x64-2.337.0.tar.gz\n" in (folder / "calls").read_text()
    assert [line for line in done.stdout.splitlines() if line] == [
        "config.sh --unattended --replace --url https://github.com/ada/flights --token A-TOKEN "
        "--name box --labels slipway as runner at /home/runner",
        "svc.sh install runner as root at ",
        "svc.sh start as root at ",
        "svc.sh stop as root at ",
        "svc.sh uninstall as root at ",
        "config.sh remove --token A-TOKEN as runner at /home/runner",
        "status 2",
        "runner",
    ]
    assert "slipway-runner register https://github.com/" in done.stderr


@pytest.mark.slow
@pytest.mark.proxy
def test_runner_package_with_wrong_hash_is_not_unpacked(folder):
    package(folder)
    data = user_data(RunnerVersion="2.337.0", RunnerSha256="0" * 64)
    done = run_on_box(folder, data, "", PACKAGE=str(folder / "package"))
    log = (folder / "user-data.log").read_text()
    assert done.returncode == 1
    assert "actions-runner-linux-x64-2.337.0.tar.gz: FAILED" in log
    assert "installdependencies.sh" not in log
    assert "box is ready" not in log


@pytest.mark.slow
@pytest.mark.proxy
def test_slipway_set_sets_replaces_and_removes_settings_without_printing_them(folder):
    script = """
    slipway-set SLIPWAY_SIGNING_KEY <<<'a & secret/with \\ all'
    slipway-set SLIPWAY_SIGNING_KEY <<<'another & secret'
    printf model.pkl | slipway-set SLIPWAY_MODEL
    slipway-set AWS_REGION <<<''
    slipway-set 'NOT A NAME' || echo "status $?"
    echo ---; cat /etc/slipway/env; stat --format '%A %U %G' /etc/slipway/env; ls /etc/slipway
    """
    done = run_on_box(folder, user_data(), script)
    assert_ran(done, folder)
    output, settings = done.stdout.split("---\n")
    assert "secret" not in output
    assert [line for line in output.splitlines() if line] == [
        "SLIPWAY_SIGNING_KEY is set",
        "SLIPWAY_SIGNING_KEY is set",
        "SLIPWAY_MODEL is set",
        "AWS_REGION is taken away",
        "status 2",
    ]
    assert settings.splitlines() == [
        "SLIPWAY_SIGNING_KEY=another & secret",
        "SLIPWAY_MODEL=model.pkl",
        "-rw-r----- root runner",
        "env",
    ]


# Stores the arguments of send-command; reports it as unknown, then in progress, then finished.
AWS = """
if [[ $2 == send-command ]]; then printf '%s\\n' "$@" >"$ASKED"; echo a-command; exit; fi
case "$*" in
    *StandardOutputContent*) echo "what the box said" ;;
    *StandardErrorContent*) echo "what was wrong" ;;
    *) read -r line <"$ANSWERS"; sed -i 1d "$ANSWERS"; [[ $line != unknown ]] && echo "$line" ;;
esac
"""


def remote(folder, *words, answer="Success 0"):
    """Run remote.sh; return the finished process and the arguments of the sent command."""
    write_programs(folder / "aws", {"aws": AWS}, folder / "aws-calls")
    (folder / "answers").write_text(f"unknown\nInProgress -1\n{answer}\n")
    environ = {"ASKED": str(folder / "asked"), "ANSWERS": str(folder / "answers")}
    done = subprocess.run(
        [REMOTE, *words],
        env=environ | {"PATH": f"{folder / 'aws'}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    sent = folder / "asked"
    return done, sent.read_text().splitlines() if sent.exists() else []


@pytest.mark.slow
@pytest.mark.proxy
def test_run_command_sends_the_scripts_and_runs_them_as_the_box_user(folder):
    image = "123456789012.dkr.ecr.ap-south-1.amazonaws.com/slipway:0a1b2c3d"
    done, arguments = remote(folder, "i-0123", "rollback", image)
    assert (done.returncode, done.stdout) == (0, "what the box said\n")
    assert arguments[arguments.index("--instance-ids") + 1] == "i-0123"
    assert arguments[arguments.index("--document-name") + 1] == "AWS-RunShellScript"
    parameters = json.loads(arguments[arguments.index("--parameters") + 1])
    assert len(json.dumps(parameters)) < 60_000
    script = "\n".join(["sh <<'SENT'", *parameters["commands"], "SENT"])
    run = run_on_box(folder, user_data(), script)
    # The fake docker of the box prints its arguments and has no such image.
    calls = (folder / "calls").read_text()
    assert f"docker image inspect --format {{{{.Id}}}} {image}" in calls, run.stderr
    assert "as runner at /home/runner" in run.stdout, run.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("answer", "status"), [("Failed 3", 3), ("TimedOut -1", 1)])
def test_run_command_failure_returns_the_status_of_the_box(folder, answer, status):
    done, _ = remote(folder, "i-0123", "status", answer=answer)
    assert (done.returncode, done.stdout) == (status, "what the box said\n")
    assert done.stderr == "what was wrong\n"


@pytest.mark.parametrize("words", [("i-0123",), ("i-0123", "deploy", "a;reboot"), ("i-0", 'a"b')])
def test_run_command_invalid_arguments_send_nothing(folder, words):
    done, arguments = remote(folder, *words)
    assert (done.returncode, done.stdout, arguments) == (2, "", [])
    assert done.stderr
