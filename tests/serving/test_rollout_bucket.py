"""Test a service that follows an alias in a bucket whose store hangs, stops and recovers."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid

import boto3
import pytest
from clients import workers
from conftest import GUNICORN, ROOT, free_port, running
from registries import BUCKET, KEY
from small_versions import save_version
from swapping import POLL, Versions, all_serve, clients, get_json, status, until

from slipway.core.settings import Settings
from slipway.registry import open_registry
from slipway.serving.rollout.startup import load_initial_service

pytest_plugins = ["registry_servers"]
# On an idle machine, a start succeeds or fails within 20 s, 15 of them for the registry.
IN_TIME = 45


class Store:
    """An S3 server that a test can pause, resume and kill."""

    def __init__(self):
        self.port = free_port()
        command = (sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port))
        self.process = subprocess.Popen(command, stdout=-3, stderr=-3)
        until(self.answers, 60)

    def answers(self):
        with socket.socket() as connection:
            return connection.connect_ex(("127.0.0.1", self.port)) == 0

    def environ(self):
        return {
            "AWS_ACCESS_KEY_ID": "tests",
            "AWS_SECRET_ACCESS_KEY": "tests",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
        }

    def end(self):
        self.process.kill()
        self.process.wait(30)


@pytest.fixture
def store(monkeypatch):
    store = Store()
    for name, value in (store.environ() | KEY).items():
        monkeypatch.setenv(name, value)
    boto3.client("s3").create_bucket(Bucket=BUCKET)
    yield store
    store.process.send_signal(signal.SIGCONT)
    store.end()


def test_service_follows_a_bucket_and_survives_its_absence(store, tmp_path):
    url = f"s3://{BUCKET}/{uuid.uuid4().hex}"
    registry, versions = open_registry(url), Versions()
    paths = [save_version(tmp_path / f"{weight}", weight) for weight in (0.5, 1.5)]
    first, second = map(versions.add, paths)
    assert [registry.push(path, who="a test") for path in paths] == [first, second]
    registry.move("production", first, who="a test")
    environ = {
        "SLIPWAY_MODEL": url,
        "SLIPWAY_CACHE": str(tmp_path / "cache"),
        "SLIPWAY_MODEL_POLL": f"{POLL}",
    }
    with running(*GUNICORN, "--workers=4", **environ) as (base, process):
        until(lambda: all_serve(base, first), 90)
        with clients(base) as answers:
            registry.move("production", second, who="a test")
            # A poll starts each second and sends a few requests.
            until(lambda: all_serve(base, second), 90)
            store.process.send_signal(signal.SIGSTOP)
            until(lambda: status(base).startswith("degraded"), 90)
            before = set(workers(process))
            process.send_signal(signal.SIGHUP)
            until(lambda: not before & set(workers(process)), 90)
            until(lambda: all_serve(base, second), 90)
            store.process.send_signal(signal.SIGCONT)
            until(lambda: status(base) == "ready", 90)
            registry.rollback(who="a test")
            until(lambda: all_serve(base, first), 90)
            store.end()
            until(lambda: status(base).startswith("degraded"), 90)
            assert "cannot be reached" in status(base)
            assert url not in status(base)
        versions.assert_correct(answers)
        assert {answer.version for answer in answers} == {first, second}
    with running(*GUNICORN, "--workers=1", **environ) as (base, _):
        assert get_json(base, "/version")["model_version"] == first
        assert status(base).startswith("degraded")
    assert_first_start_ends(environ, tmp_path)


def assert_first_start_ends(environ, folder):
    """Assert that a start without a copy fails in time, for a hanging and for a stopped store."""
    shutil.rmtree(folder / "cache")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        hangs = f"http://127.0.0.1:{silent.getsockname()[1]}"
        for endpoint in (hangs, os.environ["AWS_ENDPOINT_URL"]):
            began = time.monotonic()
            command = [word.format(port=free_port()) for word in GUNICORN]
            done = subprocess.run(
                command,
                cwd=ROOT,
                env=os.environ | environ | {"AWS_ENDPOINT_URL": endpoint},
                capture_output=True,
                text=True,
                check=False,
            )
            assert time.monotonic() - began < IN_TIME
            assert done.returncode != 0
            (line,) = [line for line in done.stderr.splitlines() if line]
            assert line.startswith("slipway cannot serve: the registry ")


@pytest.mark.parametrize("fault", ["403", "500", "cut", "slow"])
def test_start_faulty_bucket_loads_last_good_version_in_time(
    proxy, bucket, tmp_path, fault, monkeypatch
):
    registry = open_registry(bucket, {})
    version = registry.push(save_version(tmp_path / "a", 0.5), who="a test")
    registry.move("production", version, who="a test")
    settings = Settings.from_environ(
        tmp_path, {"SLIPWAY_MODEL": bucket, "SLIPWAY_CACHE": str(tmp_path / "cache")}
    )
    assert load_initial_service(settings).version == version
    newer = registry.push(save_version(tmp_path / "b", 1.5), who="a test")
    registry.move("production", newer, who="a test")
    proxy.fault = fault
    began = time.monotonic()
    served = load_initial_service(settings).version
    assert time.monotonic() - began < IN_TIME
    assert served in (version, newer) if fault == "slow" else served == version
