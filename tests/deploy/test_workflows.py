"""Tests of the workflows: permissions, triggers, and that all named files exist."""

import os
import re
import subprocess
import sys
from pathlib import Path

import yaml
from conftest import ROOT
from doc_pages import read_pages
from workflows import JOBS, PATHS, STEPS, WORKFLOWS, triggers

BIN = Path(sys.executable).parent
TEXTS = {path.stem: path.read_text(encoding="utf-8") for path in PATHS}
TEXT = "\n".join(TEXTS.values())
PAGE = read_pages("github", "github-deploy", "github-runs")
ON_MAIN = "github.ref == 'refs/heads/main'"
SELF_HOSTED = {("main", "deployment"), ("rollback", "aws")}
# The secrets of the original project, and the signing key of the registry.
SECRETS = {
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ECR_LOGIN_URI"),
    *("ECR_REPOSITORY_NAME", "MONGO_DB_URL"),
    *("HEROKU_API_KEY", "HEROKU_APP_NAME", "HEROKU_EMAIL"),
    "SLIPWAY_SIGNING_KEY",
}


def lint(*words):
    done = subprocess.run(
        [BIN / words[0], *words[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


# Linters


def test_workflows_pass_actionlint_with_shellcheck():
    lint("actionlint", "-shellcheck", BIN / "shellcheck", *PATHS)


def test_workflows_and_dependabot_pass_zizmor():
    lint("zizmor", "--offline", "--quiet", "--no-progress", ".github")


def test_scripts_pass_shellcheck():
    lint("shellcheck", *sorted((ROOT / "deploy").rglob("*.sh")), ROOT / ".ci" / "run")


# Permissions


def test_actions_are_pinned_to_a_commit_with_version():
    lines = re.findall(r"^ *(?:- )?uses: (.*)$", TEXT, re.MULTILINE)
    local_uses = [line for line in lines if line.startswith("$/")]
    assert {ROOT / line.removeprefix("$/") for line in local_uses} == {
        ROOT / ".github/workflows/integration.yaml",
        ROOT / ".github/workflows/heroku.yaml",
    }
    pins = {line for line in lines if line not in local_uses}
    for pin in pins:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", pin), pin
    # One version of each, in all workflows.
    assert len({pin.partition("@")[0] for pin in pins}) == len(pins) == 6


def test_permissions_are_only_granted_by_jobs():
    for name, workflow in WORKFLOWS.items():
        assert workflow["permissions"] == {}, name
    for place, job in JOBS.items():
        write = {scope for scope, access in job["permissions"].items() if access != "read"}
        assert write <= {"id-token"}, place
        assert set(job["permissions"]) <= {"contents", "id-token"}, place
    assert {place for place, job in JOBS.items() if "id-token" in job["permissions"]} == {
        ("main", "delivery"),
        ("main", "deployment-by-aws"),
        ("publish", "publish"),
        ("retrain", "retrain"),
        ("rollback", "aws-without-runner"),
    }


def test_run_steps_have_no_inline_expressions():
    for workflow, job, step in STEPS:
        assert "${{" not in step.get("run", ""), (workflow, job, step)


def test_checkout_does_not_persist_credentials():
    checkouts = [step for *_, step in STEPS if "actions/checkout" in step.get("uses", "")]
    assert len(checkouts) >= 6
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_jobs_have_a_timeout():
    for place, job in JOBS.items():
        assert "uses" in job or 5 <= job["timeout-minutes"] <= 180, place


# Triggers


def test_triggers_of_workflows_with_secrets_exclude_pull_requests():
    assert {name: set(triggers(name)) for name in WORKFLOWS} == {
        "main": {"push", "workflow_dispatch"},
        "integration": {"pull_request", "workflow_call"},
        "heroku": {"workflow_call", "workflow_dispatch"},
        "publish": {"push"},
        "retrain": {"schedule", "workflow_dispatch"},
        "rollback": {"workflow_dispatch"},
    }
    assert "secrets." not in TEXTS["integration"]
    assert "environment" not in JOBS["integration", "test"]


def test_push_trigger_covers_main_without_docs():
    push = triggers("main")["push"]
    assert push["branches"] == ["main"]
    assert push["paths-ignore"] == ["*.md", "docs/**"]


def test_self_hosted_jobs_run_only_main_one_at_a_time_after_approval():
    self_hosted = {place for place, job in JOBS.items() if "self-hosted" in str(job.get("runs-on"))}
    assert self_hosted == SELF_HOSTED
    for place in self_hosted:
        job = JOBS[place]
        assert ON_MAIN in job["if"], place
        assert job["environment"]["name"] == "production", place
        assert job["concurrency"]["cancel-in-progress"] is False, place
        actions = {step["uses"].partition("@")[0] for step in job["steps"] if "uses" in step}
        assert actions == {"actions/checkout"}, place


def test_deployments_require_approval_and_run_one_at_a_time():
    jobs = [JOBS["main", name] for name in ("deployment", "deployment-by-aws")]
    for job in (*jobs, JOBS["rollback", "aws-without-runner"]):
        assert job["environment"]["name"] == "production"
        assert job["concurrency"]["cancel-in-progress"] is False
    assert {job["concurrency"]["group"] for job in jobs} == {"production"}
    # A slower run must not deploy its commit over a newer one.
    assert WORKFLOWS["main"]["concurrency"] == {"group": "main", "cancel-in-progress": False}
    # A deployment without approval must not block a rollback.
    assert "concurrency" not in WORKFLOWS["rollback"]
    assert JOBS["rollback", "aws"]["concurrency"]["group"] == "rollback"


def test_deployment_uses_either_runner_or_aws():
    for workflow, by_runner, by_aws in (
        ("main", "deployment", "deployment-by-aws"),
        ("rollback", "aws", "aws-without-runner"),
    ):
        assert " && vars.BOX_ID == '' && " in JOBS[workflow, by_runner]["if"]
        assert " && vars.BOX_ID != '' && " in JOBS[workflow, by_aws]["if"]
        assert JOBS[workflow, by_aws]["runs-on"] == "ubuntu-latest"


def test_deployment_needs_delivery_which_needs_integration():
    assert JOBS["main", "deployment"]["needs"] == "delivery"
    assert JOBS["main", "deployment-by-aws"]["needs"] == "delivery"
    assert set(JOBS["main", "delivery"]["needs"]) == {"plan", "integration"}
    assert set(JOBS["main", "heroku"]["needs"]) == {"plan", "integration"}


def test_jobs_with_secrets_run_only_on_main():
    for (workflow, name), job in JOBS.items():
        if "secrets." in str(job) and (workflow, name) != ("main", "plan"):
            assert ON_MAIN in job["if"], (workflow, name)


def test_fork_without_variables_deploys_nothing():
    assert JOBS["main", "delivery"]["if"].startswith("vars.DEPLOY_TO_AWS == 'true' && ")
    assert JOBS["main", "deployment"]["if"].startswith("vars.DEPLOY_TO_AWS == 'true' && ")
    assert JOBS["main", "deployment-by-aws"]["if"].startswith("vars.DEPLOY_TO_AWS == 'true' && ")
    assert JOBS["main", "heroku"]["if"].startswith("vars.DEPLOY_TO_HEROKU == 'true' && ")
    assert JOBS["retrain", "retrain"]["if"].startswith("vars.SLIPWAY_REGISTRY != '' && ")


# Credentials


def test_aws_credentials_use_the_role_by_default_and_keys_without_one():
    steps = [
        ((workflow, job), step)
        for workflow, job, step in STEPS
        if "configure-aws-credentials" in step.get("uses", "")
    ]
    for place in (("main", "delivery"), ("retrain", "retrain")):
        role, keys = (step for where, step in steps if where == place)
        assert role["if"] == "vars.AWS_ROLE_ARN != ''"
        assert role["with"]["role-to-assume"] == "${{ vars.AWS_ROLE_ARN }}"
        assert "aws-access-key-id" not in role["with"]
        assert role["name"].endswith("(the default)")
        assert keys["if"] == "vars.AWS_ROLE_ARN == ''"
        assert keys["name"].endswith("(legacy)")
    for place in (("main", "deployment-by-aws"), ("rollback", "aws-without-runner")):
        (role,) = (step for where, step in steps if where == place)
        assert role["with"]["role-to-assume"] == "${{ vars.AWS_DEPLOY_ROLE_ARN }}"
        assert "aws-access-key-id" not in role["with"]
        # The role trusts only jobs of this environment.
        assert JOBS[place]["environment"]["name"] == "production"
    for place in SELF_HOSTED:
        keys = [
            value
            for step in JOBS[place]["steps"]
            for name, value in step.get("env", {}).items()
            if name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        ]
        assert len(keys) == 2, place
        assert all(value.startswith("${{ vars.AWS_ROLE_ARN == '' && ") for value in keys), place


def test_github_page_lists_every_secret_and_variable():
    assert set(re.findall(r"secrets\.(\w+)", TEXT)) == SECRETS
    named = SECRETS | set(re.findall(r"vars\.(\w+)", TEXT))
    assert not [name for name in named if f"`{name}`" not in PAGE]


# Named files and targets


def test_build_arguments_exist_in_the_dockerfile():
    (build,) = (step for *_, step in STEPS if "build-push-action" in step.get("uses", ""))
    given = set(re.findall(r"^(\w+)=", build["with"]["build-args"], re.MULTILINE))
    known = set(re.findall(r"^ARG (\w+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    assert given == {"GIT_SHA", "REQUIREMENTS"}
    assert given < known


def test_step_scripts_exist_and_are_executable():
    runs = "\n".join(step.get("run", "") for *_, step in STEPS)
    scripts = set(re.findall(r"(?:deploy|\.ci)/[\w./-]+", runs))
    names = {"aws/remote", "box", "ecr", "heroku", "plan", "retrain"}
    assert {f"deploy/{name}.sh" for name in names} | {".ci/run", "deploy/smoke.py"} == scripts
    for script in scripts - {"deploy/smoke.py"}:
        assert os.access(ROOT / script, os.X_OK), script
    assert (ROOT / "deploy" / "smoke.py").is_file()


def test_step_make_targets_exist():
    runs = "\n".join(step.get("run", "") for *_, step in STEPS)
    words = re.findall(r"^ *make (.+)$", runs, re.MULTILINE)
    assert words == ["test", "dist PYTHON=python", ".venv/train PYTHON=python"]
    for line in words:
        subprocess.run(["make", "-n", *line.split()], cwd=ROOT, check=True, capture_output=True)


def test_python_matrix_starts_with_the_deployed_version():
    job = JOBS["integration", "test"]
    pythons = job["strategy"]["matrix"]["python"]
    assert pythons == ["3.11", "3.12", "3.13", "3.14"]
    deployed = (ROOT / ".python-version").read_text(encoding="utf-8").strip()
    (full_run,) = (step for step in job["steps"] if step.get("run") == ".ci/run")
    assert full_run["if"] == f"matrix.python == '{deployed}'"
    assert f"python:{deployed}-slim-bookworm" in (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_dependabot_updates_actions_pins_and_base_image():
    text = (ROOT / ".github" / "dependabot.yml").read_text(encoding="utf-8")
    updates = yaml.safe_load(text)["updates"]
    assert [update["package-ecosystem"] for update in updates] == [
        "github-actions",
        "pip",
        "docker",
    ]
    assert {update["schedule"]["interval"] for update in updates} == {"weekly"}


# The page


def test_github_page_lists_every_job_and_workflow():
    jobs = {job["name"].partition(",")[0] for (name, _), job in JOBS.items() if name == "main"}
    assert set(re.findall(r"^\| ([A-Z][^|`]+) \| (?:GitHub|your machine)", PAGE, re.M)) == jobs
    for name in WORKFLOWS.values():
        assert f"*{name['name']}*" in PAGE


def test_github_page_shows_both_forms_of_the_subject():
    stack = (ROOT / "deploy" / "aws" / "stack.yaml").read_text(encoding="utf-8")
    for where in ("ref:refs/heads/main", "environment:production"):
        assert f"\nrepo:OWNER/slipway:{where}\n" in PAGE
        assert f"\nrepo:OWNER@123456/slipway@456789:{where}\n" in PAGE
        assert f"repo:${{Whose}}:{where}" in stack


def test_github_page_make_targets_and_pin_files_exist():
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```$", PAGE, re.MULTILINE | re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    targets = [line.removeprefix("make ") for line in lines if line.startswith("make ")]
    assert targets == ["check", "test"]
    for target in targets:
        subprocess.run(["make", "-n", target], cwd=ROOT, check=True, capture_output=True)
    for name in re.findall(r"-r (\S+)", PAGE):
        assert (ROOT / name).is_file()
