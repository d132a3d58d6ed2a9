"""Make a model version of a fitted pipeline: its signature, its manifest, its two files."""

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
from slipway.models.manifest import Covariance, Evaluation, Manifest, Training, write_manifest
from slipway.models.pipeline_engine import output_context
from slipway.models.signature import Signature
from slipway.training.packaging.columns import to_records
from slipway.training.packaging.golden_rows import golden_rows
from slipway.training.packaging.input_rows import InputRows, few, input_rows
from slipway.training.packaging.parity import MOST_COMPARED, check_rows, compile_checked
from slipway.training.packaging.row_independence import require_row_independence
from slipway.training.packaging.searches import answering_part
from slipway.training.packaging.signature_inference import infer_signature
from slipway.training.packaging.stamps import estimator_name, libraries, with_version
from slipway.training.packaging.start_check import require_start
from slipway.training.packaging.targets import base_rate, learned_threshold, target_column


@dataclass(frozen=True)
class DescribedModel:
    """A manifest, and in words what could not be known for it."""

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
    """Write a fitted model of one's own as a model version that Slipway serves.

    Parameters
    ----------
    model : estimator
        A fitted classifier, regressor or outlier detector; as a rule a ``Pipeline``.
    X : DataFrame or array-like of shape (n_samples, n_features), optional
        The rows it was fitted on, or others like them: the kinds, ranges, categories, gaps and
        examples of the features are taken from them, and the scorecard is checked on them.
    y : array-like of shape (n_samples,), optional
        The target; its name and the base rate are taken from it.
    path : str or Path
        Where the pickle is written; the manifest goes beside it.
    name, title : str
        For the metadata and the pages.
    positive : str, optional
        The class whose probability or score the model returns; by default the second of two.

    Returns
    -------
    Manifest

    Raises
    ------
    SlipwayError
        The model cannot be served; the message says why, and what to do.
    """
    model = answering_part(model)
    made = describe_model(model, X, y, name=name, title=title, positive=positive)
    return write_checked(dump(model), made.manifest, Path(path))


def dump(model: Any) -> bytes:
    """Pickle a model.

    Raises
    ------
    SlipwayError
        It holds something that cannot be pickled.
    """
    try:
        return pickle.dumps(model, protocol=5)
    except Exception as error:  # a class of one's own can raise anything
        fix = "define functions and classes in a module beside the model, and import them"
        raise SlipwayError(f"the model cannot be pickled: {error}; {fix}") from error


def write_checked(
    content: bytes, manifest: Manifest, path: Path, uncertainty: Uncertainty | None = None
) -> Manifest:
    """Write a model version, once a process of its own has started with it.

    Raises
    ------
    SlipwayError
        A service would not start with it, or would answer otherwise. Nothing is written.
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
    """Describe a fitted model, without writing anything; see ``save``."""
    try:
        with warnings.catch_warnings():
            # Names of columns are added to arrays here on purpose.
            warnings.filterwarnings("ignore", "X (has|does not have valid) feature names")
            return _described(model, X, y, name, title, positive, source)
    except SlipwayError:
        raise
    except Exception as error:  # a model or rows of anybody's can raise anything
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        raise SlipwayError(f"the model cannot be served with these rows: {what}") from error


def _described(
    model: Any, X: Any, y: Any, name: str, title: str, positive: str | None, source: str
) -> DescribedModel:
    """Describe a fitted model; what it raises is not handled here."""
    started = time.perf_counter()
    given = None if X is None else input_rows(model, X)
    rows = None if given is None else given.frame
    labels = None if y is None else target_column(y)
    target = "target" if labels is None else str(labels.name or "target")
    threshold, chosen = learned_threshold(model)
    positive = positive or chosen
    inferred = infer_signature(model, given, target_name=target, positive=positive)
    signature = inferred.signature
    if given is not None:
        with output_context(signature):
            require_row_independence(model, few(given.given, MOST_COMPARED))
    if threshold is not None and positive != chosen:
        # The other class gets what does not reach the threshold, and not the tie.
        threshold = math.nextafter(1.0 - threshold, 2.0)
    content = b"" if rows is None else _hashes(rows)
    manifest = describe(
        model,
        rows,
        signature,
        name=name,
        title=title,
        threshold=threshold,
        base_rate=base_rate(signature.target, labels),
        evaluations={},
        training=Training(
            source="" if rows is None else source,
            query_sha256="",
            data_sha256=hashlib.sha256(content).hexdigest() if content else "",
            rows_read=0 if rows is None else len(rows),
            rows_fit=0 if rows is None else len(rows),
            rows_test=0,
            left_out={},
            seconds=round(time.perf_counter() - started, 1),
        ),
    )
    if given is not None:
        _check(model, manifest, given)
    return DescribedModel(manifest, inferred.notes)


def _check(model: Any, manifest: Manifest, given: InputRows) -> None:
    """Hold the answers to records against those to the rows themselves."""
    signature = manifest.signature
    records = to_records(given.frame[:MOST_COMPARED], signature)
    with output_context(signature):
        check_rows(model, manifest, few(given.given, MOST_COMPARED), records)


def _hashes(rows: pd.DataFrame) -> bytes:
    """Return a hash of each row."""
    try:
        hashed = pd.util.hash_pandas_object(rows)
    except TypeError:
        # Cells such as lists have no hash of their own.
        hashed = pd.util.hash_pandas_object(rows.map(repr))
    return hashed.to_numpy().tobytes()


def describe(
    model: Any,
    X: pd.DataFrame | None,
    signature: Signature,
    *,
    name: str,
    title: str,
    threshold: float | None,
    base_rate: float | None,
    evaluations: dict[str, Evaluation],
    training: Training,
    held_out: pd.DataFrame | None = None,
    public_rows: bool = False,
) -> Manifest:
    """Make the manifest of a fitted model; ``write`` fills in what the pickle decides.

    Parameters
    ----------
    model : estimator
    X : DataFrame of shape (n_samples, n_features), optional
        The training rows.
    signature : Signature
    name, title : str
    threshold, base_rate : float, optional
    evaluations : dict of str to Evaluation
    training : Training
    held_out : DataFrame, optional
        Rows that were not trained on. Scorecard and pipeline must agree on them as well, and
        the golden rows are chosen from them; else from the training rows.
    public_rows : bool
        Whether rows may be shown as they are.

    Returns
    -------
    Manifest
        Without a scorecard where it is not the model's equal on all these rows.
    """
    shown = X if held_out is None else held_out
    golden = golden_rows(signature, model, shown, public=public_rows)
    if not golden:
        message = "the model refuses every record that could be made up for it"
        raise SlipwayError(f"{message}; give its training rows, with --data or as X")
    records = [tuple(row.record[name] for name in signature.names) for row in golden]
    for rows in (X, held_out):
        records += [] if rows is None else to_records(rows, signature)
    floats = _in_floats(X, signature)
    scorecard, reason = compile_checked(model, signature, floats, records, labels=threshold is None)
    return Manifest(
        name=name,
        title=title,
        version="",
        created="",
        sha256="",
        estimator=estimator_name(model),
        signature=signature,
        scorecard=scorecard,
        reason=reason,
        threshold=threshold,
        base_rate=base_rate,
        evaluations=evaluations,
        golden=golden,
        training=training,
        libraries=libraries(model),
    )


def _in_floats(X: pd.DataFrame | None, signature: Signature) -> pd.DataFrame | None:
    """Turn decimals into the floats that records hold."""
    decimals = {f.name: float for f in signature.features if f.dtype == "decimal"}
    return X if X is None or not decimals else X.astype(decimals)


def write(
    content: bytes, manifest: Manifest, path: Path, uncertainty: Uncertainty | None = None
) -> Manifest:
    """Write a pickle and what stands beside it, and give the manifest its version."""
    path.parent.mkdir(parents=True, exist_ok=True)
    covariance = _write_covariance(uncertainty, covariance_path(path))
    manifest = msgspec.structs.replace(manifest, covariance=covariance)
    manifest = with_version(manifest, content, datetime.now(UTC))
    path.write_bytes(content)
    write_manifest(manifest, path)
    return manifest


def _write_covariance(uncertainty: Uncertainty | None, path: Path) -> Covariance | None:
    """Write the covariance; without one, that of an earlier version must not stay behind."""
    if uncertainty is None:
        path.unlink(missing_ok=True)
        return None
    content = uncertainty.encode()
    path.write_bytes(content)
    return Covariance(hashlib.sha256(content).hexdigest(), uncertainty.design.columns)
