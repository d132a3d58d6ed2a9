"""The label of an answer, which is the label that the pipeline's ``predict`` returns.

As a rule the numbers of an answer imply it: a probability of a half or more, the greatest of
several. Where probabilities are tied or saturated, ``predict`` can return another class, because
it goes by the decision function. Such an answer carries its label.
"""

from __future__ import annotations

import math

from slipway.models.features import Answer, Target

TIED = 1e-12


class LabelledNumber(float):
    """A number whose label is not the one that the number implies.

    Attributes
    ----------
    place : int
        The label's place in ``Labels.names``.
    """

    __slots__ = ("place",)
    place: int

    def __new__(cls, number: float, place: int) -> LabelledNumber:
        """Attach a label to a number."""
        made = super().__new__(cls, number)
        made.place = place
        return made

    def __reduce__(self) -> tuple[type[LabelledNumber], tuple[float, int]]:
        """Copy and pickle the label with the number."""
        return LabelledNumber, (float(self), self.place)


class LabelledNumbers(tuple[float, ...]):
    """The numbers of all classes, where the label is not the class of the greatest one.

    Attributes
    ----------
    place : int
        The label's place in ``Labels.names``.
    """

    place: int

    def __new__(cls, numbers: tuple[float, ...], place: int) -> LabelledNumbers:
        """Attach a label to the numbers."""
        made = super().__new__(cls, numbers)
        made.place = place
        return made

    def __reduce__(self) -> tuple[type[LabelledNumbers], tuple[tuple[float, ...], int]]:
        """Copy and pickle the label with the numbers."""
        return LabelledNumbers, (tuple(self), self.place)


class Labels:
    """The labels of a classifier, and the rule that chooses one for an answer.

    Parameters
    ----------
    target : Target
    threshold : float, optional
        The owner's own rule: a probability from here on gets the positive label.

    Attributes
    ----------
    names : tuple of str
        Of two classes the negative one first, else the classes in their order.
    least : float
        Of two classes: the least number that implies the positive label.
    """

    def __init__(self, target: Target, threshold: float | None = None) -> None:
        self.names = target.classes
        self.least = math.inf
        self._target = target
        self.threshold = threshold if target.measure == "probability" else None
        if target.positive is not None:
            at = target.classes.index(target.positive)
            self.names = (target.classes[1 - at], target.positive)
            self.least = self._least(positive_first=at == 0)

    @property
    def middle(self) -> float:
        """The number at which neither of two classes is ahead."""
        return 0.5 if self._target.measure == "probability" else 0.0

    def _least(self, *, positive_first: bool) -> float:
        """Return the least number with the positive label; a tie goes to the first class."""
        if self.threshold is not None:
            return self.threshold
        return self.middle if positive_first else math.nextafter(self.middle, math.inf)

    def place(self, answer: Answer) -> int:
        """Return the place of an answer's label in ``names``."""
        if self.threshold is None and isinstance(answer, LabelledNumber | LabelledNumbers):
            return answer.place
        return self.implied(answer)

    def implied(self, answer: Answer) -> int:
        """Return the place of the label that the numbers alone imply."""
        if isinstance(answer, tuple):
            return answer.index(max(answer))
        if self._target.measure == "label":
            return int(answer)
        return int(answer >= self.least)

    def is_tied(self, answer: Answer) -> bool:
        """Whether two labels are as good as each other, but for the last bits."""
        if isinstance(answer, tuple):
            highest, *others = sorted(answer, reverse=True)
            return bool(others) and highest - others[0] <= TIED
        return self._target.measure != "label" and abs(answer - self.middle) <= TIED

    def name(self, answer: Answer) -> str:
        """Return the label of an answer."""
        return self.names[self.place(answer)]


def plain(answer: Answer) -> Answer:
    """Return the numbers of an answer without a label, as JSON can hold them."""
    return tuple(answer) if isinstance(answer, tuple) else float(answer)
