"""Load a model version as a service does, and send its golden rows in every format of a client.

``python -m slipway.serving.start_check model.pkl`` exits with 0, or prints one line on standard
error and exits with 1.
"""

from __future__ import annotations

import csv
import io
import os
import select
import signal
import sys
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec

from slipway.core.errors import BadInput, ModelError, SlipwayError
from slipway.core.settings import Settings
from slipway.models.manifest import GoldenRow
from slipway.models.predictor import BEFORE_FORK, Predictor, is_close
from slipway.models.record_texts import record_texts
from slipway.serving.batch.csv_stream import predict_file
from slipway.serving.batch.output_columns import added_columns
from slipway.serving.request_body import MAX_FORM_FIELDS
from slipway.serving.service import PredictionService

# Golden rows that are sent, as many as an array may have.
MAX_ROWS = 1_000
# Seconds for all golden rows in all formats.
SECONDS = 120
# Bytes of the error message, which must fit into a pipe.
MAX_ERROR_BYTES = 60_000
# The answer of a golden row, and its label.
Received = tuple[Any, str | None]


def check_start(path: Path) -> None:
    """Load a model version, and predict its golden rows from JSON, an array, a form and CSV.

    Raises
    ------
    SlipwayError
        The version does not load, or the prediction of a golden row differs.
    """
    if hasattr(os, "fork"):
        os.environ[BEFORE_FORK] = "1"
    service = PredictionService(Settings.from_environ(Path.cwd()), path)
    if hasattr(os, "fork"):
        _run_in_fork(lambda: answer_golden_rows(service))
    else:
        answer_golden_rows(service)


def _run_in_fork(check: Callable[[], None]) -> None:
    """Run a check in a fork of this process, as Gunicorn forks its workers.

    Raises
    ------
    ModelError
        The check fails, or takes too long.
    """
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.environ.pop(BEFORE_FORK, None)
        failure = describe_failure(check)
        os.write(write, failure.encode()[:MAX_ERROR_BYTES])
        os._exit(0)
    os.close(write)
    ready, _, _ = select.select([read], [], [], SECONDS)
    if not ready:
        os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    with os.fdopen(read, "rb") as pipe:
        failure = pipe.read().decode("utf-8", "replace")
    if not ready:
        hint = "a step may use threads, which do not survive a fork"
        raise ModelError(f"a worker did not predict the golden rows within {SECONDS} s; {hint}")
    if failure:
        raise ModelError(failure)


def describe_failure(check: Callable[[], None]) -> str:
    """Run a check; return its error in one line, empty if it passes."""
    try:
        check()
    except SlipwayError as error:
        errors = getattr(error, "errors", [])
        details = "; ".join(f"{e.field}: {e.message}" for e in errors)
        return " ".join(f"{error.message} {details}".split())
    except Exception as error:  # any failure here would also be one in a service
        return " ".join(f"{type(error).__name__}: {error}".split())
    return ""


def answer_golden_rows(service: PredictionService) -> None:
    """Predict the golden rows of a model from JSON, an array, a form and CSV.

    Raises
    ------
    SlipwayError
        The prediction of a golden row differs.
    """
    difference = service.model.replay()
    if difference:
        raise ModelError(difference)
    rows = service.model.manifest.golden[:MAX_ROWS]
    # A form and a file cannot distinguish every missing value from an empty text.
    text_rows = [row for row in rows if _survives_text(service, row)]
    fits_form = len(service.signature.names) <= MAX_FORM_FIELDS
    rows_by_format = {"a form": text_rows if fits_form else [], "CSV": text_rows}
    senders: dict[str, Callable[[PredictionService, Sequence[GoldenRow]], list[Received]]] = {
        "JSON": _send_json,
        "an array": _send_array,
        "a form": _send_form,
        "CSV": _send_csv,
    }
    for name, send in senders.items():
        sent_rows = rows_by_format.get(name, rows)
        for row, received in zip(sent_rows, send(service, sent_rows), strict=True):
            difference = _difference(service.model, row, *received)
            if difference:
                number = service.model.manifest.golden.index(row) + 1
                raise ModelError(f"golden row {number}, sent by {name}, gives {difference}")


def _difference(model: Predictor, row: GoldenRow, answer: Any, label: str | None) -> str:
    """Return how a prediction differs from the golden row; empty if it does not."""
    if model.target.measure != "label" and not is_close(model, answer, row.answer):
        return f"{answer!r}, expected {row.answer!r}"
    expected = label if label is None else model.expected_label(row, label)
    return "" if label == expected else f"the label {label!r}, expected {expected!r}"


def _survives_text(service: PredictionService, row: GoldenRow) -> bool:
    """Return whether a record stays the same when a form or a file sends it as text."""
    texts = record_texts(service.signature, row.record)
    if len(texts) < len(service.signature.features) or any("\r" in t for t in texts.values()):
        return False
    return service.signature.check_text(texts)[0] == service.signature.check(row.record)[0]


def _read_prediction(prediction: dict[str, Any]) -> Received:
    """Return the answer of a prediction, in the form of a golden row, and its label."""
    if "errors" in prediction:
        first = prediction["errors"][0]
        raise BadInput(f"a golden row is rejected: {first['field']} {first['message']}")
    label = prediction.get("label")
    for name in ("probabilities", "scores"):
        if name in prediction:
            return tuple(prediction[name].values()), label
    names = ("probability", "score", "value")
    return next((prediction[n] for n in names if n in prediction), None), label


def _send_json(service: PredictionService, rows: Sequence[GoldenRow]) -> list[Received]:
    bodies = (msgspec.json.encode(row.record) for row in rows)
    return [_read_prediction(msgspec.json.decode(service.predict_json(body)[1])) for body in bodies]


def _send_array(service: PredictionService, rows: Sequence[GoldenRow]) -> list[Received]:
    if not rows:
        return []
    body = msgspec.json.encode([row.record for row in rows])
    predictions = msgspec.json.decode(service.predict_json(body)[1])
    return [_read_prediction(prediction) for prediction in predictions]


def _send_form(service: PredictionService, rows: Sequence[GoldenRow]) -> list[Received]:
    bodies = (urlencode(record_texts(service.signature, row.record)).encode() for row in rows)
    return [_read_prediction(msgspec.json.decode(service.predict_form(body)[1])) for body in bodies]


def _send_csv(service: PredictionService, rows: Sequence[GoldenRow]) -> list[Received]:
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(service.signature.names)
    writer.writerows(record_texts(service.signature, row.record).values() for row in rows)
    output = b"".join(predict_file(io.BytesIO(file.getvalue().encode()), service)).decode()
    added = slice(-len(added_columns(service.signature)), None)
    lines = islice(csv.reader(io.StringIO(output)), 1, len(rows) + 1)
    return [_read_cells(service, cells[added]) for cells in lines]


def _read_cells(service: PredictionService, added: list[str]) -> Received:
    """Return the answer and the label in the cells that the service adds to a row."""
    if added[-1]:
        raise BadInput(f"a golden row is rejected: {added[-1]}")
    target = service.signature.target
    if target.task == "regression":
        return float(added[0]), None
    # A label that a spreadsheet would run as a formula has an apostrophe before it.
    labels = {f"'{name}": name for name in target.classes} | {name: name for name in target.classes}
    numbers = tuple(map(float, added[1:-2]))
    if target.task == "multiclass":
        # The first probability is the one of the label.
        return numbers[target.measure == "probability" :], labels.get(added[0])
    return (numbers or (None,))[0], labels.get(added[0])


def main() -> None:
    """Check the model version from the command line."""
    failure = describe_failure(lambda: check_start(Path(sys.argv[1])))
    if failure:
        sys.exit(failure)


if __name__ == "__main__":
    main()
