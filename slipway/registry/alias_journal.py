"""The journal of an alias: numbered entries, of which the last says what the alias stands for."""

from __future__ import annotations

import re
from collections.abc import Sequence

from slipway.registry.errors import NotTrusted
from slipway.registry.object_store import Objects
from slipway.registry.records import NAME, Move, checked_name, decode, encode
from slipway.registry.signing import Signer

_ENTRY = re.compile(rf"aliases/({NAME})/(\d{{8}})\.json", re.ASCII)


class Journal:
    """The journals of all aliases.

    Parameters
    ----------
    objects : Objects
    signer : Signer
    """

    def __init__(self, objects: Objects, signer: Signer) -> None:
        self._objects = objects
        self._signer = signer

    def aliases(self) -> list[str]:
        """Name the aliases that ever stood for something."""
        return sorted(self.heads())

    def heads(self) -> dict[str, int]:
        """Give the number of the last entry of every alias."""
        self._objects.begin()
        paths = (_ENTRY.fullmatch(listed.path) for listed in self._objects.list("aliases"))
        heads: dict[str, int] = {}
        for found in paths:
            if found:
                heads[found[1]] = max(int(found[2]), heads.get(found[1], 0))
        return heads

    def last(self, alias: str) -> Move | None:
        """Give the entry with the highest number."""
        numbers = self._numbers(alias)
        return self._read(alias, numbers[-1]) if numbers else None

    def all(self, alias: str) -> list[Move]:
        """Give every entry, in order.

        Raises
        ------
        NotTrusted
            One is missing, or does not follow from the one before.
        """
        moves = []
        before: str | None = None
        for number, there in enumerate(self._numbers(alias), start=1):
            self._objects.begin()
            moves.append(move := self._read(alias, there))
            if move.number != number or move.before != before:
                raise NotTrusted(f"the history of {alias} was changed at entry {number}")
            before = move.version
        return moves

    def append(self, move: Move) -> bool:
        """Write an entry; give whether nobody else had written one of that number."""
        return self._objects.put_new(_path(move.alias, move.number), encode(move))

    def _numbers(self, alias: str) -> list[int]:
        checked_name(alias, "an alias")
        paths = (_ENTRY.fullmatch(each.path) for each in self._objects.list(f"aliases/{alias}"))
        return sorted(int(found[2]) for found in paths if found and found[1] == alias)

    def _read(self, alias: str, number: int) -> Move:
        path = _path(alias, number)
        move = self._signer.verify(decode(self._objects.get(path), Move, path), path)
        # An entry that was signed for another place is none for this one.
        if (move.alias, move.number) != (alias, number):
            raise NotTrusted(f"{path} is another entry: {move.alias!a} {move.number}")
        return move


def _path(alias: str, number: int) -> str:
    return f"aliases/{alias}/{number:08}.json"


def standing(moves: Sequence[Move]) -> list[str]:
    """Give the versions that an alias can go back to, the present one last.

    A promotion puts a version on top; a rollback takes off what is above the version that it
    goes back to. So one rollback after the other goes further back, never forth again.

    Parameters
    ----------
    moves : sequence of Move
        The whole history.

    Returns
    -------
    list of str
    """
    stack: list[str] = []
    for move in moves:
        if move.action == "rollback" and move.version in stack:
            del stack[_last(stack, move.version) + 1 :]
        else:
            stack.append(move.version)
    return stack


def _last(stack: Sequence[str], version: str) -> int:
    return len(stack) - 1 - list(reversed(stack)).index(version)
