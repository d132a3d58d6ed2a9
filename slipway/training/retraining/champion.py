"""The version in production, as the reference for a new model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from slipway.core.errors import ModelError
from slipway.data.dataset import Dataset
from slipway.data.problem import Problem
from slipway.models.compatibility import require_compatible
from slipway.models.features import Feature
from slipway.models.manifest import Manifest, read_manifest
from slipway.models.predictor import Predictor, load_predictor
from slipway.models.promotion_record import Check
from slipway.models.signature import Signature

_TEXTS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)


@dataclass(frozen=True)
class Champion:
    """The version in production that the new model is compared with.

    Attributes
    ----------
    model : Predictor, optional
        None if it cannot predict these rows.
    manifest : Manifest, optional
        None if the manifest cannot be read.
    checks : tuple of Check
        Failed checks that prevent a promotion regardless of the scores.
    notes : tuple of str
    """

    model: Predictor | None = None
    manifest: Manifest | None = None
    checks: tuple[Check, ...] = ()
    notes: tuple[str, ...] = ()


def load_champion(
    problem: Problem, dataset: Dataset, new: Manifest, copy: Path, *, allow_version_skew: bool
) -> Champion:
    """Load the version in production, or report why it cannot predict these rows.

    Parameters
    ----------
    problem : Problem
    dataset : Dataset
    new : Manifest
        The manifest of the new model.
    copy : Path
        The pickle of the version in production.
    allow_version_skew : bool
        The setting of the service.

    Returns
    -------
    Champion
    """
    rule = "production can predict these rows"
    try:
        manifest = read_manifest(copy)
    except ModelError as error:
        return Champion(checks=(_failed_check(rule, error.message),))
    checks, model, reason = [*_check_callers(manifest, new)], None, ""
    try:
        model = load_predictor(copy, "scorecard", allow_version_skew=allow_version_skew)
        reason = why_not_comparable(problem, dataset, manifest.signature)
    except ModelError as error:
        reason = error.message
    if reason:
        return Champion(None, manifest, (_failed_check(rule, reason), *checks))
    return Champion(model, manifest, tuple(checks), leakage_notes(new, manifest))


def _failed_check(rule: str, why: str) -> Check:
    return Check(rule, why, "", passed=False)


def _check_callers(manifest: Manifest, new: Manifest) -> Iterator[Check]:
    """Check that clients need no change."""
    try:
        require_compatible(manifest, new)
    except ModelError as error:
        yield _failed_check("clients need no change", error.message)


def why_not_comparable(problem: Problem, dataset: Dataset, signature: Signature) -> str:
    """Return why a model with this signature cannot predict the rows, or an empty text.

    Parameters
    ----------
    problem : Problem
    dataset : Dataset
    signature : Signature

    Returns
    -------
    str
    """
    target, ours = signature.target, problem.target
    if (target.classes, target.positive) != (ours.classes, ours.positive):
        return f"its target {target.name!a} has other classes: {', '.join(target.classes)}"
    schema = pq.read_schema(dataset.files[0])
    missing = [name for name in signature.names if name not in schema.names]
    if missing:
        return f"the rows no longer have its features {', '.join(missing)}"
    for feature in signature.features:
        column_type = schema.field(feature.name).type
        if not _fits(feature, column_type):
            return f"its feature {feature.name} is a {feature.kind}, but {column_type} in the rows"
    return ""


def _fits(feature: Feature, dataset: pa.DataType) -> bool:
    """Return whether a column has values of a feature's kind."""
    value = dataset.value_type if pa.types.is_dictionary(dataset) else dataset
    is_text = any(predicate(value) for predicate in _TEXTS)
    is_integer = bool(pa.types.is_integer(value))
    if feature.kind == "category":
        return (
            is_text
            if all(isinstance(category, str) for category in feature.categories)
            else is_integer
        )
    if feature.kind == "number":
        return is_integer or bool(pa.types.is_floating(value))
    return is_integer if feature.kind == "integer" else bool(pa.types.is_boolean(value))


def leakage_notes(new: Manifest, production: Manifest) -> tuple[str, ...]:
    """Return notes if the version in production may have been fitted on held out rows.

    Such rows improve the scores of that version. They can prevent the promotion of a better
    model, but not cause that of a worse one.

    Parameters
    ----------
    new, production : Manifest

    Returns
    -------
    tuple of str
    """
    ours, theirs = new.evaluations.get("holdout"), production.evaluations.get("holdout")
    doubts = []
    if theirs is None:
        doubts.append("its manifest lists no held out rows")
    elif ours is not None and _split_description(theirs.description) != _split_description(
        ours.description
    ):
        doubts.append(f"its rows were split differently: {theirs.description}")
    if production.training.query_sha256 != new.training.query_sha256:
        doubts.append("its query was different, so its keys may have been different")
    message = "production may have been fitted on some of these rows, which improves its scores"
    return (f"{message}: {'; '.join(doubts)}",) if doubts else ()


def _split_description(description: str) -> str:
    """Return the description of a split without the note on sampling."""
    return description.partition(";")[0]
