"""Constructors of numpy's random generators that check their arguments."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.random.bit_generator as _module

from slipway.models.unpickling.plain import is_plain
from slipway.models.unpickling.rejection import require, require_types

# The type stubs lack the functions that only pickles call.
bit_generator: Any = _module
BIT_GENERATORS = {
    kind.__name__: kind
    for kind in (
        np.random.MT19937,
        np.random.PCG64,
        np.random.PCG64DXSM,
        np.random.Philox,
        np.random.SFC64,
    )
}


def make_bit_generator(*args: Any) -> Any:
    """Construct one of numpy's bit generators."""
    require(len(args) == 1, "constructs a random generator with unexpected arguments")
    if type(args[0]) is str:
        args = (BIT_GENERATORS.get(args[0]),)
    known = any(args[0] is kind for kind in BIT_GENERATORS.values())
    require(known, "constructs a random generator with unexpected arguments")
    return args[0]()


def make_generator(*args: Any) -> np.random.Generator:
    """Construct a generator from one of numpy's bit generators."""
    return np.random.Generator(_require_bit_generator(args))


def make_random_state(*args: Any) -> np.random.RandomState:
    """Construct a ``RandomState`` from one of numpy's bit generators."""
    return np.random.RandomState(_require_bit_generator(args))


def _require_bit_generator(args: tuple[Any, ...]) -> Any:
    # The second argument is always the same function and not needed here.
    require(len(args) in (1, 2), "constructs a random generator with unexpected arguments")
    if type(args[0]) is str:
        return make_bit_generator(args[0])
    known = any(type(args[0]) is kind for kind in BIT_GENERATORS.values())
    require(known, "constructs a random generator with unexpected arguments")
    return args[0]


def set_bit_generator(generator: Any, state: Any) -> None:
    """Restore a bit generator's numbers, and the seed that it was initialized with."""
    numbers = state[0] if type(state) is tuple and len(state) == 2 else state
    seeds = (type(None), np.random.SeedSequence)
    valid = type(state) is not tuple or (len(state) == 2 and type(state[1]) in seeds)
    require(valid and _is_state(numbers), "restores a random generator from an unexpected state")
    generator.__setstate__(state)


def set_random_state(generator: Any, state: Any) -> None:
    """Restore the numbers of a ``RandomState``; a ``Generator`` has none."""
    if type(generator) is np.random.Generator:
        require(
            state is None or _is_state(state),
            "restores a random generator from an unexpected state",
        )
    else:
        require(_is_state(state), "restores a random generator from an unexpected state")
    generator.__setstate__(state)


def _is_state(state: Any) -> bool:
    return type(state) is dict and all(type(key) is str for key in state) and is_plain(state, 3)


def make_seed(*args: Any) -> np.random.SeedSequence:
    """Construct a seed sequence, which is restored later or by its argument."""
    require_types("SeedSequence", args, type, int, (type(None), tuple))
    require(
        args[0] is np.random.SeedSequence, "constructs a random generator with unexpected arguments"
    )
    require(args[2] is None, "constructs a random generator with unexpected arguments")
    seed: np.random.SeedSequence = bit_generator.__pyx_unpickle_SeedSequence(*args)
    return seed


def set_seed(seed: Any, state: Any) -> None:
    """Restore a seed sequence's numbers."""
    require(type(state) is tuple and is_plain(state, 3), "restores a seed from an unexpected state")
    seed.__setstate__(state)
