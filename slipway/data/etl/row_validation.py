"""Check rows against the signature, a column at a time.

A row is refused here for what ``Signature.check`` would refuse it for, with the same codes. A
test holds the law between the two.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from itertools import chain
from operator import or_

import polars as pl

from slipway.core.errors import SlipwayError
from slipway.data.etl.time_order import MOMENT
from slipway.data.problem import Problem
from slipway.data.problem_query import wanted_columns
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
Faults = list[tuple[str, pl.Expr]]
# What people write for a flag, and for a target besides the names of its classes.
FLAGS = {
    **dict.fromkeys(("false", "no", "f", "n", "0", "0.0"), False),
    **dict.fromkeys(("true", "yes", "t", "y", "1", "1.0"), True),
}
MICROSECONDS = "%Y-%m-%d %H:%M:%S.%6f"
SECONDS = "%Y-%m-%d %H:%M:%S"


@dataclass(frozen=True)
class Checked:
    """What became of some rows; the three parts are all of them.

    Attributes
    ----------
    good : DataFrame
        Rows to learn from, in the types that are stored.
    bad : DataFrame
        Refused rows as they came, with a list of reasons, as ``feature: code``.
    unlabelled : int
        Rows without a target.
    """

    good: pl.DataFrame
    bad: pl.DataFrame
    unlabelled: int


def check(problem: Problem, rows: pl.DataFrame) -> Checked:
    """Part rows into good, bad and unlabelled ones.

    Parameters
    ----------
    problem : Problem
    rows : DataFrame
        As the query gave them, in any order of the columns.

    Returns
    -------
    Checked

    Raises
    ------
    SlipwayError
        A column of the problem is not there.
    """
    _require_columns(problem, rows)
    known = rows.filter(pl.col(problem.target_column).is_not_null())
    faults = {**_feature_faults(problem, known), **_other_faults(problem, known)}
    refused = known.select(
        pl.any_horizontal(wrong.fill_null(False) for _, wrong in chain(*faults.values()))
    ).to_series()
    reasons = [_first(name, listed) for name, listed in faults.items()]
    told = pl.concat_list(reasons).list.drop_nulls().alias(REASONS)
    return Checked(
        good=typed(problem, known.filter(~refused)),
        bad=known.filter(refused).with_columns(told),
        unlabelled=len(rows) - len(known),
    )


def typed(problem: Problem, rows: pl.DataFrame) -> pl.DataFrame:
    """Give each column the type in which it is stored."""
    features = [_as_kind(f, rows.schema[f.name]).alias(f.name) for f in problem.features]
    target = _as_class(problem, rows.schema).alias(problem.target_column)
    others = [plain(name, rows.schema) for name in problem.other_columns]
    return rows.select(*features, target, *others)


def named(problem: Problem, rows: pl.DataFrame) -> pl.DataFrame:
    """Give columns the names that the problem has for them, where they differ by case only.

    SQL does not mind the case of a name, and an engine returns the name that the table has.
    """
    lower: dict[str, list[str]] = {}
    for name in rows.columns:
        lower.setdefault(name.lower(), []).append(name)
    wanted = [name for name in wanted_columns(problem) if name not in rows.columns]
    found = {name: lower.get(name.lower(), []) for name in wanted}
    return rows.rename({names[0]: name for name, names in found.items() if len(names) == 1})


def _require_columns(problem: Problem, rows: pl.DataFrame) -> None:
    """Name the columns that the query does not give."""
    absent = {n: field for n, field in wanted_columns(problem).items() if n not in rows.columns}
    if absent:
        fields = ", ".join(dict.fromkeys(absent.values()))
        given = ", ".join(rows.columns)
        raise SlipwayError(
            f"the query gives no column {', '.join(absent)}, as {fields} of the problem wants; "
            f"it gives {given}"
        )


def _feature_faults(problem: Problem, rows: pl.DataFrame) -> dict[str, Faults]:
    """List for each feature what can be wrong with it."""
    return {
        feature.name: list(_faults(feature, rows.schema[feature.name]))
        for feature in problem.features
    }


def _first(name: str, faults: Faults) -> pl.Expr:
    """Give the first thing that is wrong with a column, in words, or null."""
    reason: pl.Expr = pl.lit(None, pl.String)
    for code, wrong in reversed(faults):
        reason = pl.when(wrong).then(pl.lit(f"{name}: {code}")).otherwise(reason)
    return reason


def _faults(feature: Feature, dtype: pl.DataType) -> Iterator[tuple[str, pl.Expr]]:
    """List what can be wrong with a feature; where several hold, the first is told."""
    raw, value = _present(feature.name, dtype), _as_kind(feature, dtype)
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
        number = _number(raw, dtype)
        word = "not_an_integer" if feature.kind == "integer" else "not_a_number"
        yield word, number.is_null() & raw.is_not_null()
        yield "not_finite", number.is_infinite()
        yield "out_of_range", _outside(feature, number)
        if feature.kind == "integer":
            yield word, number != number.floor()
    if feature.closed and feature.categories:
        known = pl.lit(pl.Series(list(feature.categories)).implode())
        yield "unknown_category", ~value.is_in(known)


def _outside(feature: Feature, number: pl.Expr) -> pl.Expr:
    """Say whether a number lies outside what the feature can be."""
    bounds = [(feature.minimum, feature.maximum)]
    if feature.kind == "integer":
        bounds.append((-LARGEST_INTEGER, LARGEST_INTEGER))
    outside = [pl.lit(False)]
    for low, high in bounds:
        outside += [] if low is None else [number < low]
        outside += [] if high is None else [number > high]
    return reduce(or_, outside)


def _present(name: str, dtype: pl.DataType) -> pl.Expr:
    """Give a column in which NaN is missing, as it is for pandas."""
    column = pl.col(name)
    return column.fill_nan(None) if dtype.is_float() else column


def _number(raw: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Read a column as numbers; a text that spells none becomes null, and so do flags."""
    if dtype == pl.Boolean:
        return pl.lit(None, pl.Float64)
    return raw.cast(pl.Float64, strict=False)


def _as_kind(feature: Feature, dtype: pl.DataType) -> pl.Expr:
    """Give a feature in the type in which it is stored, null where it has no such value."""
    raw = _present(feature.name, dtype)
    if feature.kind in ("category", "text"):
        return raw.cast(pl.String)
    if feature.kind == "datetime":
        text = _moment_text(raw, dtype) if dtype.is_temporal() else raw.cast(pl.String)
        return pl.when(text.str.contains(f"^(?:{MOMENT.pattern})$")).then(text)
    if feature.kind == "flag":
        if dtype == pl.Boolean:
            return raw
        return raw.cast(pl.String).str.to_lowercase().replace_strict(FLAGS, default=None)
    number = _number(raw, dtype)
    # Through a float an integer keeps all its digits: the check allows none beyond 2^53.
    return number.cast(TYPES[feature.kind], strict=False)


def _other_faults(problem: Problem, rows: pl.DataFrame) -> dict[str, Faults]:
    """List what can be wrong with the target, the key and the watermark."""
    names = {*problem.other_columns} - {feature.name for feature in problem.features}
    names.add(problem.order_column)
    missing: dict[str, Faults] = {
        name: [("missing_field", _present(name, rows.schema[name]).is_null())]
        for name in sorted(names)
    }
    wrong = _as_class(problem, rows.schema).is_null()
    return {problem.target_column: [("not_a_class", wrong)]} | missing


def _as_class(problem: Problem, schema: pl.Schema) -> pl.Expr:
    """Return the target as 0 or 1, null where it is neither.

    A text is the name of a class, or else what people write for no and yes.
    """
    column, dtype = pl.col(problem.target_column), schema[problem.target_column]
    if dtype == pl.Boolean:
        return column.cast(pl.Int8)
    if dtype.is_numeric():
        return column.cast(pl.Float64).replace_strict({0.0: 0, 1.0: 1}, default=None).cast(pl.Int8)
    text = column.cast(pl.String).str.strip_chars()
    usual = text.str.to_lowercase().replace_strict(FLAGS, default=None).cast(pl.Int8)
    classes = {name: i for i, name in enumerate(problem.target.classes)}
    return text.replace_strict(classes, default=usual, return_dtype=pl.Int8)


def plain(name: str, schema: pl.Schema) -> pl.Expr:
    """Give a column of the key, of time or of groups as a number or a text."""
    column, dtype = _present(name, schema[name]), schema[name]
    if dtype.is_integer():
        return column.cast(pl.Int64)
    if dtype.is_float():
        return column.cast(pl.Float64)
    return (_moment_text(column, dtype) if dtype.is_temporal() else column).cast(pl.String)


def _moment_text(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Write moments as texts that sort in their order, with a fraction of a second if any."""
    if not isinstance(dtype, pl.Datetime):
        return column.cast(pl.String)
    whole = column.dt.truncate("1s") == column
    return (
        pl.when(whole).then(column.dt.strftime(SECONDS)).otherwise(column.dt.strftime(MICROSECONDS))
    )


def part_duplicates(rows: pl.DataFrame, key: tuple[str, ...]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Part rows that are ordered by their key into those to keep and those to refuse.

    Of rows that are equal in everything one is kept. Where two rows say different things under
    the same key, nobody knows which is right, and both are refused.

    Returns
    -------
    kept, refused : DataFrame
    """
    again = pl.all_horizontal(pl.col(name).eq_missing(pl.col(name).shift()) for name in key)
    if len(rows) < 2 or not rows.select(again.slice(1).any()).item():
        return rows, rows.clear()
    numbered = rows.with_row_index("#")
    once = numbered.unique(rows.columns, keep="first")
    kept = once.filter(~pl.struct(key).is_duplicated()).sort("#")
    refused = numbered.join(kept.select("#"), on="#", how="anti")
    return kept.drop("#"), refused.drop("#")
