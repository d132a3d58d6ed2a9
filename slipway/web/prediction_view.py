"""The view model of the form page: prediction, probability and contributions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from msgspec import UNSET

from slipway.models.features import Record, Target
from slipway.models.manifest import Manifest
from slipway.models.predictor import Predictor
from slipway.models.signature import Signature
from slipway.reports import svg_charts
from slipway.reports.formatting import (
    compare_to_base_rate,
    decimals,
    percent,
    title_of,
    value_name,
    with_unit,
)
from slipway.serving.predictions import Prediction, score_name

MAX_BARS = 12


@dataclass(frozen=True)
class Contribution:
    """The contribution of a feature, or of all small ones together."""

    name: str
    value: str
    bar: svg_charts.Bar


@dataclass(frozen=True)
class ContributionChart:
    """The contributions from the intercept to the score.

    Attributes
    ----------
    rows : list of Contribution
    start, score : float
    digits : int
        Decimals of the numbers.
    """

    rows: list[Contribution]
    start: float
    score: float
    digits: int


@dataclass(frozen=True)
class PredictionView:
    """A prediction on the page.

    Attributes
    ----------
    prediction : Prediction
    heading : str
        The label, or the value with its unit.
    figure, figure_caption : str
        The number in large print, and its meaning.
    shares : list of (str, float)
        The classes with the highest probabilities or scores, in descending order.
    others : int
        Number of the other classes.
    label_is_implied : bool
        Whether the probabilities imply the label. A pipeline's ``predict`` may return another one.
    base_rate_text : str
        Comparison of a probability with the base rate.
    chart : ContributionChart, optional
        None if the model has no scorecard.
    """

    prediction: Prediction
    heading: str
    figure: str
    figure_caption: str
    shares: list[tuple[str, float]]
    others: int
    label_is_implied: bool
    base_rate_text: str
    chart: ContributionChart | None


def build_view(model: Predictor, record: Record, prediction: Prediction) -> PredictionView:
    """Return the view of a prediction.

    Parameters
    ----------
    model : Predictor
    record : tuple
        Validated values in the features' order.
    prediction : Prediction
        With contributions, if the model has a scorecard.

    Returns
    -------
    PredictionView
    """
    output: Any = prediction
    numbers = output.probabilities or output.scores
    ranking = _rank(numbers) if numbers else []
    heading, figure, figure_caption = _summarize(model.target, output)
    return PredictionView(
        prediction=prediction,
        heading=heading,
        figure=figure,
        figure_caption=figure_caption,
        shares=ranking[:MAX_BARS],
        others=len(ranking[MAX_BARS:]),
        label_is_implied=_is_label_implied(model, output),
        base_rate_text=_compare_to_base_rate(model.manifest, output),
        chart=_build_chart(model, record, output) if model.manifest.scorecard else None,
    )


def _summarize(target: Target, output: Any) -> tuple[str, str, str]:
    """Return heading, figure and caption of a prediction."""
    if target.task == "regression":
        return with_unit(output.value, target.unit), with_unit(output.value), target.unit or ""
    subject = target.positive or output.label
    if target.measure == "probability":
        return output.label, percent(output.probability), f"probability of “{subject}”"
    score = output.scores[output.label] if output.scores else output.score
    if score is UNSET:
        return output.label, "", ""
    return output.label, with_unit(score), f"score of “{subject}”"


def _is_label_implied(model: Predictor, output: Any) -> bool:
    """Return whether the probabilities imply the label."""
    if output.probability is UNSET:
        return False
    numbers = tuple(output.probabilities.values()) if output.probabilities else output.probability
    return model.labels.names[model.labels.implied_index(numbers)] == str(output.label)


def _rank(probabilities: Mapping[str, float]) -> list[tuple[str, float]]:
    """Return the classes in descending order of their numbers."""
    return sorted(probabilities.items(), key=lambda pair: -pair[1])


def _compare_to_base_rate(manifest: Manifest, output: Any) -> str:
    """Return the comparison of a binary probability with the base rate, if both are known."""
    rate = manifest.base_rate
    if manifest.signature.target.task != "binary" or rate is None or output.probability is UNSET:
        return ""
    return compare_to_base_rate(output.probability, rate)


def _build_chart(model: Predictor, record: Record, output: Any) -> ContributionChart:
    """Return the contributions to the score, for several classes to that of the label."""
    score = output.log_odds if score_name(model) == "log_odds" else output.scores or output.score
    parts = (output.contributions, output.intercept, score)
    if model.task == "multiclass":
        parts = tuple(part[output.label] for part in parts)
    contributions, start, score = parts
    digits = decimals(max(map(abs, (start, score, *contributions.values()))))
    rows = _build_rows(model.manifest.signature, record, contributions)
    return ContributionChart(rows, start, score, digits)


def _build_rows(
    signature: Signature, record: Record, contributions: dict[str, float]
) -> list[Contribution]:
    """Return the contributions in descending order of size; small ones are added up."""
    rows = [
        (title_of(feature.name), value_name(feature, value), contributions[feature.name])
        for feature, value in zip(signature.features, record, strict=True)
    ]
    rows.sort(key=lambda row: -abs(row[2]))
    if len(rows) > MAX_BARS + 1:
        rest = sum(points for _, _, points in rows[MAX_BARS:])
        rows[MAX_BARS:] = [(f"The other {len(rows) - MAX_BARS}", "together", rest)]
    largest = max((abs(points) for _, _, points in rows), default=0.0)
    bars = svg_charts.layout_bars((points for _, _, points in rows), largest)
    return [
        Contribution(name, value, bar) for (name, value, _), bar in zip(rows, bars, strict=True)
    ]
