"""Inputs and target of a model."""

from __future__ import annotations

from functools import cached_property
from typing import Literal

import msgspec

Kind = Literal["number", "integer", "category", "flag", "text", "datetime"]
Task = Literal["binary", "multiclass", "regression"]
Measure = Literal["probability", "decision", "label"]
Value = float | int | str | bool | None
Record = tuple[Value, ...]
Answer = float | tuple[float, ...]
NARROW_FLOATS = {"float32": "f", "Float32": "f", "float[pyarrow]": "f", "float16": "e"}


class Feature(msgspec.Struct, frozen=True, omit_defaults=True, dict=True):
    """One input of the model.

    Attributes
    ----------
    name : str
    kind : {"number", "integer", "category", "flag", "text", "datetime"}
        A ``category`` has known values, from an encoder or the pandas type. A ``text`` is any
        text. A ``datetime`` is a text in ISO 8601.
    description : str
        The meaning, in one line.
    example : float, int, str or bool
    unit : str, optional
    minimum, maximum : float, optional
        Accepted range in ``unit``, ends included; numbers outside it are rejected.
    seen : tuple of float, optional
        The training range; numbers outside it cause a warning.
    categories : tuple
        The values in the training rows. Any other value causes a warning.
    closed : bool
        Whether any other value is rejected, because the pipeline raises for it.
    unseen : str
        How the pipeline treats any other value, as part of the warning.
    labels : dict
        Display names by category.
    nullable : bool
        Whether the value may be missing: field omitted, null, or an empty cell.
    dtype : str
        The type of the column in the pipeline's input; empty for the default of the kind.
    gap : {"none", "nan", "na"}
        The object that represents a missing value in an object column.
    kept : tuple of str
        For a free text, the missing markers such as ``NA`` that were ordinary texts in training.
    ordered : bool
        Whether the categories of a pandas category column are ordered.
    gap_known : bool
        Whether the pipeline distinguishes missing from unseen values. If so, an empty cell is
        missing even if the empty text is a category.
    complete : bool
        Whether training had no missing value, so that a missing value causes a warning.
    whole : bool
        Whether training had whole numbers only, so that a fraction causes a warning.
    infinite : bool
        Whether the pipeline accepts infinities; in JSON they are ``"Infinity"``.
    answered : tuple of float, optional
        The range that the pipeline accepts; it raises for numbers outside it.
    reasons : dict of str to str
        Why an inferred feature is ``required``, ``closed`` or ``whole``.
    """

    name: str
    kind: Kind
    description: str
    example: Value
    unit: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    seen: tuple[float, float] | None = None
    categories: tuple[str | bool | int | float, ...] = ()
    closed: bool = False
    unseen: str = "the pipeline treats it as an unknown category"
    labels: dict[str, str] = {}
    nullable: bool = False
    dtype: str = ""
    gap: Literal["none", "nan", "na"] = "none"
    kept: tuple[str, ...] = ()
    ordered: bool = False
    gap_known: bool = False
    complete: bool = False
    whole: bool = False
    infinite: bool = False
    answered: tuple[float, float] | None = None
    reasons: dict[str, str] = {}

    @cached_property
    def known(self) -> frozenset[str | bool | int | float]:
        """The known values as a set."""
        return frozenset(self.categories)

    @cached_property
    def is_integer_column(self) -> bool:
        """Whether the training column contained integers."""
        if not self.dtype or self.dtype.startswith("category"):
            return self.kind == "integer"
        dtype = self.dtype.removeprefix("polars:").lower()
        return self.kind in ("number", "integer") and dtype.startswith(("int", "uint"))

    @property
    def is_narrow_float(self) -> bool:
        """Whether the training column contained floats of fewer than 64 bits."""
        return self.dtype in NARROW_FLOATS

    @property
    def has_time_zone(self) -> bool:
        """Whether the training column contained timestamps with a time zone."""
        return self.kind == "datetime" and ("," in self.dtype or "tz=" in self.dtype)

    def has_text(self, text: str) -> bool:
        """Whether a text is a value of the feature, not a marker of a missing value.

        The empty text is a value only if the pipeline does not distinguish missing values.
        """
        return (text in self.known or text in self.kept) and (text != "" or not self.gap_known)

    def is_in_answered_range(self, number: float) -> bool:
        """Whether the pipeline accepts a number."""
        return self.answered is None or self.answered[0] <= number <= self.answered[1]

    @property
    def column_type(self) -> str:
        """The type of the column in the pipeline's input.

        Numbers are floats, with NaN for missing values. Nullable integers are floats as well.
        """
        if self.dtype:
            return self.dtype
        if self.kind == "number" or (self.kind == "integer" and self.nullable):
            return "float64"
        if self.kind == "integer":
            return "int64"
        if self.kind == "datetime":
            return "datetime64[ns]"
        return "object" if self.kind != "flag" or self.nullable else "bool"

    @property
    def range_text(self) -> str:
        """The accepted range and the training range, as text with the unit."""
        unit = f" {self.unit}" if self.unit else ""
        if self.seen is None:
            return self._bounds_text(unit)
        low, high = self.seen
        return f"{self._bounds_text(unit)}, in training {low:.4g} to {high:.4g}{unit}"

    def _bounds_text(self, unit: str) -> str:
        """Return the accepted range as text."""
        if self.minimum is not None and self.maximum is not None:
            return f"{self.minimum:g} to {self.maximum:g}{unit}"
        if self.minimum is not None:
            return f"{self.minimum:g}{unit} or more"
        if self.maximum is not None:
            return f"{self.maximum:g}{unit} or less"
        return f"any number{unit}" if self.kind in ("number", "integer") else ""

    @property
    def training_range(self) -> tuple[float | None, float | None]:
        """The training range, clipped to the accepted range."""
        low, high = self.seen or (None, None)
        low = low if self.minimum is None or low is None else max(low, self.minimum)
        high = high if self.maximum is None or high is None else min(high, self.maximum)
        return (self.minimum if low is None else low), (self.maximum if high is None else high)

    @property
    def ordinary_range(self) -> tuple[float | None, float | None]:
        """The range of numbers that cause neither an error nor a warning."""
        low, high = self.training_range
        if self.answered is None:
            return low, high
        lowest, highest = self.answered
        low = lowest if low is None else max(low, lowest)
        return low, highest if high is None else min(high, highest)

    def is_in_range(self, value: float) -> bool:
        """Whether a number lies in the accepted range."""
        above_minimum = self.minimum is None or value >= self.minimum
        return above_minimum and (self.maximum is None or value <= self.maximum)


class Target(msgspec.Struct, frozen=True, omit_defaults=True):
    """The target of the model.

    Attributes
    ----------
    name : str
    description : str
    classes : tuple of str
        The labels in the order of the pipeline's ``classes_``; empty for a regression.
    positive : str, optional
        For two classes, the one whose probability or score the model returns.
    unit : str, optional
        The unit of a regression's values.
    measure : {"probability", "decision", "label"}
        What a classifier returns with the label: probabilities, scores of its
        ``decision_function``, or nothing.
    """

    name: str
    description: str
    classes: tuple[str, ...] = ()
    positive: str | None = None
    unit: str | None = None
    measure: Measure = "probability"

    @property
    def task(self) -> Task:
        """The task: one of two classes, one of several, or a number."""
        if not self.classes:
            return "regression"
        return "multiclass" if self.positive is None else "binary"

    @property
    def is_unbounded(self) -> bool:
        """Whether predictions are values or scores, which are not limited to 0 to 1."""
        return not self.classes or self.measure == "decision"

    @property
    def measure_name(self) -> str:
        """The name of the number returned with a label; empty for a label alone."""
        return {"probability": "probability", "decision": "score", "label": ""}[self.measure]

    @property
    def outcome(self) -> tuple[Task, tuple[str, ...], str | None, Measure]:
        """The properties that a replacement must share, so that clients need not change."""
        return self.task, self.classes, self.positive, self.measure
