"""Running services that the tests of the worker share.

A test module takes the fixtures with ``pytest_plugins = ["served"]``.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import pytest
from conftest import GUNICORN, running

from slipway.models.manifest import Manifest

# What a service gives its slow clients here, so that tests need not wait for ten seconds.
PATIENCE = 2


@pytest.fixture(scope="session")
def body(manifest: Manifest) -> bytes:
    """A record, as it is sent."""
    features = manifest.signature.features
    return json.dumps({feature.name: feature.example for feature in features}).encode()


@pytest.fixture(scope="module")
def patient() -> Iterator[str]:
    """One worker that gives its clients two minutes, so that whoever waits for them is found out.

    The clients of the tests lose their own patience after twenty seconds.
    """
    with running(*GUNICORN, "--workers=1", SLIPWAY_CLIENT_SECONDS="120") as (base, _):
        yield base


@pytest.fixture(scope="module")
def impatient() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """One worker that gives its clients two seconds."""
    with running(*GUNICORN, "--workers=1", SLIPWAY_CLIENT_SECONDS=str(PATIENCE)) as started:
        yield started
