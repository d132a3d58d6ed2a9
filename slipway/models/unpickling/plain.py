"""Plain values: numbers, texts, dates, and containers and arrays of them."""

from __future__ import annotations

import datetime
import decimal
import zoneinfo
from collections import Counter, OrderedDict, defaultdict
from functools import lru_cache
from typing import Any

_DEPTH = 8
_MOST_KEYS = 1000
CONTAINERS = (list, tuple, set, frozenset)
MAPS = (dict, OrderedDict, defaultdict, Counter)


def split_words(text: str) -> frozenset[str]:
    """Return the words of a text, as lists of names are written here."""
    return frozenset(text.split())


@lru_cache(1)
def atoms() -> frozenset[type]:
    """Return the types of values that hold no other object and no code."""
    import numpy as np
    import pandas as pd

    numbers = {kind for kind in np.sctypeDict.values() if kind not in (np.object_, np.void)}
    dates = {datetime.date, datetime.datetime, datetime.time, datetime.timedelta}
    zones = {datetime.timezone, zoneinfo.ZoneInfo}
    pandas = {pd.Timestamp, pd.Timedelta, pd.Period, type(pd.NaT), type(pd.NA), pd.Interval}
    basic = {bool, int, float, complex, str, bytes, bytearray, type(None), slice, range, object}
    return frozenset(numbers | dates | zones | pandas | basic | {decimal.Decimal, type(...)})


def is_plain(value: Any, depth: int = _DEPTH) -> bool:
    """Whether a value is plain through and through."""
    import numpy as np

    kind = type(value)
    if kind in atoms() or issubclass(kind, datetime.tzinfo):
        return True
    if kind is np.ndarray:
        if not value.dtype.hasobject:
            return True
        value = value.ravel().tolist()
    elif kind in MAPS:
        value = value.values()
    elif kind not in CONTAINERS:
        return False
    if atoms().issuperset(map(type, value)):
        return True
    return depth > 0 and all(is_plain(each, depth - 1) for each in value)


def is_key(value: Any) -> bool:
    """Whether hashing and comparing a value runs no code and takes no time."""
    kind = type(value)
    if kind in atoms():
        return kind not in (bytearray, object)
    if kind not in (tuple, frozenset) or len(value) > _MOST_KEYS:
        return False
    return all(type(each) in atoms() and type(each) is not bytearray for each in value)
