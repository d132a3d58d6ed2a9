"""The version in production, as what a new model is held against."""

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
    """What the new model is held against.

    Attributes
    ----------
    model : Predictor, optional
        None if it cannot be asked on these rows.
    manifest : Manifest, optional
        None if it cannot even be read.
    checks : tuple of Check
        What keeps the new model from taking its place, whatever the rows say.
    notes : tuple of str
    """

    model: Predictor | None = None
    manifest: Manifest | None = None
    checks: tuple[Check, ...] = ()
    notes: tuple[str, ...] = ()


def load_champion(
    problem: Problem, stored: Dataset, new: Manifest, copy: Path, *, allow_version_skew: bool
) -> Champion:
    """Load the version in production, or say why it cannot be asked on these rows.

    Parameters
    ----------
    problem : Problem
    stored : Dataset
    new : Manifest
        Of the new model.
    copy : Path
        The pickle of the version in production.
    allow_version_skew : bool
        As for the service.

    Returns
    -------
    Champion
    """
    rule = "production can be asked"
    try:
        manifest = read_manifest(copy)
    except ModelError as error:
        return Champion(checks=(_refused(rule, error.message),))
    checks, model, reason = [*_callers(manifest, new)], None, ""
    try:
        model = load_predictor(copy, "scorecard", allow_version_skew=allow_version_skew)
        reason = why_not_comparable(problem, stored, manifest.signature)
    except ModelError as error:
        reason = error.message
    if reason:
        return Champion(None, manifest, (_refused(rule, reason), *checks))
    return Champion(model, manifest, tuple(checks), leakage_notes(new, manifest))


def _refused(rule: str, why: str) -> Check:
    return Check(rule, why, "", passed=False)


def _callers(manifest: Manifest, new: Manifest) -> Iterator[Check]:
    """Check whether the services would exchange the one for the other."""
    try:
        require_compatible(manifest, new)
    except ModelError as error:
        yield _refused("callers need no change", error.message)


def why_not_comparable(problem: Problem, stored: Dataset, signature: Signature) -> str:
    """Say why a model with this signature cannot be asked on the rows; empty if it can.

    Parameters
    ----------
    problem : Problem
    stored : Dataset
    signature : Signature

    Returns
    -------
    str
    """
    target, ours = signature.target, problem.target
    if (target.classes, target.positive) != (ours.classes, ours.positive):
        return f"it predicts {target.name!a} with other classes, {', '.join(target.classes)}"
    there = pq.read_schema(stored.files[0])
    absent = [name for name in signature.names if name not in there.names]
    if absent:
        return f"it takes {', '.join(absent)}, which the rows do not have any more"
    for feature in signature.features:
        stands = there.field(feature.name).type
        if not _fits(feature, stands):
            return f"it takes {feature.name} as {feature.kind}, which is {stands} in the rows"
    return ""


def _fits(feature: Feature, stored: pa.DataType) -> bool:
    """Whether a column's values are what a feature takes."""
    value = stored.value_type if pa.types.is_dictionary(stored) else stored
    texts = any(is_text(value) for is_text in _TEXTS)
    whole = bool(pa.types.is_integer(value))
    if feature.kind == "category":
        return texts if all(isinstance(each, str) for each in feature.categories) else whole
    if feature.kind == "number":
        return whole or bool(pa.types.is_floating(value))
    return whole if feature.kind == "integer" else bool(pa.types.is_boolean(value))


def leakage_notes(new: Manifest, production: Manifest) -> tuple[str, ...]:
    """Say why the version in production may have been fitted on rows that are held out now.

    It makes that version look better than it is, and so can keep a new model from production,
    but not bring a worse one there.

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
        doubts.append("it says of no rows that they were held out")
    elif ours is not None and _parting(theirs.description) != _parting(ours.description):
        doubts.append(f"its rows were parted otherwise: {theirs.description}")
    if production.training.query_sha256 != new.training.query_sha256:
        doubts.append("its query was another, so that its keys may have been others")
    told = "production may have been fitted on some of these rows, which would favour it"
    return (f"{told}: {'; '.join(doubts)}",) if doubts else ()


def _parting(description: str) -> str:
    """Give how rows were parted, without how many of them were looked at."""
    return description.partition(";")[0]
