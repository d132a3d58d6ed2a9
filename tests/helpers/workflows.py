"""The parsed workflows, and a runner of their steps."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import yaml
from conftest import ROOT

FOLDER = ROOT / ".github" / "workflows"
PATHS = sorted(FOLDER.glob("*.yaml"))
# YAML reads the key `on` as true.
WORKFLOWS: dict[str, dict[Any, Any]] = {
    path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in PATHS
}
JOBS: dict[tuple[str, str], dict[str, Any]] = {
    (workflow, name): job
    for workflow, content in WORKFLOWS.items()
    for name, job in content["jobs"].items()
}
STEPS: list[tuple[str, str, dict[str, Any]]] = [
    (*place, step) for place, job in JOBS.items() for step in job.get("steps", [])
]


def triggers(workflow: str) -> dict[str, Any]:
    """Return the triggers of a workflow with their settings."""
    return {name: settings or {} for name, settings in WORKFLOWS[workflow][True].items()}


def step_named(workflow: str, job: str, name: str) -> dict[str, Any]:
    """Return a step by the beginning of its name."""
    (found_step,) = (
        step for step in JOBS[workflow, job]["steps"] if step.get("name", "").startswith(name)
    )
    return dict(found_step)


def run_step(
    step: dict[str, Any], folder: Path, **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run a step as a runner does with `shell: bash`."""
    words = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
    return subprocess.run(
        words, cwd=folder, env=os.environ | environ, capture_output=True, text=True, check=False
    )


def put_program(path: Path, text: str) -> None:
    """Write an executable script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
