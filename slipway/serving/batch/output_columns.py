"""The cells that /predict_file adds to each row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import isfinite, isnan
from typing import Any

from slipway.core.csv_cells import escape_text_cell
from slipway.core.errors import FieldError, InputWarning
from slipway.models.features import Target
from slipway.models.predictor import Predictor
from slipway.models.signature import Signature

NOTES = ("warning", "error")
NO_NOTES = "," * len(NOTES)


def added_columns(signature: Signature) -> tuple[str, ...]:
    """Return the names of the added columns.

    Parameters
    ----------
    signature : Signature

    Returns
    -------
    tuple of str
        A name that a feature has gets an underscore at its end.
    """
    target = signature.target
    names = list(signature.names)
    for base in ("prediction", *_number_columns(target), *NOTES):
        name = base
        while name in names:
            name += "_"
        names.append(name)
    return tuple(names[len(signature.names) :])


def _number_columns(target: Target) -> tuple[str, ...]:
    """Return the names of the columns of probabilities or scores."""
    if target.task == "regression" or target.measure == "label":
        return ()
    name = target.measure_name
    if target.task == "binary":
        return (name,)
    by_class = tuple(f"{name}_{label}" for label in target.classes)
    return by_class if target.measure == "decision" else (name, *by_class)


def answer_writer(model: Predictor) -> Callable[[Any], str | None]:
    """Build the function from a model's answer to its cells, each after a comma.

    Parameters
    ----------
    model : Predictor

    Returns
    -------
    callable
        Returns None if the model has no prediction.
    """
    if model.task == "regression":
        return lambda value: f",{value!r}" if isfinite(value) else None
    if model.target.measure == "label":
        labels = [f",{escape_text_cell(name)}" for name in model.labels.names]
        return lambda label_index: None if isnan(label_index) else labels[int(label_index)]
    if model.task == "multiclass":
        return _multiclass_writer(model)
    return _binary_writer(model)


def _binary_writer(model: Predictor) -> Callable[[float], str | None]:
    """Build the function that writes the label, and the positive probability or score."""
    (low, high), positive_from, label_index = (
        label_cells(model),
        model.labels.positive_from,
        model.labels.label_index,
    )

    def write(number: float) -> str | None:
        if not isfinite(number):
            return None
        if type(number) is float:
            return f"{high if number >= positive_from else low}{number!r}"
        return f"{high if label_index(number) else low}{number!r}"

    return write


def _multiclass_writer(model: Predictor) -> Callable[[tuple[float, ...]], str | None]:
    """Build the function that writes the label, its probability and the numbers of all classes."""
    labels, label_index = list(map(label_cell, model.target.classes)), model.labels.label_index
    has_label_number = model.target.measure == "probability"

    def write(answer: tuple[float, ...]) -> str | None:
        if not all(map(isfinite, answer)):
            return None
        best = label_index(answer)
        label_number = f"{answer[best]!r}," if has_label_number else ""
        return f"{labels[best]}{label_number}{','.join(map(repr, answer))}"

    return write


def label_cells(model: Predictor) -> tuple[str, str]:
    """Return the cells of the negative and the positive label of a binary model."""
    negative, positive = model.labels.names
    return label_cell(negative), label_cell(positive)


def label_cell(label: str) -> str:
    """Return a label between two commas."""
    return f",{escape_text_cell(label)},"


def warning_cells(warned: list[InputWarning]) -> str:
    """Return the cells after a prediction with warnings."""
    return f",{escape_text_cell(_join_notes(warned))},"


@lru_cache(maxsize=1024)
def failure_cells(errors: tuple[FieldError, ...], n_added: int) -> str:
    """Return the cells of a rejected row, which are empty except for the last.

    The cache helps because many rows of a file have the same errors.
    """
    return "," * n_added + escape_text_cell(_join_notes(errors))


def _join_notes(notes: Sequence[FieldError | InputWarning]) -> str:
    """Return errors or warnings in one line."""
    return "; ".join(f"{n.field}: {n.message}" if n.field else n.message for n in notes)
