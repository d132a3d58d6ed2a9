"""The first row of a CSV file: its columns, and where each feature stands."""

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
from slipway.serving.batch.csv_dialect import COMMA, SEMICOLON, TAB, Dialect, decimal_mark

MAX_KEPT = 1_000
# Of those that the model does not use; as many as a spreadsheet has.
MAX_COLUMNS = 16_384
# Rows from which the decimal mark is read.
FIRST_ROWS = 20_000
# A hint costs milliseconds where a header has many columns.
MAX_HINTS = 3
MAX_CANDIDATES = 200
_NAMES = {COMMA: "commas", SEMICOLON: "semicolons", TAB: "tabs"}
# The bytes that are not UTF-8, as "surrogateescape" keeps them.
_ESCAPED = re.compile("[\udc80-\udcff]")
NOT_UTF8 = (
    "not UTF-8, perhaps Windows-1252 (Latin-1): save the file as UTF-8, "
    "or send it with Content-Type: text/csv; charset=windows-1252"
)


@dataclass(frozen=True)
class Header:
    """The first row: the columns, where each feature stands, and how the file is written.

    Attributes
    ----------
    text : str
    names : list of str
    positions : dict of str to int
        The column of each feature that the file has.
    dialect : Dialect
    numbers : tuple of str
        The numeric features whose cells may have a decimal comma.
    before : str
        A line ``sep=`` that stood in front, with its end.
    """

    text: str
    names: list[str]
    positions: dict[str, int]
    dialect: Dialect = field(default_factory=Dialect)
    numbers: tuple[str, ...] = ()
    before: str = ""

    def named(self, cells: list[str]) -> dict[str, str]:
        """Return the features' cells by name, as they came."""
        return {name: cells[position] for name, position in self.positions.items()}

    def spelled(self, given: dict[str, str]) -> Mapping[str, str]:
        """Return the cells with decimal points."""
        if not self.numbers:
            return given
        return given | {name: self.dialect.number_text(given[name]) for name in self.numbers}

    def misfits(self, given: Mapping[str, str]) -> list[FieldError]:
        """Return an error for each cell that cannot be read without a guess."""
        errors = []
        if not "".join(given.values()).isascii():
            errors += [
                FieldError(name, None, "not_utf8", NOT_UTF8)
                for name, text in given.items()
                if _ESCAPED.search(text)
            ]
        for name in self.numbers:
            message = self.dialect.misfit(given[name])
            if message:
                errors.append(FieldError(name, None, "not_a_number", message))
        return errors

    def is_blank(self, text: str) -> bool:
        """Whether a line is empty, and so not a row; in a file of one column it is a cell."""
        return len(self.names) > 1 and not text.strip(" ")

    def fitted(self, text: str, cells: list[str]) -> str:
        """Make a row that cannot be answered as wide as the header, so that columns stay put.

        Of a row that cannot be read, its beginning stands in the first column.
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
    """Find the features' columns in the first row.

    Commas come first; where they do not fit the model, semicolons and tabs are tried.

    Parameters
    ----------
    text : str
    dialect : Dialect
    before : str
        The line ``sep=`` in front, which settles the separator; empty for none.
    signature : Signature
    added : tuple of str

    Raises
    ------
    BadBody
        The row is not CSV.
    BadInput
        A column is missing, present twice, or has the name of one that is added.
    """
    separators = (dialect.separator,) if before else (COMMA, SEMICOLON, TAB)
    found: list[Header] = []
    for separator in separators:
        names = _split(text, separator)
        if names is None or (found and len(names) == 1):
            continue
        if len(names) > MAX_COLUMNS + len(signature.names):
            raise BadBody(f"the file has over {MAX_COLUMNS:,} columns", code="not_csv")
        positions = _positions(names, signature)
        written = replace(dialect, separator=separator)
        header = Header(text, names, positions, written, before=before)
        if not _problems(header, signature, added):
            return header
        found.append(header)
    if not found:
        raise BadBody("the first line is not CSV", code="not_csv")
    best = max(found, key=lambda header: len(header.positions))
    name = _NAMES.get(best.dialect.separator)
    by = f", separated by {name}," if name and name != "commas" else ""
    message = f"the columns{by} do not fit the model"
    raise BadInput(message, errors=_column_errors(best, signature, added))


def _split(text: str, separator: str) -> list[str] | None:
    try:
        return next(csv.reader([text], delimiter=separator, strict=True))
    except csv.Error:
        return None


def _positions(names: list[str], signature: Signature) -> dict[str, int]:
    """Find each feature's column; one with blanks around its name counts where it is alone."""
    exact = {name: place for place, name in reversed(list(enumerate(names)))}
    stripped = defaultdict(list)
    for place, name in enumerate(names):
        if name not in signature.by_name:
            stripped[name.strip()].append(place)
    positions = {}
    for name in signature.names:
        alike = stripped.get(name.strip(), ())
        if name in exact:
            positions[name] = exact[name]
        elif len(alike) == 1:
            positions[name] = alike[0]
    return positions


def _absent(header: Header, signature: Signature) -> list[Feature]:
    """List the features without a column that need one.

    One that may be missing needs it too where a column has its name but for case or blanks: it
    would otherwise be missing in every row without a word.
    """
    folded = {name.strip().lower() for name in header.names if name not in signature.by_name}
    return [
        feature
        for feature in signature.features
        if feature.name not in header.positions
        and (not feature.nullable or feature.name.strip().lower() in folded)
    ]


def _problems(header: Header, signature: Signature, added: tuple[str, ...]) -> bool:
    """Whether there is anything wrong with the columns."""
    counted = Counter(header.names)
    twice = any(counted[name] > 1 for name in signature.names)
    reserved = not counted.keys().isdisjoint(added)
    return bool(_absent(header, signature)) or twice or not header.positions or reserved


def _column_errors(
    header: Header, signature: Signature, added: tuple[str, ...]
) -> list[FieldError]:
    """Return everything that is wrong with the columns."""
    errors: list[FieldError] = []
    counted, hints = Counter(header.names), MAX_HINTS
    absent = {feature.name for feature in _absent(header, signature)}
    for feature in signature.features:
        if counted[feature.name] > 1:
            message = "the file has this column twice"
            errors.append(FieldError(feature.name, None, "duplicate_column", message))
        elif feature.name in absent:
            hint = _hint(feature, header.names) if hints else ""
            hints -= bool(hints)
            message = f"the file has no such column{hint}"
            errors.append(FieldError(feature.name, None, "missing_column", message))
    message = "the answer adds a column of this name; rename it"
    errors += [FieldError(n, None, "reserved_column", message) for n in added if counted[n]]
    if not header.positions and not errors:
        message = "the file has none of the model's columns"
        errors.append(FieldError(None, None, "missing_column", message))
    return errors


def _hint(feature: Feature, names: list[str]) -> str:
    """Suggest a column for a feature: one that differs in case, else the nearest."""
    some = [name[:64] for name in names[:MAX_CANDIDATES]]
    alike = [name for name in some if name.strip().lower() == feature.name.strip().lower()]
    near = alike or get_close_matches(feature.name, some, n=1)
    return f"; rename the column {near[0]!r}?" if near else ""


def with_decimals(header: Header, rows: list[str], signature: Signature) -> Header:
    """Find the decimal mark of a file whose separator is not the comma.

    Parameters
    ----------
    header : Header
    rows : list of str
        The first rows.
    signature : Signature
    """
    if header.dialect.separator == COMMA:
        return header
    numbers = tuple(
        feature.name
        for feature in signature.features
        if feature.kind in ("number", "integer") and feature.name in header.positions
    )
    places = [header.positions[name] for name in numbers]
    reader = csv.reader(islice(rows, FIRST_ROWS), delimiter=header.dialect.separator)
    try:
        mark = decimal_mark(
            row[place] for row in reader if len(row) == len(header.names) for place in places
        )
    except csv.Error:
        mark = ""
    return replace(header, dialect=replace(header.dialect, decimal=mark), numbers=numbers)
