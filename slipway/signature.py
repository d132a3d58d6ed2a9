"""What a model takes and gives, and the check of one record against it.

``slipway.fast`` builds a type that decodes records with nothing to say about them in one pass;
what that refuses comes here, where ``check`` explains all that is wrong or unusual.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal

import msgspec

from slipway.errors import FieldError, Warned
from slipway.values import check_value, from_text

Kind = Literal["number", "integer", "category", "flag"]
Task = Literal["binary", "multiclass", "regression"]
Value = float | int | str | bool | None
Record = tuple[Value, ...]
# Unknown fields of a record that are named in its errors, and those of them with a hint.
MAX_UNKNOWN = 10
MAX_HINTS = 3


class Feature(msgspec.Struct, frozen=True, omit_defaults=True):
    """One input of the model.

    Attributes
    ----------
    name : str
    kind : {"number", "integer", "category", "flag"}
    description : str
        One line of meaning.
    example : float, int, str or bool
    unit : str, optional
    minimum, maximum : float, optional
        The range, both ends included, in ``unit``; outside it an input is refused.
    seen : tuple of float, optional
        The least and the greatest of training; outside it an input is answered with a warning.
    categories : tuple
        The values known from training. Any other value is answered with a warning.
    closed : bool
        Whether any other value is refused instead, because the pipeline would refuse it.
    unseen : str
        What the pipeline makes of such another value, in words.
    labels : dict
        Names for people, by category.
    nullable : bool
        Whether the input may be missing: left out, null, or an empty cell.
    dtype : str
        The type of its column in the frame that a pipeline takes, where the kind does not say.
    gap : {"none", "nan"}
        What stands for a missing value in a column of objects.
    """

    name: str
    kind: Kind
    description: str
    example: Value
    unit: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    seen: tuple[float, float] | None = None
    categories: tuple[str | int, ...] = ()
    closed: bool = False
    unseen: str = "the pipeline treats it as an unknown one"
    labels: dict[str, str] = {}
    nullable: bool = False
    dtype: str = ""
    gap: Literal["none", "nan"] = "none"

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
        return "object" if self.kind == "category" or self.nullable else "bool"

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
    def ordinary(self) -> tuple[float | None, float | None]:
        """The range in which there is nothing to say about a number."""
        low, high = self.seen or (None, None)
        low = low if self.minimum is None or low is None else max(low, self.minimum)
        high = high if self.maximum is None or high is None else min(high, self.maximum)
        return (self.minimum if low is None else low), (self.maximum if high is None else high)

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
        Of two classes, the one whose probability is given.
    unit : str, optional
        Of a number.
    """

    name: str
    description: str
    classes: tuple[str, ...] = ()
    positive: str | None = None
    unit: str | None = None

    @property
    def task(self) -> Task:
        """Whether the answer is one of two classes, one of several, or a number."""
        if not self.classes:
            return "regression"
        return "multiclass" if self.positive is None else "binary"


class Signature(msgspec.Struct, frozen=True, dict=True):
    """The features in their order, and the target."""

    features: tuple[Feature, ...]
    target: Target

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The features' names, in the order of the record."""
        return tuple(feature.name for feature in self.features)

    @cached_property
    def by_name(self) -> dict[str, Feature]:
        """The features by their names."""
        return {feature.name: feature for feature in self.features}

    def check(self, given: object) -> tuple[Record, list[FieldError], list[Warned]]:
        """Check one record of Python values, as JSON gives them.

        Parameters
        ----------
        given : object
            What stood where a record is due.

        Returns
        -------
        record : tuple
            The values in the features' order; only of use when there are no errors.
        errors : list of FieldError
        warnings : list of Warned
        """
        if not isinstance(given, dict):
            return (
                (),
                [FieldError(None, None, "not_an_object", "a record must be a JSON object")],
                [],
            )
        errors: list[FieldError] = self._unknown(given)
        warnings: list[Warned] = []
        record = []
        for feature in self.features:
            value, error, warning = check_value(feature, given.get(feature.name))
            record.append(value)
            errors += [error] if error else []
            warnings += [warning] if warning else []
        return tuple(record), errors, warnings

    def check_text(self, given: Mapping[str, str]) -> tuple[Record, list[FieldError], list[Warned]]:
        """Check one record of texts, as a form or a CSV row gives them.

        A text that spells a number or a flag becomes one; an empty text is a missing value;
        any other text is left to ``check`` to refuse.
        """
        by_name = self.by_name
        values = {
            name: from_text(by_name[name], text) if name in by_name else text
            for name, text in given.items()
        }
        return self.check(values)

    def _unknown(self, given: Mapping[Any, Any]) -> list[FieldError]:
        """Reject fields that the model does not know, the first with the nearest that it does."""
        unknown = [str(name) for name in given if name not in self.by_name]
        if not unknown:
            return []
        from slipway.hints import hints_among

        errors = []
        for place, name in enumerate(unknown[:MAX_UNKNOWN]):
            near = hints_among(self.names).nearest(name) if place < MAX_HINTS else None
            hint = f"; did you mean {near}?" if near else ""
            message = f"the model has no such field{hint}"
            errors.append(FieldError(_printable(name), None, "unknown_field", message))
        if len(unknown) > MAX_UNKNOWN:
            message = f"the model has none of {len(unknown) - MAX_UNKNOWN} further fields"
            errors.append(FieldError(None, None, "unknown_field", message))
        return errors


def _printable(name: str) -> str:
    """Shorten a name that came from outside, and make it safe to encode as JSON."""
    return name[:64].encode("utf-8", "replace").decode()
