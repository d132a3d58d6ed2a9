"""The error for rejected pickles, and checks that raise it."""

from __future__ import annotations

from typing import Any

from slipway.core.errors import ModelError


class PickleRejected(ModelError):
    """The pickle contains names or operations that models do not need; no code was run."""


class Budget:
    """The memory that one pickle may allocate, depending on its size.

    Without a limit, the memo would let a few bytes allocate the same megabyte many times.
    """

    def __init__(self, size: int) -> None:
        self._remaining = 64 * 2**20 + 32 * size

    def spend(self, count: int) -> None:
        """Account for bytes that are about to be allocated."""
        self._remaining -= count
        require(self._remaining >= 0, "allocates far more memory than its size")


def require(condition: bool, fault: str) -> None:
    """Reject the pickle unless a condition holds; the message names the fault."""
    if not condition:
        raise PickleRejected(f"rejected the pickle, which {fault}; fitted models do not need this")


def require_types(owner: str, values: tuple[Any, ...], *types: type | tuple[type, ...]) -> None:
    """Reject arguments unless their types are exactly these; subclasses do not count."""
    exact = len(values) == len(types)
    for value, kinds in zip(values, types, strict=False):
        kind = type(value)
        if kind is not kinds and not (type(kinds) is tuple and kind in kinds):
            exact = False
    if not exact:
        require(False, f"calls {owner} with unexpected arguments")
