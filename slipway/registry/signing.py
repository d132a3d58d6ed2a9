"""HMAC-SHA256 signatures with a key that is not in the registry."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

import msgspec

from slipway.registry.errors import NotTrusted, RegistryError
from slipway.registry.records import Entry, encode

SETTING = "SLIPWAY_SIGNING_KEY"
_MIN_KEY_LENGTH = 32


class Signer:
    """Signer and verifier of entries; it does nothing without a key.

    Parameters
    ----------
    key : bytes
        Empty for no key.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Signer:
        """Read the key from ``SLIPWAY_SIGNING_KEY``.

        Raises
        ------
        RegistryError
            The key is too short.
        """
        key = environ.get(SETTING, "").encode()
        if key and len(key) < _MIN_KEY_LENGTH:
            fix = "create one by python -c 'import secrets; print(secrets.token_hex(32))'"
            raise RegistryError(f"{SETTING} must have at least {_MIN_KEY_LENGTH} characters; {fix}")
        return cls(key)

    def sign(self, entry: Entry) -> Entry:
        """Return an entry with its signature."""
        return msgspec.structs.replace(entry, signature=self._signature(entry))

    def verify(self, entry: Entry, where: str) -> Entry:
        """Return an entry if it is signed with this key, or if no key is set.

        Raises
        ------
        NotTrusted
            The signature is missing or wrong.
        """
        if not self._key:
            return entry
        if not entry.signature:
            raise NotTrusted(f"{where} is not signed, but {SETTING} is set here")
        if not hmac.compare_digest(entry.signature.encode(), self._signature(entry).encode()):
            raise NotTrusted(f"{where} is not signed with this {SETTING}, or was changed")
        return entry

    def _signature(self, entry: Entry) -> str:
        if not self._key:
            return ""
        unsigned = encode(msgspec.structs.replace(entry, signature=""))
        # The kind of entry is part of the content: one kind cannot replace the other.
        content = type(entry).__name__.encode() + b"\n" + unsigned
        return hmac.new(self._key, content, hashlib.sha256).hexdigest()
