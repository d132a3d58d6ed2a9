"""Plain values: numbers, texts, dates, and containers and arrays of them."""

from __future__ import annotations

import datetime
import decimal
import zoneinfo
from collections import Counter, OrderedDict, defaultdict
from functools import lru_cache
from typing import Any

_MAX_DEPTH = 8
_MAX_KEY_PARTS = 1000
CONTAINERS = (list, tuple, set, frozenset)
MAPS = (dict, OrderedDict, defaultdict, Counter)


def split_words(text: str) -> frozenset[str]:
    """Return the set of words in a text."""
    return frozenset(text.split())


@lru_cache(1)
def atoms() -> frozenset[type]:
    """Return the types of values that contain neither other objects nor code."""
    import numpy as np
    import pandas as pd

    numbers = {kind for kind in np.sctypeDict.values() if kind not in (np.object_, np.void)}
    dates = {datetime.date, datetime.datetime, datetime.time, datetime.timedelta}
    zones = {datetime.timezone, zoneinfo.ZoneInfo}
    pandas = {pd.Timestamp, pd.Timedelta, pd.Period, type(pd.NaT), type(pd.NA), pd.Interval}
    basic = {bool, int, float, complex, str, bytes, bytearray, type(None), slice, range, object}
    return frozenset(numbers | dates | zones | pandas | basic | {decimal.Decimal, type(...)})


def is_plain(value: Any, depth: int = _MAX_DEPTH) -> bool:
    """Whether a value and all of its elements are plain."""
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
    return depth > 0 and all(is_plain(element, depth - 1) for element in value)


def is_key(value: Any) -> bool:
    """Whether a value can be hashed and compared quickly and without running code."""
    kind = type(value)
    if kind in atoms():
        return kind not in (bytearray, object)
    if kind not in (tuple, frozenset) or len(value) > _MAX_KEY_PARTS:
        return False
    return all(type(part) in atoms() and type(part) is not bytearray for part in value)
