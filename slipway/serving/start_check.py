"""Load a model version as a service does, and ask its golden rows in every way that clients use.

``python -m slipway.serving.start_check model.pkl`` ends with 0, or with one line on standard error.
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

# Arrays hold at most as many.
_MOST = 1_000
# For all golden rows in all ways; and bytes of what went wrong.
SECONDS = 120
_MOST_TOLD = 60_000
Given = tuple[Any, str | None]


def check_start(path: Path) -> None:
    """Load a model version and answer its golden rows by JSON, array, form and CSV.

    Raises
    ------
    SlipwayError
        It does not load, or a golden row is answered wrongly.
    """
    if hasattr(os, "fork"):
        os.environ[BEFORE_FORK] = "1"
    live = PredictionService(Settings.from_environ(Path.cwd()), path)
    if hasattr(os, "fork"):
        _in_worker(lambda: answer_golden_rows(live))
    else:
        answer_golden_rows(live)


def _in_worker(answer: Callable[[], None]) -> None:
    """Do something in a fork of this process, as Gunicorn makes its workers.

    Raises
    ------
    ModelError
        It fails there, or is not done in time.
    """
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.environ.pop(BEFORE_FORK, None)
        fault = told_by(answer)
        os.write(write, fault.encode()[:_MOST_TOLD])
        os._exit(0)
    os.close(write)
    ready, _, _ = select.select([read], [], [], SECONDS)
    if not ready:
        os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    with os.fdopen(read, "rb") as pipe:
        fault = pipe.read().decode("utf-8", "replace")
    if not ready:
        why = "a step may use threads that do not outlive a fork"
        raise ModelError(f"a worker did not answer its golden rows in {SECONDS} s: {why}")
    if fault:
        raise ModelError(fault)


def told_by(check: Callable[[], None]) -> str:
    """Do something, and return what is wrong in one line."""
    try:
        check()
    except SlipwayError as error:
        errors = getattr(error, "errors", [])
        details = "; ".join(f"{each.field}: {each.message}" for each in errors)
        return " ".join(f"{error.message} {details}".split())
    except Exception as error:  # what goes wrong here would go wrong in a service
        return " ".join(f"{type(error).__name__}: {error}".split())
    return ""


def answer_golden_rows(live: PredictionService) -> None:
    """Answer the golden rows of a model by JSON, array, form and CSV.

    Raises
    ------
    SlipwayError
        One is answered wrongly.
    """
    wrong = live.model.replay()
    if wrong:
        raise ModelError(wrong)
    rows = live.model.manifest.golden[:_MOST]
    # A form and a file cannot tell every gap from an empty text.
    spelled = [row for row in rows if _reads_back(live, row)]
    fits_form = len(live.signature.names) <= MAX_FORM_FIELDS
    asked = {"a form": spelled if fits_form else [], "CSV": spelled}
    ways: dict[str, Callable[[PredictionService, Sequence[GoldenRow]], list[Given]]] = {
        "JSON": _by_json,
        "an array": _by_array,
        "a form": _by_form,
        "CSV": _by_csv,
    }
    for name, way in ways.items():
        some = asked.get(name, rows)
        for row, given in zip(some, way(live, some), strict=True):
            wrong = _difference(live.model, row, *given)
            if wrong:
                number = live.model.manifest.golden.index(row) + 1
                raise ModelError(f"golden row {number}, sent by {name}, gives {wrong}")


def _difference(model: Predictor, row: GoldenRow, answer: Any, label: str | None) -> str:
    """Say how an answer differs from that of a golden row; empty where it does not."""
    if model.target.measure != "label" and not is_close(model, answer, row.answer):
        return f"{answer!r} where {row.answer!r} is due"
    due = label if label is None else model.expected_label(row, label)
    return "" if label == due else f"the label {label!r} where {due!r} is due"


def _reads_back(live: PredictionService, row: GoldenRow) -> bool:
    """Whether the texts of a form or a file stand for the same record."""
    texts = record_texts(live.signature, row.record)
    if len(texts) < len(live.signature.features) or any("\r" in t for t in texts.values()):
        return False
    return live.signature.check_text(texts)[0] == live.signature.check(row.record)[0]


def _answer_of(prediction: dict[str, Any]) -> Given:
    """Return the answer in a prediction, as golden rows keep it, and its label."""
    if "errors" in prediction:
        first = prediction["errors"][0]
        raise BadInput(f"a golden row is rejected: {first['field']} {first['message']}")
    label = prediction.get("label")
    for name in ("probabilities", "scores"):
        if name in prediction:
            return tuple(prediction[name].values()), label
    names = ("probability", "score", "value")
    return next((prediction[n] for n in names if n in prediction), None), label


def _by_json(live: PredictionService, rows: Sequence[GoldenRow]) -> list[Given]:
    bodies = (msgspec.json.encode(row.record) for row in rows)
    return [_answer_of(msgspec.json.decode(live.predict_json(body)[1])) for body in bodies]


def _by_array(live: PredictionService, rows: Sequence[GoldenRow]) -> list[Given]:
    if not rows:
        return []
    body = msgspec.json.encode([row.record for row in rows])
    return [_answer_of(each) for each in msgspec.json.decode(live.predict_json(body)[1])]


def _by_form(live: PredictionService, rows: Sequence[GoldenRow]) -> list[Given]:
    bodies = (urlencode(record_texts(live.signature, row.record)).encode() for row in rows)
    return [_answer_of(msgspec.json.decode(live.predict_form(body)[1])) for body in bodies]


def _by_csv(live: PredictionService, rows: Sequence[GoldenRow]) -> list[Given]:
    made = io.StringIO(newline="")
    writer = csv.writer(made)
    writer.writerow(live.signature.names)
    writer.writerows(record_texts(live.signature, row.record).values() for row in rows)
    answered = b"".join(predict_file(io.BytesIO(made.getvalue().encode()), live)).decode()
    added = slice(-len(added_columns(live.signature)), None)
    lines = islice(csv.reader(io.StringIO(answered)), 1, len(rows) + 1)
    return [_answer_in(live, cells[added]) for cells in lines]


def _answer_in(live: PredictionService, added: list[str]) -> Given:
    """Return the answer in the cells that an answered file adds to a row, and its label."""
    if added[-1]:
        raise BadInput(f"a golden row is rejected: {added[-1]}")
    target = live.signature.target
    if target.task == "regression":
        return float(added[0]), None
    # An apostrophe stands before a label that a spreadsheet would run.
    named = {f"'{name}": name for name in target.classes} | {name: name for name in target.classes}
    numbers = tuple(map(float, added[1:-2]))
    if target.task == "multiclass":
        # The first probability is that of the label.
        return numbers[target.measure == "probability" :], named.get(added[0])
    return (numbers or (None,))[0], named.get(added[0])


def main() -> None:
    """Check the model version that the command line names."""
    fault = told_by(lambda: check_start(Path(sys.argv[1])))
    if fault:
        sys.exit(fault)


if __name__ == "__main__":
    main()
