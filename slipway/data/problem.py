"""The prediction problem: raw tables, the query that builds rows from them, and the pipeline.

``SLIPWAY_PROBLEM`` names the module that defines ``PROBLEM``; the shipped one is ``flights``. No
other part of Slipway depends on the problem.
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

RunQuery = Callable[[str], list[tuple[Any, ...]]]


@dataclass(frozen=True)
class PromotionRules:
    """The rules by which ``slipway retrain`` promotes a model; see ``docs/retraining.md``.

    Attributes
    ----------
    log_loss_margin, calibration_margin : float
        Non-inferiority margins: the largest increase over the model in production that still
        counts as not worse. The upper bound of the one-sided interval must lie below them.
    level : float
        Confidence level of that interval.
    resamples, seed : int
        Settings of the bootstrap that computes the interval.
    min_rows, min_groups : int
        The smallest numbers of held-out rows and of groups that allow a comparison.
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
        The question that the model answers; the pages show it.
    source : str
        The origin of the data, and its licence.
    tables : tuple of str
        The raw tables that the query reads. It returns one row for each row of the first table.
    read_tables : callable
        Takes a scratch folder and returns the CSV file of each raw table by name. They are the
        default source.
    query : str
        A SELECT in DuckDB's dialect, limited to portable SQL (``docs/data.md``). Each row is an
        example with the features, ``target_column``, ``order_column`` and the columns below.
    key : tuple of str
        Columns that identify a row. A hash of them selects the hold-out set, so a row keeps its
        place there when rows are added.
    features : tuple of Feature
        Training fills in categories and labels that are left out here.
    target : Target
    target_column : str
        A column of 0 and 1, false and true, or the names in ``target.classes``; NULL if unknown.
    unlabelled : str
        The reason why a row has no target, for reports.
    order_column : str
        A column of numbers, texts, dates or times that orders the rows in time.
    time_split : int, float, str, date or datetime
        The first value of ``order_column`` that belongs to the test set of the time split.
    slices : tuple of str
        Features by which the evaluation is broken down.
    pipeline : callable
        Returns the unfitted pipeline.
    labels : callable
        Takes a function that runs a query on the raw tables and returns its rows. Returns
        display names by feature and category.
    group_column : str, optional
        A column whose equal values mark dependent rows, such as flights of the same day.
        Intervals take that into account.
    watermark_column : str, optional
        A column that grows with time: numbers, texts, dates or times. A later run can begin
        where the last one ended.
    max_quarantined : float
        The ETL fails if the share of rejected rows is larger.
    max_missing : float
        The ETL fails if the share of missing values in a feature is larger.
    min_class_rows : int
        The ETL fails if a class has fewer rows.
    promotion : PromotionRules
        The rules by which a new model replaces the one in production.
    public_rows : bool
        Whether examples can be real rows. Otherwise each example combines values of several
        rows.
    missing : tuple of str
        The texts that mean a missing value in text files and in requests. A text that
        ``features`` lists as a category is never missing.
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
    labels: Callable[[RunQuery], Mapping[str, Mapping[str, str]]]
    group_column: str | None = None
    watermark_column: str | None = None
    max_quarantined: float = 0.01
    max_missing: float = 0.5
    min_class_rows: int = 30
    promotion: PromotionRules = PromotionRules()
    public_rows: bool = False
    missing: tuple[str, ...] = MISSING_TEXTS

    def __post_init__(self) -> None:
        """Convert lists to tuples."""
        for name in ("tables", "key", "features", "slices", "missing"):
            value = getattr(self, name)
            if isinstance(value, list):
                object.__setattr__(self, name, tuple(value))

    def signature(self, features: tuple[Feature, ...]) -> Signature:
        """Return the signature of a model of this problem, with features completed from data."""
        return Signature(features, self.target, missing=self.missing)

    @property
    def other_columns(self) -> tuple[str, ...]:
        """The distinct columns of the query that are neither a feature nor the target."""
        optional = (self.order_column, *self.key, self.group_column, self.watermark_column)
        named = dict.fromkeys(name for name in optional if name is not None)
        features = {feature.name for feature in self.features}
        return tuple(name for name in named if name not in features)


@contextmanager
def field_errors(field: str) -> Iterator[None]:
    """Name the field in the error when its function raises.

    Parameters
    ----------
    field : str
        ``read_tables``, ``labels`` or ``pipeline``.

    Raises
    ------
    SlipwayError
        Replaces any other exception.
    """
    try:
        yield
    except SlipwayError:
        raise
    except Exception as error:
        raise SlipwayError(f"the problem's {field} failed: {format_error(error)}") from error


def format_error(error: Exception) -> str:
    """Return an exception as one line, with the place that raised it."""
    name, lines = type(error).__name__, str(error).splitlines() or [""]
    place = traceback.extract_tb(error.__traceback__)[-1]
    if isinstance(error, ImportError) or place.filename.startswith("<"):
        return lines[0] or name
    return f"{name}: {lines[0]} ({Path(place.filename).name}, line {place.lineno})"
