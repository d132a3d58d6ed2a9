"""Constructors of built-in types that check their arguments."""

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
    """A replacement for a function that a pickle calls; models must not contain it."""

    __slots__ = ("function", "name")

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.name = name
        self.function = function


def make_bytes(*args: Any) -> bytes:
    """Construct bytes from text, as protocols 0 to 2 write them."""
    require_types("_codecs.encode", args, str, str)
    require(args[1] in ("latin1", "latin-1"), "encodes a text with an unexpected codec")
    return str(args[0]).encode("latin-1")


def make_bytearray(*args: Any) -> bytearray:
    """Construct a bytearray from bytes, never from a length."""
    if len(args) == 2:
        args = (make_bytes(*args),)
    if args:
        require_types("bytearray", args, bytes)
    return bytearray(*args)


def make_bytes_of_list(*args: Any) -> bytes:
    """Construct empty bytes, which protocol 2 writes as a call."""
    require(not args, "calls bytes with unexpected arguments")
    return b""


def make_complex(*args: Any) -> complex:
    """Construct a complex number."""
    require_types("complex", args, _NUMBER, _NUMBER)
    return complex(*args)


def _elements(kind: str, args: tuple[Any, ...]) -> list[Any]:
    """Return the elements of a container, whose only argument is a list."""
    if not args:
        return []
    require_types(kind, args, (list, tuple))
    return list(args[0])


def _keys(kind: str, args: tuple[Any, ...]) -> list[Any]:
    elements = _elements(kind, args)
    require(all(map(is_key, elements)), "contains an unsupported set element")
    return elements


def make_set(*args: Any) -> set[Any]:
    """Construct a set of plain values."""
    return set(_keys("set", args))


def make_frozenset(*args: Any) -> frozenset[Any]:
    """Construct a frozenset of plain values."""
    return frozenset(_keys("frozenset", args))


def make_list(*args: Any) -> list[Any]:
    """Construct an empty list."""
    require(not args, "calls list with unexpected arguments")
    return []


def make_tuple(*args: Any) -> tuple[Any, ...]:
    """Construct an empty tuple."""
    require(not args, "calls tuple with unexpected arguments")
    return ()


def make_range(*args: Any) -> range:
    """Construct a range of at most as many numbers as an array can hold."""
    require_types("range", args, int, int, int)
    require(all(abs(bound) < 2**31 for bound in args), "constructs a range that is too large")
    return range(*args)


def make_slice(*args: Any) -> slice:
    """Construct a slice of positions or names."""
    require(len(args) == 3 and is_plain(args, 1), "constructs a slice with unexpected arguments")
    return slice(*args)


def make_counter(*args: Any) -> Counter[Any]:
    """Construct a counter of numbers."""
    require_types("Counter", args, dict)
    require(is_plain(args[0], 1), "constructs a Counter with unexpected arguments")
    return Counter(args[0])


def make_ordered(*args: Any) -> OrderedDict[Any, Any]:
    """Construct an empty ordered dictionary."""
    require(not args, "calls OrderedDict with unexpected arguments")
    return OrderedDict()


def make_default(*args: Any) -> defaultdict[Any, Any]:
    """Construct a defaultdict of a built-in type."""
    kinds = (int, float, str, list, dict, set, bool, type(None), OrderedDict)
    valid = not args or (len(args) == 1 and any(args[0] is kind for kind in (*kinds, None)))
    require(valid, "calls defaultdict with unexpected arguments")
    return defaultdict(*args)


def _are_time_zones(args: tuple[Any, ...]) -> bool:
    return all(issubclass(type(zone), datetime.tzinfo) for zone in args)


def make_date(*args: Any) -> datetime.date:
    """Construct a date."""
    require_types("date", args, bytes)
    return datetime.date(*args)


def make_datetime(*args: Any) -> datetime.datetime:
    """Construct a date with a time."""
    require_types("datetime", args[:1], bytes)
    require(
        len(args) < 3 and _are_time_zones(args[1:]), "constructs a date with unexpected arguments"
    )
    return datetime.datetime(*args)


def make_time(*args: Any) -> datetime.time:
    """Construct a time of the day."""
    require_types("time", args[:1], bytes)
    require(
        len(args) < 3 and _are_time_zones(args[1:]), "constructs a date with unexpected arguments"
    )
    return datetime.time(*args)


def make_duration(*args: Any) -> datetime.timedelta:
    """Construct a duration."""
    require_types("timedelta", args, int, int, int)
    return datetime.timedelta(*args)


def make_timezone(*args: Any) -> datetime.timezone:
    """Construct a fixed offset from UTC."""
    require_types("timezone", args[:1], datetime.timedelta)
    valid = len(args) < 3 and all(type(name) is str for name in args[1:])
    require(valid, "contains an invalid time zone name")
    return datetime.timezone(*args)


def make_decimal(*args: Any) -> decimal.Decimal:
    """Construct a decimal number."""
    require_types("Decimal", args, str)
    return decimal.Decimal(args[0])


def find_zone_reader(*args: Any) -> Constructor:
    """Return the constructor of time zones, the only attribute that models' pickles get."""
    valid = len(args) == 2 and args[0] is zoneinfo.ZoneInfo and type(args[1]) is str
    require(valid and args[1] == "_unpickle", "calls getattr")
    return Constructor("ZoneInfo", _make_zone)


def _make_zone(*args: Any) -> zoneinfo.ZoneInfo:
    require_types("ZoneInfo", args, str, (int, bool))
    require(_ZONE.fullmatch(args[0]) is not None, "contains an invalid time zone name")
    return zoneinfo.ZoneInfo(args[0])


def make_pytz_zone(*args: Any) -> datetime.tzinfo:
    """Construct a time zone of pytz from its name."""
    import pytz  # type: ignore[import-untyped]

    valid = is_plain(args, 1) and all(type(name) is str for name in args[:1])
    name = args[0] if valid and args else "UTC"
    require(valid and _ZONE.fullmatch(name) is not None, "contains an invalid time zone name")
    zone: datetime.tzinfo = pytz._p(*args) if args else pytz.UTC
    return zone
