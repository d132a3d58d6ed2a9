"""Running services for the tests of the worker.

A test module loads the fixtures with ``pytest_plugins = ["served"]``.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import pytest
from conftest import GUNICORN, running

from slipway.models.manifest import Manifest

# Seconds that a service waits for slow clients here, instead of the default of ten.
PATIENCE = 2


@pytest.fixture(scope="session")
def body(manifest: Manifest) -> bytes:
    """A record as a JSON body."""
    features = manifest.signature.features
    return json.dumps({feature.name: feature.example for feature in features}).encode()


@pytest.fixture(scope="module")
def patient() -> Iterator[str]:
    """A worker that waits two minutes for its clients; a blocked request then fails its test.

    The clients of the tests time out after twenty seconds.
    """
    with running(*GUNICORN, "--workers=1", SLIPWAY_CLIENT_SECONDS="120") as (base, _):
        yield base


@pytest.fixture(scope="module")
def impatient() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A worker that waits two seconds for its clients."""
    with running(*GUNICORN, "--workers=1", SLIPWAY_CLIENT_SECONDS=str(PATIENCE)) as started:
        yield started
