"""Custom models: save or add, serve and compare them by all input formats."""

from __future__ import annotations

import csv
import io
import json
import math
import pickle
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import pandas as pd
from conftest import ROOT
from flask.testing import FlaskClient
from sklearn.base import is_classifier

import slipway
from slipway.cli import add_commands
from slipway.core.errors import SlipwayError
from slipway.core.settings import Settings
from slipway.models.manifest import Manifest, write_manifest
from slipway.serving.service import PredictionService
from slipway.serving.start_check import answer_golden_rows
from slipway.training.packaging import version
from slipway.web import create_app

CSV = "text/csv"
WAYS = ("json", "array", "form", "csv")


class Answer(NamedTuple):
    """A prediction: the label of a classifier, and its probabilities, scores or value."""

    label: str
    numbers: tuple[float, ...]


# A text is the reason of a missing prediction.
Outcome = Answer | str


@dataclass
class Served:
    """A fitted model and a client of its service."""

    model: Any
    client: FlaskClient

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata that the service returns."""
        content: dict[str, Any] = self.client.get("/metadata").json or {}
        return content

    @property
    def engine(self) -> str:
        """The serving engine."""
        return str(self.metadata["engine"])

    def feature(self, name: str) -> dict[str, Any]:
        """Return a feature of the published signature."""
        features = self.metadata["signature"]["features"]
        return next(feature for feature in features if feature["name"] == name)

    def predict(self, record: object) -> Outcome:
        """Predict one record as JSON."""
        answer = self.client.post("/predict", data=json.dumps(record), content_type=JSON)
        return outcome(answer.status_code, answer.json)

    def json(self, records: Sequence[object]) -> list[Outcome]:
        """Predict records as JSON, one by one."""
        return [self.predict(record) for record in records]

    def array(self, records: Sequence[object]) -> list[Outcome]:
        """Predict records as one JSON array."""
        answer = self.client.post("/predict", data=json.dumps(records), content_type=JSON)
        assert answer.status_code in (200, 207), answer.text
        return [outcome(422 if "errors" in item else 200, item) for item in answer.json or []]

    def form(self, records: Sequence[Mapping[str, object]]) -> list[Outcome]:
        """Predict records as forms, one by one."""
        texts = [{name: form_text(value) for name, value in item.items()} for item in records]
        answers = [self.client.post("/predict", data=item) for item in texts]
        return [outcome(answer.status_code, answer.json) for answer in answers]

    def csv(self, text: str | bytes) -> list[Outcome]:
        """Predict the rows of a CSV file."""
        answer = self.client.post("/predict_file", data=text, content_type=CSV)
        assert answer.status_code == 200, answer.text
        return [row_outcome(row) for row in csv_rows(answer.text)]


JSON = "application/json"


def outcome(status: int, answer: Any) -> Outcome:
    """Parse the body of a response."""
    assert status in (200, 422), answer
    if status != 200:
        errors = answer["errors"] or [answer]
        return "; ".join(f"{item.get('field')}: {item['message']}" for item in errors)
    if "value" in answer:
        return Answer("", (answer["value"],))
    scores = answer.get("probabilities", answer.get("scores"))
    if scores is not None:
        return Answer(answer["label"], tuple(scores.values()))
    number = answer.get("probability", answer.get("score"))
    return Answer(answer["label"], () if number is None else (number,))


def row_outcome(row: Mapping[str, str]) -> Outcome:
    """Parse the columns that the service adds to a file."""
    if row["error"]:
        return row["error"]
    label = row["prediction"]
    # A spreadsheet would run such a label, so the service puts an apostrophe before it.
    if label.startswith(("'=", "'+", "'@", "'-")) and not _is_number(label[1:]):
        label = label[1:]
    class_numbers = tuple(
        float(cell) for name, cell in row.items() if name.startswith(("probability_", "score_"))
    )
    if class_numbers:
        return Answer(label, class_numbers)
    number = row.get("probability", row.get("score"))
    if number is None:
        # The model returns only labels, or a value.
        return Answer("", (float(label),)) if _is_number(label) else Answer(label, ())
    return Answer(label, (float(number),))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def csv_rows(text: str, separator: str = ",") -> Iterator[dict[str, str]]:
    """Parse the rows of a CSV response."""
    rows, _, _ = text.partition("# rows=")
    return csv.DictReader(io.StringIO(rows, newline=""), delimiter=separator)


def serve(path: Path, **settings: Any) -> FlaskClient:
    """Return a client of a service with a model version."""
    return create_app(ROOT, Settings(model=path, **settings)).test_client()


@contextmanager
def start_check_in_process() -> Iterator[None]:
    """Run the start check in this process, because a subprocess takes seconds."""
    with warnings.catch_warnings(), patch.object(version, "require_start", require_start):
        warnings.simplefilter("ignore")
        yield


def require_start(content: bytes, manifest: Manifest, name: str) -> None:
    """Require that a service starts with a model version, as the subprocess does."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        write_manifest(manifest, path)
        try:
            # This process has threads already, so a fork could hang.
            answer_golden_rows(PredictionService(Settings(model=path)))
        except Exception as error:
            raise SlipwayError(f"a service would not start with this model: {error}") from error


def save_and_serve(model: Any, X: Any, y: Any, folder: Path, **options: Any) -> Served:
    """Save a fitted model with ``slipway.save`` and serve it."""
    with start_check_in_process():
        manifest: Manifest = slipway.save(model, X, y, folder / "model.pkl", **options)
    assert manifest.version
    return Served(model, serve(folder / "model.pkl"))


def model_add(model: Any, folder: Path, *words: object, data: str | bytes | None = None) -> Any:
    """Run ``flask model add`` on the pickle of a model, or on the bytes of a file."""
    content = model if isinstance(model, bytes) else pickle.dumps(model)
    (folder / "fitted.pkl").write_bytes(content)
    command = ["model", "add", folder / "fitted.pkl", "--output", folder / "added.pkl", *words]
    if data is not None:
        (folder / "rows.csv").write_bytes(data if isinstance(data, bytes) else data.encode())
        command += ["--data", folder / "rows.csv"]
    with start_check_in_process():
        runner = add_commands(
            create_app(ROOT, Settings(model=ROOT / "model.pkl"))
        ).test_cli_runner()
        return runner.invoke(args=list(map(str, command)))


def add_and_serve(model: Any, folder: Path, data: str | bytes | None, *words: object) -> Served:
    """Add a fitted model with ``flask model add`` and serve it."""
    result = model_add(model, folder, *words, data=data)
    assert result.exit_code == 0, result.output
    return Served(model, serve(folder / "added.pkl"))


def rejection_message(
    model: Any, folder: Path, *words: object, data: str | bytes | None = None
) -> str:
    """Return the error line with which ``flask model add`` rejects a model."""
    result = model_add(model, folder, *words, data=data)
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output
    assert isinstance(result.exception, SystemExit)
    assert not (folder / "added.pkl").exists()
    return str(result.output)


def attempt(call: Callable[[], Any]) -> Any:
    """Return a result, or the message of a SlipwayError."""
    try:
        return call()
    except SlipwayError as error:
        return error.message


def json_value(value: Any) -> Any:
    """Convert a value of a frame to JSON's types."""
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    value = value.item() if isinstance(value, np.generic) else value
    value = float(value) if isinstance(value, Decimal) else value
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else f"{'-' * (value < 0)}Infinity"
    if isinstance(value, date):
        return value.isoformat()
    return value if isinstance(value, bool | int | float | str) else str(value)


def form_text(value: Any) -> str:
    """Convert a value of a record to the text of a form field."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def records_of(X: pd.DataFrame) -> list[dict[str, Any]]:
    """Convert the rows of a frame to JSON records."""
    columns = [[json_value(value) for value in X[name].astype(object)] for name in X.columns]
    names = list(map(str, X.columns))
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def own_predictions(model: Any, X: Any) -> list[Outcome]:
    """Return the model's own prediction for each single row."""
    count = X.shape[0] if hasattr(X, "shape") else len(X)
    return [own_prediction(model, X[i : i + 1]) for i in range(count)]


def own_prediction(model: Any, row: Any) -> Outcome:
    """Return the model's own prediction for one row."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            answer = _predict_row(model, row)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return answer if all(map(math.isfinite, answer.numbers)) else f"not finite: {answer}"


def _predict_row(model: Any, row: Any) -> Answer:
    label = np.ravel(model.predict(row))[0]
    if not is_classifier(model):
        return Answer("", (float(label),))
    if hasattr(model, "predict_proba"):
        numbers = model.predict_proba(row)[0].tolist()
        return Answer(str(label), tuple(numbers[1:] if len(numbers) == 2 else numbers))
    if not hasattr(model, "decision_function"):
        return Answer(str(label), ())
    return Answer(str(label), tuple(np.ravel(model.decision_function(row)).tolist()))


def assert_same_predictions(
    served: Served,
    X: pd.DataFrame,
    *,
    sent_rows: pd.DataFrame | None = None,
    ways: Sequence[str] = WAYS,
    expected: list[Outcome] | None = None,
    exact: bool = True,
) -> list[Outcome]:
    """Assert that the service predicts as the model does, for each row and input format.

    Parameters
    ----------
    served : Served
    X : DataFrame
        The rows in the notebook's dtypes.
    sent_rows : DataFrame, optional
        The rows that the client sends, if they differ.
    ways : sequence of {"json", "array", "form", "csv"}
    expected : list, optional
        The expected predictions, if the model does not accept a frame.
    exact : bool
        Whether the pickle must return the same bits for a single row.

    Returns
    -------
    list
        The model's own predictions.
    """
    sent = X if sent_rows is None else sent_rows
    records = records_of(sent)
    expected = own_predictions(served.model, X) if expected is None else expected
    is_exact = exact and served.engine == "pickle"
    features = served.metadata["signature"]["features"]
    # Products of 32-bit floats depend on the position of a row in its batch.
    tolerance = 1e-6 if any("32" in f.get("dtype", "") for f in features) else 1e-12
    for way in ways:
        predictions = served.csv(sent.to_csv(index=False)) if way == "csv" else None
        predictions = getattr(served, way)(records) if predictions is None else predictions
        assert len(predictions) == len(expected), way
        for record, prediction, expected_prediction in zip(
            records, predictions, expected, strict=True
        ):
            same = equal(
                prediction,
                expected_prediction,
                0.0 if is_exact and way in ("json", "form") else tolerance,
            )
            assert same, (
                f"{way} returns {prediction}, the pipeline {expected_prediction}, for {record}"
            )
    return expected


def equal(predictions: Outcome, expected: Outcome, tolerance: float = 1e-12) -> bool:
    """Return whether two outcomes have equal predictions, or both none."""
    if isinstance(predictions, str) or isinstance(expected, str):
        return isinstance(predictions, str) and isinstance(expected, str)
    if len(predictions.numbers) != len(expected.numbers):
        return False
    # At a probability of exactly one half, the last bit decides the label.
    if predictions.label != expected.label and expected.numbers != (0.5,):
        return False
    pairs = zip(predictions.numbers, expected.numbers, strict=True)
    return all(abs(a - b) <= tolerance * max(1.0, abs(b)) for a, b in pairs)


def customers(count: int = 240, seed: int = 5) -> tuple[pd.DataFrame, pd.Series[Any]]:
    """Return generated customers, and whether each customer left."""
    draw = np.random.default_rng(seed)
    columns = {
        "plan": draw.choice(["basic", "plus", "max"], count),
        "age": draw.integers(18, 80, count),
        "spend": draw.gamma(2.0, 40.0, count).round(2),
    }
    X = pd.DataFrame(columns)
    score = (X["plan"] == "max") - 0.03 * (X["age"] - 45) + 0.01 * (X["spend"] - 80)
    return X, pd.Series((score + draw.normal(0, 1, count) > 0).astype(int), name="left")
