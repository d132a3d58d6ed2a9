"""An S3 server for the registries of tests, and a proxy that injects faults.

A test module loads the fixtures with ``pytest_plugins = ["registry_servers"]``.
"""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import pytest
from conftest import free_port
from registries import BUCKET, SECRET

from slipway.registry import Registry, open_registry


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The URL of an S3 server with a bucket, in a subprocess."""
    port = free_port()
    command = (sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port))
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    environ = {
        "AWS_ACCESS_KEY_ID": "tests",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": address,
    }
    try:
        wait_for_port(port, process)
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environ.items():
                patch.setenv(name, value)
            boto3.client("s3").create_bucket(Bucket=BUCKET)
            yield address
    finally:
        process.terminate()
        process.wait(30)


def wait_for_port(port: int, process: subprocess.Popen[bytes], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("the server did not start")


@pytest.fixture
def bucket(s3_server: str) -> str:
    """The URL of an empty registry in a bucket."""
    return f"s3://{BUCKET}/{uuid.uuid4().hex}"


@pytest.fixture(params=["folder", "bucket"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The folder or URL of an empty registry."""
    if request.param == "bucket":
        return str(request.getfixturevalue("bucket"))
    return str(tmp_path / "registry")


@pytest.fixture
def registry(address: str) -> Registry:
    return open_registry(address, {})


class Proxy(ThreadingHTTPServer):
    """A proxy that forwards requests to a server and injects faults.

    Attributes
    ----------
    fault : str
        ``403``, ``500``, ``503``, ``hang``, ``slow``, ``drip``, ``cut``, ``lost``; empty for none.
        With ``lost``, the server receives the request but the client gets no response.
    only : str
        Only paths that contain this text have the fault.
    requests : list of str
    """

    daemon_threads = True

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.target = urlsplit(target).netloc
        self.address = f"http://127.0.0.1:{self.server_port}"
        self.fault, self.only = "", ""
        self.requests: list[str] = []
        self.stopping = threading.Event()

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore clients that disconnect."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do(self) -> None:
        self.server.requests.append(f"{self.command} {self.path}")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = self.server.fault if self.server.only in self.path else ""
        if fault.isdigit():
            return self.respond(int(fault), b"<Error><Code>Spoilt</Code></Error>")
        if fault == "hang":
            self.server.stopping.wait(60)
        if fault == "slow":
            self.server.stopping.wait(4)
        upstream = http.client.HTTPConnection(self.server.target, timeout=30)
        headers = {k: v for k, v in self.headers.items() if k.lower() != "connection"}
        upstream.request(self.command, self.path, body, headers)
        response = upstream.getresponse()
        content = response.read()
        if fault == "lost":
            self.close_connection = True
            return None
        return self.respond(response.status, content, dict(response.getheaders()), fault)

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = do  # noqa: N815

    def respond(
        self, status: int, body: bytes, headers: dict[str, str] | None = None, fault: str = ""
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if fault == "cut":
            body = body[: len(body) // 2]
            self.close_connection = True
        for piece in [body[i : i + 1] for i in range(len(body))] if fault == "drip" else [body]:
            self.wfile.write(piece)
            if fault == "drip":
                self.server.stopping.wait(0.5)


@pytest.fixture
def proxy(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy before the S3 server; registries opened from now on use it."""
    server = Proxy(s3_server)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.address)
    yield server
    server.stopping.set()
    server.shutdown()
    server.server_close()
    thread.join()
