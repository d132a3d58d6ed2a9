"""The state of the registry before a new model is pushed."""

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
MAX_REASON_LENGTH = 300


@dataclass(frozen=True)
class RegistryState:
    """The versions of the aliases and their last moves.

    Attributes
    ----------
    production, candidate : StoredVersion, optional
    candidate_move : Move, optional
        The last move of ``candidate``, whose reason has the verdict on its version.
    withdrawal : Move, optional
        The rollback that removed this model from production.
    """

    production: StoredVersion | None
    candidate: StoredVersion | None
    candidate_move: Move | None
    withdrawal: Move | None


def read_registry_state(registry: Registry, sha256: str) -> RegistryState:
    """Read the state of a registry regarding the pickle with this hash."""
    moves = registry.history(PRODUCTION)
    candidate_move = registry.alias(CANDIDATE)
    return RegistryState(
        production=registry.stored(moves[-1].version) if moves else None,
        candidate=registry.find(candidate_move.version) if candidate_move else None,
        candidate_move=candidate_move,
        withdrawal=_find_withdrawal(registry, moves, sha256),
    )


def get_pickle_sha256(stored: StoredVersion | None) -> str:
    """Return the hash of a version's pickle, or an empty text without a version."""
    files = {file.name: file.sha256 for file in stored.files} if stored else {}
    return files.get(MODEL, "")


def _find_withdrawal(registry: Registry, moves: list[Move], sha256: str) -> Move | None:
    """Return the rollback that removed a pickle from production, unless promoted again."""
    rollbacks: dict[str, Move] = {}
    for move in moves:
        if move.action == "rollback" and move.before:
            rollbacks[move.before] = move
        rollbacks.pop(move.version, None)
    for version, move in reversed(rollbacks.items()):
        if get_pickle_sha256(registry.find(version)) == sha256:
            return move
    return None


def hash_evidence(
    state: RegistryState, rules: PromotionRules, sha256: str, data_sha256: str
) -> str:
    """Hash the inputs of a verdict, so that the same comparison is not repeated.

    Parameters
    ----------
    state : RegistryState
    rules : PromotionRules
    sha256, data_sha256 : str
        Hashes of the new pickle and of the rows.

    Returns
    -------
    str
    """
    withdrawal = state.withdrawal.number if state.withdrawal else 0
    production = state.production.version if state.production else ""
    inputs = [sha256, data_sha256, production, withdrawal, asdict(rules)]
    return hashlib.sha256(msgspec.json.encode(inputs, order="sorted")).hexdigest()[:12]


def journal_entry(verdict: str, reason: str, evidence: str) -> str:
    """Format a verdict for the alias history."""
    short = reason if len(reason) <= MAX_REASON_LENGTH else f"{reason[: MAX_REASON_LENGTH - 1]}…"
    return f"{verdict}: {short}; evidence {evidence}"


def previous_verdict(state: RegistryState, sha256: str, evidence: str) -> str:
    """Return the verdict on the current candidate, if for this model and evidence."""
    if state.candidate_move is None or get_pickle_sha256(state.candidate) != sha256:
        return ""
    verdict, _, rest = state.candidate_move.why.partition(":")
    return verdict if rest.endswith(f"; evidence {evidence}") else ""
