"""The requirements of a project of your own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from slipway.core.version import __version__
from slipway.models.manifest import Manifest

DISTRIBUTION = "slipway-ml"
_WEB_PINS = Path(__file__).with_name("web_pins.txt")
# Packages that scikit-learn needs, whose versions decide the last digits as well.
UNDER_SCIKIT_LEARN = ("scipy", "joblib", "threadpoolctl")
_NOTEBOOK = ("ipykernel", "nbconvert", "nbclient")


def serving_pins(manifest: Manifest, installed: Mapping[str, str]) -> list[str]:
    """List what serving needs: the web half, and the model's libraries where its pickle serves."""
    web = _WEB_PINS.read_text(encoding="utf-8").split("\n")
    pins = [f"{DISTRIBUTION}=={__version__}", *filter(None, web)]
    return pins if manifest.scorecard is not None else [*pins, *_library_pins(manifest, installed)]


def training_pins(manifest: Manifest, installed: Mapping[str, str]) -> list[str]:
    """List what training needs besides: the model's libraries, and what runs a notebook."""
    return [*_library_pins(manifest, installed), *_NOTEBOOK]


def _library_pins(manifest: Manifest, installed: Mapping[str, str]) -> list[str]:
    """Pin the libraries that the model was fitted with."""
    recorded = {name: text for name, text in manifest.libraries.items() if name != "python"}
    versions = {**installed, **recorded}
    return [f"{name}=={text}" for name, text in sorted(versions.items())]
