"""What the tests share: the app, its client and the manifest of the model."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))


@pytest.fixture(scope="session")
def app():
    from app import app as served

    return served


@pytest.fixture
def client(app):
    return app.test_client()


@pytest.fixture(scope="session")
def manifest():
    from slipway.models.manifest import read_manifest

    return read_manifest(ROOT / "model.pkl")


@pytest.fixture(scope="session")
def example(manifest):
    """A record of the examples of all features."""
    return {feature.name: feature.example for feature in manifest.signature.features}
