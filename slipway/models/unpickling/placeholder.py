"""Placeholders for parts of a pickle that predictions do not need."""

from __future__ import annotations


class Placeholder:
    """An empty object that replaces one that was not constructed."""

    __slots__ = ("name",)

    def __init__(self, name: tuple[str, str]) -> None:
        self.name = name
