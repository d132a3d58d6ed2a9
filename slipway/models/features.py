"""One input of a model, and what it predicts."""

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
        A ``category`` has a list of known values, which an encoder or the pandas type keeps; a
        ``text`` is any text; a ``datetime`` is a text in ISO 8601.
    description : str
        One line of meaning.
    example : float, int, str or bool
    unit : str, optional
    minimum, maximum : float, optional
        The range, both ends included, in ``unit``; an input outside it is rejected.
    seen : tuple of float, optional
        The least and the greatest of training; an input outside it gets a warning.
    categories : tuple
        The values known from training. Any other value gets a warning.
    closed : bool
        Whether any other value is rejected instead, because the pipeline raises for it.
    unseen : str
        What the pipeline makes of such another value, in words.
    labels : dict
        Display names by category.
    nullable : bool
        Whether the input may be missing: left out, null, or an empty cell.
    dtype : str
        The type of its column in the frame that a pipeline takes, where the kind does not say.
    gap : {"none", "nan", "na"}
        What stands for a missing value in a column of objects.
    kept : tuple of str
        Of a free text: texts that elsewhere stand for a missing value, such as ``NA``, and that
        training rows held as texts.
    ordered : bool
        Whether the categories of a pandas category column are ordered.
    gap_known : bool
        Whether the pipeline has more for a missing value than for an unseen one, so that an
        empty cell is missing although the empty text is a category.
    complete : bool
        Whether training had no missing value, so that a missing one gets a warning.
    whole : bool
        Whether training had whole numbers only, so that a fraction gets a warning.
    infinite : bool
        Whether the pipeline answers infinities; JSON carries them as ``"Infinity"``.
    answered : tuple of float, optional
        The range in which the pipeline answers; it raises outside.
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
    unseen: str = "the pipeline treats it as an unknown one"
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
        """The known values, to be looked up."""
        return frozenset(self.categories)

    @cached_property
    def holds_integers(self) -> bool:
        """Whether the training column held integers."""
        if not self.dtype or self.dtype.startswith("category"):
            return self.kind == "integer"
        dtype = self.dtype.removeprefix("polars:").lower()
        return self.kind in ("number", "integer") and dtype.startswith(("int", "uint"))

    @property
    def rounds(self) -> bool:
        """Whether the training column held floats of fewer than 64 bits."""
        return self.dtype in NARROW_FLOATS

    @property
    def has_time_zone(self) -> bool:
        """Whether the training column held moments with a time zone."""
        return self.kind == "datetime" and ("," in self.dtype or "tz=" in self.dtype)

    def has_text(self, text: str) -> bool:
        """Whether a text is a value of the feature, and not the way to write a missing one.

        The empty text is one only where the pipeline knows no missing value as well.
        """
        return (text in self.known or text in self.kept) and (text != "" or not self.gap_known)

    def answers(self, number: float) -> bool:
        """Whether a number lies in the range in which the pipeline answers."""
        return self.answered is None or self.answered[0] <= number <= self.answered[1]

    @property
    def column_type(self) -> str:
        """The type of its column in the frame that a pipeline takes.

        Numbers are floats, with NaN for missing; so are integers that can be missing.
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
        """The range in words, with its unit, and what of it training has seen."""
        unit = f" {self.unit}" if self.unit else ""
        if self.seen is None:
            return self._bounds_text(unit)
        low, high = self.seen
        return f"{self._bounds_text(unit)}, in training {low:.4g} to {high:.4g}{unit}"

    def _bounds_text(self, unit: str) -> str:
        """Say what an input may be at all."""
        if self.minimum is not None and self.maximum is not None:
            return f"{self.minimum:g} to {self.maximum:g}{unit}"
        if self.minimum is not None:
            return f"{self.minimum:g}{unit} or more"
        if self.maximum is not None:
            return f"{self.maximum:g}{unit} or less"
        return f"any number{unit}" if self.kind in ("number", "integer") else ""

    @property
    def trained(self) -> tuple[float | None, float | None]:
        """The range of training, within that of the owner."""
        low, high = self.seen or (None, None)
        low = low if self.minimum is None or low is None else max(low, self.minimum)
        high = high if self.maximum is None or high is None else min(high, self.maximum)
        return (self.minimum if low is None else low), (self.maximum if high is None else high)

    @property
    def ordinary(self) -> tuple[float | None, float | None]:
        """The range in which there is nothing to say about a number."""
        low, high = self.trained
        if self.answered is None:
            return low, high
        least, most = self.answered
        return (least if low is None else max(low, least)), (
            most if high is None else min(high, most)
        )

    def holds(self, value: float) -> bool:
        """Whether a number lies in the range."""
        low = self.minimum is None or value >= self.minimum
        return low and (self.maximum is None or value <= self.maximum)


class Target(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the model predicts.

    Attributes
    ----------
    name : str
    description : str
    classes : tuple of str
        The labels in the order of the pipeline's ``classes_``; none for a number.
    positive : str, optional
        Of two classes, the one whose probability or score the model returns.
    unit : str, optional
        Of a number.
    measure : {"probability", "decision", "label"}
        What a classifier returns beside the label: probabilities; scores of its
        ``decision_function``; or nothing.
    """

    name: str
    description: str
    classes: tuple[str, ...] = ()
    positive: str | None = None
    unit: str | None = None
    measure: Measure = "probability"

    @property
    def task(self) -> Task:
        """Whether the answer is one of two classes, one of several, or a number."""
        if not self.classes:
            return "regression"
        return "multiclass" if self.positive is None else "binary"

    @property
    def unbounded(self) -> bool:
        """Whether the answers are values or scores, which can be of any size."""
        return not self.classes or self.measure == "decision"

    @property
    def measure_name(self) -> str:
        """The name of the number beside a label; empty where there is none."""
        return {"probability": "probability", "decision": "score", "label": ""}[self.measure]

    @property
    def outcome(self) -> tuple[Task, tuple[str, ...], str | None, Measure]:
        """What two models must share for callers to take one for the other."""
        return self.task, self.classes, self.positive, self.measure
