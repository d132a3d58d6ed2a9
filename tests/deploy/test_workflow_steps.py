"""Tests that run the shell text of workflow steps, with their scripts and a fake AWS."""

import os
import shutil
import subprocess
import sys

import pytest
from conftest import GUNICORN, ROOT, running
from workflows import JOBS, put_program, run_step, step_named

SHA = "0123456789abcdef0123456789abcdef01234567"
URI = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
IMAGE = f"{URI}/slipway:{SHA}"
ECR = {"AWS_REGION": "eu-central-1", "AWS_ECR_LOGIN_URI": URI, "ECR_REPOSITORY_NAME": "slipway"}
QUICK = {"ECR_PAUSE": "0", "ECR_SCAN_SECONDS": "1"}
# A fake of `aws ecr`: returns the file with the name of the command, filtered by --query. A command
# without a file fails with the error of AWS.
AWS = f"""#!{sys.executable}
import json, os, pathlib, sys
import jmespath
command, *words = sys.argv[2:]
answers = pathlib.Path(os.environ["ANSWERS"])
if (answers / "once").exists():
    told = (answers / "once").read_text()
    (answers / "once").unlink()
    sys.exit("An error occurred (" + told + ") when calling " + command + ": not now")
if command == "get-login-password":
    print("a-password")
    sys.exit()
if not (answers / command).exists():
    sys.exit("An error occurred (ScanNotFoundException) when calling " + command)
words = [word for word in words if word != "--no-paginate"]
options = dict(zip(words[::2], words[1::2], strict=True))
found = jmespath.search(options["--query"], json.loads((answers / command).read_text()))
print(json.dumps(found) if options["--output"] == "json" else found)
"""
DOCKER = """#!/bin/sh
echo "$*" >>"$ANSWERS/docker"
cat >>"$ANSWERS/docker"
"""
RECORD = """#!/bin/sh
echo "$*" >>asked
"""


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A folder with the scripts; those that deploy only log their arguments."""
    for name in ("ecr.sh", "plan.sh", "retrain.sh"):
        (tmp_path / "deploy").mkdir(exist_ok=True)
        shutil.copy(ROOT / "deploy" / name, tmp_path / "deploy")
    for name in ("box.sh", "heroku.sh", "aws/remote.sh"):
        put_program(tmp_path / "deploy" / name, RECORD)
    monkeypatch.setenv("BOX_ID", "i-0a")
    return tmp_path


@pytest.fixture
def aws(tmp_path, monkeypatch):
    """A folder of responses for fake `aws` and `docker` commands."""
    put_program(tmp_path / "bin" / "aws", AWS)
    put_program(tmp_path / "bin" / "docker", DOCKER)
    answers = tmp_path / "answers"
    answers.mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("ANSWERS", str(answers))
    for name, value in ECR.items():
        monkeypatch.setenv(name, value)
    return answers


def logged_calls(checkout):
    path = checkout / "asked"
    return path.read_text().splitlines() if path.exists() else []


def ecr(*words, **environ):
    return subprocess.run(
        [ROOT / "deploy" / "ecr.sh", *words],
        env=os.environ | QUICK | environ,
        capture_output=True,
        text=True,
        check=False,
    )


# The plan of a push

PLAN = step_named("main", "plan", "Print what")
UNSET = dict.fromkeys(PLAN["env"], "")
ROLE = {"AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/slipway"}
BOX = {"BOX_ID": "i-0a", "AWS_DEPLOY_ROLE_ARN": "arn:aws:iam::123456789012:role/slipway-deploy"}


def test_plan_nothing_set_succeeds_and_prints_the_reason(checkout):
    summary = checkout / "summary"
    done = run_step(PLAN, checkout, **UNSET, GITHUB_STEP_SUMMARY=str(summary))
    assert (done.returncode, done.stderr) == (0, "")
    assert "| AWS | no | the variable DEPLOY_TO_AWS is not `true` |" in summary.read_text()
    assert "| Heroku | no | the variable DEPLOY_TO_HEROKU is not `true` |" in summary.read_text()


def test_plan_aws_incomplete_fails_and_names_the_missing_settings(checkout):
    wanted = UNSET | {"DEPLOY_TO_AWS": "true", "AWS_REGION": "eu-central-1"}
    done = run_step(PLAN, checkout, **wanted)
    assert done.returncode == 1
    missing = "this is missing: AWS_ECR_LOGIN_URI, ECR_REPOSITORY_NAME, AWS_ROLE_ARN."
    assert missing in done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("variables", "expected_text"),
    [
        (ROLE | {"AWS_KEYS": "true"}, "by a role, on the self-hosted runner; without SERVICE_URL"),
        (ROLE | BOX, "by a role, without a runner, on i-0a; without SERVICE_URL"),
        (BOX | {"AWS_KEYS": "true"}, "by an IAM user's keys (legacy), without a runner, on i-0a; "),
        ({"AWS_KEYS": "true"}, "by an IAM user's keys (legacy), on the self-hosted runner; "),
        (ROLE | {"SERVICE_URL": "https://a.example"}, "by a role, on the self-hosted runner |"),
    ],
)
def test_plan_aws_complete_prints_credentials_and_runner(checkout, variables, expected_text):
    done = run_step(PLAN, checkout, **UNSET | ECR | {"DEPLOY_TO_AWS": "true"} | variables)
    assert done.returncode == 0
    assert f"| AWS | yes | {expected_text}" in done.stdout


@pytest.mark.parametrize("credentials", [ROLE, {"AWS_KEYS": "true"}])
def test_plan_without_runner_requires_a_deploy_role(checkout, credentials):
    variables = {"DEPLOY_TO_AWS": "true", "BOX_ID": "i-0a"}
    done = run_step(PLAN, checkout, **UNSET | ECR | variables | credentials)
    assert done.returncode == 1
    assert "this is missing: AWS_DEPLOY_ROLE_ARN." in done.stdout


# The image registry


def test_login_step_outputs_the_image_name_and_whether_it_exists(checkout, aws):
    (aws / "batch-get-image").write_text('{"images": []}')
    output = checkout / "output"
    step = step_named("main", "delivery", "Login to ECR")
    done = run_step(step, checkout, GITHUB_SHA=SHA, GITHUB_OUTPUT=str(output))
    assert done.returncode == 0, done.stderr
    assert output.read_text() == f"image={IMAGE}\npushed=no\n"
    login = f"login --username AWS --password-stdin {URI}\na-password\n"
    assert (aws / "docker").read_text() == login


def test_pushed_existing_image_is_not_built_again(aws):
    (aws / "batch-get-image").write_text('{"images": [{"imageManifest": "{}"}]}')
    assert ecr("pushed", SHA).stdout == "yes\n"
    build = step_named("main", "delivery", "Build and push")
    assert build["if"] == "steps.ecr.outputs.pushed == 'no'"


def test_pushed_error_of_ecr_fails_without_output(aws):
    done = ecr("pushed", SHA)
    assert done.returncode != 0
    assert done.stdout == ""


def write_scan_result(aws, counts):
    """Write a completed scan with the number of findings by severity."""
    (aws / "describe-image-scan-findings").write_text(
        '{"imageScanStatus": {"status": "COMPLETE"}, "imageScanFindings":'
        f' {{"findingSeverityCounts": {counts}}}}}'
    )


@pytest.mark.parametrize(
    ("counts", "status", "expected_text"),
    [
        ("{}", 0, "Image scan: nothing found"),
        ('{"HIGH": 3, "LOW": 1}', 0, "Image scan: HIGH:3,LOW:1"),
        ('{"CRITICAL": 2}', 1, "Image scan: CRITICAL:2"),
    ],
)
def test_scan_fails_only_on_critical_findings(aws, counts, status, expected_text):
    write_scan_result(aws, counts)
    done = ecr("scan", SHA)
    assert (done.returncode, done.stdout.strip()) == (status, expected_text)


def test_scan_missing_or_failed_is_an_error(aws):
    done = ecr("scan", SHA)
    assert done.returncode == 1
    assert "does the repository scan on push?" in done.stderr
    answer = '{"imageScanStatus": {"status": "UNSUPPORTED_IMAGE"}}'
    (aws / "describe-image-scan-findings").write_text(answer)
    done = ecr("scan", SHA)
    assert done.returncode == 1
    assert "cannot be scanned: UNSUPPORTED_IMAGE" in done.stderr


@pytest.mark.parametrize(
    ("error", "status", "expected_text"),
    [
        ("ThrottlingException", 0, "Image scan: nothing found"),
        ("ServiceUnavailableException", 0, "Image scan: nothing found"),
        ("RepositoryNotFoundException", 1, ""),
    ],
)
def test_scan_throttled_by_ecr_is_retried(aws, error, status, expected_text):
    (aws / "once").write_text(error)
    write_scan_result(aws, "{}")
    done = ecr("scan", SHA)
    assert (done.returncode, done.stdout.strip()) == (status, expected_text)


@pytest.mark.parametrize(
    ("name", "value", "expected_text"),
    [
        ("AWS_ECR_LOGIN_URI", f"{URI}/slipway", "is the registry alone"),
        ("AWS_ECR_LOGIN_URI", f"https://{URI}", "is the registry alone"),
        ("AWS_REGION", "", "AWS_REGION is not set"),
    ],
)
def test_ecr_invalid_setting_is_named(aws, name, value, expected_text):
    done = ecr("image", SHA, **{name: value})
    assert done.returncode == 1
    assert expected_text in done.stderr


# On the machine, by its runner or by AWS

BOTH = [("deployment", "aws", ""), ("deployment-by-aws", "aws-without-runner", "i-0a ")]


@pytest.mark.parametrize(("job", "_", "box"), BOTH)
def test_deployment_step_deploys_the_image_of_the_commit(checkout, aws, job, _, box):
    step = step_named("main", job, "Deploy the new image")
    assert run_step(step, checkout, GITHUB_SHA=SHA).returncode == 0
    assert logged_calls(checkout) == [f"{box}deploy {IMAGE}"]


@pytest.mark.parametrize(("_", "job", "box"), BOTH)
def test_rollback_step_deploys_the_given_or_previous_commit(checkout, aws, _, job, box):
    step = step_named("rollback", job, "Deploy an earlier image")
    assert run_step(step, checkout, TO=SHA).returncode == 0
    assert run_step(step, checkout, TO="").returncode == 0
    words = [f"rollback {IMAGE}", "status", "rollback", "status"]
    assert logged_calls(checkout) == [box + command for command in words]


@pytest.mark.parametrize(
    "target", ["main", SHA[:7], f"{SHA}\n", f"{SHA} x", "$(touch hole)", "; id"]
)
@pytest.mark.parametrize("job", ["aws", "aws-without-runner"])
def test_rollback_step_without_valid_commit_fails(checkout, aws, job, target):
    step = step_named("rollback", job, "Deploy an earlier image")
    assert run_step(step, checkout, TO=target).returncode == 1
    assert logged_calls(checkout) == []
    assert not (checkout / "hole").exists()


@pytest.mark.parametrize(("job", "_", "box"), BOTH)
def test_deployment_failed_smoke_test_revokes_the_image(checkout, aws, job, _, box):
    smoke, rollback = JOBS["main", job]["steps"][-2:]
    assert smoke["id"] == "smoke"
    assert rollback["if"] == "failure() && steps.smoke.outcome == 'failure'"
    assert run_step(rollback, checkout, GITHUB_SHA=SHA).returncode == 0
    assert logged_calls(checkout) == [f"{box}revoke {IMAGE}"]


@pytest.mark.slow
def test_smoke_step_passes_only_for_the_served_commit():
    step = step_named("main", "deployment", "Smoke test")
    with running(*GUNICORN, SLIPWAY_REVISION=SHA) as (base, _):
        passed = run_step(step, ROOT, SERVICE_URL=base, GITHUB_SHA=SHA)
        failed = run_step(step, ROOT, SERVICE_URL=base, GITHUB_SHA=SHA[::-1])
        rollback = step_named("rollback", "aws", "Smoke test")
        earlier = run_step(rollback, ROOT, SERVICE_URL=base, TO="")
    assert passed.returncode == 0, passed.stdout
    assert (failed.returncode, "WRONG" in failed.stdout) == (1, True)
    assert earlier.returncode == 0, earlier.stdout


# Heroku, retraining


@pytest.mark.parametrize(("target", "words"), [("v41", "rollback v41"), ("", "rollback")])
def test_heroku_rollback_step_accepts_a_release(checkout, target, words):
    step = step_named("rollback", "heroku", "Deploy an earlier release")
    assert run_step(step, checkout, TO=target).returncode == 0
    assert logged_calls(checkout) == [words]


def test_heroku_rollback_step_invalid_release_fails(checkout):
    step = step_named("rollback", "heroku", "Deploy an earlier release")
    done = run_step(step, checkout, TO="v41; id")
    assert (done.returncode, logged_calls(checkout)) == (1, [])
    assert "written as v41" in done.stdout


@pytest.mark.parametrize(("exit_status", "status"), [(0, 0), (3, 0), (1, 1), (137, 137)])
def test_retrain_step_exit_status_3_is_a_warning(checkout, exit_status, status):
    script = f'#!/bin/sh\necho "$*"; echo why >&2; exit {exit_status}\n'
    put_program(checkout / ".venv/bin/flask", script)
    step = step_named("retrain", "retrain", "Retrain")
    summary = checkout / "summary"
    done = run_step(step, checkout, GITHUB_STEP_SUMMARY=str(summary))
    assert done.returncode == status
    assert ("::warning::" in done.stdout) is (exit_status == 3)
    assert f"ended with status {exit_status}\n" in summary.read_text()
    assert "--app app retrain\nwhy\n" in summary.read_text()


def test_retrain_without_registry_prints_the_reason_and_succeeds(tmp_path):
    summary = tmp_path / "summary"
    step = step_named("retrain", "unconfigured", "Print the reason")
    done = run_step(step, tmp_path, GITHUB_STEP_SUMMARY=str(summary))
    assert done.returncode == 0
    assert "SLIPWAY_REGISTRY is not set" in summary.read_text()
