"""Signatures: an HMAC-SHA256 with a key that is kept apart from the registry."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

import msgspec

from slipway.registry.errors import NotTrusted, RegistryError
from slipway.registry.records import Entry, encode

SETTING = "SLIPWAY_SIGNING_KEY"
_SHORTEST = 32


class Signer:
    """Signs and checks entries; without a key it does neither.

    Parameters
    ----------
    key : bytes
        Empty for none.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Signer:
        """Take the key from ``SLIPWAY_SIGNING_KEY``.

        Raises
        ------
        RegistryError
            It is so short that it could be guessed.
        """
        key = environ.get(SETTING, "").encode()
        if key and len(key) < _SHORTEST:
            make = "python -c 'import secrets; print(secrets.token_hex(32))' makes one"
            raise RegistryError(f"{SETTING} must have {_SHORTEST} characters or more; {make}")
        return cls(key)

    def sign(self, entry: Entry) -> Entry:
        """Give an entry with its signature."""
        return msgspec.structs.replace(entry, signature=self._signature(entry))

    def verify(self, entry: Entry, where: str) -> Entry:
        """Give an entry back if it was signed with this key, or if there is no key.

        Raises
        ------
        NotTrusted
        """
        if not self._key:
            return entry
        if not entry.signature:
            raise NotTrusted(f"{where} is not signed, but {SETTING} is set here")
        if not hmac.compare_digest(entry.signature.encode(), self._signature(entry).encode()):
            raise NotTrusted(f"{where} is not signed with this {SETTING}, or was changed since")
        return entry

    def _signature(self, entry: Entry) -> str:
        if not self._key:
            return ""
        unsigned = encode(msgspec.structs.replace(entry, signature=""))
        # The kind goes first, so that nothing signed as one can pass for the other.
        content = type(entry).__name__.encode() + b"\n" + unsigned
        return hmac.new(self._key, content, hashlib.sha256).hexdigest()
