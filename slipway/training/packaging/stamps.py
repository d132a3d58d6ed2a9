"""Facts about the pickle in a manifest: estimator, libraries, hash and version."""

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


def get_estimator_name(model: Any) -> str:
    """Return the class name of the last step of a pipeline, or of the model."""
    return type(model.steps[-1][1] if isinstance(model, Pipeline) else model).__name__


def find_libraries(model: Any) -> dict[str, str]:
    """Return the versions of the libraries that the model needs."""
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
    """Return the scikit-learn version in a pickle without loading it, or None."""
    try:
        texts = (text for _, text, _ in pickletools.genops(content) if isinstance(text, str))
        result = next((next(texts, "") for text in texts if text == "_sklearn_version"), "")
    except ValueError:
        return None
    return result if re.fullmatch(r"\d+(\.\w+)+", result) else None


def with_version(manifest: Manifest, content: bytes, created: datetime) -> Manifest:
    """Fill in hash, scikit-learn version and version name from the pickle."""
    maker = pickled_sklearn_version(content)
    sha256 = hashlib.sha256(content).hexdigest()
    return msgspec.structs.replace(
        manifest,
        libraries=manifest.libraries | ({"scikit-learn": maker} if maker else {}),
        sha256=sha256,
        created=created.isoformat(timespec="seconds"),
        version=f"{created:%Y%m%dT%H%M%SZ}-{sha256[:8]}",
    )
