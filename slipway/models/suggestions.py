"""Suggestions for misspelled names, at a bounded cost.

``difflib`` needs 0.2 ms for a misspelled name, and a request can contain thousands.
"""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache
from itertools import pairwise

# Only this many characters of a name are compared.
MAX_NAME = 64
# The maximum number of known names that a name is compared with.
MAX_COMPARED = 32
# The minimum fraction of letter pairs that two similar names share.
MIN_SIMILARITY = 0.6


class NameIndex:
    """An index of names by their letter pairs.

    Parameters
    ----------
    names : tuple of str
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self._known: dict[str, str] = {}
        self._pairs: defaultdict[str, list[tuple[str, frozenset[str]]]] = defaultdict(list)
        # If there are many names, compare only those with the same beginning.
        self._n_first = 0 if len(names) <= MAX_COMPARED else 2
        for name in names:
            folded = _fold(name)
            self._known.setdefault(folded, name)
            candidates = self._pairs[folded[: self._n_first]]
            if len(candidates) < MAX_COMPARED:
                candidates.append((name, _pairs(folded)))

    def nearest(self, name: str) -> str | None:
        """Return the most similar known name, or None if no name is similar.

        Parameters
        ----------
        name : str
        """
        folded = _fold(name)
        if folded in self._known:
            return self._known[folded]
        pairs, best, highest = _pairs(folded), None, MIN_SIMILARITY
        n_pairs = len(pairs)
        for known, others in self._pairs.get(folded[: self._n_first], ()):
            similarity = 2 * len(pairs & others) / (n_pairs + len(others))
            if similarity >= highest and (best is None or similarity > highest):
                best, highest = known, similarity
        return best


@lru_cache(maxsize=8)
def index_names(names: tuple[str, ...]) -> NameIndex:
    """Return the index of some names, built once.

    Parameters
    ----------
    names : tuple of str
    """
    return NameIndex(names)


def _fold(name: str) -> str:
    return name[:MAX_NAME].strip().lower()


def _pairs(name: str) -> frozenset[str]:
    """Return the letter pairs of a name, including its ends."""
    return frozenset(map("".join, pairwise(f"^{name}$")))
