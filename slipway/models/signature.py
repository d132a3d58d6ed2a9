"""What a model takes and gives, and the check of one record against it.

``slipway.serving.record_decoder`` builds a type that decodes ordinary records in one pass. The
others come here, where ``check`` explains everything that is wrong or unusual.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal

import msgspec

from slipway.core.errors import FieldError, InputWarning
from slipway.models.features import Feature, Record, Target
from slipway.models.validation import MISSING_TEXTS, check_value, parse_text

Input = Literal["", "frame", "numbered", "array", "sparse", "series", "texts", "dicts", "polars"]
# Unknown fields of a record that are named in its errors, and those of them with a hint.
MAX_UNKNOWN = 10
MAX_HINTS = 3


class Signature(msgspec.Struct, frozen=True, dict=True):
    """The features in their order, and the target.

    Attributes
    ----------
    features : tuple of Feature
    target : Target
    input : str
        What the pipeline takes: a ``frame``, a frame with ``numbered`` columns, an ``array``, a
        ``sparse`` matrix, a ``series`` or a list of ``texts`` (one feature), a list of
        ``dicts``, or a ``polars`` frame. Empty: a frame where the pipeline knows names.
    columns : tuple of str
        All columns that the model was fitted on, where it drops some of them unread. Requests
        may hold those too, with any value.
    missing : tuple of str
        The texts that stand for a missing value in files and forms.
    alone : bool
        Whether the pipeline answers each row in a call of its own, because a text that it cannot
        read can change how it reads the rows beside it.
    transform_output : {"default", "pandas", "polars"}
        The scikit-learn setting under which the pipeline answers.
    """

    features: tuple[Feature, ...]
    target: Target
    input: Input = ""
    columns: tuple[str, ...] = ()
    missing: tuple[str, ...] = MISSING_TEXTS
    alone: bool = False
    transform_output: Literal["default", "pandas", "polars"] = "default"

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The features' names, in the order of the record."""
        return tuple(feature.name for feature in self.features)

    @cached_property
    def by_name(self) -> dict[str, Feature]:
        """The features by their names."""
        return {feature.name: feature for feature in self.features}

    @cached_property
    def ignored(self) -> frozenset[str]:
        """The columns that requests may hold and that nothing reads."""
        return frozenset(self.columns) - frozenset(self.names)

    @cached_property
    def _expected(self) -> frozenset[str]:
        return frozenset(self.names) | self.ignored

    @cached_property
    def _missing(self) -> frozenset[str]:
        return frozenset(self.missing)

    def check(self, given: object) -> tuple[Record, list[FieldError], list[InputWarning]]:
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
        warnings : list of InputWarning
        """
        if not isinstance(given, dict):
            return (
                (),
                [FieldError(None, None, "not_an_object", "a record must be a JSON object")],
                [],
            )
        errors: list[FieldError] = self._unknown(given)
        warnings: list[InputWarning] = []
        record = []
        for feature in self.features:
            value, error, warning = check_value(feature, given.get(feature.name))
            record.append(value)
            errors += [error] if error else []
            warnings += [warning] if warning else []
        return tuple(record), errors, warnings

    def check_text(
        self, given: Mapping[str, str]
    ) -> tuple[Record, list[FieldError], list[InputWarning]]:
        """Check one record of texts, as a form or a CSV row gives them.

        ``validation.from_text`` reads each text. One that is not a value of its feature's
        kind is left to ``check``, which rejects it.
        """
        by_name, missing = self.by_name, self._missing
        values = {
            name: parse_text(by_name[name], text, missing) if name in by_name else text
            for name, text in given.items()
        }
        return self.check(values)

    def _unknown(self, given: Mapping[Any, Any]) -> list[FieldError]:
        """Reject fields that the model does not know, the first with the nearest that it does."""
        unknown = [str(name) for name in given if name not in self._expected]
        if not unknown:
            return []
        from slipway.models.suggestions import index_names

        errors = []
        for place, name in enumerate(unknown[:MAX_UNKNOWN]):
            near = index_names(self.names).nearest(name) if place < MAX_HINTS else None
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
