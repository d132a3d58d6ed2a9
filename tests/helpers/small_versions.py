"""Small real versions with different predictions, for the tests of running services."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import msgspec
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

import slipway
from slipway.models.artifacts import manifest_path
from slipway.models.manifest import Manifest, read_manifest, write_manifest

RECORDS = [{"age": age, "place": place} for age in (20, 35, 61) for place in ("sea", "hill")]
BODIES = [json.dumps(record).encode() for record in RECORDS]


def save_version(folder: Path, weight: float, *, tree: bool = False, drop: str = "") -> Path:
    """Fit and write a version; another weight gives other predictions."""
    rows = pd.DataFrame({"age": range(18, 78), "place": ["sea", "hill", "hill"] * 20})
    y = [("no", "yes")[(age * 7 + i) % 5 < 2] for i, age in enumerate(rows["age"])]
    rows = rows.drop(columns=drop) if drop else rows
    numbers = [name for name in ("age",) if name in rows]
    texts = [name for name in ("place",) if name in rows]
    columns = make_column_transformer(
        (StandardScaler(), numbers), (OneHotEncoder(handle_unknown="ignore"), texts)
    )
    model = DecisionTreeClassifier(max_depth=3) if tree else LogisticRegression(C=1 + abs(weight))
    folder.mkdir(parents=True, exist_ok=True)
    fitted = make_pipeline(columns, model).fit(rows, y)
    if not tree:
        model.intercept_ += weight
    slipway.save(fitted, rows, y, folder / "model.pkl", name="small", title="Is it so?")
    return folder / "model.pkl"


def rename_version(path: Path, manifest: Manifest | None = None, **changes: object) -> Path:
    """Rename a version and change its manifest, as a faulty push would."""
    manifest = manifest or read_manifest(path)
    content = path.read_bytes()
    digest = hashlib.sha256(content + repr(changes).encode()).hexdigest()
    new_fields = {"version": f"{manifest.version[:17]}{digest[:8]}", **changes}
    write_manifest(msgspec.structs.replace(manifest, **new_fields), path)
    assert manifest_path(path).exists()
    return path
