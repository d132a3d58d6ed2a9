"""The steps' own shell text, run for real: with the scripts that they call, and a small AWS."""

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
# Answers as ECR does, out of files named by the command, and understands --query as the real
# command does. A command that has no file gets that command's own error.
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
    """A folder with the scripts, in which those that would change something only note it."""
    for name in ("ecr.sh", "plan.sh", "retrain.sh"):
        (tmp_path / "deploy").mkdir(exist_ok=True)
        shutil.copy(ROOT / "deploy" / name, tmp_path / "deploy")
    for name in ("box.sh", "heroku.sh", "aws/remote.sh"):
        put_program(tmp_path / "deploy" / name, RECORD)
    monkeypatch.setenv("BOX_ID", "i-0a")
    return tmp_path


@pytest.fixture
def aws(tmp_path, monkeypatch):
    """A folder of answers, and `aws` and `docker` that go by it."""
    put_program(tmp_path / "bin" / "aws", AWS)
    put_program(tmp_path / "bin" / "docker", DOCKER)
    answers = tmp_path / "answers"
    answers.mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("ANSWERS", str(answers))
    for name, value in ECR.items():
        monkeypatch.setenv(name, value)
    return answers


def asked(checkout):
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


# What a push deploys

PLAN = step_named("main", "plan", "Print what")
UNSET = dict.fromkeys(PLAN["env"], "")
ROLE = {"AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/slipway"}
BOX = {"BOX_ID": "i-0a", "AWS_DEPLOY_ROLE_ARN": "arn:aws:iam::123456789012:role/slipway-deploy"}


def test_plan_nothing_set_is_no_fault_and_is_told(checkout):
    summary = checkout / "summary"
    done = run_step(PLAN, checkout, **UNSET, GITHUB_STEP_SUMMARY=str(summary))
    assert (done.returncode, done.stderr) == (0, "")
    assert "| AWS | no | the variable DEPLOY_TO_AWS is not `true` |" in summary.read_text()
    assert "| Heroku | no | the variable DEPLOY_TO_HEROKU is not `true` |" in summary.read_text()


def test_plan_aws_wanted_but_incomplete_is_red_and_names_what_is_missing(checkout):
    wanted = UNSET | {"DEPLOY_TO_AWS": "true", "AWS_REGION": "eu-central-1"}
    done = run_step(PLAN, checkout, **wanted)
    assert done.returncode == 1
    missing = "this is missing: AWS_ECR_LOGIN_URI, ECR_REPOSITORY_NAME, AWS_ROLE_ARN."
    assert missing in done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (ROLE | {"AWS_KEYS": "true"}, "by a role, on the self-hosted runner; without SERVICE_URL"),
        (ROLE | BOX, "by a role, without a runner, on i-0a; without SERVICE_URL"),
        (BOX | {"AWS_KEYS": "true"}, "by an IAM user's keys (legacy), without a runner, on i-0a; "),
        ({"AWS_KEYS": "true"}, "by an IAM user's keys (legacy), on the self-hosted runner; "),
        (ROLE | {"SERVICE_URL": "https://a.example"}, "by a role, on the self-hosted runner |"),
    ],
)
def test_plan_aws_complete_says_by_what(checkout, given, told):
    done = run_step(PLAN, checkout, **UNSET | ECR | {"DEPLOY_TO_AWS": "true"} | given)
    assert done.returncode == 0
    assert f"| AWS | yes | {told}" in done.stdout


@pytest.mark.parametrize("who", [ROLE, {"AWS_KEYS": "true"}])
def test_plan_without_runner_needs_a_role_for_the_machine(checkout, who):
    given = {"DEPLOY_TO_AWS": "true", "BOX_ID": "i-0a"}
    done = run_step(PLAN, checkout, **UNSET | ECR | given | who)
    assert done.returncode == 1
    assert "this is missing: AWS_DEPLOY_ROLE_ARN." in done.stdout


# The registry of images


def test_login_step_gives_name_and_whether_it_is_pushed(checkout, aws):
    (aws / "batch-get-image").write_text('{"images": []}')
    output = checkout / "output"
    step = step_named("main", "delivery", "Login to ECR")
    done = run_step(step, checkout, GITHUB_SHA=SHA, GITHUB_OUTPUT=str(output))
    assert done.returncode == 0, done.stderr
    assert output.read_text() == f"image={IMAGE}\npushed=no\n"
    login = f"login --username AWS --password-stdin {URI}\na-password\n"
    assert (aws / "docker").read_text() == login


def test_pushed_image_that_is_there_is_not_built_again(aws):
    (aws / "batch-get-image").write_text('{"images": [{"imageManifest": "{}"}]}')
    assert ecr("pushed", SHA).stdout == "yes\n"
    build = step_named("main", "delivery", "Build and push")
    assert build["if"] == "steps.ecr.outputs.pushed == 'no'"


def test_pushed_asked_in_vain_is_an_error_and_no_answer(aws):
    done = ecr("pushed", SHA)
    assert done.returncode != 0
    assert done.stdout == ""


def scan_found(aws, counts):
    """Let the scan be over, with so many findings of each severity."""
    (aws / "describe-image-scan-findings").write_text(
        '{"imageScanStatus": {"status": "COMPLETE"}, "imageScanFindings":'
        f' {{"findingSeverityCounts": {counts}}}}}'
    )


@pytest.mark.parametrize(
    ("counts", "status", "told"),
    [
        ("{}", 0, "Image scan: nothing found"),
        ('{"HIGH": 3, "LOW": 1}', 0, "Image scan: HIGH:3,LOW:1"),
        ('{"CRITICAL": 2}', 1, "Image scan: CRITICAL:2"),
    ],
)
def test_scan_fails_on_critical_findings_alone(aws, counts, status, told):
    scan_found(aws, counts)
    done = ecr("scan", SHA)
    assert (done.returncode, done.stdout.strip()) == (status, told)


def test_scan_that_never_begins_or_fails_is_no_success(aws):
    done = ecr("scan", SHA)
    assert done.returncode == 1
    assert "does the repository scan on push?" in done.stderr
    answer = '{"imageScanStatus": {"status": "UNSUPPORTED_IMAGE"}}'
    (aws / "describe-image-scan-findings").write_text(answer)
    done = ecr("scan", SHA)
    assert done.returncode == 1
    assert "cannot be scanned: UNSUPPORTED_IMAGE" in done.stderr


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        ("ThrottlingException", 0, "Image scan: nothing found"),
        ("ServiceUnavailableException", 0, "Image scan: nothing found"),
        ("RepositoryNotFoundException", 1, ""),
    ],
)
def test_scan_asked_again_where_ecr_had_no_time(aws, error, status, told):
    (aws / "once").write_text(error)
    scan_found(aws, "{}")
    done = ecr("scan", SHA)
    assert (done.returncode, done.stdout.strip()) == (status, told)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("AWS_ECR_LOGIN_URI", f"{URI}/slipway", "is the registry alone"),
        ("AWS_ECR_LOGIN_URI", f"https://{URI}", "is the registry alone"),
        ("AWS_REGION", "", "AWS_REGION is not set"),
    ],
)
def test_settings_that_are_wrong_are_told_apart(aws, name, value, told):
    done = ecr("image", SHA, **{name: value})
    assert done.returncode == 1
    assert told in done.stderr


# On the machine, by the runner there or by AWS

BOTH = [("deployment", "aws", ""), ("deployment-by-aws", "aws-without-runner", "i-0a ")]


@pytest.mark.parametrize(("job", "_", "box"), BOTH)
def test_deployment_step_hands_over_the_image_of_the_commit(checkout, aws, job, _, box):
    step = step_named("main", job, "Deploy the new image")
    assert run_step(step, checkout, GITHUB_SHA=SHA).returncode == 0
    assert asked(checkout) == [f"{box}deploy {IMAGE}"]


@pytest.mark.parametrize(("_", "job", "box"), BOTH)
def test_rollback_step_goes_to_the_commit_or_to_the_one_before(checkout, aws, _, job, box):
    step = step_named("rollback", job, "Deploy an earlier image")
    assert run_step(step, checkout, TO=SHA).returncode == 0
    assert run_step(step, checkout, TO="").returncode == 0
    words = [f"rollback {IMAGE}", "status", "rollback", "status"]
    assert asked(checkout) == [box + each for each in words]


@pytest.mark.parametrize("to", ["main", SHA[:7], f"{SHA}\n", f"{SHA} x", "$(touch hole)", "; id"])
@pytest.mark.parametrize("job", ["aws", "aws-without-runner"])
def test_rollback_step_takes_nothing_but_a_commit(checkout, aws, job, to):
    step = step_named("rollback", job, "Deploy an earlier image")
    assert run_step(step, checkout, TO=to).returncode == 1
    assert asked(checkout) == []
    assert not (checkout / "hole").exists()


@pytest.mark.parametrize(("job", "_", "box"), BOTH)
def test_failed_smoke_test_is_what_rolls_back(checkout, aws, job, _, box):
    smoke, back = JOBS["main", job]["steps"][-2:]
    assert (smoke["id"], back["if"]) == ("smoke", "failure() && steps.smoke.outcome == 'failure'")
    assert run_step(back, checkout, GITHUB_SHA=SHA).returncode == 0
    assert asked(checkout) == [f"{box}revoke {IMAGE}"]


@pytest.mark.slow
def test_smoke_step_passes_the_commit_that_serves_and_no_other():
    step = step_named("main", "deployment", "Smoke test")
    with running(*GUNICORN, SLIPWAY_REVISION=SHA) as (base, _):
        right = run_step(step, ROOT, SERVICE_URL=base, GITHUB_SHA=SHA)
        wrong = run_step(step, ROOT, SERVICE_URL=base, GITHUB_SHA=SHA[::-1])
        back = step_named("rollback", "aws", "Smoke test")
        earlier = run_step(back, ROOT, SERVICE_URL=base, TO="")
    assert right.returncode == 0, right.stdout
    assert (wrong.returncode, "WRONG" in wrong.stdout) == (1, True)
    assert earlier.returncode == 0, earlier.stdout


# Heroku, retraining


@pytest.mark.parametrize(("to", "words"), [("v41", "rollback v41"), ("", "rollback")])
def test_heroku_rollback_step_takes_a_release(checkout, to, words):
    step = step_named("rollback", "heroku", "Deploy an earlier release")
    assert run_step(step, checkout, TO=to).returncode == 0
    assert asked(checkout) == [words]


def test_heroku_rollback_step_takes_nothing_else(checkout):
    step = step_named("rollback", "heroku", "Deploy an earlier release")
    done = run_step(step, checkout, TO="v41; id")
    assert (done.returncode, asked(checkout)) == (1, [])
    assert "written as v41" in done.stdout


@pytest.mark.parametrize(("ends", "status"), [(0, 0), (3, 0), (1, 1), (137, 137)])
def test_retrain_step_kept_as_candidate_is_a_warning(checkout, ends, status):
    put_program(checkout / ".venv/bin/flask", f'#!/bin/sh\necho "$*"; echo why >&2; exit {ends}\n')
    step = step_named("retrain", "retrain", "Retrain")
    summary = checkout / "summary"
    done = run_step(step, checkout, GITHUB_STEP_SUMMARY=str(summary))
    assert done.returncode == status
    assert ("::warning::" in done.stdout) is (ends == 3)
    assert f"ended with status {ends}\n" in summary.read_text()
    assert "--app app retrain\nwhy\n" in summary.read_text()


def test_retrain_without_registry_says_so_and_is_green(tmp_path):
    summary = tmp_path / "summary"
    step = step_named("retrain", "unconfigured", "Print the reason")
    done = run_step(step, tmp_path, GITHUB_STEP_SUMMARY=str(summary))
    assert done.returncode == 0
    assert "SLIPWAY_REGISTRY is not set" in summary.read_text()
