"""The fields of the form page, and the columns of the file page."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from slipway.models.features import Feature, Value
from slipway.models.record_texts import field_text, missing_text, value_text
from slipway.models.signature import Signature
from slipway.models.validation import MAX_TEXT, parse_text
from slipway.reports.feature_texts import form_hints
from slipway.reports.formatting import shorten, value_name

Control = Literal["drop-down", "suggestions", "area", "input"]
# A longer drop-down is hard to use; the field becomes a text input with suggestions.
MAX_OPTIONS = 250
MAX_SUGGESTIONS = 5_000


@dataclass(frozen=True)
class Field:
    """One input of the form, with its text and the error of that text.

    Attributes
    ----------
    id : str
    feature : Feature
    text : str
    error : str, optional
    missing : collection of str
        The texts that mean a missing value.
    """

    id: str
    feature: Feature
    text: str
    error: str | None
    missing: Collection[str]

    @cached_property
    def control(self) -> Control:
        """Return the kind of input."""
        if self.known_values:
            return "suggestions" if self._is_long else "drop-down"
        return "area" if self.feature.kind in ("text", "category") else "input"

    @cached_property
    def known_values(self) -> list[tuple[str, str]]:
        """Return the texts and names of the known values that a form can send."""
        feature = self.feature
        values: Collection[Value] = feature.categories
        if feature.kind == "flag" and not feature.closed:
            values = (True, False)
        pairs = ((value, value_text(value)) for value in values)
        return [
            (text, self._name(value))
            for value, text in pairs
            if parse_text(feature, text, self.missing) == value
        ]

    @property
    def choices(self) -> list[tuple[str, str]]:
        """Return the texts and names of the drop-down's options."""
        missing_option, selected = self.missing_option, self.selected
        options = list(self.known_values)
        if selected != missing_option and selected not in dict(options):
            options.insert(0, (selected, f"{shorten(selected)} (not in the list)"))
        if missing_option is not None and (self.feature.nullable or selected == missing_option):
            options.insert(0, (missing_option, self._missing_name))
        return options

    @property
    def suggestions(self) -> list[tuple[str, str]]:
        """Return the texts and names of the first known values."""
        return self.known_values[:MAX_SUGGESTIONS]

    @cached_property
    def missing_option(self) -> str | None:
        """Return the text that means a missing value of this feature, if one exists."""
        return missing_text(self.feature, self.missing)

    @cached_property
    def selected(self) -> str:
        """Return the text of the option with the field's value."""
        value = parse_text(self.feature, self.text, self.missing)
        if value is None:
            return self.text if self.missing_option is None else self.missing_option
        return value_text(value)

    @property
    def hints(self) -> list[str]:
        """Return sentences on the accepted values."""
        hints = form_hints(self.feature, listed=self.control == "drop-down")
        if self.control != "drop-down" and self.feature.nullable and self.missing_option:
            hints.append(f"Enter {self.missing_option} for a missing value.")
        return hints

    @property
    def keyboard(self) -> str:
        """Return the ``inputmode``: a phone's keyboard for numbers may lack the minus sign."""
        feature = self.feature
        is_number = feature.kind in ("number", "integer") and not feature.infinite
        if not is_number or feature.minimum is None or feature.minimum < 0:
            return "text"
        return "numeric" if feature.kind == "integer" else "decimal"

    @property
    def max_length(self) -> int:
        """Return the maximum number of characters."""
        return MAX_TEXT

    @property
    def _is_long(self) -> bool:
        """Return whether to suggest the values; a text input cannot contain line ends."""
        texts = [text for text, _ in self.known_values]
        one_line = not any("\n" in text or "\r" in text or text == "" for text in texts)
        return len(texts) > MAX_OPTIONS and one_line

    @property
    def _missing_name(self) -> str:
        if not self.feature.nullable:
            return "choose one"
        return "not known (training had none)" if self.feature.complete else "not known"

    def _name(self, value: Value) -> str:
        feature = self.feature
        unseen = feature.kind == "flag" and feature.categories and value not in feature.known
        return f"{value_name(feature, value)}{' (not seen in training)' if unseen else ''}"


@dataclass(frozen=True)
class ColumnRow:
    """A column of a file, with an example cell and the cell of a missing value."""

    feature: Feature
    example: str
    missing: str


def describe_column(feature: Feature, signature: Signature) -> ColumnRow:
    """Return the description of a file's column."""
    text = field_text(feature, feature.example, signature.missing)
    example = "an empty cell" if text == "" else shorten(text or "–")
    missing = missing_text(feature, signature.missing)
    if not feature.nullable or missing is None:
        return ColumnRow(feature, example, "not accepted")
    return ColumnRow(feature, example, missing or "an empty cell")


def without_browser_line_ends(signature: Signature, texts: Mapping[str, str]) -> dict[str, str]:
    """Replace the CR LF that browsers send for each line end of a text or option."""
    return {
        name: _restore_line_ends(signature.by_name[name], text)
        if "\r\n" in text and name in signature.by_name
        else text
        for name, text in texts.items()
    }


def _restore_line_ends(feature: Feature, text: str) -> str:
    """Return the category with the same lines, or the text with line feeds only."""
    plain = _normalize_line_ends(text)
    texts = (category for category in feature.categories if isinstance(category, str))
    return next((text for text in texts if _normalize_line_ends(text) == plain), plain)


def _normalize_line_ends(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")
