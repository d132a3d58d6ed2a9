"""The live model of a process: request bytes in, answer bytes out.

Nothing here knows Flask, so that a view and any other front can share it.
"""

from __future__ import annotations

import codecs
import math
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from slipway.body import read_form, read_json, require_utf8
from slipway.config import Settings
from slipway.errors import BadBody, BadInput, FieldError, TooLarge, Warned
from slipway.model import Model, load_model
from slipway.signature import Record, fast_record

Checked = tuple[Record, list[FieldError], list[Warned]]


class Prediction(msgspec.Struct, frozen=True, gc=False):
    """The answer for one record.

    Attributes
    ----------
    label : str
    probability : float
        Of the positive class.
    threshold : float
        A probability from here on gets the positive label.
    model_version : str
    warnings : list of Warned
        Left out where there is nothing to warn of.
    log_odds, intercept, contributions
        Only when an explanation is asked for: ``log_odds`` is the intercept and all the
        contributions added up.
    """

    label: str
    probability: float
    threshold: float
    model_version: str
    warnings: list[Warned] | msgspec.UnsetType = msgspec.UNSET
    log_odds: float | msgspec.UnsetType = msgspec.UNSET
    intercept: float | msgspec.UnsetType = msgspec.UNSET
    contributions: dict[str, float] | msgspec.UnsetType = msgspec.UNSET


class Failure(msgspec.Struct, frozen=True):
    """What stands in an answer's array in place of a record that was refused."""

    errors: list[FieldError]


class Live:
    """The model that a process serves, and the checks before it.

    Parameters
    ----------
    settings : Settings

    Raises
    ------
    ModelError
        The model does not pass its checks.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.model: Model = load_model(settings.model, settings.engine)
        self.signature = self.model.manifest.signature
        record = fast_record(self.signature)
        self._decode = msgspec.json.Decoder(record).decode
        self._decode_all = msgspec.json.Decoder(list[record]).decode  # type: ignore[valid-type]
        self._split = msgspec.json.Decoder(list[msgspec.Raw]).decode
        self._n_features = len(self.signature.features)

    @property
    def not_ready(self) -> str | None:
        """Why the model should not be sent requests, or None."""
        return self.model.replay()

    def predict_json(self, body: bytes, explain: bool = False) -> tuple[int, bytes]:
        """Answer a JSON body: one record, or an array of them.

        Parameters
        ----------
        body : bytes
        explain : bool

        Returns
        -------
        status : int
            200, or 207 when some records of an array were refused.
        answer : bytes
            JSON: one prediction, or an array with one place a record.

        Raises
        ------
        BadBody, BadInput, TooLarge
        """
        body = body.removeprefix(codecs.BOM_UTF8).strip(b" \t\r\n")
        if body.startswith(b"["):
            return self._predict_array(body, explain)
        records = self._fast(body, self._decode_one)
        checked: Checked = (records[0], [], []) if records else self._check(body)
        return 200, msgspec.json.encode(self.predict(checked, explain))

    def predict_form(self, body: bytes, explain: bool = False) -> tuple[int, bytes]:
        """Answer a URL-encoded form: one record.

        Parameters
        ----------
        body : bytes
        explain : bool

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
        return 200, msgspec.json.encode(self.predict(checked, explain))

    def predict(self, checked: Checked, explain: bool = False) -> Prediction:
        """Answer one checked record.

        Raises
        ------
        BadInput
            With everything that is wrong with it.
        """
        answer = self.predict_many([checked], explain)[0]
        if isinstance(answer, Failure):
            raise BadInput("the record does not fit the model", errors=answer.errors)
        return answer

    def predict_many(
        self, checked: Sequence[Checked], explain: bool = False
    ) -> list[Prediction | Failure]:
        """Answer checked records, each in its place."""
        good = [record for record, errors, _ in checked if not errors]
        scores = iter(self.model.score(good) if good else ())
        return [
            Failure(errors) if errors else self._prediction(next(scores), record, warned, explain)
            for record, errors, warned in checked
        ]

    def _prediction(
        self, score: float, record: Record, warned: list[Warned], explain: bool
    ) -> Prediction | Failure:
        """Dress a probability as an answer."""
        if math.isnan(score):
            message = "these values together are too large for the model"
            return Failure([FieldError(None, None, "out_of_range", message)])
        model = self.model
        manifest = model.manifest
        label = model.label(score)
        if not (warned or explain):
            return Prediction(label, score, manifest.threshold, manifest.version)
        extra: dict[str, Any] = {"warnings": warned} if warned else {}
        if explain:
            intercept, contributions = model.explain(record)
            log_odds = sum(contributions.values(), start=intercept)
            extra |= {"log_odds": log_odds, "intercept": intercept}
            extra["contributions"] = contributions
        return Prediction(label, score, manifest.threshold, manifest.version, **extra)

    def _predict_array(self, body: bytes, explain: bool) -> tuple[int, bytes]:
        """Answer an array; a record that is refused does not spoil the others."""
        require_utf8(body)
        records = None if explain else self._fast(body, self._decode_all)
        if records and len(records) <= self.settings.max_records:
            answers = self._predict_plain(records)
        else:
            answers = self.predict_many(self._check_array(body), explain)
        failed = False
        for row, answer in enumerate(answers):
            if isinstance(answer, Failure):
                failed = True
                errors = [msgspec.structs.replace(error, row=row) for error in answer.errors]
                answers[row] = Failure(errors)
        return 207 if failed else 200, msgspec.json.encode(answers)

    def _predict_plain(self, records: list[Record]) -> list[Prediction | Failure]:
        """Answer records with nothing to say about them, none of them explained."""
        scores = self.model.score(records)
        if any(map(math.isnan, scores)):
            return self.predict_many([(record, [], []) for record in records])
        label, manifest = self.model.label, self.model.manifest
        threshold, version = manifest.threshold, manifest.version
        return [Prediction(label(score), score, threshold, version) for score in scores]

    def _check_array(self, body: bytes) -> list[Checked]:
        """Check the records of an array, each by itself."""
        try:
            parts: list[Any] = self._split(body)
            check = self._check_part
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            # Python's reader either says what is wrong with the body, or takes what msgspec
            # does not (half a surrogate pair), which the signature then refuses in its place.
            parts, check = read_json(body), self.signature.check  # type: ignore[assignment]
        limit = self.settings.max_records
        if len(parts) > limit:
            message = f"at most {limit} records in one array; send a file to /predict_file"
            raise TooLarge(message, code="too_many_records")
        if not parts:
            raise BadInput("the array is empty; it must hold at least one record")
        return [check(part) for part in parts]

    def _check_part(self, part: msgspec.Raw) -> Checked:
        """Check one record of an array, whose JSON is known to be well formed."""
        raw = bytes(part)
        records = self._fast(raw, self._decode_one)
        if records:
            return records[0], [], []
        try:
            return self._check(raw)
        except BadBody as error:
            return (), [FieldError(None, None, error.code, error.message)], []

    def _decode_one(self, raw: bytes) -> list[Any]:
        return [self._decode(raw)]

    def _fast(self, raw: bytes, decode: Callable[[bytes], list[Any]]) -> list[Record] | None:
        """Decode records with nothing to say about them; None sends them to the careful way."""
        try:
            structs = decode(raw)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return None
        # Each record has all features. As many colons as those means that no key came twice.
        if raw.count(b":") != self._n_features * len(structs):
            return None
        return list(map(msgspec.structs.astuple, structs))

    def _check(self, raw: bytes) -> Checked:
        return self.signature.check(read_json(raw))
