"""What a manifest says of its pickle: estimator, libraries, hash and version."""

from __future__ import annotations

import hashlib
import pickletools
import platform
import re
from datetime import datetime
from importlib.metadata import packages_distributions, version
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import sklearn
from sklearn.pipeline import Pipeline

from slipway.models.manifest import Manifest


def estimator_name(model: Any) -> str:
    """Name the last step of a pipeline, or the model itself."""
    return type(model.steps[-1][1] if isinstance(model, Pipeline) else model).__name__


def libraries(model: Any) -> dict[str, str]:
    """Give the versions that the model was made with, those of its steps' packages included."""
    parts = [model, *model.get_params(deep=True).values()]
    modules = {type(part).__module__.partition(".")[0] for part in parts if hasattr(part, "fit")}
    packages = packages_distributions()
    others = sorted({packages[module][0] for module in modules & packages.keys()})
    versions = {package: version(package) for package in others}
    return {
        "python": platform.python_version(),
        "scikit-learn": sklearn.__version__,
        "numpy": np.__version__,
        "pandas": pd.__version__,
    } | versions


def pickled_sklearn_version(content: bytes) -> str | None:
    """Read which scikit-learn made a pickle, without opening it; None where it does not say."""
    try:
        texts = (text for _, text, _ in pickletools.genops(content) if isinstance(text, str))
        found = next((next(texts, "") for text in texts if text == "_sklearn_version"), "")
    except ValueError:
        return None
    return found if re.fullmatch(r"\d+(\.\w+)+", found) else None


def with_version(manifest: Manifest, content: bytes, made: datetime) -> Manifest:
    """Give a manifest what its pickle decides: hash, scikit-learn, the version's name."""
    maker = pickled_sklearn_version(content)
    sha256 = hashlib.sha256(content).hexdigest()
    return msgspec.structs.replace(
        manifest,
        libraries=manifest.libraries | ({"scikit-learn": maker} if maker else {}),
        sha256=sha256,
        created=made.isoformat(timespec="seconds"),
        version=f"{made:%Y%m%dT%H%M%SZ}-{sha256[:8]}",
    )
