"""The cells that a file's answer adds to each row, after the kind of the model's answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import isfinite, isnan
from typing import Any

from slipway.dialect import Dialect
from slipway.errors import FieldError, Warned
from slipway.model import Model
from slipway.signature import Signature

NOTES = ("warning", "error")
NOTHING_TO_SAY = "," * len(NOTES)
_COMMAS = Dialect()
_RUNS_IN_SPREADSHEETS = ("=", "+", "-", "@", "\t", "\r", "\n")


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
    several = target.classes if target.task == "multiclass" else ()
    probabilities = ("probability", *(f"probability_{each}" for each in several))
    added = ("prediction", *(() if target.task == "regression" else probabilities), *NOTES)
    return tuple(_free(name, signature) for name in added)


def _free(name: str, signature: Signature) -> str:
    while name in signature.by_name:
        name += "_"
    return name


def answer_writer(model: Model) -> Callable[[Any], str | None]:
    """Build the function from the model's answer to its cells, each after its comma.

    Parameters
    ----------
    model : Model

    Returns
    -------
    callable
        It gives None where the model has no answer.
    """
    if model.task == "regression":
        return lambda value: f",{value!r}" if isfinite(value) else None
    if model.task == "multiclass":
        return _write_classes(model)
    (low, high), least = label_cells(model), model.least
    return lambda p: None if isnan(p) else f"{high if p >= least else low}{p!r}"


def _write_classes(model: Model) -> Callable[[tuple[float, ...]], str | None]:
    """Write the label, its probability, and those of all classes."""
    labels = [label_cell(each) for each in model.target.classes]

    def write(answer: tuple[float, ...]) -> str | None:
        if not all(map(isfinite, answer)):
            return None
        highest = max(answer)
        return f"{labels[answer.index(highest)]}{highest!r},{','.join(map(repr, answer))}"

    return write


def label_cells(model: Model) -> tuple[str, str]:
    """Write the labels of a model of two classes: below the threshold, and from it on."""
    return label_cell(model.negative), label_cell(model.positive)


def label_cell(label: str) -> str:
    """Write a label between two commas."""
    return f",{text_cell(label)},"


def warning_cells(warned: list[Warned]) -> str:
    """Write the cells behind an answer that there is something to say about."""
    return f",{text_cell(_listed(warned))},"


@lru_cache(maxsize=1024)
def failure_cells(errors: tuple[FieldError, ...], n_added: int) -> str:
    """Write the cells of a row that is rejected: all empty but the last.

    Many rows of a file are wrong in the same way.
    """
    return "," * n_added + text_cell(_listed(errors))


def text_cell(text: str) -> str:
    """Write a text cell that no spreadsheet takes for a formula.

    The apostrophe is what OWASP's page on CSV injection advises.
    """
    return _COMMAS.write_cell(f"'{text}" if text.startswith(_RUNS_IN_SPREADSHEETS) else text)


def _listed(notes: Sequence[FieldError | Warned]) -> str:
    """Put errors or warnings in one line."""
    return "; ".join(f"{n.field}: {n.message}" if n.field else n.message for n in notes)
