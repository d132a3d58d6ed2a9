"""Validate rows against the signature, a column at a time.

The checks reject the same rows as ``Signature.check``, with the same codes. A test compares both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from itertools import chain
from operator import or_

import polars as pl

from slipway.core.errors import SlipwayError
from slipway.data.etl.time_order import DATETIME
from slipway.data.problem import Problem
from slipway.data.problem_query import required_columns
from slipway.models.features import Feature
from slipway.models.validation import LARGEST_INTEGER, MAX_TEXT

TYPES: dict[str, type[pl.DataType]] = {
    "category": pl.String,
    "integer": pl.Int64,
    "number": pl.Float64,
    "flag": pl.Boolean,
    "text": pl.String,
    "datetime": pl.String,
}
REASONS = "reasons"
DUPLICATE = "duplicate"
Checks = list[tuple[str, pl.Expr]]
# Accepted spellings of a flag, and of a target in addition to its class names.
FLAGS = {
    **dict.fromkeys(("false", "no", "f", "n", "0", "0.0"), False),
    **dict.fromkeys(("true", "yes", "t", "y", "1", "1.0"), True),
}
MICROSECONDS = "%Y-%m-%d %H:%M:%S.%6f"
SECONDS = "%Y-%m-%d %H:%M:%S"


@dataclass(frozen=True)
class ValidatedRows:
    """The result of validating rows.

    Attributes
    ----------
    good : DataFrame
        Valid rows in the stored types.
    bad : DataFrame
        Rejected rows as read, with a list of reasons, as ``feature: code``.
    unlabelled : int
        Rows without a target.
    """

    good: pl.DataFrame
    bad: pl.DataFrame
    unlabelled: int


def validate_rows(problem: Problem, rows: pl.DataFrame) -> ValidatedRows:
    """Split rows into good, bad and unlabelled ones.

    Parameters
    ----------
    problem : Problem
    rows : DataFrame
        Rows as the query returned them, with columns in any order.

    Returns
    -------
    ValidatedRows

    Raises
    ------
    SlipwayError
        A column of the problem is absent.
    """
    _require_columns(problem, rows)
    labelled = rows.filter(pl.col(problem.target_column).is_not_null())
    checks = {**_list_feature_checks(problem, labelled), **_list_other_checks(problem, labelled)}
    rejected = labelled.select(
        pl.any_horizontal(condition.fill_null(False) for _, condition in chain(*checks.values()))
    ).to_series()
    reasons = [_first_reason(name, column_checks) for name, column_checks in checks.items()]
    all_reasons = pl.concat_list(reasons).list.drop_nulls().alias(REASONS)
    return ValidatedRows(
        good=cast_rows(problem, labelled.filter(~rejected)),
        bad=labelled.filter(rejected).with_columns(all_reasons),
        unlabelled=len(rows) - len(labelled),
    )


def cast_rows(problem: Problem, rows: pl.DataFrame) -> pl.DataFrame:
    """Cast each column to its stored type."""
    features = [_to_kind(f, rows.schema[f.name]).alias(f.name) for f in problem.features]
    target = _to_class(problem, rows.schema).alias(problem.target_column)
    others = [to_stored_type(name, rows.schema) for name in problem.other_columns]
    return rows.select(*features, target, *others)


def match_column_names(problem: Problem, rows: pl.DataFrame) -> pl.DataFrame:
    """Rename columns to the problem's names if they differ only in case.

    Names in SQL are not case-sensitive, and an engine returns the name that the table has.
    """
    lower: dict[str, list[str]] = {}
    for name in rows.columns:
        lower.setdefault(name.lower(), []).append(name)
    absent = [name for name in required_columns(problem) if name not in rows.columns]
    matches = {name: lower.get(name.lower(), []) for name in absent}
    return rows.rename({names[0]: name for name, names in matches.items() if len(names) == 1})


def _require_columns(problem: Problem, rows: pl.DataFrame) -> None:
    """Raise an error that names the columns that the query does not return."""
    absent = {n: field for n, field in required_columns(problem).items() if n not in rows.columns}
    if absent:
        fields = ", ".join(dict.fromkeys(absent.values()))
        given = ", ".join(rows.columns)
        raise SlipwayError(
            f"the query returns no column {', '.join(absent)}, which {fields} of the problem "
            f"needs; it returns {given}"
        )


def _list_feature_checks(problem: Problem, rows: pl.DataFrame) -> dict[str, Checks]:
    """Return the checks of each feature."""
    return {
        feature.name: list(_list_checks(feature, rows.schema[feature.name]))
        for feature in problem.features
    }


def _first_reason(name: str, checks: Checks) -> pl.Expr:
    """Return the reason of the first failing check of a column, or null."""
    reason: pl.Expr = pl.lit(None, pl.String)
    for code, condition in reversed(checks):
        reason = pl.when(condition).then(pl.lit(f"{name}: {code}")).otherwise(reason)
    return reason


def _list_checks(feature: Feature, dtype: pl.DataType) -> Iterator[tuple[str, pl.Expr]]:
    """Yield the checks of a feature as code and failure condition, in order of precedence."""
    raw, value = _nan_to_null(feature.name, dtype), _to_kind(feature, dtype)
    if not feature.nullable:
        yield "missing_field", raw.is_null()
    if feature.kind in ("category", "text"):
        yield "too_long", value.str.len_chars() > MAX_TEXT
        yield "not_a_text", value.str.contains("\0", literal=True)
    elif feature.kind == "datetime":
        yield "not_a_datetime", value.is_null() & raw.is_not_null()
    elif feature.kind == "flag":
        yield "not_a_flag", value.is_null() & raw.is_not_null()
    else:
        number = _to_number(raw, dtype)
        code = "not_an_integer" if feature.kind == "integer" else "not_a_number"
        yield code, number.is_null() & raw.is_not_null()
        yield "not_finite", number.is_infinite()
        yield "out_of_range", _is_out_of_range(feature, number)
        if feature.kind == "integer":
            yield code, number != number.floor()
    if feature.closed and feature.categories:
        categories = pl.lit(pl.Series(list(feature.categories)).implode())
        yield "unknown_category", ~value.is_in(categories)


def _is_out_of_range(feature: Feature, number: pl.Expr) -> pl.Expr:
    """Return the condition that a number is outside the feature's range."""
    bounds = [(feature.minimum, feature.maximum)]
    if feature.kind == "integer":
        bounds.append((-LARGEST_INTEGER, LARGEST_INTEGER))
    conditions = [pl.lit(False)]
    for low, high in bounds:
        conditions += [] if low is None else [number < low]
        conditions += [] if high is None else [number > high]
    return reduce(or_, conditions)


def _nan_to_null(name: str, dtype: pl.DataType) -> pl.Expr:
    """Return a column with NaN as null, as in pandas."""
    column = pl.col(name)
    return column.fill_nan(None) if dtype.is_float() else column


def _to_number(raw: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Cast a column to float; flags and texts that are not numbers become null."""
    if dtype == pl.Boolean:
        return pl.lit(None, pl.Float64)
    return raw.cast(pl.Float64, strict=False)


def _to_kind(feature: Feature, dtype: pl.DataType) -> pl.Expr:
    """Cast a feature to its stored type; values that do not fit become null."""
    raw = _nan_to_null(feature.name, dtype)
    if feature.kind in ("category", "text"):
        return raw.cast(pl.String)
    if feature.kind == "datetime":
        text = _datetime_text(raw, dtype) if dtype.is_temporal() else raw.cast(pl.String)
        return pl.when(text.str.contains(f"^(?:{DATETIME.pattern})$")).then(text)
    if feature.kind == "flag":
        if dtype == pl.Boolean:
            return raw
        return raw.cast(pl.String).str.to_lowercase().replace_strict(FLAGS, default=None)
    number = _to_number(raw, dtype)
    # A float keeps all digits of an integer up to 2^53, the largest that the checks accept.
    return number.cast(TYPES[feature.kind], strict=False)


def _list_other_checks(problem: Problem, rows: pl.DataFrame) -> dict[str, Checks]:
    """Return the checks of the target, the key and the other columns."""
    names = {*problem.other_columns} - {feature.name for feature in problem.features}
    names.add(problem.order_column)
    missing: dict[str, Checks] = {
        name: [("missing_field", _nan_to_null(name, rows.schema[name]).is_null())]
        for name in sorted(names)
    }
    condition = _to_class(problem, rows.schema).is_null()
    return {problem.target_column: [("not_a_class", condition)]} | missing


def _to_class(problem: Problem, schema: pl.Schema) -> pl.Expr:
    """Return the target as 0 or 1, or null.

    A text is the name of a class, or one of the spellings of no and yes.
    """
    column, dtype = pl.col(problem.target_column), schema[problem.target_column]
    if dtype == pl.Boolean:
        return column.cast(pl.Int8)
    if dtype.is_numeric():
        return column.cast(pl.Float64).replace_strict({0.0: 0, 1.0: 1}, default=None).cast(pl.Int8)
    text = column.cast(pl.String).str.strip_chars()
    spelled = text.str.to_lowercase().replace_strict(FLAGS, default=None).cast(pl.Int8)
    classes = {name: i for i, name in enumerate(problem.target.classes)}
    return text.replace_strict(classes, default=spelled, return_dtype=pl.Int8)


def to_stored_type(name: str, schema: pl.Schema) -> pl.Expr:
    """Cast a column other than a feature to integer, float or text."""
    column, dtype = _nan_to_null(name, schema[name]), schema[name]
    if dtype.is_integer():
        return column.cast(pl.Int64)
    if dtype.is_float():
        return column.cast(pl.Float64)
    return (_datetime_text(column, dtype) if dtype.is_temporal() else column).cast(pl.String)


def _datetime_text(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Return times as texts that sort in time order, with fractions of a second if any."""
    if not isinstance(dtype, pl.Datetime):
        return column.cast(pl.String)
    whole = column.dt.truncate("1s") == column
    return (
        pl.when(whole).then(column.dt.strftime(SECONDS)).otherwise(column.dt.strftime(MICROSECONDS))
    )


def split_duplicates(rows: pl.DataFrame, key: tuple[str, ...]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split rows that are ordered by key into rows to keep and rejected duplicates.

    One of several identical rows is kept. Rows with the same key and different values are all
    rejected, because the right one is unknown.

    Returns
    -------
    kept, rejected : DataFrame
    """
    repeated = pl.all_horizontal(pl.col(name).eq_missing(pl.col(name).shift()) for name in key)
    if len(rows) < 2 or not rows.select(repeated.slice(1).any()).item():
        return rows, rows.clear()
    numbered = rows.with_row_index("#")
    distinct = numbered.unique(rows.columns, keep="first")
    kept = distinct.filter(~pl.struct(key).is_duplicated()).sort("#")
    rejected = numbered.join(kept.select("#"), on="#", how="anti")
    return kept.drop("#"), rejected.drop("#")
