"""Ask a fitted model for what its task needs: probabilities or scores, labels, values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from slipway.core.errors import ModelError
from slipway.models.features import Answer, Target
from slipway.models.labels import LabelledNumber, LabelledNumbers, Labels

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

METHODS = {"probability": "predict_proba", "decision": "decision_function"}
# The ``predict`` of these is the class with the greatest of ``predict_proba``, in scikit-learn's
# own code, so that a second call would compute the same again. By name, to import none of them.
FOLLOWS_PROBABILITIES = {
    "sklearn.calibration.CalibratedClassifierCV",
    "sklearn.ensemble._bagging.BaggingClassifier",
    "sklearn.ensemble._forest.ExtraTreesClassifier",
    "sklearn.ensemble._forest.RandomForestClassifier",
    "sklearn.tree._classes.DecisionTreeClassifier",
    "sklearn.tree._classes.ExtraTreeClassifier",
}
SEVERAL_TARGETS = (
    "the model predicts several targets at once, where one can be served: fit one model for each "
    "column of y"
)


class Responder:
    """The function from rows, as a model takes them, to answers.

    Parameters
    ----------
    model : estimator
        Fitted.
    target : Target
    labels : bool
        Whether answers follow ``predict``; the owner's threshold makes that superfluous.
    """

    def __init__(self, model: Any, target: Target, *, labels: bool = True) -> None:
        self._model = model
        self._target = target
        self._labels = Labels(target) if target.classes else None
        self._method = METHODS.get(target.measure)
        self._transforms, self._last = split_pipeline(model)
        certain = type_name(self._last) in FOLLOWS_PROBABILITIES
        self._asks_label = target.measure == "label" or (labels and not certain)
        self._places = _Places(class_values(model), target)

    def __call__(self, X: Any) -> list[Any]:
        """Answer rows.

        Raises
        ------
        ModelError
            The model gives something other than one answer for each row.
        """
        if self._labels is None:
            return _values(self._model.predict(X))
        for transform in self._transforms:
            X = transform.transform(X)
        numbers = None if self._method is None else self._numbers(X)
        if not self._asks_label:
            return _listed(numbers)
        places = self._predicted(X)
        return list(map(float, places)) if numbers is None else self._merged(numbers, places)

    def _numbers(self, X: Any) -> npt.NDArray[Any]:
        """Return the probabilities or scores: of the positive class of two, else of every class."""
        import numpy as np

        target = self._target
        given = getattr(self._last, self._method or "")(X)
        if isinstance(given, list):
            raise ModelError(SEVERAL_TARGETS)
        numbers = np.asarray(given)
        count = len(target.classes)
        if target.measure == "decision" and target.positive is not None:
            if numbers.size != len(numbers):
                raise ModelError(self._odd(numbers))
            numbers = numbers.ravel()
            return numbers if target.positive == target.classes[1] else -numbers
        if numbers.ndim != 2 or numbers.shape[1] != count:
            raise ModelError(self._odd(numbers))
        if target.positive is None:
            return numbers
        return numbers[:, target.classes.index(target.positive)]

    def _odd(self, numbers: npt.NDArray[Any]) -> str:
        """Say that a method returns what does not belong to the classes."""
        count = len(self._target.classes)
        shape = f"{self._method} returns an array of shape {numbers.shape}"
        return (
            f"{type_name(self._last)}.{shape}, which is not one number for each of {count} classes"
        )

    def _predicted(self, X: Any) -> list[int]:
        """Return the places of the labels that ``predict`` returns."""
        import numpy as np

        labels = self._last.predict(X)
        if getattr(labels, "ndim", 1) > 1 and labels.shape[1] > 1:
            raise ModelError(SEVERAL_TARGETS)
        return [self._places[label] for label in np.asarray(labels).ravel().tolist()]

    def _merged(self, numbers: npt.NDArray[Any], places: list[int]) -> list[Answer]:
        """Attach the label to the answers whose numbers imply another one."""
        import numpy as np

        answers = _listed(numbers)
        if numbers.ndim == 1:
            least = self._labels.positive_from if self._labels else 0.0
            implied = (numbers >= least).astype(int)
        else:
            implied = np.argmax(numbers, axis=1)
        for row in np.flatnonzero(implied != np.asarray(places)).tolist():
            answer, place = answers[row], places[row]
            made: Any = LabelledNumbers if isinstance(answer, tuple) else LabelledNumber
            answers[row] = made(answer, place)
        return answers


class _Places(dict[Any, int]):
    """The place in ``Labels.names`` of each label that ``predict`` can return."""

    def __init__(self, values: Sequence[Any], target: Target) -> None:
        names = Labels(target).names if target.classes else ()
        self._by_text = {name: place for place, name in enumerate(names)}
        pairs = zip(values, target.classes, strict=False)
        super().__init__((value, self._by_text[name]) for value, name in pairs)

    def __missing__(self, label: Any) -> int:
        """Find a label by its text, because some libraries return texts for any class."""
        place = self._by_text.get(str(label))
        if place is None:
            # One such row has no answer; the others have theirs.
            raise ValueError(f"predict returns {label!r}, which is not one of the model's classes")
        self[label] = place
        return place


def split_pipeline(model: Any) -> tuple[list[Any], Any]:
    """Return the transformers of a scikit-learn pipeline, and what follows them.

    The rows then pass through the transformers once for both questions, by the same calls that
    ``Pipeline.predict`` makes. Any other object answers both questions as a whole.
    """
    if type_name(model) != "sklearn.pipeline.Pipeline":
        return [], model
    steps = [step for _, step in model.steps[:-1] if step is not None and step != "passthrough"]
    return steps, model.steps[-1][1]


def final_estimator(model: Any) -> Any:
    """Return the classifier or regressor at the end of pipelines and searches."""
    while True:
        inner = getattr(model, "best_estimator_", None)
        if inner is None and hasattr(model, "steps"):
            inner = model.steps[-1][1]
        if inner is None:
            return model
        model = inner


def class_values(model: Any) -> list[Any]:
    """Return a model's classes; those of an outlier detector are -1 and 1."""
    classes = getattr(model, "classes_", None)
    if classes is None:
        return [-1, 1]
    return list(classes) if isinstance(classes, list) else list(classes.tolist())


def type_name(model: Any) -> str:
    """Return the full name of an object's type."""
    return f"{type(model).__module__}.{type(model).__qualname__}"


def _values(predicted: Any) -> list[float]:
    """Return the values of a regression."""
    import numpy as np

    array = np.asarray(predicted)
    if array.size != len(array):
        raise ModelError(SEVERAL_TARGETS)
    values: list[float] = array.ravel().tolist()
    return values


def _listed(numbers: npt.NDArray[np.float64] | None) -> list[Any]:
    """Return the rows of an array as floats, or as tuples of them."""
    if numbers is None:
        return []
    return list(map(tuple, numbers.tolist())) if numbers.ndim == 2 else list(numbers.tolist())
