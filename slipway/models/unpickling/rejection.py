"""The error for a rejected pickle, and checks of exact types."""

from __future__ import annotations

from typing import Any

from slipway.core.errors import ModelError


class PickleRejected(ModelError):
    """A pickle that contains something no model needs; none of that was run."""


class Budget:
    """Memory that one pickle may allocate, bounded by its own size.

    A memo lets a few bytes allocate the same megabyte many times; no pickle of a model does so.
    """

    def __init__(self, size: int) -> None:
        self._left = 64 * 2**20 + 32 * size

    def spend(self, count: int) -> None:
        """Count bytes that are about to be allocated."""
        self._left -= count
        require(self._left >= 0, "allocates far more memory than its size")


def require(condition: bool, fault: str) -> None:
    """Reject the pickle unless a condition holds; the message names the fault."""
    if not condition:
        raise PickleRejected(f"the pickle {fault}, which no model's pickle does; it was rejected")


def require_types(owner: str, values: tuple[Any, ...], *types: type | tuple[type, ...]) -> None:
    """Reject arguments whose types are not exactly these; subclasses are other types."""
    exact = len(values) == len(types)
    for value, kinds in zip(values, types, strict=False):
        kind = type(value)
        if kind is not kinds and not (type(kinds) is tuple and kind in kinds):
            exact = False
    if not exact:
        require(False, f"calls {owner} with other arguments than a model's")
