"""From a source to production, or not: ``flask retrain``."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from slipway.core.errors import SlipwayError
from slipway.core.locking import lock_folder
from slipway.data.dataset import Dataset, open_dataset
from slipway.data.etl.run import run_etl
from slipway.data.problem import Problem
from slipway.models.manifest import Manifest
from slipway.models.predictor import load_predictor
from slipway.models.promotion_record import FILE, Evidence, Promotion, write_promotion
from slipway.registry import Conflict, Registry
from slipway.registry.registry import PRODUCTION
from slipway.registry.version_check import check_version
from slipway.reports.html import write_report
from slipway.training.retraining import non_inferiority as judge
from slipway.training.retraining import registry_state as aliases
from slipway.training.retraining.champion import Champion, load_champion
from slipway.training.retraining.holdout import predict_holdout
from slipway.training.retraining.registry_state import ACCEPTED, CANDIDATE, REJECTED, RegistryState
from slipway.training.retraining.summary import verdict
from slipway.training.train import TrainingOptions, train

WORK = "retrain"
Progress = Callable[[str], None]


@dataclass(frozen=True)
class RetrainingOptions:
    """What is wanted of a run; see the options of ``flask retrain``.

    Attributes
    ----------
    rows : Path
        The folder of rows; its ``retrain/`` holds the lock, the new model and the verdict.
    registry : Registry
    who : str
        For the journal.
    plan : TrainingOptions
        Of the training.
    source, since : str, optional
        As for ``run_etl``.
    dry_run : bool
        Whether nothing is to be pushed or moved.
    allow_version_skew : bool
        As for the service.
    """

    rows: Path
    registry: Registry
    who: str
    plan: TrainingOptions
    source: str | None = None
    since: str | None = None
    dry_run: bool = False
    allow_version_skew: bool = False


def retrain(
    problem: Problem, order: RetrainingOptions, progress: Progress = lambda stage: None
) -> Promotion:
    """Read the rows, train, hold the model against the one in production, and let it take over.

    Whatever happens, an alias moves in one step or not at all, and only from what it stood for
    when the models were compared.

    Parameters
    ----------
    problem : Problem
    order : RetrainingOptions
    progress : callable
        Told each stage before it begins.

    Returns
    -------
    Promotion

    Raises
    ------
    SlipwayError
        It could not be decided; production is what it was.
    """
    work = order.rows / WORK
    try:
        with lock_folder(work):
            # Whoever reads the verdict afterwards must not take the last run's for this one's.
            (work / FILE).unlink(missing_ok=True)
            # A registry that cannot be reached is told of before hours of work.
            order.registry.alias(PRODUCTION)
            run_etl(problem, order.source, order.rows, since=order.since, progress=progress)
            promotion = _retrained(problem, order, _emptied(work / "scratch"), progress)
            write_promotion(promotion, work)
            return promotion
    except OSError as error:
        where, why = error.filename or work, error.strerror or error
        raise SlipwayError(f"the run was broken off, at {where}: {why}") from error


def _emptied(folder: Path) -> Path:
    """Make a folder anew, without what an earlier run has left."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def _retrained(
    problem: Problem, order: RetrainingOptions, scratch: Path, progress: Progress
) -> Promotion:
    """Train, and judge unless that was done before."""
    stored = open_dataset(order.rows)
    path = scratch / "model.pkl"
    manifest = train(problem, stored, path, order.plan, progress)
    now = aliases.read_registry_state(order.registry, manifest.sha256)
    told = _begun(problem, order, manifest, now)
    if aliases.pickle_sha256(now.production) == manifest.sha256:
        return msgspec.structs.replace(told, reason="it is the very model that is in production")
    if aliases.previous_verdict(now, manifest.sha256, told.evidence_id) == REJECTED and now.last:
        reason = f"{CANDIDATE} is this very model, judged on this very evidence: {now.last.why}"
        return msgspec.structs.replace(told, reason=reason)
    progress("asking the new model and the one in production about the rows held out")
    evidence, previous = _compared(problem, order, stored, path, now)
    outcome, reason = verdict(evidence, now)
    told = msgspec.structs.replace(told, evidence=evidence, outcome=outcome, reason=reason)
    write_report(manifest, path, previous, told)
    return told if order.dry_run else _carried_out(order, told, path, now, progress)


def _begun(
    problem: Problem, order: RetrainingOptions, manifest: Manifest, now: RegistryState
) -> Promotion:
    """Begin to tell of a run, with nothing decided."""
    data = manifest.training.data_sha256
    return Promotion(
        outcome="nothing new",
        reason="",
        dry_run=order.dry_run,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        version=manifest.version,
        sha256=manifest.sha256,
        production=now.production.version if now.production else None,
        data_sha256=data,
        rules=asdict(problem.promotion),
        evidence_id=aliases.evidence_id(now, problem.promotion, manifest.sha256, data),
    )


def _compared(
    problem: Problem, order: RetrainingOptions, stored: Dataset, path: Path, now: RegistryState
) -> tuple[Evidence, Manifest | None]:
    """Judge the new model; give the manifest of the one in production too."""
    new, rival = load_predictor(path, "scorecard"), Champion()
    if now.production:
        copy = order.registry.fetch(now.production.version, path.parent / PRODUCTION)
        skew = order.allow_version_skew
        rival = load_champion(problem, stored, new.manifest, copy, allow_version_skew=skew)
    models = {judge.NEW: new} | ({judge.PRODUCTION: rival.model} if rival.model else {})
    holdout = predict_holdout(problem, stored, models)
    base_rate = new.manifest.base_rate or 0.0
    evidence = judge.compare_models(problem, holdout, base_rate, rival.checks, rival.notes)
    return evidence, rival.manifest


def _carried_out(
    order: RetrainingOptions, told: Promotion, path: Path, now: RegistryState, progress: Progress
) -> Promotion:
    """Push the new model as the candidate, and promote it if it passed."""
    registry, passed = order.registry, told.outcome == "promoted"
    why = aliases.journal_entry(ACCEPTED if passed else REJECTED, told.reason, told.evidence_id)
    if now.last and aliases.previous_verdict(now, told.sha256, told.evidence_id) == ACCEPTED:
        # A run was killed after its push; the version is there.
        told = msgspec.structs.replace(told, version=now.last.version)
    else:
        progress(f"pushing {told.version}")
        registry.push(path, who=order.who)
    before = now.last.version if now.last else None
    registry.move(CANDIDATE, told.version, who=order.who, why=why, expected=before)
    return _promoted(order, told, why, progress) if passed else told


def _promoted(order: RetrainingOptions, told: Promotion, why: str, progress: Progress) -> Promotion:
    """Let the new model take over, unless production was moved since it was looked at."""
    registry, skew, before = order.registry, order.allow_version_skew, told.production
    progress("trying it as a service would, from the registry")
    check_version(registry, told.version, pickle=True, allow_version_skew=skew)
    try:
        registry.move(PRODUCTION, told.version, who=order.who, why=why, expected=before)
    except Conflict as error:
        reason = f"somebody else moved production meanwhile, run again: {error.message}"
        return msgspec.structs.replace(told, outcome="kept", reason=reason)
    return told
