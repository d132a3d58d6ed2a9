"""The exceptions of Slipway, each with its HTTP status and code.

SlipwayError
├── BadBody             400  not_json, not_utf8, json_too_deep, duplicate_key
├── BadInput            422  invalid_input, and the fields that are wrong
├── TooLarge            413  too_large, too_many_records
├── WrongMediaType      415  unsupported_media_type
└── ModelError          503  model_unavailable
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec


class FieldError(msgspec.Struct, frozen=True, omit_defaults=False):
    """One thing that is wrong with an input, in words its sender can act on."""

    field: str | None
    row: int | None
    code: str
    message: str


class InputWarning(msgspec.Struct, frozen=True):
    """Something unusual about an input that was answered all the same."""

    field: str
    code: str
    message: str


class ErrorBody(msgspec.Struct, frozen=True):
    """The one JSON shape of every error."""

    code: str
    message: str
    request_id: str
    errors: Sequence[FieldError] = ()


class SlipwayError(Exception):
    """The root of Slipway's exceptions.

    Parameters
    ----------
    message : str
        What went wrong and what to do, without any of the input in it.
    code : str, optional
        The word a program can switch on; each class has its own.
    errors : sequence of FieldError
        The fields that are wrong, all of them.
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


class BadBody(SlipwayError):
    """The body cannot be read at all."""

    status = 400
    code = "not_json"


class BadInput(SlipwayError):
    """The body was read, but its values are not what the model takes."""

    status = 422
    code = "invalid_input"


class TooLarge(SlipwayError):
    """The body, or the number of records in it, is over the limit."""

    status = 413
    code = "too_large"


class WrongMediaType(SlipwayError):
    """The content type or the content encoding is not one that this address takes."""

    status = 415
    code = "unsupported_media_type"


class ModelError(SlipwayError):
    """There is no model that could answer, or the model failed its checks."""

    status = 503
    code = "model_unavailable"


def encode_error(error: SlipwayError, request_id: str) -> bytes:
    """Render an error as the JSON that is sent.

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
