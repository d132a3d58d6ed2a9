"""Validate the fields of a problem before it is used.

The ``_expect_*`` functions return an empty string for a valid value, else a description of valid
values.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import fields
from datetime import date

import msgspec

from slipway.core.errors import SlipwayError
from slipway.data.problem import Problem, PromotionRules
from slipway.data.problem_query import check_query
from slipway.models.features import Feature, Target
from slipway.models.validation import check_value

Messages = Iterator[str]
# Columns that the ETL adds to stored or quarantined rows.
RESERVED = ("fold", "reasons", "#")
_NAME = re.compile(r"[A-Za-z0-9_][\w.-]*", re.ASCII)
_COLUMN = re.compile(r"[^\0-\x1f\x7f\"]+")
_PATH = re.compile(r" - at (?:`key` in )?`\$\.?(.*?)`$")


def validate_problem(problem: Problem, module: str) -> None:
    """Raise an error for the first field that is not valid.

    Parameters
    ----------
    problem : Problem
    module : str
        The module that defines it.

    Raises
    ------
    SlipwayError
        The message names the module, the field and its value.
    """
    for check in (_check_types, _check_names, _check_features, _check_target, _check_references):
        for message in check(problem):
            raise SlipwayError(f"{module}.PROBLEM: {message}")
    for message in check_query(problem):
        raise SlipwayError(f"{module}.PROBLEM: {message}")


def format_value(value: object) -> str:
    """Return a value as text of at most 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _expect_text(value: object) -> str:
    return "" if isinstance(value, str) and value.strip() else "a non-empty text"


def _expect_column(value: object) -> str:
    valid = isinstance(value, str) and _COLUMN.fullmatch(value) and value.strip() == value
    return "" if valid else "a column's name, without quotation marks and line breaks"


def _expect_column_or_none(value: object) -> str:
    return "" if value is None else _expect_column(value) and _expect_column(value) + ", or None"


def _expect_callable(value: object) -> str:
    return "" if callable(value) else "a function"


def _expect_share(value: object) -> str:
    return "" if _is_number(value) and 0 <= value <= 1 else "a number from 0 to 1"  # type: ignore[operator]


def _expect_count(value: object) -> str:
    valid = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    return "" if valid else "an integer of at least 1"


def _expect_flag(value: object) -> str:
    return "" if isinstance(value, bool) else "True or False"


def _expect_split(value: object) -> str:
    valid = _is_number(value) or isinstance(value, date) or not _expect_text(value)
    return "" if valid else "a number, a text, a date or a datetime"


def _is_number(value: object) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value)  # type: ignore[arg-type]


def _expect_texts(value: object, *, at_least: int) -> str:
    """Expect a tuple of distinct texts."""
    if isinstance(value, tuple) and all(isinstance(item, str) for item in value):
        if len(value) < at_least:
            return "a tuple of at least one name"
        return "a tuple of distinct texts" if len({*value}) < len(value) else ""
    hint = f"; write ({format_value(value)},)" if isinstance(value, str) else ""
    return f"a tuple of texts{hint}"


CHECKS: dict[str, Callable[[object], str]] = {
    **dict.fromkeys(("title", "source", "query", "unlabelled"), _expect_text),
    **dict.fromkeys(("target_column", "order_column"), _expect_column),
    **dict.fromkeys(("group_column", "watermark_column"), _expect_column_or_none),
    **dict.fromkeys(("tables", "key"), lambda value: _expect_texts(value, at_least=1)),
    **dict.fromkeys(("slices", "missing"), lambda value: _expect_texts(value, at_least=0)),
    **dict.fromkeys(("read_tables", "pipeline", "labels"), _expect_callable),
    **dict.fromkeys(("max_quarantined", "max_missing"), _expect_share),
    "min_class_rows": _expect_count,
    "public_rows": _expect_flag,
    "time_split": _expect_split,
}
PROMOTION: dict[str, Callable[[object], str]] = {
    **dict.fromkeys(
        ("log_loss_margin", "calibration_margin"),
        lambda value: "" if _is_number(value) and value >= 0 else "a number of at least 0",  # type: ignore[operator]
    ),
    "level": lambda v: "" if _is_number(v) and 0 < v < 1 else "a number between 0 and 1",  # type: ignore[operator]
    **dict.fromkeys(("resamples", "min_rows", "min_groups"), _expect_count),
    "seed": lambda v: "" if v == 0 or not _expect_count(v) else "an integer of at least 0",
}


def _check_types(problem: Problem) -> Messages:
    """Yield an error for each field with a value of the wrong type or range."""
    for name, check in CHECKS.items():
        yield from _check_field(name, getattr(problem, name), check)
    if not isinstance(problem.promotion, PromotionRules):
        yield f"promotion must be a PromotionRules, not {format_value(problem.promotion)}"
        return
    for field in fields(problem.promotion):
        value = getattr(problem.promotion, field.name)
        yield from _check_field(f"promotion.{field.name}", value, PROMOTION[field.name])


def _check_field(name: str, value: object, check: Callable[[object], str]) -> Messages:
    """Yield an error if a field is not valid."""
    expected = check(value)
    if expected:
        yield (
            f"{name} must be {expected}"
            if "; write" in expected
            else (f"{name} must be {expected}, not {format_value(value)}")
        )


def _check_names(problem: Problem) -> Messages:
    """Yield an error for each name that the ETL cannot use."""
    if not isinstance(problem.name, str) or not _NAME.fullmatch(problem.name):
        example = "a name of letters, digits and _ . -, such as 'churn'"
        yield f"name must be {example}, not {format_value(problem.name)}; it names folders"
    for field in ("tables", "key"):
        for name in getattr(problem, field):
            yield from _check_field(field, name, _expect_column)
    for field in ("target_column", "order_column", "group_column", "watermark_column", "key"):
        value = getattr(problem, field)
        for name in value if isinstance(value, tuple) else (value,):
            if name in RESERVED:
                yield f"{field} names the reserved column {name!r}; rename the column"


def _check_features(problem: Problem) -> Messages:
    """Yield an error for each feature that is not valid, and for duplicate names."""
    features = problem.features
    if not isinstance(features, tuple) or not features:
        yield f"features must be a tuple of at least one Feature, not {format_value(features)}"
        return
    seen: set[str] = set()
    for i, feature in enumerate(features):
        if not isinstance(feature, Feature):
            yield f"features[{i}] must be a Feature, not {format_value(feature)}"
            return
        yield from _check_feature(feature, f"features[{i}]")
        if feature.name.lower() in seen:
            yield f"features has the name {feature.name!r} twice; names are not case-sensitive"
        seen.add(feature.name.lower())
    for name in problem.slices:
        if name not in {feature.name for feature in features}:
            yield f"slices names {name!r}, which is not a feature"


def _check_feature(feature: Feature, place: str) -> Messages:
    """Check the types of a feature's fields, its range and its example."""
    yield from _check_struct(feature, place)
    yield from _check_field(f"{place}.name", feature.name, _expect_column)
    place = f"features: {feature.name}"
    if feature.name in RESERVED:
        yield f"{place} is a reserved name; rename the column"
    low, high = feature.minimum, feature.maximum
    if any(bound is not None and not math.isfinite(bound) for bound in (low, high)):
        yield f"{place} has the range {low} to {high}; omit an infinite bound"
    if low is not None and high is not None and low > high:
        yield f"{place} has minimum {low:g} above maximum {high:g}"
    _, error, _ = check_value(feature, feature.example)
    if error is not None:
        yield f"{place} has the example {format_value(feature.example)}: {error.message}"


def _check_struct(struct: Feature | Target, place: str) -> Messages:
    """Check the types of a struct's fields; msgspec checks them only when it decodes."""
    try:
        builtins = msgspec.to_builtins(struct)
        builtins.pop("type", None)
        msgspec.convert(builtins, type(struct))
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        message = str(error)
        path = _PATH.search(message)
        where = f"{place}.{path[1]}" if path and path[1] else place
        value = getattr(struct, path[1], None) if path else None
        suffix = f", not {format_value(value)}" if path and value is not None else ""
        yield f"{where}: {_PATH.sub('', message)[:200]}{suffix}"


def _check_target(problem: Problem) -> Messages:
    """Check the target, its two classes and its column."""
    target = problem.target
    if not isinstance(target, Target):
        yield f"target must be a Target, not {format_value(target)}"
        return
    yield from _check_struct(target, "target")
    yield from _check_field("target.name", target.name, _expect_text)
    if len({*target.classes}) != 2 or len(target.classes) != 2:
        yield f"target.classes must be two names, not {format_value(target.classes)}"
    if target.positive not in target.classes:
        names = " or ".join(map(repr, target.classes))
        yield f"target.positive must be {names}, not {format_value(target.positive)}"
    if target.positive != target.classes[1]:
        order = f"({target.classes[1]!r}, {target.classes[0]!r})"
        yield (
            f"target.positive is {target.positive!r}, but it must be the second of "
            f"target.classes; write classes={order}"
        )
    if problem.target_column in {feature.name for feature in problem.features}:
        yield f"target_column is {problem.target_column!r}, which is also a feature"


def _check_references(problem: Problem) -> Messages:
    """Check that the target column has no other role."""
    for field in ("key", "order_column", "group_column", "watermark_column"):
        value = getattr(problem, field)
        if problem.target_column in (value if isinstance(value, tuple) else (value,)):
            yield f"{field} names {problem.target_column!r}, which is the target_column"
