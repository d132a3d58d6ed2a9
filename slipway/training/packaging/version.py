"""Make a model version from a fitted pipeline: signature, manifest and files."""

from __future__ import annotations

import hashlib
import math
import pickle
import time
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy.typing as npt
import pandas as pd

from slipway.core.errors import SlipwayError
from slipway.models.artifacts import covariance_path
from slipway.models.intervals import Uncertainty
from slipway.models.manifest import (
    Covariance,
    Manifest,
    Training,
    write_manifest,
)
from slipway.models.pipeline_engine import output_context
from slipway.training.packaging.columns import to_records
from slipway.training.packaging.input_rows import first_rows, read_input_rows
from slipway.training.packaging.manifest_builder import build_manifest
from slipway.training.packaging.parity import MAX_COMPARED_ROWS, check_rows
from slipway.training.packaging.row_independence import require_row_independence
from slipway.training.packaging.searches import get_predicting_part
from slipway.training.packaging.signature_inference import infer_signature
from slipway.training.packaging.stamps import with_version
from slipway.training.packaging.start_check import require_start
from slipway.training.packaging.targets import compute_base_rate, read_threshold, to_target_column


@dataclass(frozen=True)
class DescribedModel:
    """A manifest, and notes on facts that could not be inferred."""

    manifest: Manifest
    notes: list[str]


def save(
    model: Any,
    X: Any = None,
    y: npt.ArrayLike | None = None,
    path: str | Path = "model.pkl",
    *,
    name: str = "model",
    title: str = "What does the model predict?",
    positive: str | None = None,
) -> Manifest:
    """Write a fitted model as a model version that Slipway serves.

    Parameters
    ----------
    model : estimator
        A fitted classifier, regressor or outlier detector, usually a ``Pipeline``.
    X : DataFrame or array-like of shape (n_samples, n_features), optional
        The training rows, or similar ones. They define the kinds, training ranges, categories
        and examples of the features. The scorecard is checked on them.
    y : array-like of shape (n_samples,), optional
        The target, which defines the target's name and the base rate.
    path : str or Path
        Path of the pickle; the manifest is written beside it.
    name, title : str
        Name and title in the metadata and on the pages.
    positive : str, optional
        The class whose probability or score is returned; by default the second of two.

    Returns
    -------
    Manifest

    Raises
    ------
    SlipwayError
        The model cannot be served; the message says why and what to do.
    """
    model = get_predicting_part(model)
    described = describe_model(model, X, y, name=name, title=title, positive=positive)
    return write_checked(pickle_model(model), described.manifest, Path(path))


def pickle_model(model: Any) -> bytes:
    """Pickle a model.

    Raises
    ------
    SlipwayError
        The model contains an object that cannot be pickled.
    """
    try:
        return pickle.dumps(model, protocol=5)
    except Exception as error:  # a custom class can raise any error
        fix = "define functions and classes in an importable module"
        raise SlipwayError(f"the model cannot be pickled: {error}; {fix}") from error


def write_checked(
    content: bytes, manifest: Manifest, path: Path, uncertainty: Uncertainty | None = None
) -> Manifest:
    """Write a model version after a separate process has started with it.

    Raises
    ------
    SlipwayError
        The service cannot start with it, or its predictions differ. Nothing is written.
    """
    require_start(content, with_version(manifest, content, datetime.now(UTC)), path.name)
    try:
        return write(content, manifest, path, uncertainty)
    except OSError as error:
        raise SlipwayError(f"cannot write {path}: {error.strerror}") from error


def describe_model(
    model: Any,
    X: Any = None,
    y: npt.ArrayLike | None = None,
    *,
    name: str = "model",
    title: str = "What does the model predict?",
    positive: str | None = None,
    source: str = "rows given to slipway.save",
) -> DescribedModel:
    """Build the manifest of a fitted model without writing files; see ``save``."""
    try:
        with warnings.catch_warnings():
            # Arrays deliberately get column names here.
            warnings.filterwarnings("ignore", "X (has|does not have valid) feature names")
            return _describe(model, X, y, name, title, positive, source)
    except SlipwayError:
        raise
    except Exception as error:  # custom models and rows can raise any error
        cause = f"{type(error).__name__}: {error}".splitlines()[0]
        raise SlipwayError(f"the model cannot be served with these rows: {cause}") from error


def _describe(
    model: Any, X: Any, y: Any, name: str, title: str, positive: str | None, source: str
) -> DescribedModel:
    """Build the manifest of a fitted model, without handling its errors."""
    started = time.perf_counter()
    samples = None if X is None else read_input_rows(model, X)
    rows = None if samples is None else samples.frame
    labels = None if y is None else to_target_column(y)
    target = "target" if labels is None else str(labels.name or "target")
    threshold, learned_positive = read_threshold(model)
    positive = positive or learned_positive
    inferred = infer_signature(model, samples, target_name=target, positive=positive)
    signature = inferred.signature
    if samples is not None:
        with output_context(signature):
            require_row_independence(model, first_rows(samples.original, MAX_COMPARED_ROWS))
    if threshold is not None and positive != learned_positive:
        # For the other class the threshold is 1 - t, and ties do not reach it.
        threshold = math.nextafter(1.0 - threshold, 2.0)
    manifest = build_manifest(
        model,
        rows,
        signature,
        name=name,
        title=title,
        threshold=threshold,
        base_rate=compute_base_rate(signature.target, labels),
        evaluations={},
        training=_training_record(rows, source, time.perf_counter() - started),
    )
    if samples is not None:
        records = to_records(samples.frame[:MAX_COMPARED_ROWS], signature)
        with output_context(signature):
            check_rows(model, manifest, first_rows(samples.original, MAX_COMPARED_ROWS), records)
    return DescribedModel(manifest, inferred.notes)


def _training_record(rows: pd.DataFrame | None, source: str, seconds: float) -> Training:
    """Return the manifest's facts about the rows."""
    content = b"" if rows is None else _hash_rows(rows)
    count = 0 if rows is None else len(rows)
    return Training(
        source="" if rows is None else source,
        query_sha256="",
        data_sha256=hashlib.sha256(content).hexdigest() if content else "",
        rows_read=count,
        rows_fit=count,
        rows_test=0,
        left_out={},
        seconds=round(seconds, 1),
    )


def _hash_rows(rows: pd.DataFrame) -> bytes:
    """Return a hash of each row."""
    try:
        hashed = pd.util.hash_pandas_object(rows)
    except TypeError:
        # Cells such as lists are not hashable.
        hashed = pd.util.hash_pandas_object(rows.map(repr))
    return hashed.to_numpy().tobytes()


def write(
    content: bytes, manifest: Manifest, path: Path, uncertainty: Uncertainty | None = None
) -> Manifest:
    """Write the pickle, manifest and covariance of a version, and return the manifest."""
    path.parent.mkdir(parents=True, exist_ok=True)
    covariance = _write_covariance(uncertainty, covariance_path(path))
    manifest = msgspec.structs.replace(manifest, covariance=covariance)
    manifest = with_version(manifest, content, datetime.now(UTC))
    path.write_bytes(content)
    write_manifest(manifest, path)
    return manifest


def _write_covariance(uncertainty: Uncertainty | None, path: Path) -> Covariance | None:
    """Write the covariance, or remove that of an earlier version."""
    if uncertainty is None:
        path.unlink(missing_ok=True)
        return None
    content = uncertainty.encode()
    path.write_bytes(content)
    return Covariance(hashlib.sha256(content).hexdigest(), uncertainty.design.columns)
