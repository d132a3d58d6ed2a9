"""The fields of the form, and the columns of a file as its page describes them."""

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
# A drop-down of more values is hard to use; an input that suggests them can be typed into.
MOST_OPTIONS = 250
MOST_SUGGESTED = 5_000


@dataclass(frozen=True)
class Field:
    """One input of the form: its feature, its text, and what is wrong with that text.

    Attributes
    ----------
    id : str
    feature : Feature
    text : str
    error : str, optional
    missing : collection of str
        The texts that stand for a missing value.
    """

    id: str
    feature: Feature
    text: str
    error: str | None
    missing: Collection[str]

    @cached_property
    def control(self) -> Control:
        """The kind of input."""
        known = self.known
        if known:
            return "suggestions" if self._is_long else "drop-down"
        return "area" if self.feature.kind in ("text", "category") else "input"

    @cached_property
    def known(self) -> list[tuple[str, str]]:
        """The known values that a form can send: their texts and names."""
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
        """The options of the drop-down: their texts and names."""
        gap, chosen = self.gap, self.chosen
        options = list(self.known)
        if chosen != gap and chosen not in dict(options):
            options.insert(0, (chosen, f"{shorten(chosen)} (not in the list)"))
        if gap is not None and (self.feature.nullable or chosen == gap):
            options.insert(0, (gap, self._gap_name))
        return options

    @property
    def suggestions(self) -> list[tuple[str, str]]:
        """The suggested values, of very many the first."""
        return self.known[:MOST_SUGGESTED]

    @cached_property
    def gap(self) -> str | None:
        """The text that stands for a missing value of this feature."""
        return missing_text(self.feature, self.missing)

    @cached_property
    def chosen(self) -> str:
        """The field's text, as an option writes the same value."""
        value = parse_text(self.feature, self.text, self.missing)
        if value is None:
            return self.text if self.gap is None else self.gap
        return value_text(value)

    @property
    def hints(self) -> list[str]:
        """What the field takes, in sentences."""
        hints = form_hints(self.feature, listed=self.control == "drop-down")
        if self.control != "drop-down" and self.feature.nullable and self.gap:
            hints.append(f"Enter {self.gap} for a missing value.")
        return hints

    @property
    def keyboard(self) -> str:
        """The keyboard that a phone shows; those for numbers may lack the minus sign."""
        feature = self.feature
        is_number = feature.kind in ("number", "integer") and not feature.infinite
        if not is_number or feature.minimum is None or feature.minimum < 0:
            return "text"
        return "numeric" if feature.kind == "integer" else "decimal"

    @property
    def longest(self) -> int:
        """How many characters a text may have."""
        return MAX_TEXT

    @property
    def _is_long(self) -> bool:
        """Whether the values are suggested while typing; an input cannot hold line ends."""
        texts = [text for text, _ in self.known]
        one_line = not any("\n" in text or "\r" in text or text == "" for text in texts)
        return len(texts) > MOST_OPTIONS and one_line

    @property
    def _gap_name(self) -> str:
        if not self.feature.nullable:
            return "choose one"
        return "not known (training had none)" if self.feature.complete else "not known"

    def _name(self, value: Value) -> str:
        feature = self.feature
        unseen = feature.kind == "flag" and feature.categories and value not in feature.known
        return f"{value_name(feature, value)}{' (not seen in training)' if unseen else ''}"


@dataclass(frozen=True)
class ColumnRow:
    """A column of a file: its feature, an example of a cell, and the cell of a missing value."""

    feature: Feature
    example: str
    missing: str


def column_row(feature: Feature, signature: Signature) -> ColumnRow:
    """Describe a column of a file."""
    example = field_text(feature, feature.example, signature.missing)
    gap = missing_text(feature, signature.missing)
    cell = "not accepted" if not feature.nullable or gap is None else gap or "an empty cell"
    shown = "an empty cell" if example == "" else shorten(example or "–")
    return ColumnRow(feature, shown, cell)


def without_browser_line_ends(signature: Signature, texts: Mapping[str, str]) -> dict[str, str]:
    """Undo the CR LF that browsers send for every line end of a text or an option."""
    return {
        name: _original(signature.by_name[name], text)
        if "\r\n" in text and name in signature.by_name
        else text
        for name, text in texts.items()
    }


def _original(feature: Feature, text: str) -> str:
    """Return the category that a browser has sent so, or the text with plain line ends."""
    plain = _plain(text)
    known = (each for each in feature.categories if isinstance(each, str))
    return next((each for each in known if _plain(each) == plain), plain)


def _plain(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")
