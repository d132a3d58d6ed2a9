"""The workflows: what they may do, who may start it, and that all they name is there."""

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
# Of the seeds, and the one that signs what a registry holds.
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


# What linters say


def test_workflows_pass_actionlint_with_shellcheck():
    lint("actionlint", "-shellcheck", BIN / "shellcheck", *PATHS)


def test_workflows_and_dependabot_pass_zizmor():
    lint("zizmor", "--offline", "--quiet", "--no-progress", ".github")


def test_scripts_pass_shellcheck():
    lint("shellcheck", *sorted((ROOT / "deploy").rglob("*.sh")), ROOT / ".ci" / "run")


# What a workflow may use and do


def test_uses_each_action_is_one_commit_with_its_version():
    lines = re.findall(r"^ *(?:- )?uses: (.*)$", TEXT, re.MULTILINE)
    ours = [line for line in lines if line.startswith("$/")]
    assert {ROOT / line.removeprefix("$/") for line in ours} == {
        ROOT / ".github/workflows/integration.yaml",
        ROOT / ".github/workflows/heroku.yaml",
    }
    pins = {line for line in lines if line not in ours}
    for pin in pins:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", pin), pin
    # One version of each, in all workflows.
    assert len({pin.partition("@")[0] for pin in pins}) == len(pins) == 6


def test_permissions_are_none_but_what_a_job_names():
    for name, workflow in WORKFLOWS.items():
        assert workflow["permissions"] == {}, name
    for place, job in JOBS.items():
        write = {scope for scope, how in job["permissions"].items() if how != "read"}
        assert write <= {"id-token"}, place
        assert set(job["permissions"]) <= {"contents", "id-token"}, place
    assert {place for place, job in JOBS.items() if "id-token" in job["permissions"]} == {
        ("main", "delivery"),
        ("main", "deployment-by-aws"),
        ("publish", "publish"),
        ("retrain", "retrain"),
        ("rollback", "aws-without-runner"),
    }


def test_run_takes_nothing_but_by_the_environment():
    for workflow, job, step in STEPS:
        assert "${{" not in step.get("run", ""), (workflow, job, step)


def test_checkout_leaves_no_token_behind():
    checkouts = [step for *_, step in STEPS if "actions/checkout" in step.get("uses", "")]
    assert len(checkouts) >= 6
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_jobs_end_some_time():
    for place, job in JOBS.items():
        assert "uses" in job or 5 <= job["timeout-minutes"] <= 180, place


# Who may start it


def test_triggers_are_known_and_no_stranger_starts_what_has_secrets():
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


def test_push_counts_on_main_alone_and_not_for_docs():
    push = triggers("main")["push"]
    assert push["branches"] == ["main"]
    assert push["paths-ignore"] == ["*.md", "docs/**"]


def test_self_hosted_runs_main_alone_one_at_a_time_and_after_an_approval():
    found = {place for place, job in JOBS.items() if "self-hosted" in str(job.get("runs-on"))}
    assert found == SELF_HOSTED
    for place in found:
        job = JOBS[place]
        assert ON_MAIN in job["if"], place
        assert job["environment"]["name"] == "production", place
        assert job["concurrency"]["cancel-in-progress"] is False, place
        actions = {step["uses"].partition("@")[0] for step in job["steps"] if "uses" in step}
        assert actions == {"actions/checkout"}, place


def test_deployments_all_wait_for_an_approval_and_for_one_another():
    jobs = [JOBS["main", name] for name in ("deployment", "deployment-by-aws")]
    for job in (*jobs, JOBS["rollback", "aws-without-runner"]):
        assert job["environment"]["name"] == "production"
        assert job["concurrency"]["cancel-in-progress"] is False
    assert {job["concurrency"]["group"] for job in jobs} == {"production"}
    # A run whose tests take longer must not deploy its commit over a newer one.
    assert WORKFLOWS["main"]["concurrency"] == {"group": "main", "cancel-in-progress": False}
    # A deployment that nobody approves must not keep a rollback waiting.
    assert "concurrency" not in WORKFLOWS["rollback"]
    assert JOBS["rollback", "aws"]["concurrency"]["group"] == "rollback"


def test_runner_is_not_asked_where_aws_is():
    for workflow, by_runner, by_aws in (
        ("main", "deployment", "deployment-by-aws"),
        ("rollback", "aws", "aws-without-runner"),
    ):
        assert " && vars.BOX_ID == '' && " in JOBS[workflow, by_runner]["if"]
        assert " && vars.BOX_ID != '' && " in JOBS[workflow, by_aws]["if"]
        assert JOBS[workflow, by_aws]["runs-on"] == "ubuntu-latest"


def test_deployment_comes_after_delivery_and_that_after_integration():
    assert JOBS["main", "deployment"]["needs"] == "delivery"
    assert JOBS["main", "deployment-by-aws"]["needs"] == "delivery"
    assert set(JOBS["main", "delivery"]["needs"]) == {"plan", "integration"}
    assert set(JOBS["main", "heroku"]["needs"]) == {"plan", "integration"}


def test_jobs_with_secrets_run_main_alone():
    for (workflow, name), job in JOBS.items():
        if "secrets." in str(job) and (workflow, name) != ("main", "plan"):
            assert ON_MAIN in job["if"], (workflow, name)


def test_fork_with_nothing_set_deploys_nothing():
    assert JOBS["main", "delivery"]["if"].startswith("vars.DEPLOY_TO_AWS == 'true' && ")
    assert JOBS["main", "deployment"]["if"].startswith("vars.DEPLOY_TO_AWS == 'true' && ")
    assert JOBS["main", "deployment-by-aws"]["if"].startswith("vars.DEPLOY_TO_AWS == 'true' && ")
    assert JOBS["main", "heroku"]["if"].startswith("vars.DEPLOY_TO_HEROKU == 'true' && ")
    assert JOBS["retrain", "retrain"]["if"].startswith("vars.SLIPWAY_REGISTRY != '' && ")


# Credentials


def test_aws_takes_the_role_by_default_and_keys_only_without_one():
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
        # It trusts no job but those of this environment.
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


def test_page_names_every_secret_and_variable():
    assert set(re.findall(r"secrets\.(\w+)", TEXT)) == SECRETS
    named = SECRETS | set(re.findall(r"vars\.(\w+)", TEXT))
    assert not [name for name in named if f"`{name}`" not in PAGE]


# What is named is there


def test_build_arguments_are_those_of_the_dockerfile():
    (build,) = (step for *_, step in STEPS if "build-push-action" in step.get("uses", ""))
    given = set(re.findall(r"^(\w+)=", build["with"]["build-args"], re.MULTILINE))
    known = set(re.findall(r"^ARG (\w+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    assert given == {"GIT_SHA", "REQUIREMENTS"}
    assert given < known


def test_scripts_of_steps_are_there_and_can_be_run():
    runs = "\n".join(step.get("run", "") for *_, step in STEPS)
    scripts = set(re.findall(r"(?:deploy|\.ci)/[\w./-]+", runs))
    names = {"aws/remote", "box", "ecr", "heroku", "plan", "retrain"}
    assert {f"deploy/{name}.sh" for name in names} | {".ci/run", "deploy/smoke.py"} == scripts
    for script in scripts - {"deploy/smoke.py"}:
        assert os.access(ROOT / script, os.X_OK), script
    assert (ROOT / "deploy" / "smoke.py").is_file()


def test_make_knows_the_targets_of_steps():
    runs = "\n".join(step.get("run", "") for *_, step in STEPS)
    words = re.findall(r"^ *make (.+)$", runs, re.MULTILINE)
    assert words == ["test", "dist PYTHON=python", ".venv/train PYTHON=python"]
    for line in words:
        subprocess.run(["make", "-n", *line.split()], cwd=ROOT, check=True, capture_output=True)


def test_pythons_are_those_that_we_say_and_the_first_is_the_one_that_serves():
    job = JOBS["integration", "test"]
    pythons = job["strategy"]["matrix"]["python"]
    assert pythons == ["3.11", "3.12", "3.13", "3.14"]
    deployed = (ROOT / ".python-version").read_text(encoding="utf-8").strip()
    (whole,) = (step for step in job["steps"] if step.get("run") == ".ci/run")
    assert whole["if"] == f"matrix.python == '{deployed}'"
    assert f"python:{deployed}-slim-bookworm" in (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_dependabot_looks_at_actions_pins_and_base_image():
    text = (ROOT / ".github" / "dependabot.yml").read_text(encoding="utf-8")
    updates = yaml.safe_load(text)["updates"]
    assert [each["package-ecosystem"] for each in updates] == ["github-actions", "pip", "docker"]
    assert {each["schedule"]["interval"] for each in updates} == {"weekly"}


# The page


def test_page_names_every_job_and_workflow():
    jobs = {job["name"].partition(",")[0] for (name, _), job in JOBS.items() if name == "main"}
    assert set(re.findall(r"^\| ([A-Z][^|`]+) \| (?:GitHub|your machine)", PAGE, re.M)) == jobs
    for name in WORKFLOWS.values():
        assert f"*{name['name']}*" in PAGE


def test_page_shows_both_forms_of_the_subject():
    stack = (ROOT / "deploy" / "aws" / "stack.yaml").read_text(encoding="utf-8")
    for where in ("ref:refs/heads/main", "environment:production"):
        assert f"\nrepo:OWNER/slipway:{where}\n" in PAGE
        assert f"\nrepo:OWNER@123456/slipway@456789:{where}\n" in PAGE
        assert f"repo:${{Whose}}:{where}" in stack


def test_page_make_targets_and_pin_files_exist():
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```$", PAGE, re.MULTILINE | re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    targets = [line.removeprefix("make ") for line in lines if line.startswith("make ")]
    assert targets == ["check", "test"]
    for target in targets:
        subprocess.run(["make", "-n", target], cwd=ROOT, check=True, capture_output=True)
    for name in re.findall(r"-r (\S+)", PAGE):
        assert (ROOT / name).is_file()
