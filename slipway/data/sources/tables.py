"""Check that a source has the tables of a problem."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable

from slipway.core.errors import SlipwayError


def require_tables(tables: Iterable[str], existing: Collection[str], redacted: str) -> None:
    """Raise an error if a source lacks a table.

    Parameters
    ----------
    tables : iterable of str
    existing : collection of str
        The tables of the source; names are not case-sensitive.
    redacted : str
        The source, for the message.

    Raises
    ------
    SlipwayError
        The message names the existing tables.
    """
    known = {name.lower(): name for name in existing}
    for name in tables:
        if name.lower() in known:
            continue
        near = difflib.get_close_matches(name.lower(), known, n=1)
        hint = f"; did you mean {known[near[0]]}?" if near else ""
        names = ", ".join(sorted(existing)[:20]) or "none"
        raise SlipwayError(f"{redacted} has no table {name}{hint} (tables: {names})")
