"""Hypothesis profiles: the same examples everywhere by default, new ones with ``fuzz``."""

from __future__ import annotations

from hypothesis import settings
from hypothesis.internal.conjecture import providers

FIXED, FUZZ = "fixed", "fuzz"


def register_profiles() -> None:
    """Register both profiles, and load the one for ``make test`` and CI.

    ``--hypothesis-profile=fuzz`` loads the other profile before pytest imports any test.
    """
    # Hypothesis also draws constants from our imported modules. They depend on the tests that a
    # process has run before, and so would the examples.
    providers._get_local_constants = lambda: providers._local_constants
    shared = settings(database=None, print_blob=True, deadline=None, max_examples=100)
    settings.register_profile(FIXED, shared, derandomize=True)
    settings.register_profile(FUZZ, shared, derandomize=False)
    settings.load_profile(FIXED)


def examples(fixed: int, fuzz: int = 100) -> int:
    """Return the number of examples: few in ``make test``, more while fuzzing."""
    return fuzz if settings.get_current_profile_name() == FUZZ else fixed
