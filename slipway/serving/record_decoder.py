"""A msgspec type that decodes and validates an ordinary record in one pass.

``Signature.check`` accepts any Python value, and explains errors and warnings. This type only
accepts or rejects. Rejected records go to ``check``. A test compares both.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from slipway.models.features import Feature
from slipway.models.signature import Signature
from slipway.models.validation import LARGEST_INTEGER, MAX_TEXT, NUMERIC_KINDS

# No number fits this type, so that every record goes to Signature.check.
_NOTHING = Annotated[float, msgspec.Meta(gt=1.0, lt=0.0)]


def fast_record(signature: Signature) -> type[msgspec.Struct]:
    """Build a type that accepts only complete, valid records with known categories.

    Every feature must be present. A count of the keys then shows duplicate keys, which msgspec does
    not report.

    Parameters
    ----------
    signature : Signature

    Returns
    -------
    type
        A struct with its fields in the order of the features.
    """
    fields = [(f"f{i}", _fast_type(feature)) for i, feature in enumerate(signature.features)]
    names = {f"f{i}": name for i, name in enumerate(signature.names)}
    return msgspec.defstruct(
        "FastRecord", fields, forbid_unknown_fields=True, rename=names, gc=False
    )


def _fast_type(feature: Feature) -> Any:
    """Return the narrowest msgspec type for a feature."""
    kind: Any
    if feature.kind == "flag":
        kind = bool if feature.known in (frozenset(), frozenset({True, False})) else _NOTHING
    elif feature.kind in NUMERIC_KINDS:
        kind = _fast_number(feature)
    elif feature.kind == "datetime":
        kind = _NOTHING
    elif feature.categories:
        kind = Literal[feature.categories]
    else:
        kind = Annotated[str, msgspec.Meta(max_length=MAX_TEXT, pattern="^[^\0]*$")]
    return kind | None if feature.nullable and not feature.complete else kind


def _fast_number(feature: Feature) -> Any:
    """Return the type of a number in its ordinary range."""
    if feature.is_narrow_float or not all(type(category) is int for category in feature.categories):
        return _NOTHING
    if feature.categories:
        return Literal[feature.categories]
    low, high = feature.ordinary_range
    if not feature.is_integer_column:
        return Annotated[float, msgspec.Meta(ge=low, le=high)]
    # A float, because an integer column with missing values is often written as 1999.0.
    low = -LARGEST_INTEGER if low is None else max(low, -LARGEST_INTEGER)
    high = LARGEST_INTEGER if high is None else min(high, LARGEST_INTEGER)
    return Annotated[float, msgspec.Meta(ge=low, le=high, multiple_of=1)]
