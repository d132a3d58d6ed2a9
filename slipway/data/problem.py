"""What is being predicted: the raw tables, the query that makes rows of them, the pipeline.

A problem is a module that ``SLIPWAY_PROBLEM`` names and that holds ``PROBLEM``; the shipped
one is ``flights``. Nothing else of Slipway knows what is being predicted.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway.core.errors import SlipwayError
from slipway.models.features import Feature, Target
from slipway.models.signature import Signature
from slipway.models.validation import MISSING_TEXTS

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
        an example, the features, then ``target_column``, then ``order_column``, by which train
        and test can be parted in time, then the others below.
    key : tuple of str
        Columns of the query that tell its rows apart. Which rows are held out follows from
        them, so that a row stays held out when others come.
    features : tuple of Feature
        Without categories and labels for whatever ``describe`` fills in from the data.
    target : Target
    target_column : str
        Holds 0 or 1, false or true, or the names in ``target.classes``; NULL where it is not
        known.
    unlabelled : str
        Why a row has no target, in words.
    order_column : str
        A column of numbers, texts, dates or times.
    time_split : int, float, str, date or datetime
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
        A column of the query that grows with time: numbers, texts, dates or times. A later run
        can begin where the last one ended.
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
    missing : tuple of str
        The texts that stand for a missing value in text files, for training and in requests. A
        text that ``features`` lists as a category is never missing.
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
    time_split: float | str | date
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
    missing: tuple[str, ...] = MISSING_TEXTS

    def __post_init__(self) -> None:
        """Take a list where a tuple belongs."""
        for name in ("tables", "key", "features", "slices", "missing"):
            value = getattr(self, name)
            if isinstance(value, list):
                object.__setattr__(self, name, tuple(value))

    def signature(self, features: tuple[Feature, ...]) -> Signature:
        """Return the signature of a model of this problem, with features that data completed."""
        return Signature(features, self.target, missing=self.missing)

    @property
    def other_columns(self) -> tuple[str, ...]:
        """The columns of the query beside the features and the target, each once."""
        optional = (self.order_column, *self.key, self.group_column, self.watermark_column)
        named = dict.fromkeys(name for name in optional if name is not None)
        taken = {feature.name for feature in self.features}
        return tuple(name for name in named if name not in taken)


@contextmanager
def running(field: str) -> Iterator[None]:
    """Name the field whose function raises.

    Parameters
    ----------
    field : str
        ``read_tables``, ``labels`` or ``pipeline``.

    Raises
    ------
    SlipwayError
        In place of what the function raised.
    """
    try:
        yield
    except SlipwayError:
        raise
    except Exception as error:
        raise SlipwayError(f"the problem's {field} failed: {error_line(error)}") from error


def error_line(error: Exception) -> str:
    """Write an exception in one line, with the place that raised it."""
    name, lines = type(error).__name__, str(error).splitlines() or [""]
    place = traceback.extract_tb(error.__traceback__)[-1]
    if isinstance(error, ImportError) or place.filename.startswith("<"):
        return lines[0] or name
    return f"{name}: {lines[0]} ({Path(place.filename).name}, line {place.lineno})"
