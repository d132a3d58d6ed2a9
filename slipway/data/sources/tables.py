"""The tables that a source must have."""

from __future__ import annotations

import difflib

from slipway.core.errors import SlipwayError


def require_tables(wanted: tuple[str, ...], found: list[str], shown: str) -> None:
    """Refuse a source that lacks a table.

    Parameters
    ----------
    wanted : tuple of str
    found : list of str
        Engines write names in lower or upper case as they like.
    shown : str

    Raises
    ------
    SlipwayError
        The message names the tables that there are.
    """
    known = {name.lower(): name for name in found}
    for name in wanted:
        if name.lower() in known:
            continue
        near = difflib.get_close_matches(name.lower(), known, n=1)
        hint = f"; did you mean {known[near[0]]}?" if near else ""
        there = ", ".join(sorted(found)[:20]) or "none"
        raise SlipwayError(f"{shown} has no table {name}{hint} (there are: {there})")
