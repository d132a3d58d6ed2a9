"""Running services that the tests of the worker share.

A test module takes the fixtures with ``pytest_plugins = ["served"]``.
"""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest
from clients import HEAD, connected
from conftest import GUNICORN, running

from slipway.manifest import Manifest

# What a service gives its slow clients here, so that tests need not wait for ten seconds.
PATIENCE = 2


@pytest.fixture(scope="session")
def body(manifest: Manifest) -> bytes:
    """A record, as it is sent."""
    features = manifest.signature.features
    return json.dumps({feature.name: feature.example for feature in features}).encode()


@pytest.fixture(scope="module")
def impatient() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """One worker that gives its clients two seconds."""
    with running(*GUNICORN, "--workers=1", SLIPWAY_CLIENT_SECONDS=str(PATIENCE)) as started:
        yield started


@pytest.fixture(scope="session")
def kept_idle(body: bytes) -> Iterator[tuple[socket.socket, float]]:
    """A connection that was used once, and since when it is idle.

    It begins with the first module that asks for it, so that waiting costs the last one little.
    """
    with running(*GUNICORN, "--workers=1") as (base, _), connected(base) as sock:
        sock.sendall(HEAD % len(body) + body)
        assert sock.recv(65536).startswith(b"HTTP/1.1 200")
        yield sock, time.monotonic()
