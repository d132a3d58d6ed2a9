"""Predictions of one model version: request bytes in, response bytes out.

This module does not import Flask, so that any front end can use it. A ``PredictionService`` never
changes. Each version has its own ``PredictionService``; a request uses one throughout.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol

import msgspec

from slipway.core.errors import BadBody, BadInput, FieldError, InputWarning, TakesLong, TooLarge
from slipway.core.settings import Settings
from slipway.models.features import Answer, Record
from slipway.models.pipeline_engine import PipelineScorer
from slipway.models.predictor import Predictor
from slipway.serving.json_size import MAX_VALUES, require_places, require_values
from slipway.serving.loading import load_model
from slipway.serving.predictions import (
    NO_ANSWER,
    Failure,
    Prediction,
    encode_array,
    explain_record,
    prediction_builder,
)
from slipway.serving.record_decoder import fast_record
from slipway.serving.request_body import read_form, read_json, require_utf8

# A worker's loop checks no longer record than this, and scores no more of them at once.
SOON_BYTES, SOON_RECORDS = 4096, 100

Checked = tuple[Record, list[FieldError], list[InputWarning]]
Interval = Callable[[Record], tuple[float, float]]


class Observer(Protocol):
    """Receives the predictions of a service; it must return at once and never raise."""

    def observe(self, model: Predictor, records: list[Record], answers: list[Answer]) -> None:
        """Receive the predictions for some records."""


class PredictionService:
    """Validates requests and predicts with one model version.

    Parameters
    ----------
    settings : Settings
    path : Path, optional
        The pickle; defaults to the one of the settings.

    Attributes
    ----------
    observers : tuple of Observer
        Each is called with every prediction.

    Raises
    ------
    ModelError
        The model fails its checks.
    """

    def __init__(self, settings: Settings, path: Path | None = None) -> None:
        self.settings = settings
        self.path = path or settings.model
        self.observers: tuple[Observer, ...] = ()
        self.model: Predictor = load_model(
            self.path, settings.engine, allow_version_skew=settings.allow_version_skew
        )
        self.signature = self.model.manifest.signature
        self._build_prediction = prediction_builder(self.model)
        record = fast_record(self.signature)
        self._decode = msgspec.json.Decoder(record).decode
        self._decode_all = msgspec.json.Decoder(list[record]).decode  # type: ignore[valid-type]
        self._split = msgspec.json.Decoder(list[msgspec.Raw]).decode
        self._n_features = len(self.signature.features)

    @property
    def version(self) -> str:
        """The served version."""
        return self.model.manifest.version

    @property
    def not_ready(self) -> str | None:
        """Why the model should not receive requests; None if it is ready."""
        return self.model.replay()

    def warm_up(self) -> None:
        """Predict the golden rows, so that the first request is as fast as the others.

        Raises
        ------
        SlipwayError
            The service rejects a golden row.
        """
        examples = {feature.name: feature.example for feature in self.signature.features}
        for record in [row.record for row in self.model.manifest.golden] or [examples]:
            self.predict_json(msgspec.json.encode(record))

    @cached_property
    def _interval(self) -> Callable[[float, Record], tuple[float, float]]:
        """The function from a level and a record to an interval; loads the covariance."""
        # Services without interval requests save the time and the memory.
        from slipway.models.artifacts import covariance_path
        from slipway.models.intervals import Uncertainty

        covariance, scorecard = self.model.manifest.covariance, self.model.manifest.scorecard
        if covariance is None or scorecard is None:
            message = "this model has no intervals, since it has no covariance"
            raise BadInput(message, code="no_interval")
        uncertainty = Uncertainty.read(covariance_path(self.path), covariance.sha256)
        score = scorecard.sums[0].compile_score()
        return lambda level, record: uncertainty.interval(record, score(record), level)

    def predict_json(
        self, body: bytes, explain: bool = False, level: float | None = None, *, soon: bool = False
    ) -> tuple[int, bytes]:
        """Predict a JSON body: one record, or an array of records.

        Parameters
        ----------
        body : bytes
        explain : bool
        level : float, optional
            The level of an interval for each probability.
        soon : bool
            Whether to raise ``TakesLong`` in place of work that takes over a millisecond.

        Returns
        -------
        status : int
            200, or 207 if some records of an array were rejected.
        answer : bytes
            JSON: one prediction, or an array with one entry per record.

        Raises
        ------
        BadBody, BadInput, TooLarge, TakesLong
        """
        body = body.removeprefix(codecs.BOM_UTF8).strip(b" \t\r\n")
        if body.startswith(b"["):
            return self._predict_array(body, explain, level, soon)
        records = self._fast(body, self._decode_one)
        if records and not explain and level is None:
            prediction = self._build_prediction(self._score(records)[0])
            if prediction is not None:
                return 200, msgspec.json.encode(prediction)
        if soon and len(body) > SOON_BYTES:
            raise TakesLong
        checked: Checked = (records[0], [], []) if records else self._check(body)
        return 200, msgspec.json.encode(self.predict(checked, explain, level))

    def predict_form(
        self, body: bytes, explain: bool = False, level: float | None = None
    ) -> tuple[int, bytes]:
        """Predict a URL-encoded form: one record.

        Parameters
        ----------
        body : bytes
        explain : bool
        level : float, optional

        Returns
        -------
        status : int
        answer : bytes
            JSON, as for the same record in JSON.

        Raises
        ------
        BadBody, BadInput
        """
        checked = self.signature.check_text(read_form(body))
        return 200, msgspec.json.encode(self.predict(checked, explain, level))

    def predict(
        self, checked: Checked, explain: bool = False, level: float | None = None
    ) -> Prediction:
        """Predict one checked record.

        Raises
        ------
        BadInput
            With all errors of the record.
        """
        answer = self.predict_many([checked], explain, level)[0]
        if isinstance(answer, Failure):
            errors = answer.errors
            if errors == [NO_ANSWER]:
                errors = [self._no_answer(checked[0])]
            raise BadInput("the record does not fit the model", errors=errors)
        return answer

    def predict_many(
        self, checked: Sequence[Checked], explain: bool = False, level: float | None = None
    ) -> list[Prediction | Failure]:
        """Return the prediction or the errors of each checked record, in order."""
        interval = None if level is None else partial(self._interval, level)
        good = [record for record, errors, _ in checked if not errors]
        scores = iter(self._score(good) if good else ())
        return [
            Failure(errors)
            if errors
            else self._prediction(next(scores), record, warned, explain, interval)
            for record, errors, warned in checked
        ]

    def _score(self, records: list[Record]) -> list[Answer]:
        answers = self.model.score(records)
        for observer in self.observers:
            observer.observe(self.model, records, answers)
        return answers

    def _prediction(
        self,
        answer: Answer,
        record: Record,
        warned: list[InputWarning],
        explain: bool,
        interval: Interval | None,
    ) -> Prediction | Failure:
        """Build a prediction, with its warnings, explanation and interval."""
        prediction = self._build_prediction(answer)
        explanation = explain_record(self.model, record) if explain else {}
        if prediction is None or explanation is None:
            return Failure([NO_ANSWER])
        extra = {"warnings": warned} | explanation if warned else explanation
        if interval:
            extra["interval"] = interval(record)
        return msgspec.structs.replace(prediction, **extra) if extra else prediction

    def _no_answer(self, record: Record) -> FieldError:
        """Return the error for a record without a prediction, with the pipeline's reason."""
        score = self.model.score
        reason = score.failure_reason(record) if isinstance(score, PipelineScorer) else ""
        if not reason:
            return NO_ANSWER
        return msgspec.structs.replace(NO_ANSWER, message=f"the pipeline raises: {reason}")

    def _predict_array(
        self, body: bytes, explain: bool, level: float | None, soon: bool
    ) -> tuple[int, bytes]:
        """Predict an array; rejected records do not affect the others."""
        limit, n_braces = self.settings.max_records, body.count(b"{")
        if soon and n_braces > SOON_RECORDS:
            raise TakesLong
        require_utf8(body)
        plain = not explain and level is None and n_braces <= limit
        records = self._fast(body, self._decode_all) if plain else None
        if records and len(records) <= limit:
            answers = [
                Failure([NO_ANSWER]) if prediction is None else prediction
                for prediction in map(self._build_prediction, self._score(records))
            ]
        elif soon:
            raise TakesLong
        else:
            answers = self.predict_many(self._check_array(body), explain, level)
        return encode_array(answers)

    def _check_array(self, body: bytes) -> list[Checked]:
        """Check each record of an array separately."""
        limit = self.settings.max_records
        n_values = MAX_VALUES + limit * (self._n_features + 10)
        require_places(body, limit, n_values)
        try:
            parts: list[Any] = self._split(body)
            check = self._check_part
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            # Python's reader either raises a detailed error or accepts a body that msgspec does
            # not (half a surrogate pair), whose record the signature then rejects.
            require_values(body, n_values)
            parts, check = read_json(body), self.signature.check  # type: ignore[assignment]
        if not parts:
            raise BadInput("the array is empty; it must hold at least one record")
        return [check(part) for part in parts]

    def _check_part(self, part: msgspec.Raw) -> Checked:
        """Check one record of an array of well-formed JSON."""
        raw = bytes(part)
        records = self._fast(raw, self._decode_one)
        if records:
            return records[0], [], []
        try:
            return self._check(raw)
        except (BadBody, TooLarge) as error:
            return (), [FieldError(None, None, error.code, error.message)], []

    def _decode_one(self, raw: bytes) -> list[Any]:
        return [self._decode(raw)]

    def _fast(self, raw: bytes, decode: Callable[[bytes], list[Any]]) -> list[Record] | None:
        """Decode ordinary records; return None for records that need ``Signature.check``."""
        try:
            structs = decode(raw)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return None
        # Each record has all features, so that as many colons exclude duplicate keys.
        if raw.count(b":") != self._n_features * len(structs):
            return None
        return list(map(msgspec.structs.astuple, structs))

    def _check(self, raw: bytes) -> Checked:
        require_values(raw, MAX_VALUES + 4 * self._n_features)
        return self.signature.check(read_json(raw))
