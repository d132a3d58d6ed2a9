"""Keep-alive of the worker, which must be longer than that of Heroku's router."""

import runpy
import time

import pytest
from clients import HEAD, connected
from conftest import GUNICORN, ROOT, running

pytest_plugins = ["served"]

# Heroku's router keeps a connection for 90 s.
ROUTER_SECONDS = 90


def test_settings_keepalive_is_longer_than_router():
    settings = runpy.run_path(str(ROOT / "gunicorn.conf.py"))
    assert settings["keepalive"] > ROUTER_SECONDS
    assert settings["graceful_timeout"] < 30


@pytest.mark.slow
def test_worker_connection_idle_for_91_seconds_serves_request(body):
    with running(*GUNICORN, "--workers=1") as (base, _), connected(base) as sock:
        for seconds in (0, ROUTER_SECONDS + 1):
            time.sleep(seconds)
            sock.sendall(HEAD % len(body) + body)
            assert sock.recv(65536).startswith(b"HTTP/1.1 200")
