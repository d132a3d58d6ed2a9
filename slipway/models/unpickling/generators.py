"""Constructors of numpy's random generators, with exact arguments."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.random.bit_generator as _module

from slipway.models.unpickling.plain import is_plain
from slipway.models.unpickling.rejection import require, require_types

# The stubs do not have what only pickles call.
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
    """Make one of numpy's own bit generators."""
    require(len(args) == 1, "makes a random generator in another way")
    if type(args[0]) is str:
        args = (BIT_GENERATORS.get(args[0]),)
    known = any(args[0] is kind for kind in BIT_GENERATORS.values())
    require(known, "makes a random generator in another way")
    return args[0]()


def make_generator(*args: Any) -> np.random.Generator:
    """Make a generator around a bit generator of numpy's own."""
    return np.random.Generator(_bit_generator(args))


def make_random_state(*args: Any) -> np.random.RandomState:
    """Make an old random state around a bit generator of numpy's own."""
    return np.random.RandomState(_bit_generator(args))


def _bit_generator(args: tuple[Any, ...]) -> Any:
    # The second argument is always the same function, which is not needed here.
    require(len(args) in (1, 2), "makes a random generator in another way")
    if type(args[0]) is str:
        return make_bit_generator(args[0])
    known = any(type(args[0]) is kind for kind in BIT_GENERATORS.values())
    require(known, "makes a random generator in another way")
    return args[0]


def set_bit_generator(generator: Any, state: Any) -> None:
    """Set a bit generator's numbers, and the seed that it came from."""
    numbers = state[0] if type(state) is tuple and len(state) == 2 else state
    seeds = (type(None), np.random.SeedSequence)
    right = type(state) is not tuple or (len(state) == 2 and type(state[1]) in seeds)
    require(right and _is_state(numbers), "fills a random generator in another way")
    generator.__setstate__(state)


def set_random_state(generator: Any, state: Any) -> None:
    """Set the numbers of an old random state; a new generator has none of its own."""
    if type(generator) is np.random.Generator:
        require(state is None or _is_state(state), "fills a random generator in another way")
    else:
        require(_is_state(state), "fills a random generator in another way")
    generator.__setstate__(state)


def _is_state(state: Any) -> bool:
    return type(state) is dict and all(type(key) is str for key in state) and is_plain(state, 3)


def make_seed(*args: Any) -> np.random.SeedSequence:
    """Make a seed sequence, whose state comes after it or with it."""
    require_types("SeedSequence", args, type, int, (type(None), tuple))
    require(args[0] is np.random.SeedSequence, "makes a random generator in another way")
    require(args[2] is None, "makes a random generator in another way")
    made: np.random.SeedSequence = bit_generator.__pyx_unpickle_SeedSequence(*args)
    return made


def set_seed(seed: Any, state: Any) -> None:
    """Set a seed sequence's numbers."""
    require(type(state) is tuple and is_plain(state, 3), "fills a seed in another way")
    seed.__setstate__(state)
