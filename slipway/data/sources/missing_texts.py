"""The texts that stand for a missing value in a problem's text files."""

from __future__ import annotations

from dataclasses import dataclass, field

from slipway.data.problem import Problem
from slipway.models.validation import MISSING_TEXTS


@dataclass(frozen=True)
class MissingTexts:
    """What a cell of a text file means that might stand for a missing value.

    Attributes
    ----------
    texts : tuple of str
        They stand for one. An empty cell always does, unless it is a known category.
    categories : dict of str to frozenset of str
        Those of them that are known categories of a feature, by the feature's name in lower case.
    labels : frozenset of str
        The features that hold texts, in lower case: their cells are never read as numbers.
    """

    texts: tuple[str, ...] = MISSING_TEXTS
    categories: dict[str, frozenset[str]] = field(default_factory=dict)
    labels: frozenset[str] = frozenset()

    @property
    def kept(self) -> frozenset[str]:
        """The texts that are a category of any feature."""
        return frozenset[str]().union(*self.categories.values())


USUAL = MissingTexts()


def missing_texts(problem: Problem) -> MissingTexts:
    """Return what a problem says about missing values in text files.

    Parameters
    ----------
    problem : Problem

    Returns
    -------
    MissingTexts
    """
    texts = tuple(dict.fromkeys(("", *problem.missing)))
    features = [f for f in problem.features if f.kind in ("category", "text")]
    known = {
        feature.name.lower(): frozenset(text for text in texts if feature.has_text(text))
        for feature in features
    }
    return MissingTexts(
        texts,
        {name: kept for name, kept in known.items() if kept},
        frozenset(feature.name.lower() for feature in features),
    )
