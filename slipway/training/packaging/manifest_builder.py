"""Build the manifest of a fitted model, with its golden rows and scorecard."""

from __future__ import annotations

from typing import Any

import pandas as pd

from slipway.core.errors import SlipwayError
from slipway.models.manifest import Evaluation, GoldenRow, Manifest, Training
from slipway.models.scorecard import Scorecard
from slipway.models.signature import Signature
from slipway.training.packaging.columns import to_records
from slipway.training.packaging.golden_rows import choose_golden_rows
from slipway.training.packaging.parity import compile_checked
from slipway.training.packaging.stamps import find_libraries, get_estimator_name


def build_manifest(
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
    """Build the manifest of a fitted model; ``write`` fills in hash and version.

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
        Held out rows. Scorecard and pipeline must agree on them as well. The golden rows come
        from them, or from the training rows if there are none.
    public_rows : bool
        Show rows unchanged.

    Returns
    -------
    Manifest
        Without a scorecard if it differs from the model on any of these rows.
    """
    source = X if held_out is None else held_out
    golden = choose_golden_rows(signature, model, source, public=public_rows)
    if not golden:
        fix = "give its training rows with --data or as X"
        raise SlipwayError(f"the model rejects every generated record; {fix}")
    labels = threshold is None
    scorecard, reason = _compile_on_rows(model, signature, golden, X, held_out, labels=labels)
    return Manifest(
        name=name,
        title=title,
        version="",
        created="",
        sha256="",
        estimator=get_estimator_name(model),
        signature=signature,
        scorecard=scorecard,
        reason=reason,
        threshold=threshold,
        base_rate=base_rate,
        evaluations=evaluations,
        golden=golden,
        training=training,
        libraries=find_libraries(model),
    )


def _compile_on_rows(
    model: Any,
    signature: Signature,
    golden: tuple[GoldenRow, ...],
    X: pd.DataFrame | None,
    held_out: pd.DataFrame | None,
    *,
    labels: bool,
) -> tuple[Scorecard | None, str]:
    """Compile the scorecard, and compare it on golden, training and held out rows."""
    records = [tuple(row.record[name] for name in signature.names) for row in golden]
    for rows in (X, held_out):
        records += [] if rows is None else to_records(rows, signature)
    # Records have floats instead of decimals.
    decimals = {f.name: float for f in signature.features if f.dtype == "decimal"}
    X = X if X is None or not decimals else X.astype(decimals)
    return compile_checked(model, signature, X, records, labels=labels)
