"""List the names that a pickle asks for, without running any of its instructions."""

from __future__ import annotations

import pickletools
from typing import Any

_TEXTS = ("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE")
_PUTS = ("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT")
_GETS = ("GET", "BINGET", "LONG_BINGET")


def list_names(content: bytes) -> list[tuple[str, str]]:
    """Return every class and function that a pickle names, in its order.

    The opcodes are read, not run: only texts are followed, through the memo to the instruction
    that takes two of them for a name. A pickle that hides its names otherwise lists fewer.
    """
    reader = _Reader()
    try:
        for opcode, argument, _ in pickletools.genops(content):
            reader.read(opcode.name, argument)
    except Exception:  # noqa: S110 - what a broken pickle has named so far is enough
        pass
    return reader.names


class _Reader:
    """The last texts that were pushed, and those in the memo."""

    def __init__(self) -> None:
        self.names: list[tuple[str, str]] = []
        self._texts: list[str | None] = []
        self._memo: dict[int, str | None] = {}

    def read(self, name: str, argument: Any) -> None:
        """Follow one instruction."""
        if name in _TEXTS:
            self._texts = [*self._texts[-3:], argument]
        elif name in _PUTS:
            key = len(self._memo) if argument is None else int(argument)
            self._memo[key] = self._texts[-1] if self._texts else None
        elif name in _GETS:
            self._texts = [*self._texts[-3:], self._memo.get(int(argument))]
        elif name == "GLOBAL":
            module, _, attribute = argument.partition(" ")
            self.names.append((module, attribute))
            self._texts = [*self._texts[-3:], None]
        elif name == "STACK_GLOBAL":
            self._name_of_stack()
        else:
            self._texts = [*self._texts[-3:], None]

    def _name_of_stack(self) -> None:
        module, attribute = ([None, None, *self._texts])[-2:]
        if module is not None and attribute is not None:
            self.names.append((module, attribute))
        self._texts = [*self._texts[:-2], None]
