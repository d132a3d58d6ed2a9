"""Alias journals: numbered entries, the last of which has the version of the alias."""

from __future__ import annotations

import re
from collections.abc import Sequence

from slipway.registry.errors import NotTrusted
from slipway.registry.object_store import ObjectStore
from slipway.registry.records import NAME, Move, decode, encode, validate_name
from slipway.registry.signing import Signer

_ENTRY = re.compile(rf"aliases/({NAME})/(\d{{8}})\.json", re.ASCII)


class Journal:
    """The journals of all aliases.

    Parameters
    ----------
    store : ObjectStore
    signer : Signer
    """

    def __init__(self, store: ObjectStore, signer: Signer) -> None:
        self._store = store
        self._signer = signer

    def aliases(self) -> list[str]:
        """Return the names of all aliases with a journal."""
        return sorted(self.last_numbers())

    def last_numbers(self) -> dict[str, int]:
        """Return the number of the last entry by alias."""
        self._store.begin()
        paths = (_ENTRY.fullmatch(listed.path) for listed in self._store.list("aliases"))
        last_numbers: dict[str, int] = {}
        for match in paths:
            if match:
                last_numbers[match[1]] = max(int(match[2]), last_numbers.get(match[1], 0))
        return last_numbers

    def last_entry(self, alias: str) -> Move | None:
        """Return the entry with the highest number, or None."""
        numbers = self._entry_numbers(alias)
        return self._read(alias, numbers[-1]) if numbers else None

    def entries(self, alias: str) -> list[Move]:
        """Return all entries in order.

        Raises
        ------
        NotTrusted
            An entry is missing, or does not follow from the previous one.
        """
        moves = []
        before: str | None = None
        for expected, number in enumerate(self._entry_numbers(alias), start=1):
            self._store.begin()
            moves.append(move := self._read(alias, number))
            if move.number != expected or move.before != before:
                raise NotTrusted(f"the history of {alias} was changed at entry {expected}")
            before = move.version
        return moves

    def append(self, move: Move) -> bool:
        """Write an entry; return False if its number is already used."""
        return self._store.put_if_absent(_path(move.alias, move.number), encode(move))

    def _entry_numbers(self, alias: str) -> list[int]:
        validate_name(alias, "an alias")
        paths = (_ENTRY.fullmatch(info.path) for info in self._store.list(f"aliases/{alias}"))
        return sorted(int(match[2]) for match in paths if match and match[1] == alias)

    def _read(self, alias: str, number: int) -> Move:
        path = _path(alias, number)
        move = self._signer.verify(decode(self._store.get(path), Move, path), path)
        # A signed entry is only valid for its own alias and number.
        if (move.alias, move.number) != (alias, number):
            raise NotTrusted(f"{path} has the entry of another place: {move.alias!a} {move.number}")
        return move


def _path(alias: str, number: int) -> str:
    return f"aliases/{alias}/{number:08}.json"


def rollback_stack(moves: Sequence[Move]) -> list[str]:
    """Return the versions that an alias can be rolled back to, with the current one last.

    A promotion pushes a version. A rollback removes all versions after its target, so repeated
    rollbacks always go further back.

    Parameters
    ----------
    moves : sequence of Move
        All entries of the journal.

    Returns
    -------
    list of str
    """
    stack: list[str] = []
    for move in moves:
        if move.action == "rollback" and move.version in stack:
            del stack[_last_index(stack, move.version) + 1 :]
        else:
            stack.append(move.version)
    return stack


def _last_index(stack: Sequence[str], version: str) -> int:
    return len(stack) - 1 - list(reversed(stack)).index(version)
