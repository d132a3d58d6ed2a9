"""What the registry holds before a new model is put beside it."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass

import msgspec

from slipway.data.problem import PromotionRules
from slipway.registry import Move, Registry, StoredVersion
from slipway.registry.records import MODEL
from slipway.registry.registry import PRODUCTION

CANDIDATE = "candidate"
REJECTED, ACCEPTED = "kept", "passed"
_REASON = 300


@dataclass(frozen=True)
class RegistryState:
    """What the aliases stand for.

    Attributes
    ----------
    production, candidate : StoredVersion, optional
    last : Move, optional
        The last move of ``candidate``, which holds how its version was judged.
    withdrawn : Move, optional
        The rollback by which somebody took this very model out of production.
    """

    production: StoredVersion | None
    candidate: StoredVersion | None
    last: Move | None
    withdrawn: Move | None


def read_registry_state(registry: Registry, sha256: str) -> RegistryState:
    """Find what a registry holds, and what it knows of the pickle with this hash."""
    moves = registry.history(PRODUCTION)
    last = registry.alias(CANDIDATE)
    return RegistryState(
        production=registry.stored(moves[-1].version) if moves else None,
        candidate=registry.find(last.version) if last else None,
        last=last,
        withdrawn=_withdrawn(registry, moves, sha256),
    )


def pickle_sha256(stored: StoredVersion | None) -> str:
    """Give the hash of a version's pickle; empty without a version."""
    files = {file.name: file.sha256 for file in stored.files} if stored else {}
    return files.get(MODEL, "")


def _withdrawn(registry: Registry, moves: list[Move], sha256: str) -> Move | None:
    """Give the rollback that took a pickle out of production, unless it was promoted again."""
    out: dict[str, Move] = {}
    for move in moves:
        if move.action == "rollback" and move.before:
            out[move.before] = move
        out.pop(move.version, None)
    for version, move in reversed(out.items()):
        if pickle_sha256(registry.find(version)) == sha256:
            return move
    return None


def evidence_id(
    aliases: RegistryState, rules: PromotionRules, sha256: str, data_sha256: str
) -> str:
    """Hash all that a verdict depends on, so that it need not be found twice.

    Parameters
    ----------
    aliases : RegistryState
    rules : PromotionRules
    sha256, data_sha256 : str
        Of the new pickle, and of the rows.

    Returns
    -------
    str
    """
    withdrawn = aliases.withdrawn.number if aliases.withdrawn else 0
    production = aliases.production.version if aliases.production else ""
    told = [sha256, data_sha256, production, withdrawn, asdict(rules)]
    return hashlib.sha256(msgspec.json.encode(told, order="sorted")).hexdigest()[:12]


def journal_entry(verdict: str, reason: str, evidence: str) -> str:
    """Write a verdict for the journal, in short."""
    short = reason if len(reason) <= _REASON else f"{reason[: _REASON - 1]}…"
    return f"{verdict}: {short}; evidence {evidence}"


def previous_verdict(aliases: RegistryState, sha256: str, evidence: str) -> str:
    """Give how the present candidate was judged, if it is this model on this evidence."""
    if aliases.last is None or pickle_sha256(aliases.candidate) != sha256:
        return ""
    verdict, _, rest = aliases.last.why.partition(":")
    return verdict if rest.endswith(f"; evidence {evidence}") else ""
