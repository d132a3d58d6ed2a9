"""What the form's answer shows: what was found, how sure it is, and what led to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from msgspec import UNSET

from slipway.models.features import Record
from slipway.models.manifest import Manifest
from slipway.models.predictor import Predictor
from slipway.models.signature import Signature
from slipway.reports import svg_charts as charts
from slipway.reports.formatting import (
    compare_to_base_rate,
    decimals,
    percent,
    title_of,
    value_name,
    with_unit,
)
from slipway.serving.predictions import Prediction, score_name

MOST_BARS = 12


@dataclass(frozen=True)
class Contribution:
    """What one feature, or all the small ones together, did to an answer."""

    name: str
    value: str
    bar: charts.Bar


@dataclass(frozen=True)
class ContributionChart:
    """What led from where the sum starts to the score.

    Attributes
    ----------
    rows : list of Contribution
    start, score : float
    digits : int
        Behind the point, in which the numbers are to be written.
    """

    rows: list[Contribution]
    start: float
    score: float
    digits: int


@dataclass(frozen=True)
class PredictionView:
    """An answer for people.

    Attributes
    ----------
    prediction : Prediction
    heading : str
        The label, or the value with its unit.
    big, of : str
        The number to show large, and what it is.
    shares : list of (str, float)
        Every class with its probability or score, the highest first.
    others : int
        How many classes have no bar.
    by_numbers : bool
        Whether the label is that of the highest probability, and not another one that
        ``predict`` returns.
    compared : str
        How a probability stands to the base rate.
    pushes : ContributionChart, optional
        None where the answer cannot be explained so.
    """

    prediction: Prediction
    heading: str
    big: str
    of: str
    shares: list[tuple[str, float]]
    others: int
    by_numbers: bool
    compared: str
    pushes: ContributionChart | None


def build_view(model: Predictor, record: Record, prediction: Prediction) -> PredictionView:
    """Make an answer ready for its page.

    Parameters
    ----------
    model : Predictor
    record : tuple
        Checked values in the features' order.
    prediction : Prediction
        Explained, where the model can be.

    Returns
    -------
    PredictionView
    """
    answer: Any = prediction
    target, manifest = model.target, model.manifest
    by_class = answer.probabilities or answer.scores
    ranked = _ranked(by_class) if by_class else []
    told: dict[str, Any] = {
        "prediction": prediction,
        "shares": ranked[:MOST_BARS],
        "others": len(ranked[MOST_BARS:]),
        "by_numbers": _is_by_numbers(model, answer),
        "compared": _compared(manifest, answer) if target.task == "binary" else "",
        "pushes": _pushes(model, record, answer) if manifest.scorecard else None,
    }
    if target.task == "regression":
        value = with_unit(answer.value, target.unit)
        return PredictionView(
            heading=value, big=with_unit(answer.value), of=target.unit or "", **told
        )
    whose = target.positive or answer.label
    if target.measure != "probability":
        score = answer.scores[answer.label] if answer.scores else answer.score
        big, of = (with_unit(score), f"score of “{whose}”") if score is not UNSET else ("", "")
        return PredictionView(heading=answer.label, big=big, of=of, **told)
    big = percent(answer.probability)
    return PredictionView(heading=answer.label, big=big, of=f"probability of “{whose}”", **told)


def _is_by_numbers(model: Predictor, answer: Any) -> bool:
    """Whether the probabilities imply the label."""
    if answer.probability is UNSET:
        return False
    numbers = tuple(answer.probabilities.values()) if answer.probabilities else answer.probability
    return model.labels.names[model.labels.implied_index(numbers)] == str(answer.label)


def _ranked(probabilities: Mapping[str, float]) -> list[tuple[str, float]]:
    """Sort the classes, that of the highest number first."""
    return sorted(probabilities.items(), key=lambda pair: -pair[1])


def _compared(manifest: Manifest, answer: Any) -> str:
    """Say how a probability stands to the base rate, where that is known."""
    rate = manifest.base_rate
    return (
        ""
        if rate is None or answer.probability is UNSET
        else compare_to_base_rate(answer.probability, rate)
    )


def _pushes(model: Predictor, record: Record, answer: Any) -> ContributionChart:
    """Give what led to the answer, or to the score of its class."""
    score = answer.log_odds if score_name(model) == "log_odds" else answer.scores or answer.score
    parts = (answer.contributions, answer.intercept, score)
    if model.task == "multiclass":
        parts = tuple(part[answer.label] for part in parts)
    contributions, start, score = parts
    digits = decimals(max(map(abs, (start, score, *contributions.values()))))
    rows = _rows(model.manifest.signature, record, contributions)
    return ContributionChart(rows, start, score, digits)


def _rows(
    signature: Signature, record: Record, contributions: dict[str, float]
) -> list[Contribution]:
    """Sort the contributions by size; the smallest of many are added up."""
    rows = [
        (title_of(feature.name), value_name(feature, value), contributions[feature.name])
        for feature, value in zip(signature.features, record, strict=True)
    ]
    rows.sort(key=lambda row: -abs(row[2]))
    if len(rows) > MOST_BARS + 1:
        rest = sum(points for _, _, points in rows[MOST_BARS:])
        rows[MOST_BARS:] = [(f"The other {len(rows) - MOST_BARS}", "together", rest)]
    largest = max((abs(points) for _, _, points in rows), default=0.0)
    bars = charts.layout_bars((points for _, _, points in rows), largest)
    return [
        Contribution(name, value, bar) for (name, value, _), bar in zip(rows, bars, strict=True)
    ]
