"""Constructors of Python's own types, with exact arguments."""

from __future__ import annotations

import datetime
import decimal
import re
import zoneinfo
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from typing import Any

from slipway.models.unpickling.plain import is_key, is_plain
from slipway.models.unpickling.rejection import require, require_types

_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+\-]*(/[A-Za-z0-9_+\-]+)*")
_NUMBER = (int, float)


class Constructor:
    """A function of ours in the place of one that a pickle calls; no model may hold it."""

    __slots__ = ("function", "name")

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.name = name
        self.function = function


def make_bytes(*args: Any) -> bytes:
    """Make bytes of text, as protocols 0 to 2 write them."""
    require_types("_codecs.encode", args, str, str)
    require(args[1] in ("latin1", "latin-1"), "encodes a text in another way")
    return str(args[0]).encode("latin-1")


def make_bytearray(*args: Any) -> bytearray:
    """Make a bytearray of bytes, never of a length."""
    if len(args) == 2:
        args = (make_bytes(*args),)
    if args:
        require_types("bytearray", args, bytes)
    return bytearray(*args)


def make_bytes_of_list(*args: Any) -> bytes:
    """Make empty bytes, which is how protocol 2 writes them."""
    require(not args, "calls bytes with other arguments than a model's")
    return b""


def make_complex(*args: Any) -> complex:
    """Make a complex number."""
    require_types("complex", args, _NUMBER, _NUMBER)
    return complex(*args)


def _elements(kind: str, args: tuple[Any, ...]) -> list[Any]:
    """Return the elements of a container, which is made of one list or of nothing."""
    if not args:
        return []
    require_types(kind, args, (list, tuple))
    return list(args[0])


def _keys(kind: str, args: tuple[Any, ...]) -> list[Any]:
    elements = _elements(kind, args)
    require(all(map(is_key, elements)), "has an unusual thing in a set")
    return elements


def make_set(*args: Any) -> set[Any]:
    """Make a set of plain values."""
    return set(_keys("set", args))


def make_frozenset(*args: Any) -> frozenset[Any]:
    """Make a frozenset of plain values."""
    return frozenset(_keys("frozenset", args))


def make_list(*args: Any) -> list[Any]:
    """Make an empty list."""
    require(not args, "calls list with other arguments than a model's")
    return []


def make_tuple(*args: Any) -> tuple[Any, ...]:
    """Make an empty tuple."""
    require(not args, "calls tuple with other arguments than a model's")
    return ()


def make_range(*args: Any) -> range:
    """Make a range of no more numbers than an array could hold."""
    require_types("range", args, int, int, int)
    made = range(*args)
    require(all(abs(each) < 2**31 for each in args), "makes a range that has no end")
    return made


def make_slice(*args: Any) -> slice:
    """Make a slice of positions or names."""
    require(len(args) == 3 and is_plain(args, 1), "makes a slice of another thing")
    return slice(*args)


def make_counter(*args: Any) -> Counter[Any]:
    """Make a counter of numbers."""
    require_types("Counter", args, dict)
    require(is_plain(args[0], 1), "counts other things than a model")
    return Counter(args[0])


def make_ordered(*args: Any) -> OrderedDict[Any, Any]:
    """Make an empty ordered dictionary."""
    require(not args, "calls OrderedDict with other arguments than a model's")
    return OrderedDict()


def make_default(*args: Any) -> defaultdict[Any, Any]:
    """Make a dictionary whose missing values are one of Python's empty ones."""
    kinds = (int, float, str, list, dict, set, bool, type(None), OrderedDict)
    right = not args or (len(args) == 1 and any(args[0] is kind for kind in (*kinds, None)))
    require(right, "calls defaultdict with other arguments than a model's")
    return defaultdict(*args)


def _zone(args: tuple[Any, ...]) -> bool:
    return all(issubclass(type(each), datetime.tzinfo) for each in args)


def make_date(*args: Any) -> datetime.date:
    """Make a date."""
    require_types("date", args, bytes)
    return datetime.date(*args)


def make_datetime(*args: Any) -> datetime.datetime:
    """Make a date with a time."""
    require_types("datetime", args[:1], bytes)
    require(len(args) < 3 and _zone(args[1:]), "makes a date in another way")
    return datetime.datetime(*args)


def make_time(*args: Any) -> datetime.time:
    """Make a time of the day."""
    require_types("time", args[:1], bytes)
    require(len(args) < 3 and _zone(args[1:]), "makes a date in another way")
    return datetime.time(*args)


def make_duration(*args: Any) -> datetime.timedelta:
    """Make a duration."""
    require_types("timedelta", args, int, int, int)
    return datetime.timedelta(*args)


def make_timezone(*args: Any) -> datetime.timezone:
    """Make a fixed distance from UTC."""
    require_types("timezone", args[:1], datetime.timedelta)
    require(len(args) < 3 and all(type(each) is str for each in args[1:]), "names a zone otherwise")
    return datetime.timezone(*args)


def make_decimal(*args: Any) -> decimal.Decimal:
    """Make a decimal number."""
    require_types("Decimal", args, str)
    return decimal.Decimal(args[0])


def find_zone_reader(*args: Any) -> Constructor:
    """Return what reads a time zone, the one thing for which a model's pickle uses getattr."""
    right = len(args) == 2 and args[0] is zoneinfo.ZoneInfo and type(args[1]) is str
    require(right and args[1] == "_unpickle", "calls getattr")
    return Constructor("ZoneInfo", _make_zone)


def _make_zone(*args: Any) -> zoneinfo.ZoneInfo:
    require_types("ZoneInfo", args, str, (int, bool))
    require(_ZONE.fullmatch(args[0]) is not None, "names a time zone otherwise")
    return zoneinfo.ZoneInfo(args[0])


def make_old_zone(*args: Any) -> datetime.tzinfo:
    """Make a time zone of pytz by its name."""
    import pytz  # type: ignore[import-untyped]

    right = is_plain(args, 1) and all(type(each) is str for each in args[:1])
    name = args[0] if right and args else "UTC"
    require(right and _ZONE.fullmatch(name) is not None, "names a time zone otherwise")
    zone: datetime.tzinfo = pytz._p(*args) if args else pytz.UTC
    return zone
