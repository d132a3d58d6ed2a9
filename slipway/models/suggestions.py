"""The known name that a misspelt one probably stands for, found at a bounded cost.

``difflib`` takes 0.2 ms for a misspelt name, and a body can hold thousands.
"""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache
from itertools import pairwise

# Longer names are compared by their beginning.
MAX_NAME = 64
# Known names that a misspelt one is compared with.
MAX_COMPARED = 32
# The share of pairs of letters that two names must have in common.
ALIKE = 0.6


class NameIndex:
    """Names, by their pairs of letters.

    Parameters
    ----------
    names : tuple of str
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self._known: dict[str, str] = {}
        self._pairs: defaultdict[str, list[tuple[str, frozenset[str]]]] = defaultdict(list)
        # Of many names, only those that begin alike are compared.
        self._n_first = 0 if len(names) <= MAX_COMPARED else 2
        for name in names:
            folded = _folded(name)
            self._known.setdefault(folded, name)
            alike = self._pairs[folded[: self._n_first]]
            if len(alike) < MAX_COMPARED:
                alike.append((name, _pairs(folded)))

    def nearest(self, name: str) -> str | None:
        """Return the known name most like another; None where none is alike.

        Parameters
        ----------
        name : str
        """
        folded = _folded(name)
        if folded in self._known:
            return self._known[folded]
        pairs, best, highest = _pairs(folded), None, ALIKE
        n_pairs = len(pairs)
        for known, others in self._pairs.get(folded[: self._n_first], ()):
            likeness = 2 * len(pairs & others) / (n_pairs + len(others))
            if likeness >= highest and (best is None or likeness > highest):
                best, highest = known, likeness
        return best


@lru_cache(maxsize=8)
def index_names(names: tuple[str, ...]) -> NameIndex:
    """Index some names once.

    Parameters
    ----------
    names : tuple of str
    """
    return NameIndex(names)


def _folded(name: str) -> str:
    return name[:MAX_NAME].strip().lower()


def _pairs(name: str) -> frozenset[str]:
    """Return a name's pairs of letters, its ends included."""
    return frozenset(map("".join, pairwise(f"^{name}$")))
