"""Labels of predictions, equal to those that the pipeline's ``predict`` returns.

The numbers of a prediction usually imply its label: a probability of at least 0.5, or the
greatest of several. If probabilities are tied or saturated, ``predict`` can return another class,
because it uses the decision function. Such a prediction carries its label.
"""

from __future__ import annotations

import math

from slipway.models.features import Answer, Target

TIE_TOLERANCE = 1e-12


class LabelledNumber(float):
    """A number with a label other than the one that it implies.

    Attributes
    ----------
    label_index : int
        The position of the label in ``Labels.names``.
    """

    __slots__ = ("label_index",)
    label_index: int

    def __new__(cls, number: float, label_index: int) -> LabelledNumber:
        """Attach a label to a number."""
        labelled = super().__new__(cls, number)
        labelled.label_index = label_index
        return labelled

    def __reduce__(self) -> tuple[type[LabelledNumber], tuple[float, int]]:
        """Include the label in copies and pickles."""
        return LabelledNumber, (float(self), self.label_index)


class LabelledNumbers(tuple[float, ...]):
    """The numbers of all classes, with a label other than the class of the greatest one.

    Attributes
    ----------
    label_index : int
        The position of the label in ``Labels.names``.
    """

    label_index: int

    def __new__(cls, numbers: tuple[float, ...], label_index: int) -> LabelledNumbers:
        """Attach a label to the numbers."""
        labelled = super().__new__(cls, numbers)
        labelled.label_index = label_index
        return labelled

    def __reduce__(self) -> tuple[type[LabelledNumbers], tuple[tuple[float, ...], int]]:
        """Include the label in copies and pickles."""
        return LabelledNumbers, (tuple(self), self.label_index)


class Labels:
    """The labels of a classifier, and the rule that chooses one for a prediction.

    Parameters
    ----------
    target : Target
    threshold : float, optional
        The lowest probability labelled positive, if the owner has set one.

    Attributes
    ----------
    names : tuple of str
        For two classes, the negative one first; otherwise the classes in their order.
    positive_from : float
        For two classes, the lowest number that implies the positive label.
    """

    def __init__(self, target: Target, threshold: float | None = None) -> None:
        self.names = target.classes
        self.positive_from = math.inf
        self._target = target
        self.threshold = threshold if target.measure == "probability" else None
        if target.positive is not None:
            index = target.classes.index(target.positive)
            self.names = (target.classes[1 - index], target.positive)
            self.positive_from = self._lowest_positive(positive_first=index == 0)

    @property
    def tie_point(self) -> float:
        """The number at which two classes are tied."""
        return 0.5 if self._target.measure == "probability" else 0.0

    def _lowest_positive(self, *, positive_first: bool) -> float:
        """Return the lowest number labelled positive; the first class wins a tie."""
        if self.threshold is not None:
            return self.threshold
        return self.tie_point if positive_first else math.nextafter(self.tie_point, math.inf)

    def label_index(self, answer: Answer) -> int:
        """Return the position of a prediction's label in ``names``."""
        if self.threshold is None and isinstance(answer, LabelledNumber | LabelledNumbers):
            return answer.label_index
        return self.implied_index(answer)

    def implied_index(self, answer: Answer) -> int:
        """Return the position of the label that the numbers alone imply."""
        if isinstance(answer, tuple):
            return answer.index(max(answer))
        if self._target.measure == "label":
            return int(answer)
        return int(answer >= self.positive_from)

    def is_tied(self, answer: Answer) -> bool:
        """Whether two labels are equally likely, up to rounding errors."""
        if isinstance(answer, tuple):
            highest, *others = sorted(answer, reverse=True)
            return bool(others) and highest - others[0] <= TIE_TOLERANCE
        return self._target.measure != "label" and abs(answer - self.tie_point) <= TIE_TOLERANCE

    def name(self, answer: Answer) -> str:
        """Return the label of a prediction."""
        return self.names[self.label_index(answer)]


def without_label(answer: Answer) -> Answer:
    """Return the numbers of a prediction as a plain tuple or float."""
    return tuple(answer) if isinstance(answer, tuple) else float(answer)
