"""Slipway's exceptions, each with its HTTP status and code.

SlipwayError
├── BadBody             400  not_json, not_utf8, json_too_deep, duplicate_key
├── BadInput            422  invalid_input, with an error for each invalid field
├── TooLarge            413  too_large, too_many_records
├── WrongMediaType      415  unsupported_media_type
└── ModelError          503  model_unavailable
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec


class FieldError(msgspec.Struct, frozen=True, omit_defaults=False, gc=False):
    """One fault of an input, with a message for the client."""

    field: str | None
    row: int | None
    code: str
    message: str


class InputWarning(msgspec.Struct, frozen=True, gc=False):
    """A warning about an input for which the model still returned a prediction."""

    field: str
    code: str
    message: str


class ErrorBody(msgspec.Struct, frozen=True):
    """The JSON body of every error response."""

    code: str
    message: str
    request_id: str
    errors: Sequence[FieldError] = ()


class SlipwayError(Exception):
    """Base class of Slipway's exceptions.

    Parameters
    ----------
    message : str
        What is wrong and what to do. Must not repeat the input.
    code : str, optional
        Machine-readable error code; defaults to that of the class.
    errors : sequence of FieldError
        One error for each invalid field.
    """

    status: ClassVar[int] = 500
    code: str = "internal_error"

    def __init__(
        self, message: str, *, code: str | None = None, errors: Sequence[FieldError] = ()
    ) -> None:
        super().__init__(message)
        self.message = message
        self.errors = tuple(errors)
        self.code = code or self.code


class TakesLong(Exception):
    """The request takes too long for a loop that other clients share; a thread must serve it."""


class BadBody(SlipwayError):
    """The request body cannot be decoded."""

    status = 400
    code = "not_json"


class BadInput(SlipwayError):
    """The request body is valid JSON, a form or CSV, but its values are invalid."""

    status = 422
    code = "invalid_input"


class TooLarge(SlipwayError):
    """The request body, or its number of records, exceeds the limit."""

    status = 413
    code = "too_large"


class WrongMediaType(SlipwayError):
    """The endpoint does not support the content type or content encoding."""

    status = 415
    code = "unsupported_media_type"


class ModelError(SlipwayError):
    """The model cannot be loaded, or it failed its checks."""

    status = 503
    code = "model_unavailable"


def encode_error(error: SlipwayError, request_id: str) -> bytes:
    """Return an error as a JSON response body.

    Parameters
    ----------
    error : SlipwayError
    request_id : str

    Returns
    -------
    bytes
    """
    body = ErrorBody(error.code, error.message, request_id, error.errors)
    return msgspec.json.encode(body)
