"""A candidate that is asked whatever the served model answers, and whose answers nobody gets.

An answer is put in a queue, which takes a tenth of a microsecond, and a thread asks the candidate
for many at once. So its callers wait neither for a candidate that is slow nor for one that fails.
What does not fit into the queue is counted and left out. Files are not compared.
"""

from __future__ import annotations

import logging
import math
import threading
from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec

from slipway.models.compatibility import is_comparable
from slipway.models.features import Answer, Record
from slipway.models.predictor import Predictor
from slipway.serving.service import PredictionService

# Records that wait at most, and those that are scored in one call.
LIMIT = 20_000
AT_ONCE = 500
_log = logging.getLogger(__name__)


class ShadowStats(msgspec.Struct):
    """How two versions compare, by what was sent to the service.

    Attributes
    ----------
    production, candidate : str
    compared : int
        Records that both have answered.
    agreed : int
        Of those, the ones with the same label; all of them for a regression.
    difference, largest_difference : float
        Of the probabilities, or of the values: the sum, and the largest.
    refused : int
        Records that the candidate does not take.
    failed : int
        Records that it takes but has no answer to.
    incomparable : int
        Records of a version with other features or another target.
    left_out : int
        Records that did not fit into the queue.
    """

    production: str
    candidate: str
    compared: int = 0
    agreed: int = 0
    difference: float = 0.0
    largest_difference: float = 0.0
    refused: int = 0
    failed: int = 0
    incomparable: int = 0
    left_out: int = 0


class ShadowModel:
    """The candidate of a process.

    Attributes
    ----------
    candidate : PredictionService or None
        Exchanged in one step, as the served model is.
    """

    def __init__(self) -> None:
        self.candidate: PredictionService | None = None
        self._queue: deque[tuple[Predictor, list[Record], list[Answer]]] = deque()
        self._waiting = self._left_out = 0
        self._lock = threading.Lock()
        self._tally: ShadowStats | None = None

    def take(self, candidate: PredictionService) -> None:
        """Compare with this version from now on."""
        self.candidate = candidate

    def observe(self, model: Predictor, records: list[Record], answers: list[Answer]) -> None:
        """Note what was answered; anything else is done later."""
        if self.candidate is None:
            return
        with self._lock:
            if self._waiting + len(records) > LIMIT:
                self._left_out += len(records)
                return
            self._waiting += len(records)
        self._queue.append((model, records, answers))

    def turn(self) -> None:
        """Compare what was answered since the last turn."""
        candidate = self.candidate
        while candidate is not None and self._queue:
            model, records, answers = self._next()
            tally = self._tally_of(model, candidate)
            try:
                compare(tally, model, candidate.model, records, answers)
            except Exception:
                # Whatever a candidate does, it is its own fault, and nobody else's.
                if not tally.failed:
                    _log.exception("the candidate failed")
                tally.failed += len(records)

    def read(self) -> ShadowStats | None:
        """Give a copy of the tally."""
        if self._tally is None:
            return None
        return msgspec.structs.replace(self._tally, left_out=self._left_out)

    def _next(self) -> tuple[Predictor, list[Record], list[Answer]]:
        """Join what waits for the same version, up to a limit."""
        model, first, its_answers = self._queue.popleft()
        records, answers = list(first), list(its_answers)
        while self._queue and self._queue[0][0] is model and len(records) < AT_ONCE:
            _, more, more_answers = self._queue.popleft()
            records += more
            answers += more_answers
        with self._lock:
            self._waiting -= len(records)
        return model, records, answers

    def _tally_of(self, model: Predictor, candidate: PredictionService) -> ShadowStats:
        """Give the tally of two versions; another pair begins another."""
        pair = model.manifest.version, candidate.version
        if self._tally is None or (self._tally.production, self._tally.candidate) != pair:
            self._tally = ShadowStats(*pair)
            self._left_out = 0
        return self._tally


def compare(
    tally: ShadowStats,
    model: Predictor,
    candidate: Predictor,
    records: list[Record],
    answers: list[Answer],
) -> None:
    """Ask a candidate for some records, and count how its answers compare.

    Parameters
    ----------
    tally : ShadowStats
        It is added to.
    model, candidate : Predictor
    records : list of tuple
        In the order of the model's features.
    answers : list
        What the model has answered.
    """
    if not is_comparable(model, candidate):
        tally.incomparable += len(records)
        return
    if model.manifest.signature.features != candidate.manifest.signature.features:
        kept = [_taken(model, candidate, record) for record in records]
        pairs = [(r, a) for r, a in zip(kept, answers, strict=True) if r is not None]
        tally.refused += len(records) - len(pairs)
        records, answers = [r for r, _ in pairs], [a for _, a in pairs]
    if not records:
        return
    for answer, other in zip(answers, candidate.score(records), strict=True):
        distance = _distance(answer, other)
        if math.isfinite(distance):
            tally.compared += 1
            tally.agreed += not model.target.classes or (
                model.label(answer) == candidate.label(other)
            )
            tally.difference += distance
            tally.largest_difference = max(tally.largest_difference, distance)
        else:
            tally.failed += 1


def summary(
    tallies: Sequence[ShadowStats], production: str, candidate: str
) -> dict[str, Any] | None:
    """Add up what several processes have counted for two versions.

    A process that was asked nothing since a version changed still tells of the one before.

    Parameters
    ----------
    tallies : sequence of ShadowStats
    production, candidate : str

    Returns
    -------
    dict or None
        None where nothing was compared yet.
    """
    same = [t for t in tallies if (t.production, t.candidate) == (production, candidate)]
    if not same:
        return None
    total = {
        name: sum(getattr(tally, name) for tally in same)
        for name in ("compared", "agreed", "refused", "failed", "incomparable", "left_out")
    }
    compared = total["compared"]
    return {
        "production": production,
        "candidate": candidate,
        **total,
        "mean_difference": sum(t.difference for t in same) / compared if compared else None,
        "largest_difference": max(t.largest_difference for t in same) if compared else None,
    }


def _taken(model: Predictor, candidate: Predictor, record: Record) -> Record | None:
    """Give a record as the candidate takes it; None if it does not."""
    named = dict(zip(model.manifest.signature.names, record, strict=True))
    checked, errors, _ = candidate.manifest.signature.check(named)
    return None if errors else checked


def _distance(answer: Answer, other: Answer) -> float:
    """Give how far two answers are apart: of probabilities of several classes, the furthest."""
    if isinstance(answer, tuple) and isinstance(other, tuple):
        return max(abs(a - b) for a, b in zip(answer, other, strict=True))
    if isinstance(answer, tuple) or isinstance(other, tuple):
        return math.nan
    return abs(answer - other)
