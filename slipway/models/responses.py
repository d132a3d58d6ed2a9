"""Call a fitted model for probabilities, scores, labels or values, depending on its task."""

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
# In scikit-learn's code, ``predict`` of these classifiers returns the class with the greatest
# ``predict_proba``, so that a second call would repeat the computation. Listed by name to avoid
# importing them.
FOLLOWS_PROBABILITIES = {
    "sklearn.calibration.CalibratedClassifierCV",
    "sklearn.ensemble._bagging.BaggingClassifier",
    "sklearn.ensemble._forest.ExtraTreesClassifier",
    "sklearn.ensemble._forest.RandomForestClassifier",
    "sklearn.tree._classes.DecisionTreeClassifier",
    "sklearn.tree._classes.ExtraTreeClassifier",
}
SEVERAL_TARGETS = (
    "the model predicts several targets at once, which is not supported: fit one model for each "
    "column of y"
)


class Responder:
    """A function from the input of a model to predictions.

    Parameters
    ----------
    model : estimator
        Fitted.
    target : Target
    labels : bool
        Whether labels follow ``predict``; not needed if the owner has set a threshold.
    """

    def __init__(self, model: Any, target: Target, *, labels: bool = True) -> None:
        self._model = model
        self._target = target
        self._labels = Labels(target) if target.classes else None
        self._method = METHODS.get(target.measure)
        self._transformers, self._final = split_pipeline(model)
        implied = type_name(self._final) in FOLLOWS_PROBABILITIES
        self._calls_predict = target.measure == "label" or (labels and not implied)
        self._label_indices = _LabelIndices(class_values(model), target)

    def __call__(self, X: Any) -> list[Any]:
        """Return the predictions for rows.

        Raises
        ------
        ModelError
            The model returns something other than one prediction for each row.
        """
        if self._labels is None:
            return _values(self._model.predict(X))
        for transformer in self._transformers:
            X = transformer.transform(X)
        numbers = None if self._method is None else self._compute_numbers(X)
        if not self._calls_predict:
            return _to_list(numbers)
        indices = self._predict_label_indices(X)
        return list(map(float, indices)) if numbers is None else self._add_labels(numbers, indices)

    def _compute_numbers(self, X: Any) -> npt.NDArray[Any]:
        """Return the numbers of the positive one of two classes, or of all classes."""
        import numpy as np

        target = self._target
        output = getattr(self._final, self._method or "")(X)
        if isinstance(output, list):
            raise ModelError(SEVERAL_TARGETS)
        numbers = np.asarray(output)
        count = len(target.classes)
        if target.measure == "decision" and target.positive is not None:
            if numbers.size != len(numbers):
                raise ModelError(self._shape_message(numbers))
            numbers = numbers.ravel()
            return numbers if target.positive == target.classes[1] else -numbers
        if numbers.ndim != 2 or numbers.shape[1] != count:
            raise ModelError(self._shape_message(numbers))
        if target.positive is None:
            return numbers
        return numbers[:, target.classes.index(target.positive)]

    def _shape_message(self, numbers: npt.NDArray[Any]) -> str:
        """Return the message for an array whose shape does not fit the classes."""
        count = len(self._target.classes)
        shape = f"{self._method} returns an array of shape {numbers.shape}"
        return (
            f"{type_name(self._final)}.{shape}, which is not one number for each of {count} classes"
        )

    def _predict_label_indices(self, X: Any) -> list[int]:
        """Return the positions of the labels that ``predict`` returns."""
        import numpy as np

        labels = self._final.predict(X)
        if getattr(labels, "ndim", 1) > 1 and labels.shape[1] > 1:
            raise ModelError(SEVERAL_TARGETS)
        return [self._label_indices[label] for label in np.asarray(labels).ravel().tolist()]

    def _add_labels(self, numbers: npt.NDArray[Any], indices: list[int]) -> list[Answer]:
        """Attach the label to predictions whose numbers imply a different one."""
        import numpy as np

        answers = _to_list(numbers)
        if numbers.ndim == 1:
            positive_from = self._labels.positive_from if self._labels else 0.0
            implied = (numbers >= positive_from).astype(int)
        else:
            implied = np.argmax(numbers, axis=1)
        for row in np.flatnonzero(implied != np.asarray(indices)).tolist():
            answer = answers[row]
            kind: Any = LabelledNumbers if isinstance(answer, tuple) else LabelledNumber
            answers[row] = kind(answer, indices[row])
        return answers


class _LabelIndices(dict[Any, int]):
    """The position in ``Labels.names`` of each label that ``predict`` can return."""

    def __init__(self, values: Sequence[Any], target: Target) -> None:
        names = Labels(target).names if target.classes else ()
        self._by_text = {name: index for index, name in enumerate(names)}
        pairs = zip(values, target.classes, strict=False)
        super().__init__((value, self._by_text[name]) for value, name in pairs)

    def __missing__(self, label: Any) -> int:
        """Look up a label by its text, because some libraries always return texts."""
        index = self._by_text.get(str(label))
        if index is None:
            # Only this row has no prediction; see PipelineScorer.
            raise ValueError(f"predict returns {label!r}, which is not one of the model's classes")
        self[label] = index
        return index


def split_pipeline(model: Any) -> tuple[list[Any], Any]:
    """Return the transformers and the final step of a scikit-learn pipeline.

    Rows then pass through the transformers once for both methods, with the calls that
    ``Pipeline.predict`` makes. Any other object is returned whole, without transformers.
    """
    if type_name(model) != "sklearn.pipeline.Pipeline":
        return [], model
    steps = [step for _, step in model.steps[:-1] if step is not None and step != "passthrough"]
    return steps, model.steps[-1][1]


def final_estimator(model: Any) -> Any:
    """Return the final classifier or regressor of nested pipelines and searches."""
    while True:
        inner = getattr(model, "best_estimator_", None)
        if inner is None and hasattr(model, "steps"):
            inner = model.steps[-1][1]
        if inner is None:
            return model
        model = inner


def class_values(model: Any) -> list[Any]:
    """Return a model's classes, or -1 and 1 for an outlier detector."""
    classes = getattr(model, "classes_", None)
    if classes is None:
        return [-1, 1]
    return list(classes) if isinstance(classes, list) else list(classes.tolist())


def type_name(model: Any) -> str:
    """Return the qualified name of an object's type."""
    return f"{type(model).__module__}.{type(model).__qualname__}"


def _values(predicted: Any) -> list[float]:
    """Return the values of a regression."""
    import numpy as np

    array = np.asarray(predicted)
    if array.size != len(array):
        raise ModelError(SEVERAL_TARGETS)
    values: list[float] = array.ravel().tolist()
    return values


def _to_list(numbers: npt.NDArray[np.float64] | None) -> list[Any]:
    """Return the rows of an array as floats or tuples of floats."""
    if numbers is None:
        return []
    return list(map(tuple, numbers.tolist())) if numbers.ndim == 2 else list(numbers.tolist())
