"""Read the training rows of a fitted model from a CSV file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd

from slipway.core.errors import ModelError
from slipway.models.validation import MISSING_TEXTS
from slipway.training.packaging.encoder_hints import EncoderHints
from slipway.training.packaging.inner_models import find_raw_input_uses

_DECIMAL_COMMA = re.compile(r"(?<![\d,])\d+,\d+(?![\d,])")


def read_csv_rows(model: Any, path: Path, names: tuple[str, ...]) -> pd.DataFrame:
    """Read a CSV file as pandas does, but keep the texts that encoders know.

    Raises
    ------
    ModelError
        The file is not CSV or not UTF-8, has no rows, or names a column twice.
    """
    try:
        options = _detect_format(path)
        header = list(pd.read_csv(path, nrows=0, **options).columns)
        _require_unique(path, pd.read_csv(path, nrows=1, header=None, dtype=str, **options))
        known = _known_texts(model, names)
        missing = {
            name: [t for t in MISSING_TEXTS if t not in known.get(name, ())] for name in header
        }
        texts = dict.fromkeys(known.keys() & set(header), str)
        rows: pd.DataFrame = pd.read_csv(
            path, dtype=texts, na_values=missing, keep_default_na=False, **options
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ModelError(f"{path.name} is not a CSV file: {error}") from error
    except UnicodeDecodeError as error:
        message = f"{path.name} is not UTF-8, but possibly Latin-1 or Windows-1252"
        raise ModelError(f"{message}; save it as UTF-8") from error
    if rows.empty:
        raise ModelError(f"{path.name} has no rows")
    return rows


def _require_unique(path: Path, header: pd.DataFrame) -> None:
    """Reject a header that names a column twice; pandas would rename it."""
    names = header.iloc[0].dropna()
    duplicates = names[names.duplicated()]
    if len(duplicates):
        raise ModelError(f"{path.name} has column {duplicates.iloc[0]} twice; rename one of them")


def _detect_format(path: Path) -> dict[str, Any]:
    """Detect tabs, or semicolons with or without decimal commas."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        head = file.readline()
        sample = "".join(line for _, line in zip(range(50), file, strict=False))
    if "," in head:
        return {"encoding": "utf-8-sig"}
    separator = max(";\t", key=head.count)
    if separator not in head:
        return {"encoding": "utf-8-sig"}
    decimal = "," if _DECIMAL_COMMA.search(sample) else "."
    return {"encoding": "utf-8-sig", "sep": separator, "decimal": decimal}


def _known_texts(model: Any, names: tuple[str, ...]) -> dict[str, set[str]]:
    """Return the texts that encoders know, by column; some look like numbers or missing values."""
    uses = find_raw_input_uses(model, names)
    known: dict[str, set[str]] = {}
    for name in names:
        hints = EncoderHints([use for use in uses if use.feature == name])
        texts = {category for category in hints.categories or () if isinstance(category, str)}
        if texts:
            known[name] = texts - {""} if hints.handles_missing else texts
    return known
