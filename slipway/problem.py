"""What is being predicted: the raw tables, the query that makes rows of them, the pipeline.

A problem is a module that ``SLIPWAY_PROBLEM`` names and that holds ``PROBLEM``; the shipped
one is ``flights``. Nothing else of Slipway knows what is being predicted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from slipway.errors import SlipwayError
from slipway.signature import Feature, Target

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


@dataclass(frozen=True)
class Problem:
    """One prediction problem.

    Attributes
    ----------
    name : str
    title : str
        The question the model answers, for the pages.
    source : str
        Where the data comes from, and its licence.
    read_tables : callable
        Given a scratch folder, the CSV file of each raw table by the table's name.
    query : str
        SQL in DuckDB's dialect; one row an example, the features, then ``target_column`` as
        0, 1 or NULL, then ``order_column``, by which train and test can be parted in time.
    features : tuple of Feature
        Without categories and labels for whatever ``describe`` fills in from the data.
    target : Target
    target_column : str
    unlabelled : str
        Why a row has no target, in words.
    order_column : str
    time_split : int
        The first value of ``order_column`` that belongs to the test in time.
    slices : tuple of str
        The features by which the evaluation is broken down.
    pipeline : callable
        The unfitted pipeline.
    labels : callable
        Given the tables' files, names for people by feature and category.
    group_column : str, optional
        One more column of the query. Rows with the same value share what the features do not
        tell, and are no independent evidence; intervals take that into account.
    """

    name: str
    title: str
    source: str
    read_tables: Callable[[Path], Mapping[str, Path]]
    query: str
    features: tuple[Feature, ...]
    target: Target
    target_column: str
    unlabelled: str
    order_column: str
    time_split: int
    slices: tuple[str, ...]
    pipeline: Callable[[], Pipeline]
    labels: Callable[[Mapping[str, Path]], Mapping[str, Mapping[str, str]]]
    group_column: str | None = None


def load_problem(name: str) -> Problem:
    """Import the problem that a module holds.

    Parameters
    ----------
    name : str
        The module, for instance ``flights``.

    Raises
    ------
    SlipwayError
        There is no such module, or it holds no ``PROBLEM``.
    """
    try:
        problem = import_module(name).PROBLEM
    except (ImportError, AttributeError) as error:
        raise SlipwayError(f"cannot load the problem {name!r}: {error}") from error
    if not isinstance(problem, Problem):
        raise SlipwayError(f"{name}.PROBLEM must be a slipway.problem.Problem")
    return problem
