"""Objects that stand for parts of a pickle that no prediction needs."""

from __future__ import annotations


class Placeholder:
    """An empty object in the place of one that was not made; it does nothing."""

    __slots__ = ("name",)

    def __init__(self, name: tuple[str, str]) -> None:
        self.name = name
