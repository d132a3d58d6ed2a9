"""Fixtures of all tests: the shipped model, the app, a running service, the real rows."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis_profiles import register_profiles
from playwright.sync_api import Browser, expect, sync_playwright

from slipway.cli import add_commands
from slipway.core.settings import Settings
from slipway.data.dataset import Dataset, open_dataset
from slipway.data.etl.run import run_etl
from slipway.data.problem_loading import load_problem
from slipway.models.features import Value
from slipway.models.manifest import Manifest
from slipway.serving.service import PredictionService
from slipway.training.frames import Rows, read_rows
from slipway.web import create_app

ROOT = Path(__file__).parent.parent
# PYTHONPATH of the processes that import test helpers.
IMPORTS = os.pathsep.join(map(str, (ROOT, ROOT / "tests", ROOT / "tests" / "helpers")))
# One worker by default.
GUNICORN = (
    *(sys.executable, "-m", "gunicorn", "app:app"),
    *("--bind=127.0.0.1:{port}", "--workers=1"),
)
register_profiles()
# Functions and steps of the tests, which the started services must allow as well.
os.environ["SLIPWAY_PICKLE_ALLOW"] = "task_models:refuse_large,custom_steps:*"
# Playwright's default of five seconds is too short on a busy machine.
expect.set_options(timeout=30_000)
# The program that the tests of a marker need.
PROGRAMS = {"browser": "chromium", "image": "buildah", "proxy": "nginx"}
# Several processes run the tests, one file at a time. These files take a minute or more, so they
# run first.
SLOW_FILES = {
    name: place
    for place, name in enumerate(
        (
            "test_notebooks",
            "test_train_spark",
            "test_retrain",
            "test_sources_engines",
            "test_image",
            "test_readme",
            "test_worker_idle",
            "test_sources_faults",
            "test_sql",
            "test_train",
            "test_chunks_process",
            "test_train_spark_small",
            "test_train_spark_columns",
            "test_rollout_bucket",
            "test_rollout",
            "test_box",
            "test_aws_api",
            "test_aws_box",
            "test_compiler",
            "test_estimators",
            "test_law",
            "test_chunks",
            "test_schemathesis",
            "test_in_database",
        )
    )
}
# Chromium otherwise looks for its maker's servers at every start.
CHROMIUM = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


def missing_programs() -> dict[str, str]:
    """Return the missing programs by the marker of the tests that need them.

    In CI the dict is empty, so that those tests fail instead of being skipped.
    """
    path = f"{os.environ['PATH']}:/usr/sbin"
    installed = {name for name in PROGRAMS.values() if shutil.which(name, path=path)}
    ci = os.environ.get("CI")
    return {} if ci else {mark: name for mark, name in PROGRAMS.items() if name not in installed}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run the slowest files first; deselect tests whose program is missing."""
    items.sort(key=lambda item: SLOW_FILES.get(item.path.stem, len(SLOW_FILES)))
    missing_marks = missing_programs()
    deselected = [item for item in items if any(map(item.get_closest_marker, missing_marks))]
    items[:] = [item for item in items if item not in set(deselected)]
    config.hook.pytest_deselected(items=deselected)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Report the deselected tests."""
    for mark, name in missing_programs().items():
        message = f"NOT RUN: the {mark} tests; {name} is not installed."
        terminalreporter.write_sep("=", f"{mark} tests", red=True, bold=True)
        terminalreporter.write_line(f"{message} `make system` installs it.", red=True)


@pytest.fixture(scope="session")
def settings() -> Settings:
    return Settings(model=ROOT / "model.pkl", problem="flights")


@pytest.fixture(scope="session")
def live(settings: Settings) -> PredictionService:
    return PredictionService(settings)


@pytest.fixture(scope="session")
def manifest(live: PredictionService) -> Manifest:
    return live.model.manifest


@pytest.fixture
def example(manifest: Manifest) -> dict[str, Value]:
    """A record of the signature's examples."""
    return {feature.name: feature.example for feature in manifest.signature.features}


@pytest.fixture(scope="session")
def app(settings: Settings) -> Flask:
    return add_commands(create_app(ROOT, settings))


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture(scope="session")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """All flights in Parquet files, as ``flask etl`` writes them."""
    folder = tmp_path_factory.mktemp("flights")
    run_etl(load_problem("flights"), None, folder)
    return open_dataset(folder)


@pytest.fixture(scope="session")
def rows(stored: Dataset) -> Rows:
    """All flights in memory."""
    return read_rows(load_problem("flights"), stored)


def free_ports() -> Iterator[int]:
    """Yield free ports, each once and only in this test process.

    The ports lie below the kernel's ephemeral range, because a service binds its port later and
    the kernel could assign it to another process until then.
    """
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    ports = range(20_000 + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]), 32_000, count)
    for port in random.sample(ports, len(ports)):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                yield port


_FREE_PORTS = free_ports()


def free_port() -> int:
    return next(_FREE_PORTS)


def wait_for(url: str, process: subprocess.Popen[bytes], seconds: float = 60.0) -> None:
    """Wait until a URL answers."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(f"the service ended with status {process.returncode}")
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"{url} did not answer in {seconds} s")


@contextmanager
def running(
    *words: str, prefix: str = "", stop: signal.Signals = signal.SIGTERM, **environ: str
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Start a service, wait until it answers, and stop it after the block.

    ``{port}`` in the words is replaced by a free port. Yields the base URL and the process.
    """
    port = str(free_port())
    command = [word.format(port=port) for word in words]
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"PORT": port} | environ)
    base = f"http://127.0.0.1:{port}{prefix}"
    try:
        wait_for(f"{base}/livez", process)
        yield base, process
    finally:
        process.send_signal(stop)
        # A worker that is still starting misses the signal and is killed 20 s later.
        process.wait(60)


@pytest.fixture(scope="session")
def service() -> Iterator[str]:
    """The base URL of a real Gunicorn with four workers."""
    with running(*GUNICORN, "--workers=4") as (base, _):
        yield base


@pytest.fixture(scope="module")
def prefixed() -> Iterator[str]:
    """The base URL of a service under a path prefix."""
    with running(*GUNICORN, prefix="/late", SCRIPT_NAME="/late") as (base, _):
        yield base


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A real browser: Debian's Chromium, which `make system` installs.

    It stops with its module, because its event loop would disturb that of the notebooks.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=CHROMIUM)
        yield browser
        browser.close()
