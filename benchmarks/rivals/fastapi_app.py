"""FastAPI and pydantic on uvicorn; the scorecard's terms are scored by hand."""

import json
from bisect import bisect_right
from collections.abc import Callable
from math import exp
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field

MODEL = json.loads((Path(__file__).parents[2] / "model.json").read_text(encoding="utf-8"))
SCORECARD = MODEL["scorecard"]["sums"][0]
THRESHOLD = MODEL["threshold"]
VERSION = MODEL["version"]

Text = Annotated[str, Field(max_length=256)]


class Record(BaseModel):
    """A flight."""

    model_config = ConfigDict(extra="forbid")

    carrier: Text
    origin: Text
    dest: Text
    departure_period: Text
    departure_hour: Annotated[int, Field(ge=0, le=23)]
    day_of_week: Annotated[int, Field(ge=1, le=7)]
    distance: Annotated[float, Field(ge=0, le=12_500)]
    departures_in_hour: Annotated[int, Field(ge=1, le=500)]
    temperature: Annotated[float, Field(ge=-80, le=140)] | None = None
    wind_speed: Annotated[float, Field(ge=0, le=250)] | None = None
    wind_direction: Annotated[float, Field(ge=0, le=360)] | None = None
    visibility: Annotated[float, Field(ge=0, le=100)] | None = None
    precipitation: Annotated[float, Field(ge=0, le=20)] | None = None
    precipitation_6h: Annotated[float, Field(ge=0, le=60)] | None = None
    pressure_change_6h: Annotated[float, Field(ge=-100, le=100)] | None = None
    plane_year: Annotated[int, Field(ge=1900, le=2100)] | None = None
    seats: Annotated[int, Field(ge=1, le=1000)] | None = None


class Prediction(BaseModel):
    """The prediction."""

    label: str
    probability: float
    threshold: float
    model_version: str


def table_points(term: dict[str, Any]) -> Callable[[Any], float]:
    """Return a function from a category to its points."""
    points = dict(zip(term["levels"], term["points"], strict=True)) | {None: term["missing"]}
    unseen: float = term["unseen"]
    return lambda value: points.get(value, unseen)


def step_points(term: dict[str, Any]) -> Callable[[Any], float]:
    """Return a function from a number to the points of its interval."""
    edges, points, missing = term["edges"], term["points"], term["missing"]
    return lambda value: missing if value is None else points[bisect_right(edges, value)]


def slope_points(term: dict[str, Any]) -> Callable[[Any], float]:
    """Return a function from a number to points in proportion."""
    factor, offset, missing = term["slope"], term["offset"], term["missing"]
    return lambda value: missing if value is None else offset + factor * value


KINDS = {"table": table_points, "steps": step_points, "slope": slope_points}
TERMS = [(term["feature"], KINDS[term["kind"]](term)) for term in SCORECARD["terms"]]

app = FastAPI()


@app.post("/predict")
async def predict(record: Record) -> Prediction:
    """Predict for one record."""
    log_odds = SCORECARD["intercept"]
    for feature, points in TERMS:
        log_odds += points(getattr(record, feature))
    probability = 1 / (1 + exp(-log_odds))
    label = "late" if probability >= THRESHOLD else "on time"
    return Prediction(
        label=label, probability=probability, threshold=THRESHOLD, model_version=VERSION
    )
