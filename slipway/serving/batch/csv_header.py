"""The header of a CSV file, and the columns of the features."""

from __future__ import annotations

import csv
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from itertools import islice

from slipway.core.errors import BadBody, BadInput, FieldError
from slipway.models.features import Feature
from slipway.models.signature import Signature
from slipway.serving.batch.csv_dialect import COMMA, SEMICOLON, TAB, Dialect, find_decimal_mark

# Characters of an unreadable row that are kept.
MAX_KEPT = 1_000
# Columns that the model does not use; a spreadsheet has as many.
MAX_COLUMNS = 16_384
# Rows to detect the decimal mark from.
FIRST_ROWS = 20_000
# A suggestion takes milliseconds in a wide header.
MAX_HINTS = 3
MAX_CANDIDATES = 200
_SEPARATOR_NAMES = {COMMA: "commas", SEMICOLON: "semicolons", TAB: "tabs"}
# Bytes that are not UTF-8, decoded with "surrogateescape".
_ESCAPED = re.compile("[\udc80-\udcff]")
NOT_UTF8 = (
    "not UTF-8, perhaps Windows-1252 (Latin-1): save the file as UTF-8, "
    "or send it with Content-Type: text/csv; charset=windows-1252"
)


@dataclass(frozen=True)
class Header:
    """The header of a file: its columns, the position of each feature, and the dialect.

    Attributes
    ----------
    text : str
    names : list of str
    positions : dict of str to int
        The column of each feature in the file.
    dialect : Dialect
    numbers : tuple of str
        The numeric features whose cells may have a decimal comma.
    before : str
        The line ``sep=`` before the header, with its line end; empty without one.
    """

    text: str
    names: list[str]
    positions: dict[str, int]
    dialect: Dialect = field(default_factory=Dialect)
    numbers: tuple[str, ...] = ()
    before: str = ""

    def select_cells(self, cells: list[str]) -> dict[str, str]:
        """Return the cells of the features by name, unchanged."""
        return {name: cells[position] for name, position in self.positions.items()}

    def normalize_decimals(self, cells: dict[str, str]) -> Mapping[str, str]:
        """Return the cells with decimal points instead of commas."""
        if not self.numbers:
            return cells
        return cells | {name: self.dialect.normalize_decimal(cells[name]) for name in self.numbers}

    def cell_errors(self, cells: Mapping[str, str]) -> list[FieldError]:
        """Return an error for each cell with invalid UTF-8 or another decimal mark."""
        errors = []
        if not "".join(cells.values()).isascii():
            errors += [
                FieldError(name, None, "not_utf8", NOT_UTF8)
                for name, text in cells.items()
                if _ESCAPED.search(text)
            ]
        for name in self.numbers:
            message = self.dialect.decimal_error(cells[name])
            if message:
                errors.append(FieldError(name, None, "not_a_number", message))
        return errors

    def is_blank(self, text: str) -> bool:
        """Return whether a line is empty, not a row; in a file of one column it is a cell."""
        return len(self.names) > 1 and not text.strip(" ")

    def fit_width(self, text: str, cells: list[str]) -> str:
        """Return a rejected row with as many cells as the header.

        The first column of an unreadable row holds its beginning.
        """
        separator, n_columns = self.dialect.separator, len(self.names)
        missing = n_columns - max(len(cells), 1)
        if cells and missing > 0 and not any(mark in text for mark in '"\r\n'):
            return text + separator * missing
        kept = map(self.dialect.write_cell, (cells or [text[:MAX_KEPT]])[:n_columns])
        return separator.join(kept) + separator * missing


def parse_header(
    text: str, dialect: Dialect, before: str, signature: Signature, added: tuple[str, ...]
) -> Header:
    """Parse the header with the first separator that fits the model.

    The order is comma, semicolon, tab.

    Parameters
    ----------
    text : str
    dialect : Dialect
    before : str
        The line ``sep=`` before the header, which sets the separator; empty without one.
    signature : Signature
    added : tuple of str
        The columns that the service adds.

    Raises
    ------
    BadBody
        The line is not CSV, or has too many columns.
    BadInput
        A column is missing, duplicated, or has the name of an added column.
    """
    separators = (dialect.separator,) if before else (COMMA, SEMICOLON, TAB)
    candidates: list[Header] = []
    for separator in separators:
        names = _split(text, separator)
        if names is None or (candidates and len(names) == 1):
            continue
        if len(names) > MAX_COLUMNS + len(signature.names):
            raise BadBody(f"the file has over {MAX_COLUMNS:,} columns", code="not_csv")
        positions = _find_positions(names, signature)
        used_dialect = replace(dialect, separator=separator)
        header = Header(text, names, positions, used_dialect, before=before)
        if not _has_errors(header, signature, added):
            return header
        candidates.append(header)
    if not candidates:
        raise BadBody("the first line is not CSV", code="not_csv")
    best = max(candidates, key=lambda header: len(header.positions))
    name = _SEPARATOR_NAMES.get(best.dialect.separator)
    separated_by = f", separated by {name}," if name and name != "commas" else ""
    message = f"the columns{separated_by} do not fit the model"
    raise BadInput(message, errors=_column_errors(best, signature, added))


def _split(text: str, separator: str) -> list[str] | None:
    try:
        return next(csv.reader([text], delimiter=separator, strict=True))
    except csv.Error:
        return None


def _find_positions(names: list[str], signature: Signature) -> dict[str, int]:
    """Return the column of each feature; a unique name with blanks around it matches too."""
    exact = {name: column for column, name in reversed(list(enumerate(names)))}
    stripped = defaultdict(list)
    for column, name in enumerate(names):
        if name not in signature.by_name:
            stripped[name.strip()].append(column)
    positions = {}
    for name in signature.names:
        same = stripped.get(name.strip(), ())
        if name in exact:
            positions[name] = exact[name]
        elif len(same) == 1:
            positions[name] = same[0]
    return positions


def _find_missing(header: Header, signature: Signature) -> list[Feature]:
    """Return the features that need a column but have none.

    An optional feature needs a column if another column differs from its name only in case or
    blanks. All its values would silently be missing otherwise.
    """
    folded = {name.strip().lower() for name in header.names if name not in signature.by_name}
    return [
        feature
        for feature in signature.features
        if feature.name not in header.positions
        and (not feature.nullable or feature.name.strip().lower() in folded)
    ]


def _has_errors(header: Header, signature: Signature, added: tuple[str, ...]) -> bool:
    """Return whether the columns do not fit the model."""
    occurrences = Counter(header.names)
    has_duplicates = any(occurrences[name] > 1 for name in signature.names)
    has_reserved = not occurrences.keys().isdisjoint(added)
    return (
        bool(_find_missing(header, signature))
        or has_duplicates
        or not header.positions
        or has_reserved
    )


def _column_errors(
    header: Header, signature: Signature, added: tuple[str, ...]
) -> list[FieldError]:
    """Return all errors of the columns."""
    errors: list[FieldError] = []
    occurrences, hints = Counter(header.names), MAX_HINTS
    missing_names = {feature.name for feature in _find_missing(header, signature)}
    for feature in signature.features:
        if occurrences[feature.name] > 1:
            message = "duplicate column"
            errors.append(FieldError(feature.name, None, "duplicate_column", message))
        elif feature.name in missing_names:
            hint = _suggest_column(feature, header.names) if hints else ""
            hints -= bool(hints)
            message = f"the file has no such column{hint}"
            errors.append(FieldError(feature.name, None, "missing_column", message))
    message = "the service adds a column of this name; rename yours"
    errors += [FieldError(n, None, "reserved_column", message) for n in added if occurrences[n]]
    if not header.positions and not errors:
        message = "the file has none of the model's columns"
        errors.append(FieldError(None, None, "missing_column", message))
    return errors


def _suggest_column(feature: Feature, names: list[str]) -> str:
    """Return a hint at the most similar column, first of all one that differs only in case."""
    candidates = [name[:64] for name in names[:MAX_CANDIDATES]]
    same = [name for name in candidates if name.strip().lower() == feature.name.strip().lower()]
    suggestions = same or get_close_matches(feature.name, candidates, n=1)
    return f"; rename the column {suggestions[0]!r}?" if suggestions else ""


def detect_decimals(header: Header, rows: list[str], signature: Signature) -> Header:
    """Return the header with the decimal mark of a file whose separator is not the comma.

    Parameters
    ----------
    header : Header
    rows : list of str
        The first rows.
    signature : Signature
    """
    numbers = tuple(
        feature.name
        for feature in signature.features
        if feature.kind in ("number", "integer") and feature.name in header.positions
    )
    positions = [header.positions[name] for name in numbers]
    reader = csv.reader(islice(rows, FIRST_ROWS), delimiter=header.dialect.separator)
    try:
        mark = find_decimal_mark(
            row[column] for row in reader if len(row) == len(header.names) for column in positions
        )
    except csv.Error:
        mark = ""
    return replace(header, dialect=replace(header.dialect, decimal=mark), numbers=numbers)
