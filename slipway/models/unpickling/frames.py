"""Constructors of pandas' types, with exact arguments."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from pandas._libs.arrays import NDArrayBacked
from pandas._libs.internals import BlockPlacement, _unpickle_block  # type: ignore[import-not-found]
from pandas._libs.tslibs.timedeltas import _timedelta_unpickle  # type: ignore[attr-defined]
from pandas._libs.tslibs.timestamps import _unpickle_timestamp  # type: ignore[attr-defined]
from pandas.api.extensions import ExtensionArray, ExtensionDtype
from pandas.core.indexes.base import _new_Index  # type: ignore[attr-defined]
from pandas.core.indexes.datetimes import _new_DatetimeIndex  # type: ignore[attr-defined]
from pandas.core.indexes.interval import _new_IntervalIndex  # type: ignore[attr-defined]
from pandas.core.internals.blocks import Block  # type: ignore[import-not-found]
from pandas.core.internals.managers import BlockManager, SingleBlockManager  # type: ignore[import-not-found]

from slipway.models.unpickling.plain import is_plain, split_words
from slipway.models.unpickling.rejection import require, require_types

OFFSETS = split_words("Nano Micro Milli Second Minute Hour Day")
MASKED = ("data", "mask", "_data", "_mask", "_dtype", "_cache")


def is_array(values: Any) -> bool:
    """Whether values are what a column of pandas can be, and hold nothing but plain values."""
    if type(values) is np.ndarray:
        return is_plain(values)
    if isinstance(values, NDArrayBacked):
        # None until its state is set.
        return values._ndarray is not None
    return issubclass(type(values), ExtensionArray) and hasattr(values, "_data")


def is_dtype(dtype: Any) -> bool:
    """Whether a value is a dtype of numpy or pandas."""
    return issubclass(type(dtype), np.dtype | ExtensionDtype)


def make_block(*args: Any) -> Any:
    """Make the block of a frame."""
    require(len(args) == 3 and is_array(args[0]), "makes a frame in another way")
    require_types("pandas' _unpickle_block", args[1:], (slice, np.ndarray, BlockPlacement), int)
    require(is_plain(args[1]), "makes a frame in another way")
    return _unpickle_block(*args)


def make_manager(*args: Any) -> Any:
    """Make what a frame keeps its blocks in."""
    require_types("pandas' BlockManager", args, tuple, list)
    blocks, axes = args
    right = all(issubclass(type(each), Block) for each in blocks)
    right = right and all(issubclass(type(each), pd.Index) for each in axes)
    require(right and len(axes) == 2, "makes a frame in another way")
    rows = len(axes[1])
    held = [each.values.shape[-1] for each in blocks]
    require(all(count == rows for count in held), "makes a frame in another way")
    return BlockManager(*args)


def set_series_manager(manager: Any, state: Any) -> None:
    """Set what a series keeps its values in."""
    right = type(state) is tuple and len(state) == 4 and type(state[3]) is dict
    require(right and set(state[3]) == {"0.14.1"}, "fills a series in another way")
    held = state[3]["0.14.1"]
    right = type(held) is dict and set(held) == {"axes", "blocks"}
    right = right and type(held["axes"]) is list and type(held["blocks"]) is list
    require(right and len(held["axes"]) == 1, "fills a series in another way")
    right = all(issubclass(type(each), pd.Index) for each in (*held["axes"], *state[0]))
    require(right and len(held["blocks"]) == 1, "fills a series in another way")
    block = held["blocks"][0]
    right = type(block) is dict and set(block) == {"values", "mgr_locs"}
    require(right and is_array(block["values"]), "fills a series in another way")
    require(type(block["mgr_locs"]) in (slice, BlockPlacement), "fills a series in another way")
    manager.__setstate__(state)


def set_frame(frame: Any, state: Any) -> None:
    """Set a frame's or a series' values and name."""
    require(type(state) is dict, "fills a frame in another way")
    known = {"_mgr", "_typ", "_metadata", "attrs", "_flags", "_name", "name", "_attrs"}
    require(set(state) <= known and "_mgr" in state, "fills a frame in another way")
    kind = BlockManager if type(frame) is pd.DataFrame else SingleBlockManager
    rest = {name: value for name, value in state.items() if name != "_mgr"}
    right = type(state["_mgr"]) is kind and type(getattr(state["_mgr"], "blocks", None)) is tuple
    require(right and is_plain(rest), "fills a frame in another way")
    require(rest.get("_metadata", []) in ([], ["_name"], ["name"]), "fills a frame in another way")
    frame.__setstate__(state)


INDEXES = tuple(
    getattr(pd, name)
    for name in split_words(
        "Index RangeIndex CategoricalIndex MultiIndex DatetimeIndex TimedeltaIndex "
        "PeriodIndex IntervalIndex"
    )
)


def make_index(*args: Any) -> Any:
    """Make an index of plain values."""
    kind, parts = _index_parts(args)
    require(kind is not pd.IntervalIndex, "makes an index in another way")
    return _new_Index(kind, parts)


def make_dates_index(*args: Any) -> Any:
    """Make an index of dates."""
    kind, parts = _index_parts(args)
    require(kind is pd.DatetimeIndex, "makes an index in another way")
    return _new_DatetimeIndex(kind, parts)


def make_interval_index(*args: Any) -> Any:
    """Make an index of intervals."""
    kind, parts = _index_parts(args)
    require(kind is pd.IntervalIndex, "makes an index in another way")
    return _new_IntervalIndex(kind, parts)


def _index_parts(args: tuple[Any, ...]) -> tuple[Any, dict[str, Any]]:
    """Check what an index is made of: arrays, dtypes, names and numbers."""
    require_types("a constructor of an index", args[1:], dict)
    kind, parts = args
    require(any(kind is each for each in INDEXES), "makes an index in another way")
    right = all(type(name) is str and _is_index_part(part) for name, part in parts.items())
    require(right, "makes an index in another way")
    return kind, dict(parts)


def _is_index_part(part: Any) -> bool:
    if type(part) in (list, tuple) and not is_plain(part):
        return all(_is_index_part(each) for each in part)
    known = issubclass(type(part), pd.Index) or is_dtype(part) or type(part) in _offsets()
    return known or is_plain(part) or is_array(part)


def _offsets() -> tuple[type, ...]:
    return tuple(getattr(pd.offsets, name) for name in OFFSETS)


def make_backed(*args: Any) -> Any:
    """Make the empty array of dates, categories or texts to which a state is given."""
    require_types("pandas' NDArrayBacked", args[1:], int, (type(None), tuple))
    kind = args[0]
    require(isinstance(kind, type), "makes an array of pandas in another way")
    backed = issubclass(kind, NDArrayBacked) and issubclass(kind, ExtensionArray)
    right = backed and kind.__module__.startswith("pandas.core.arrays.")
    require(right and args[2] is None, "makes an array of pandas in another way")
    return NDArrayBacked.__new__(kind)


def set_backed(array: Any, state: Any) -> None:
    """Set the numbers and the dtype of such an array."""
    right = type(state) is tuple and len(state) in (2, 3)
    parts = state if right else ()
    values = [part for part in parts if type(part) is np.ndarray]
    rest = [part for part in parts if type(part) is not np.ndarray]
    require(right and len(values) == 1 and is_plain(values[0]), "fills an array in another way")
    known = all(is_dtype(part) or _is_attributes(part) for part in rest)
    require(known, "fills an array in another way")
    array.__setstate__(state)


def _is_attributes(part: Any) -> bool:
    """Whether these are an array's attributes: its frequency and caches."""
    if type(part) is not dict:
        return False
    known = ("_freq", "_cache", "freq")
    return all(
        name in known and (value is None or is_plain(value) or type(value) in _offsets())
        for name, value in part.items()
    )


def set_masked_array(array: Any, state: Any) -> None:
    """Set numbers and mask of an array with missing values."""
    right = type(state) is dict and set(state) <= set(MASKED)
    require(right, "fills an array in another way")
    parts = {name: part for name, part in state.items() if name != "_cache"}
    known = all(is_dtype(part) or is_plain(part) for part in parts.values())
    require(known, "fills an array in another way")
    array.__dict__.update(parts)


def set_pandas_dtype(dtype: Any, state: Any) -> None:
    """Set categories, order, unit or time zone."""
    known = {"categories", "ordered", "unit", "tz", "subtype", "closed", "freq", "_cache"}
    right = type(state) is dict and set(state) <= known
    require(right and all(map(_is_index_part, state.values())), "describes a dtype in another way")
    if not hasattr(type(dtype), "__setstate__"):
        dtype.__dict__.update(state)
    else:
        dtype.__setstate__(state)


def make_string_dtype(*args: Any) -> Any:
    """Make the dtype of texts."""
    storages = ("python", "pyarrow")
    require(len(args) in (1, 2) and type(args[0]) is str, "describes a dtype in another way")
    right = args[0] in storages and is_plain(args[1:])
    require(right, "describes a dtype in another way")
    return pd.StringDtype(*args)


def make_timestamp(*args: Any) -> Any:
    """Make a timestamp."""
    require(len(args) in (3, 4) and _is_time(args), "makes a timestamp in another way")
    return _unpickle_timestamp(*args)


def make_timedelta(*args: Any) -> Any:
    """Make a duration."""
    require_types("pandas' _timedelta_unpickle", args, int, int)
    return _timedelta_unpickle(*args)


def make_not_a_time(*args: Any) -> Any:
    """Return pandas' missing date."""
    return pd.NaT


def _is_time(args: tuple[Any, ...]) -> bool:
    return all(type(each) in (int, type(None)) or is_plain(each) for each in args)


def make_interval(*args: Any) -> Any:
    """Make an interval of numbers or dates."""
    require(len(args) == 3 and is_plain(args), "makes an interval in another way")
    return pd.Interval(*args)


def make_offset(kind: type, *args: Any) -> Any:
    """Make a fixed step of time, such as a day."""
    require_types("an offset of pandas", args[:2], int, (bool, int))
    return kind(args[0])


def set_offset(offset: Any, state: Any) -> None:
    """Check a fixed step's state, which its constructor has set already."""
    right = type(state) is dict and all(map(is_plain, state.values()))
    require(right, "fills an offset in another way")
