"""Shadow model: receives the same requests as the served model.

Its predictions are compared and counted, not returned. A request puts its records into a queue,
which takes a tenth of a microsecond. A thread scores many of them in one call, so that clients
never wait for a slow or failing candidate. Records that exceed the queue are counted and dropped.
Files are not compared.
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

# Records in the queue, and records that one call scores.
MAX_QUEUED = 20_000
BATCH_SIZE = 500
_log = logging.getLogger(__name__)


class ShadowStats(msgspec.Struct):
    """Comparison of two versions on the records that the service received.

    Attributes
    ----------
    production, candidate : str
    compared : int
        Records that both versions have answered.
    agreed : int
        Compared records with the same label; all of them for a regression.
    difference, largest_difference : float
        Sum and maximum of the absolute differences of the probabilities, or of the values.
    refused : int
        Records that the candidate rejects.
    failed : int
        Records that the candidate accepts but cannot answer.
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
        Replaced in one step, as the served model is.
    """

    def __init__(self) -> None:
        self.candidate: PredictionService | None = None
        self._queue: deque[tuple[Predictor, list[Record], list[Answer]]] = deque()
        self._waiting = self._left_out = 0
        self._lock = threading.Lock()
        self._stats: ShadowStats | None = None

    def set_candidate(self, candidate: PredictionService) -> None:
        """Compare the following predictions with this version."""
        self.candidate = candidate

    def observe(self, model: Predictor, records: list[Record], answers: list[Answer]) -> None:
        """Queue records and their predictions for the comparison."""
        if self.candidate is None:
            return
        with self._lock:
            if self._waiting + len(records) > MAX_QUEUED:
                self._left_out += len(records)
                return
            self._waiting += len(records)
        self._queue.append((model, records, answers))

    def drain_queue(self) -> None:
        """Compare all queued predictions with those of the candidate."""
        candidate = self.candidate
        while candidate is not None and self._queue:
            model, records, answers = self._next_batch()
            stats = self._stats_of(model, candidate)
            try:
                compare(stats, model, candidate.model, records, answers)
            except Exception:
                # A failing candidate must not affect the worker.
                if not stats.failed:
                    _log.exception("the candidate failed")
                stats.failed += len(records)

    def read_stats(self) -> ShadowStats | None:
        """Return a copy of the statistics; None before the first comparison."""
        if self._stats is None:
            return None
        return msgspec.structs.replace(self._stats, left_out=self._left_out)

    def _next_batch(self) -> tuple[Predictor, list[Record], list[Answer]]:
        """Join queued records of the same version, up to ``BATCH_SIZE``."""
        model, first_records, first_answers = self._queue.popleft()
        records, answers = list(first_records), list(first_answers)
        while self._queue and self._queue[0][0] is model and len(records) < BATCH_SIZE:
            _, more_records, more_answers = self._queue.popleft()
            records += more_records
            answers += more_answers
        with self._lock:
            self._waiting -= len(records)
        return model, records, answers

    def _stats_of(self, model: Predictor, candidate: PredictionService) -> ShadowStats:
        """Return the statistics of two versions; reset them for another pair."""
        pair = model.manifest.version, candidate.version
        if self._stats is None or (self._stats.production, self._stats.candidate) != pair:
            self._stats = ShadowStats(*pair)
            self._left_out = 0
        return self._stats


def compare(
    stats: ShadowStats,
    model: Predictor,
    candidate: Predictor,
    records: list[Record],
    answers: list[Answer],
) -> None:
    """Score records with a candidate, and count how its predictions differ.

    Parameters
    ----------
    stats : ShadowStats
        Updated in place.
    model, candidate : Predictor
    records : list of tuple
        Values in the order of the model's features.
    answers : list
        The model's predictions for the records.
    """
    if not is_comparable(model, candidate):
        stats.incomparable += len(records)
        return
    if model.manifest.signature.features != candidate.manifest.signature.features:
        converted = [_convert_record(model, candidate, record) for record in records]
        pairs = [(r, a) for r, a in zip(converted, answers, strict=True) if r is not None]
        stats.refused += len(records) - len(pairs)
        records, answers = [r for r, _ in pairs], [a for _, a in pairs]
    if not records:
        return
    for answer, other in zip(answers, candidate.score(records), strict=True):
        _count_pair(stats, model, candidate, answer, other)


def _count_pair(
    stats: ShadowStats, model: Predictor, candidate: Predictor, answer: Answer, other: Answer
) -> None:
    """Add one pair of predictions to the statistics."""
    distance = _distance(answer, other)
    if not math.isfinite(distance):
        stats.failed += 1
        return
    stats.compared += 1
    stats.agreed += not model.target.classes or model.label(answer) == candidate.label(other)
    stats.difference += distance
    stats.largest_difference = max(stats.largest_difference, distance)


def summarize(
    stats: Sequence[ShadowStats], production: str, candidate: str
) -> dict[str, Any] | None:
    """Add up the statistics that several processes have for two versions.

    A process without requests since a version changed still has statistics of the version before.
    These are skipped.

    Parameters
    ----------
    stats : sequence of ShadowStats
    production, candidate : str

    Returns
    -------
    dict or None
        None before the first comparison.
    """
    same = [s for s in stats if (s.production, s.candidate) == (production, candidate)]
    if not same:
        return None
    total = {
        name: sum(getattr(one, name) for one in same)
        for name in ("compared", "agreed", "refused", "failed", "incomparable", "left_out")
    }
    compared = total["compared"]
    return {
        "production": production,
        "candidate": candidate,
        **total,
        "mean_difference": sum(s.difference for s in same) / compared if compared else None,
        "largest_difference": max(s.largest_difference for s in same) if compared else None,
    }


def _convert_record(model: Predictor, candidate: Predictor, record: Record) -> Record | None:
    """Return a record in the candidate's order of features; None if the candidate rejects it."""
    named = dict(zip(model.manifest.signature.names, record, strict=True))
    checked, errors, _ = candidate.manifest.signature.check(named)
    return None if errors else checked


def _distance(answer: Answer, other: Answer) -> float:
    """Return the absolute difference of two predictions; the largest one over several classes."""
    if isinstance(answer, tuple) and isinstance(other, tuple):
        return max(abs(a - b) for a, b in zip(answer, other, strict=True))
    if isinstance(answer, tuple) or isinstance(other, tuple):
        return math.nan
    return abs(answer - other)
