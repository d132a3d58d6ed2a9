"""What is being predicted: the raw tables, the query that makes rows of them, the pipeline.

A problem is a module that ``SLIPWAY_PROBLEM`` names and that holds ``PROBLEM``; the shipped
one is ``flights``. Nothing else of Slipway knows what is being predicted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway.errors import SlipwayError
from slipway.signature import Feature, Target

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

Ask = Callable[[str], list[tuple[Any, ...]]]


@dataclass(frozen=True)
class PromotionRules:
    """When ``flask retrain`` lets a new model take over; ``docs/retraining.md`` gives the reasons.

    Attributes
    ----------
    log_loss_margin, calibration_margin : float
        How much more log loss and calibration error than the model in production still count as
        not worse. The upper end of the one-sided interval of the difference must lie below.
    level : float
        Of that interval.
    resamples, seed : int
        Of the bootstrap that gives it.
    min_rows, min_groups : int
        The fewest rows held out, and groups of them, that can tell two models apart.
    """

    log_loss_margin: float = 0.002
    calibration_margin: float = 0.01
    level: float = 0.95
    resamples: int = 1_000
    seed: int = 2013
    min_rows: int = 300
    min_groups: int = 30


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
    tables : tuple of str
        The raw tables that the queries name. The query gives one row for each of the first.
    read_tables : callable
        Given a scratch folder, the CSV file of each raw table by the table's name: the data
        that is used where no other source is given.
    query : str
        SQL in DuckDB's dialect, within what all engines take alike (``docs/data.md``); one row
        an example, the features, then ``target_column`` as 0, 1 or NULL, then
        ``order_column``, by which train and test can be parted in time, then the others below.
    key : tuple of str
        Columns of the query that tell its rows apart. Which rows are held out follows from
        them, so that a row stays held out when others come.
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
        Given what runs a query on the raw tables and gives its rows, names for people by
        feature and category.
    group_column : str, optional
        A column of the query. Rows with the same value share what the features do not
        tell, and are no independent evidence; intervals take that into account.
    watermark_column : str, optional
        A column of the query that grows with time, as text or number. A later run can begin
        where the last one ended.
    max_quarantined : float
        The share of bad rows from which on the rows are not taken at all.
    max_missing : float
        The share of gaps in one column from which on they are not.
    min_class_rows : int
        The fewest rows of each class that can be learned from.
    promotion : PromotionRules
        When a new model may take the place of the one in production.
    public_rows : bool
        Whether the service may show rows as they are for examples. Else each example has its
        values from several rows.
    """

    name: str
    title: str
    source: str
    tables: tuple[str, ...]
    read_tables: Callable[[Path], Mapping[str, Path]]
    query: str
    key: tuple[str, ...]
    features: tuple[Feature, ...]
    target: Target
    target_column: str
    unlabelled: str
    order_column: str
    time_split: int
    slices: tuple[str, ...]
    pipeline: Callable[[], Pipeline]
    labels: Callable[[Ask], Mapping[str, Mapping[str, str]]]
    group_column: str | None = None
    watermark_column: str | None = None
    max_quarantined: float = 0.01
    max_missing: float = 0.5
    min_class_rows: int = 30
    promotion: PromotionRules = PromotionRules()
    public_rows: bool = False

    @property
    def other_columns(self) -> tuple[str, ...]:
        """The columns of the query beside the features and the target, each once."""
        optional = (self.order_column, *self.key, self.group_column, self.watermark_column)
        named = dict.fromkeys(name for name in optional if name is not None)
        taken = {feature.name for feature in self.features}
        return tuple(name for name in named if name not in taken)


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
