"""Check the fields of a problem, before anything is read or trained with it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import fields
from datetime import date

import msgspec

from slipway.core.errors import SlipwayError
from slipway.data.problem import Problem, PromotionRules
from slipway.data.problem_query import query_faults
from slipway.models.features import Feature, Target
from slipway.models.validation import check_value

Faults = Iterator[str]
# Columns that the stored rows have beside those of the query, and files that carry reasons.
RESERVED = ("fold", "reasons", "#")
_NAME = re.compile(r"[A-Za-z0-9_][\w.-]*", re.ASCII)
_COLUMN = re.compile(r"[^\0-\x1f\x7f\"]+")
_PATH = re.compile(r" - at (?:`key` in )?`\$\.?(.*?)`$")


def require_sound(problem: Problem, module: str) -> None:
    """Reject a problem with a field that cannot be used.

    Parameters
    ----------
    problem : Problem
    module : str
        The module that holds it.

    Raises
    ------
    SlipwayError
        The message names the field and its value.
    """
    for check in (_type_faults, _name_faults, _feature_faults, _target_faults, _other_faults):
        for fault in check(problem):
            raise SlipwayError(f"{module}.PROBLEM: {fault}")
    for fault in query_faults(problem):
        raise SlipwayError(f"{module}.PROBLEM: {fault}")


def shown(value: object) -> str:
    """Write a value of a field for a message."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _is_text(value: object) -> str:
    return "" if isinstance(value, str) and value.strip() else "a text that is not empty"


def _is_column(value: object) -> str:
    good = isinstance(value, str) and _COLUMN.fullmatch(value) and value.strip() == value
    return "" if good else "a column's name, without quotation marks and line breaks"


def _is_column_or_none(value: object) -> str:
    return "" if value is None else _is_column(value) and _is_column(value) + ", or None"


def _is_callable(value: object) -> str:
    return "" if callable(value) else "a function"


def _is_share(value: object) -> str:
    return "" if _is_number(value) and 0 <= value <= 1 else "a number from 0 to 1"  # type: ignore[operator]


def _is_count(value: object) -> str:
    good = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    return "" if good else "a whole number from 1 on"


def _is_flag(value: object) -> str:
    return "" if isinstance(value, bool) else "True or False"


def _is_split(value: object) -> str:
    good = _is_number(value) or isinstance(value, date) or not _is_text(value)
    return "" if good else "a number, a text, a date or a datetime"


def _is_number(value: object) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value)  # type: ignore[arg-type]


def _texts(value: object, *, least: int) -> str:
    """Return what a tuple of texts must be, where the value is none."""
    if isinstance(value, tuple) and all(isinstance(each, str) for each in value):
        if len(value) < least:
            return "a tuple of at least one name"
        return "a tuple of different texts" if len({*value}) < len(value) else ""
    hint = f"; write ({shown(value)},)" if isinstance(value, str) else ""
    return f"a tuple of texts{hint}"


CHECKS: dict[str, Callable[[object], str]] = {
    **dict.fromkeys(("title", "source", "query", "unlabelled"), _is_text),
    **dict.fromkeys(("target_column", "order_column"), _is_column),
    **dict.fromkeys(("group_column", "watermark_column"), _is_column_or_none),
    **dict.fromkeys(("tables", "key"), lambda value: _texts(value, least=1)),
    **dict.fromkeys(("slices", "missing"), lambda value: _texts(value, least=0)),
    **dict.fromkeys(("read_tables", "pipeline", "labels"), _is_callable),
    **dict.fromkeys(("max_quarantined", "max_missing"), _is_share),
    "min_class_rows": _is_count,
    "public_rows": _is_flag,
    "time_split": _is_split,
}
PROMOTION: dict[str, Callable[[object], str]] = {
    **dict.fromkeys(
        ("log_loss_margin", "calibration_margin"),
        lambda value: "" if _is_number(value) and value >= 0 else "a number from 0 on",  # type: ignore[operator]
    ),
    "level": lambda v: "" if _is_number(v) and 0 < v < 1 else "a number between 0 and 1",  # type: ignore[operator]
    **dict.fromkeys(("resamples", "min_rows", "min_groups"), _is_count),
    "seed": lambda v: "" if v == 0 or not _is_count(v) else "a whole number from 0 on",
}


def _type_faults(problem: Problem) -> Faults:
    """Compare the type of each field with what it must be."""
    for name, check in CHECKS.items():
        yield from _told(name, getattr(problem, name), check)
    if not isinstance(problem.promotion, PromotionRules):
        yield f"promotion must be a PromotionRules, not {shown(problem.promotion)}"
        return
    for field in fields(problem.promotion):
        value = getattr(problem.promotion, field.name)
        yield from _told(f"promotion.{field.name}", value, PROMOTION[field.name])


def _told(name: str, value: object, check: Callable[[object], str]) -> Faults:
    """Say what a field must be, where it is not that."""
    wanted = check(value)
    if wanted:
        yield (
            f"{name} must be {wanted}"
            if "; write" in wanted
            else (f"{name} must be {wanted}, not {shown(value)}")
        )


def _name_faults(problem: Problem) -> Faults:
    """Check the names of the problem, its tables and its columns."""
    if not isinstance(problem.name, str) or not _NAME.fullmatch(problem.name):
        example = "a name of letters, digits and _ . -, such as 'churn'"
        yield f"name must be {example}, not {shown(problem.name)}; folders are called after it"
    for field in ("tables", "key"):
        for name in getattr(problem, field):
            yield from _told(field, name, _is_column)
    for field in ("target_column", "order_column", "group_column", "watermark_column", "key"):
        value = getattr(problem, field)
        for name in value if isinstance(value, tuple) else (value,):
            if name in RESERVED:
                yield f"{field} names the column {name!r}, which stored rows use; rename it"


def _feature_faults(problem: Problem) -> Faults:
    """Check each feature by itself and all of them together."""
    features = problem.features
    if not isinstance(features, tuple) or not features:
        yield f"features must be a tuple of at least one Feature, not {shown(features)}"
        return
    seen: set[str] = set()
    for i, feature in enumerate(features):
        if not isinstance(feature, Feature):
            yield f"features[{i}] must be a Feature, not {shown(feature)}"
            return
        yield from _one_feature(feature, f"features[{i}]")
        if feature.name.lower() in seen:
            yield f"features holds the name {feature.name!r} twice; columns do not differ by case"
        seen.add(feature.name.lower())
    for name in problem.slices:
        if name not in {feature.name for feature in features}:
            yield f"slices names {name!r}, which is not a feature"


def _one_feature(feature: Feature, place: str) -> Faults:
    """Check the types of a feature's own fields, and its example against its range."""
    yield from _struct_faults(feature, place)
    yield from _told(f"{place}.name", feature.name, _is_column)
    place = f"features: {feature.name}"
    if feature.name in RESERVED:
        yield f"{place} has a name that stored rows use themselves; rename the column"
    low, high = feature.minimum, feature.maximum
    if any(bound is not None and not math.isfinite(bound) for bound in (low, high)):
        yield f"{place} has the range {low} to {high}; leave out an end that is open"
    if low is not None and high is not None and low > high:
        yield f"{place} has minimum {low:g} above maximum {high:g}"
    _, error, _ = check_value(feature, feature.example)
    if error is not None:
        yield f"{place} has the example {shown(feature.example)}: {error.message}"


def _struct_faults(struct: Feature | Target, place: str) -> Faults:
    """Compare the types of a struct's fields with their annotations, which msgspec does not."""
    try:
        plain = msgspec.to_builtins(struct)
        plain.pop("type", None)
        msgspec.convert(plain, type(struct))
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        message = str(error)
        path = _PATH.search(message)
        where = f"{place}.{path[1]}" if path and path[1] else place
        value = getattr(struct, path[1], None) if path else None
        given = f", not {shown(value)}" if path and value is not None else ""
        yield f"{where}: {_PATH.sub('', message)[:200]}{given}"


def _target_faults(problem: Problem) -> Faults:
    """Check the target, its two classes, and its column."""
    target = problem.target
    if not isinstance(target, Target):
        yield f"target must be a Target, not {shown(target)}"
        return
    yield from _struct_faults(target, "target")
    yield from _told("target.name", target.name, _is_text)
    if len({*target.classes}) != 2 or len(target.classes) != 2:
        yield f"target.classes must be two names, not {shown(target.classes)}"
    if target.positive not in target.classes:
        names = " or ".join(map(repr, target.classes))
        yield f"target.positive must be {names}, not {shown(target.positive)}"
    if target.positive != target.classes[1]:
        order = f"({target.classes[1]!r}, {target.classes[0]!r})"
        yield (
            f"target.positive is {target.positive!r}, but the first of target.classes stands for "
            f"0 and the second for 1; write classes={order}"
        )
    if problem.target_column in {feature.name for feature in problem.features}:
        yield f"target_column is {problem.target_column!r}, which is a feature as well"


def _other_faults(problem: Problem) -> Faults:
    """Check what fields say about one another."""
    for field in ("key", "order_column", "group_column", "watermark_column"):
        value = getattr(problem, field)
        if problem.target_column in (value if isinstance(value, tuple) else (value,)):
            yield f"{field} names {problem.target_column!r}, which is the target_column"
