"""The cells that a file's answer adds to each row, after the kind of the model's answer."""

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
NOTHING_TO_SAY = "," * len(NOTES)


def added_columns(signature: Signature) -> tuple[str, ...]:
    """Name the columns that an answer adds.

    Parameters
    ----------
    signature : Signature

    Returns
    -------
    tuple of str
        A name that a feature has already ends with an underscore here.
    """
    target = signature.target
    taken = list(signature.names)
    for wanted in ("prediction", *_number_columns(target), *NOTES):
        name = wanted
        while name in taken:
            name += "_"
        taken.append(name)
    return tuple(taken[len(signature.names) :])


def _number_columns(target: Target) -> tuple[str, ...]:
    """Name the columns of probabilities or scores."""
    if target.task == "regression" or target.measure == "label":
        return ()
    name = target.measure_name
    if target.task == "binary":
        return (name,)
    by_class = tuple(f"{name}_{each}" for each in target.classes)
    return by_class if target.measure == "decision" else (name, *by_class)


def answer_writer(model: Predictor) -> Callable[[Any], str | None]:
    """Build the function from the model's answer to its cells, each after its comma.

    Parameters
    ----------
    model : Predictor

    Returns
    -------
    callable
        It gives None where the model has no answer.
    """
    if model.task == "regression":
        return lambda value: f",{value!r}" if isfinite(value) else None
    if model.target.measure == "label":
        labels = [f",{escape_text_cell(each)}" for each in model.labels.names]
        return lambda place: None if isnan(place) else labels[int(place)]
    if model.task == "multiclass":
        return _write_classes(model)
    return _write_two(model)


def _write_two(model: Predictor) -> Callable[[float], str | None]:
    """Write the label, and the probability or score of the positive class."""
    (low, high), least, place = (
        label_cells(model),
        model.labels.positive_from,
        model.labels.label_index,
    )

    def write(number: float) -> str | None:
        if not isfinite(number):
            return None
        if type(number) is float:
            return f"{high if number >= least else low}{number!r}"
        return f"{high if place(number) else low}{number!r}"

    return write


def _write_classes(model: Predictor) -> Callable[[tuple[float, ...]], str | None]:
    """Write the label, the probability of the label, and the numbers of all classes."""
    labels, place = list(map(label_cell, model.target.classes)), model.labels.label_index
    with_its_own = model.target.measure == "probability"

    def write(answer: tuple[float, ...]) -> str | None:
        if not all(map(isfinite, answer)):
            return None
        chosen = place(answer)
        its_own = f"{answer[chosen]!r}," if with_its_own else ""
        return f"{labels[chosen]}{its_own}{','.join(map(repr, answer))}"

    return write


def label_cells(model: Predictor) -> tuple[str, str]:
    """Write the labels of a model of two classes: the negative one, and the positive one."""
    negative, positive = model.labels.names
    return label_cell(negative), label_cell(positive)


def label_cell(label: str) -> str:
    """Write a label between two commas."""
    return f",{escape_text_cell(label)},"


def warning_cells(warned: list[InputWarning]) -> str:
    """Write the cells behind an answer that there is something to say about."""
    return f",{escape_text_cell(_listed(warned))},"


@lru_cache(maxsize=1024)
def failure_cells(errors: tuple[FieldError, ...], n_added: int) -> str:
    """Write the cells of a row that is rejected: all empty but the last.

    Many rows of a file are wrong in the same way.
    """
    return "," * n_added + escape_text_cell(_listed(errors))


def _listed(notes: Sequence[FieldError | InputWarning]) -> str:
    """Put errors or warnings in one line."""
    return "; ".join(f"{n.field}: {n.message}" if n.field else n.message for n in notes)
