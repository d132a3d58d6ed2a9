"""Real Spark servers on loopback, one of each for the test session.

A test module loads the fixtures with ``pytest_plugins = ["spark_cluster"]``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from conftest import free_port

from slipway.data.sources.java_runtime import find_java_home

DEPLOY = "org.apache.spark.deploy"
CONNECT = "org.apache.spark.sql.connect.service.SparkConnectServer"
WORKERS = 2


@pytest.fixture(scope="session")
def spark_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a master with two workers of one core each."""
    folder = tmp_path_factory.mktemp("cluster")
    port, page = free_port(), free_port()
    master = f"spark://127.0.0.1:{port}"
    master_options = ["--host", "127.0.0.1", "--port", str(port), "--webui-port", str(page)]
    worker_options = ["--host", "127.0.0.1", "--cores", "1", "--memory", "2g", "--webui-port", "0"]
    with ExitStack() as stack:
        command = ["spark-class", f"{DEPLOY}.master.Master", *master_options]
        stack.enter_context(running_spark(folder, "master", command))
        wait_until(lambda: master_state(page) is not None, "the master", folder)
        for number in range(WORKERS):
            work = ["--work-dir", str(folder / f"work{number}"), master]
            command = ["spark-class", f"{DEPLOY}.worker.Worker", *worker_options, *work]
            stack.enter_context(running_spark(folder, f"worker{number}", command))
        wait_until(lambda: count_alive_workers(page) == WORKERS, "two workers", folder)
        yield master


@pytest.fixture(scope="session")
def spark_connect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Spark Connect server."""
    folder = tmp_path_factory.mktemp("connect")
    port = free_port()
    settings = {
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.connect.grpc.binding.port": str(port),
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.ui.enabled": "false",
    }
    conf = [word for item in settings.items() for word in ("--conf", "=".join(item))]
    command = ["spark-submit", "--class", CONNECT, "--master", "local[2]", *conf, "spark-internal"]
    with running_spark(folder, "connect", command):
        wait_until(lambda: is_listening(port), "the Spark Connect server", folder)
        yield f"sc://127.0.0.1:{port}"


@contextmanager
def running_spark(folder: Path, name: str, words: list[str]) -> Iterator[None]:
    """Run a program of Spark, with its log in the folder."""
    import pyspark

    home = Path(pyspark.__file__).parent
    java = find_java_home(folder)
    environ = os.environ | ({} if java is None else {"JAVA_HOME": str(java)})
    environ |= {
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_DAEMON_MEMORY": "512m",
        "SPARK_HOME": str(home),
        "SPARK_LOCAL_DIRS": str(folder),
        "SPARK_LOCAL_IP": "127.0.0.1",
    }
    command = [str(home / "bin" / words[0]), *words[1:]]
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(command, env=environ, stdout=log, stderr=log, cwd=folder)
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


def wait_until(ready: Callable[[], bool], what: str, folder: Path, seconds: float = 300.0) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            logs = "\n".join(log.read_text()[-2000:] for log in folder.glob("*.log"))
            raise AssertionError(f"{what} did not come up in {seconds} s:\n{logs}")
        time.sleep(0.3)


def master_state(page: int) -> dict | None:
    """Return the state of the master, or None if it does not answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{page}/json/", timeout=20) as answer:
            return dict(json.load(answer))
    except OSError:
        return None


def count_alive_workers(page: int) -> int:
    answer = master_state(page) or {"workers": []}
    return sum(worker["state"] == "ALIVE" for worker in answer["workers"])


def is_listening(port: int) -> bool:
    import socket

    try:
        socket.create_connection(("127.0.0.1", port), timeout=20).close()
    except OSError:
        return False
    return True
