"""The features and the target of a model, and the validation of records.

``slipway.serving.record_decoder`` builds a type that decodes ordinary records in one pass. All
other records are validated here; ``check`` reports every error and warning.
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
# The maximum numbers of unknown fields that errors name, and of names with a suggestion.
MAX_UNKNOWN = 10
MAX_HINTS = 3


class Signature(msgspec.Struct, frozen=True, dict=True):
    """The features of a model in their order, and its target.

    Attributes
    ----------
    features : tuple of Feature
    target : Target
    input : str
        The input of the pipeline: a ``frame``, a frame with ``numbered`` columns, an ``array``,
        a ``sparse`` matrix, a ``series`` or a list of ``texts`` (one feature), a list of
        ``dicts``, or a ``polars`` frame. If empty, a frame or array, depending on whether the
        pipeline was fitted with column names.
    columns : tuple of str
        All columns that the model was fitted on, if it drops some of them. Requests may contain
        the dropped columns, with any value.
    missing : tuple of str
        The texts that mark a missing value in files and forms.
    alone : bool
        Whether each row needs a separate call, because a text that the pipeline cannot parse can
        change how it parses other rows.
    transform_output : {"default", "pandas", "polars"}
        The scikit-learn setting that the pipeline needs.
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
        """The names of the features, in the order of a record."""
        return tuple(feature.name for feature in self.features)

    @cached_property
    def by_name(self) -> dict[str, Feature]:
        """The features by name."""
        return {feature.name: feature for feature in self.features}

    @cached_property
    def ignored(self) -> frozenset[str]:
        """The columns that requests may contain but the model does not use."""
        return frozenset(self.columns) - frozenset(self.names)

    @cached_property
    def _expected(self) -> frozenset[str]:
        return frozenset(self.names) | self.ignored

    @cached_property
    def _missing(self) -> frozenset[str]:
        return frozenset(self.missing)

    def check(self, given: object) -> tuple[Record, list[FieldError], list[InputWarning]]:
        """Validate one record of decoded JSON values.

        Parameters
        ----------
        given : object
            The decoded JSON, which should be an object.

        Returns
        -------
        record : tuple
            The values in the features' order; valid only without errors.
        errors : list of FieldError
        warnings : list of InputWarning
        """
        if not isinstance(given, dict):
            error = FieldError(None, None, "not_an_object", "a record must be a JSON object")
            return (), [error], []
        errors: list[FieldError] = self._check_unknown(given)
        warnings: list[InputWarning] = []
        record = []
        for feature in self.features:
            value, fault, warning = check_value(feature, given.get(feature.name))
            record.append(value)
            errors += [fault] if fault else []
            warnings += [warning] if warning else []
        return tuple(record), errors, warnings

    def check_text(
        self, given: Mapping[str, str]
    ) -> tuple[Record, list[FieldError], list[InputWarning]]:
        """Validate one record of texts, from a form or a CSV row.

        ``validation.parse_text`` parses each text. It returns invalid texts unchanged, and
        ``check`` rejects them.
        """
        by_name, missing = self.by_name, self._missing
        values = {
            name: parse_text(by_name[name], text, missing) if name in by_name else text
            for name, text in given.items()
        }
        return self.check(values)

    def _check_unknown(self, given: Mapping[Any, Any]) -> list[FieldError]:
        """Reject unknown fields; suggest similar names for the first ones."""
        unknown = [str(name) for name in given if name not in self._expected]
        if not unknown:
            return []
        from slipway.models.suggestions import index_names

        errors = []
        for i, name in enumerate(unknown[:MAX_UNKNOWN]):
            nearest = index_names(self.names).nearest(name) if i < MAX_HINTS else None
            hint = f"; did you mean {nearest}?" if nearest else ""
            message = f"the model has no such field{hint}"
            errors.append(FieldError(_printable(name), None, "unknown_field", message))
        if len(unknown) > MAX_UNKNOWN:
            message = f"{len(unknown) - MAX_UNKNOWN} more fields are unknown"
            errors.append(FieldError(None, None, "unknown_field", message))
        return errors


def _printable(name: str) -> str:
    """Shorten a name from a request, and make it safe to encode as JSON."""
    return name[:64].encode("utf-8", "replace").decode()
