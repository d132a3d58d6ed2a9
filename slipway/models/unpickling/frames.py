"""Constructors of pandas' types that check their arguments."""

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
    """Whether values are an array of a pandas column with only plain values."""
    if type(values) is np.ndarray:
        return is_plain(values)
    if isinstance(values, NDArrayBacked):
        # The array is None until its state is restored.
        return values._ndarray is not None
    return issubclass(type(values), ExtensionArray) and hasattr(values, "_data")


def is_dtype(dtype: Any) -> bool:
    """Whether a value is a dtype of numpy or pandas."""
    return issubclass(type(dtype), np.dtype | ExtensionDtype)


def make_block(*args: Any) -> Any:
    """Construct the block of a frame."""
    require(len(args) == 3 and is_array(args[0]), "constructs a frame with unexpected arguments")
    require_types("pandas' _unpickle_block", args[1:], (slice, np.ndarray, BlockPlacement), int)
    require(is_plain(args[1]), "constructs a frame with unexpected arguments")
    return _unpickle_block(*args)


def make_manager(*args: Any) -> Any:
    """Construct the block manager of a frame."""
    require_types("pandas' BlockManager", args, tuple, list)
    blocks, axes = args
    valid = all(issubclass(type(block), Block) for block in blocks)
    valid = valid and all(issubclass(type(axis), pd.Index) for axis in axes)
    require(valid and len(axes) == 2, "constructs a frame with unexpected arguments")
    lengths = {block.values.shape[-1] for block in blocks}
    require(lengths <= {len(axes[1])}, "constructs a frame with unexpected arguments")
    return BlockManager(*args)


def set_series_manager(manager: Any, state: Any) -> None:
    """Restore the block manager of a series."""
    valid = type(state) is tuple and len(state) == 4 and type(state[3]) is dict
    require(valid and set(state[3]) == {"0.14.1"}, "restores a series from an unexpected state")
    content = state[3]["0.14.1"]
    valid = type(content) is dict and set(content) == {"axes", "blocks"}
    valid = valid and type(content["axes"]) is list and type(content["blocks"]) is list
    require(valid and len(content["axes"]) == 1, "restores a series from an unexpected state")
    valid = all(issubclass(type(axis), pd.Index) for axis in (*content["axes"], *state[0]))
    require(valid and len(content["blocks"]) == 1, "restores a series from an unexpected state")
    block = content["blocks"][0]
    valid = type(block) is dict and set(block) == {"values", "mgr_locs"}
    require(valid and is_array(block["values"]), "restores a series from an unexpected state")
    require(
        type(block["mgr_locs"]) in (slice, BlockPlacement),
        "restores a series from an unexpected state",
    )
    manager.__setstate__(state)


def set_frame(frame: Any, state: Any) -> None:
    """Restore a frame's or a series' values and name."""
    require(type(state) is dict, "restores a frame from an unexpected state")
    known = {"_mgr", "_typ", "_metadata", "attrs", "_flags", "_name", "name", "_attrs"}
    require(set(state) <= known and "_mgr" in state, "restores a frame from an unexpected state")
    kind = BlockManager if type(frame) is pd.DataFrame else SingleBlockManager
    rest = {name: value for name, value in state.items() if name != "_mgr"}
    valid = type(state["_mgr"]) is kind and type(getattr(state["_mgr"], "blocks", None)) is tuple
    require(valid and is_plain(rest), "restores a frame from an unexpected state")
    require(
        rest.get("_metadata", []) in ([], ["_name"], ["name"]),
        "restores a frame from an unexpected state",
    )
    frame.__setstate__(state)


INDEXES = tuple(
    getattr(pd, name)
    for name in split_words(
        "Index RangeIndex CategoricalIndex MultiIndex DatetimeIndex TimedeltaIndex "
        "PeriodIndex IntervalIndex"
    )
)


def make_index(*args: Any) -> Any:
    """Construct an index of plain values."""
    kind, parts = _index_parts(args)
    require(kind is not pd.IntervalIndex, "constructs an index with unexpected arguments")
    return _new_Index(kind, parts)


def make_dates_index(*args: Any) -> Any:
    """Construct an index of dates."""
    kind, parts = _index_parts(args)
    require(kind is pd.DatetimeIndex, "constructs an index with unexpected arguments")
    return _new_DatetimeIndex(kind, parts)


def make_interval_index(*args: Any) -> Any:
    """Construct an index of intervals."""
    kind, parts = _index_parts(args)
    require(kind is pd.IntervalIndex, "constructs an index with unexpected arguments")
    return _new_IntervalIndex(kind, parts)


def _index_parts(args: tuple[Any, ...]) -> tuple[Any, dict[str, Any]]:
    """Return the class and the parts of an index: arrays, dtypes, names and numbers."""
    require_types("a constructor of an index", args[1:], dict)
    kind, parts = args
    require(
        any(kind is index for index in INDEXES), "constructs an index with unexpected arguments"
    )
    valid = all(type(name) is str and _is_index_part(part) for name, part in parts.items())
    require(valid, "constructs an index with unexpected arguments")
    return kind, dict(parts)


def _is_index_part(part: Any) -> bool:
    if type(part) in (list, tuple) and not is_plain(part):
        return all(map(_is_index_part, part))
    known = issubclass(type(part), pd.Index) or is_dtype(part) or type(part) in _offsets()
    return known or is_plain(part) or is_array(part)


def _offsets() -> tuple[type, ...]:
    return tuple(getattr(pd.offsets, name) for name in OFFSETS)


def make_backed(*args: Any) -> Any:
    """Construct an empty array of dates, categories or texts, to be restored."""
    require_types("pandas' NDArrayBacked", args[1:], int, (type(None), tuple))
    kind = args[0]
    require(isinstance(kind, type), "constructs an array of pandas with unexpected arguments")
    backed = issubclass(kind, NDArrayBacked) and issubclass(kind, ExtensionArray)
    valid = backed and kind.__module__.startswith("pandas.core.arrays.")
    require(valid and args[2] is None, "constructs an array of pandas with unexpected arguments")
    return NDArrayBacked.__new__(kind)


def set_backed(array: Any, state: Any) -> None:
    """Restore the values and the dtype of an array of dates, categories or texts."""
    valid = type(state) is tuple and len(state) in (2, 3)
    parts = state if valid else ()
    values = [part for part in parts if type(part) is np.ndarray]
    rest = [part for part in parts if type(part) is not np.ndarray]
    require(
        valid and len(values) == 1 and is_plain(values[0]),
        "restores an array from an unexpected state",
    )
    known = all(is_dtype(part) or _is_attributes(part) for part in rest)
    require(known, "restores an array from an unexpected state")
    array.__setstate__(state)


def _is_attributes(part: Any) -> bool:
    """Whether a part of a state has the attributes of an array: frequency and caches."""
    if type(part) is not dict:
        return False
    known = ("_freq", "_cache", "freq")
    return all(
        name in known and (value is None or is_plain(value) or type(value) in _offsets())
        for name, value in part.items()
    )


def set_masked_array(array: Any, state: Any) -> None:
    """Restore the numbers and the mask of an array with missing values."""
    valid = type(state) is dict and set(state) <= set(MASKED)
    require(valid, "restores an array from an unexpected state")
    parts = {name: part for name, part in state.items() if name != "_cache"}
    known = all(is_dtype(part) or is_plain(part) for part in parts.values())
    require(known, "restores an array from an unexpected state")
    array.__dict__.update(parts)


def set_pandas_dtype(dtype: Any, state: Any) -> None:
    """Restore the categories, order, unit or time zone of a dtype."""
    known = {"categories", "ordered", "unit", "tz", "subtype", "closed", "freq", "_cache"}
    valid = type(state) is dict and set(state) <= known
    require(valid and all(map(_is_index_part, state.values())), "describes an unexpected dtype")
    if not hasattr(type(dtype), "__setstate__"):
        dtype.__dict__.update(state)
    else:
        dtype.__setstate__(state)


def make_string_dtype(*args: Any) -> Any:
    """Construct the dtype of texts."""
    storages = ("python", "pyarrow")
    require(len(args) in (1, 2) and type(args[0]) is str, "describes an unexpected dtype")
    valid = args[0] in storages and is_plain(args[1:])
    require(valid, "describes an unexpected dtype")
    return pd.StringDtype(*args)


def make_timestamp(*args: Any) -> Any:
    """Construct a timestamp."""
    require(
        len(args) in (3, 4) and _are_plain_or_none(args),
        "constructs a timestamp with unexpected arguments",
    )
    return _unpickle_timestamp(*args)


def make_timedelta(*args: Any) -> Any:
    """Construct a duration."""
    require_types("pandas' _timedelta_unpickle", args, int, int)
    return _timedelta_unpickle(*args)


def make_not_a_time(*args: Any) -> Any:
    """Return pandas' missing date."""
    return pd.NaT


def _are_plain_or_none(args: tuple[Any, ...]) -> bool:
    return all(type(arg) in (int, type(None)) or is_plain(arg) for arg in args)


def make_interval(*args: Any) -> Any:
    """Construct an interval of numbers or dates."""
    require(len(args) == 3 and is_plain(args), "constructs an interval with unexpected arguments")
    return pd.Interval(*args)


def make_offset(kind: type, *args: Any) -> Any:
    """Construct a fixed offset, such as a day."""
    require_types("an offset of pandas", args[:2], int, (bool, int))
    return kind(args[0])


def set_offset(offset: Any, state: Any) -> None:
    """Check the state of a fixed offset, which its constructor has set already."""
    valid = type(state) is dict and all(map(is_plain, state.values()))
    require(valid, "restores an offset from an unexpected state")
