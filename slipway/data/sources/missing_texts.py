"""The texts that mean a missing value in a problem's text files."""

from __future__ import annotations

from dataclasses import dataclass, field

from slipway.data.problem import Problem
from slipway.models.validation import MISSING_TEXTS


@dataclass(frozen=True)
class MissingTexts:
    """The texts that mean a missing value, and the features where they are categories.

    Attributes
    ----------
    texts : tuple of str
        An empty cell is always missing, unless it is a known category.
    categories : dict of str to frozenset of str
        The texts that are known categories of a feature, by feature name in lower case.
    text_features : frozenset of str
        Names of features of texts, in lower case; their cells are never read as numbers.
    """

    texts: tuple[str, ...] = MISSING_TEXTS
    categories: dict[str, frozenset[str]] = field(default_factory=dict)
    text_features: frozenset[str] = frozenset()

    @property
    def category_texts(self) -> frozenset[str]:
        """The texts that are a known category of any feature."""
        return frozenset[str]().union(*self.categories.values())


DEFAULT = MissingTexts()


def read_missing_texts(problem: Problem) -> MissingTexts:
    """Return the texts that mean a missing value for a problem.

    Parameters
    ----------
    problem : Problem

    Returns
    -------
    MissingTexts
    """
    texts = tuple(dict.fromkeys(("", *problem.missing)))
    features = [feature for feature in problem.features if feature.kind in ("category", "text")]
    known = {
        feature.name.lower(): frozenset(text for text in texts if feature.has_text(text))
        for feature in features
    }
    return MissingTexts(
        texts,
        {name: texts for name, texts in known.items() if texts},
        frozenset(feature.name.lower() for feature in features),
    )
