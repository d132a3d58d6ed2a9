"""List the names in a pickle without running its instructions."""

from __future__ import annotations

import pickletools
from typing import Any

_TEXTS = ("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE")
_PUTS = ("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT")
_GETS = ("GET", "BINGET", "LONG_BINGET")


def list_names(content: bytes) -> list[tuple[str, str]]:
    """Return all classes and functions that a pickle names, in order.

    The opcodes are parsed, not run. Only texts are followed, through the memo to the instruction
    that combines two of them to a name. Names that are hidden in other ways are not listed.
    """
    collector = _NameCollector()
    try:
        for opcode, argument, _ in pickletools.genops(content):
            collector.read(opcode.name, argument)
    except Exception:  # noqa: S110 - a broken pickle still has names
        pass
    return collector.names


class _NameCollector:
    """Collect names from the last texts that were pushed, and those in the memo."""

    def __init__(self) -> None:
        self.names: list[tuple[str, str]] = []
        self._texts: list[str | None] = []
        self._memo: dict[int, str | None] = {}

    def read(self, name: str, argument: Any) -> None:
        """Process one instruction."""
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
            self._collect_stack_name()
        else:
            self._texts = [*self._texts[-3:], None]

    def _collect_stack_name(self) -> None:
        module, attribute = ([None, None, *self._texts])[-2:]
        if module is not None and attribute is not None:
            self.names.append((module, attribute))
        self._texts = [*self._texts[:-2], None]
