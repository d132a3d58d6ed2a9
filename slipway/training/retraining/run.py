"""Run ``slipway retrain``: read the rows, train, compare, promote."""

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
from slipway.training.retraining.champion import Champion, load_champion
from slipway.training.retraining.decision import decide_outcome
from slipway.training.retraining.holdout import predict_holdout
from slipway.training.retraining.non_inferiority import NEW, compare_models
from slipway.training.retraining.registry_state import (
    ACCEPTED,
    CANDIDATE,
    REJECTED,
    RegistryState,
    get_pickle_sha256,
    hash_evidence,
    journal_entry,
    previous_verdict,
    read_registry_state,
)
from slipway.training.train import TrainingOptions, train

WORK = "retrain"
Progress = Callable[[str], None]


@dataclass(frozen=True)
class RetrainingOptions:
    """The options of a run; see ``slipway retrain``.

    Attributes
    ----------
    rows : Path
        The folder of rows. Its ``retrain/`` has the lock, the new model and the verdict.
    registry : Registry
    who : str
        The name recorded in the alias history.
    training : TrainingOptions
        The options of the training.
    source, since : str, optional
        As for ``run_etl``.
    dry_run : bool
        Do not push the model or move an alias.
    allow_version_skew : bool
        The setting of the service.
    """

    rows: Path
    registry: Registry
    who: str
    training: TrainingOptions
    source: str | None = None
    since: str | None = None
    dry_run: bool = False
    allow_version_skew: bool = False


def retrain(
    problem: Problem, options: RetrainingOptions, progress: Progress = lambda stage: None
) -> Promotion:
    """Read the rows, train, compare the model with production, and promote it if not worse.

    An alias moves atomically, and only from the version that it had during the comparison.

    Parameters
    ----------
    problem : Problem
    options : RetrainingOptions
    progress : callable
        Called with each stage before it begins.

    Returns
    -------
    Promotion

    Raises
    ------
    SlipwayError
        The run failed before a decision; production is unchanged.
    """
    work = options.rows / WORK
    try:
        with lock_folder(work):
            # A reader must not mistake the last run's verdict for this one's.
            (work / FILE).unlink(missing_ok=True)
            # Fail early, not after hours of work, if the registry cannot be reached.
            options.registry.alias(PRODUCTION)
            run_etl(problem, options.source, options.rows, since=options.since, progress=progress)
            promotion = _train_and_compare(problem, options, _recreate(work / "scratch"), progress)
            write_promotion(promotion, work)
            return promotion
    except OSError as error:
        where, why = error.filename or work, error.strerror or error
        raise SlipwayError(f"the run was aborted at {where}: {why}") from error


def _recreate(folder: Path) -> Path:
    """Recreate a folder without the files of an earlier run."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def _train_and_compare(
    problem: Problem, options: RetrainingOptions, scratch: Path, progress: Progress
) -> Promotion:
    """Train a model, and compare it with production unless an earlier run did."""
    dataset = open_dataset(options.rows)
    path = scratch / "model.pkl"
    manifest = train(problem, dataset, path, options.training, progress)
    state = read_registry_state(options.registry, manifest.sha256)
    promotion = _begin_promotion(problem, options, manifest, state)
    if get_pickle_sha256(state.production) == manifest.sha256:
        return msgspec.structs.replace(promotion, reason="identical to the version in production")
    move = state.candidate_move
    if move and previous_verdict(state, manifest.sha256, promotion.evidence_id) == REJECTED:
        reason = f"{CANDIDATE} is the same model with the same evidence: {move.why}"
        return msgspec.structs.replace(promotion, reason=reason)
    progress("predicting the held out rows with the new model and production")
    evidence, previous = _compare_with_production(problem, options, dataset, path, state)
    outcome, reason = decide_outcome(evidence, state)
    promotion = msgspec.structs.replace(
        promotion, evidence=evidence, outcome=outcome, reason=reason
    )
    write_report(manifest, path, previous, promotion)
    if options.dry_run:
        return promotion
    return _push_candidate(options, promotion, path, state, progress)


def _begin_promotion(
    problem: Problem, options: RetrainingOptions, manifest: Manifest, state: RegistryState
) -> Promotion:
    """Start the record of a run, without an outcome."""
    data = manifest.training.data_sha256
    return Promotion(
        outcome="nothing new",
        reason="",
        dry_run=options.dry_run,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        version=manifest.version,
        sha256=manifest.sha256,
        production=state.production.version if state.production else None,
        data_sha256=data,
        rules=asdict(problem.promotion),
        evidence_id=hash_evidence(state, problem.promotion, manifest.sha256, data),
    )


def _compare_with_production(
    problem: Problem, options: RetrainingOptions, dataset: Dataset, path: Path, state: RegistryState
) -> tuple[Evidence, Manifest | None]:
    """Compare the new model with production; return the evidence and production's manifest."""
    new, champion = load_predictor(path, "scorecard"), Champion()
    if state.production:
        copy = options.registry.fetch(state.production.version, path.parent / PRODUCTION)
        skew = options.allow_version_skew
        champion = load_champion(problem, dataset, new.manifest, copy, allow_version_skew=skew)
    models = {NEW: new} | ({PRODUCTION: champion.model} if champion.model else {})
    holdout = predict_holdout(problem, dataset, models)
    base_rate = new.manifest.base_rate or 0.0
    evidence = compare_models(problem, holdout, base_rate, champion.checks, champion.notes)
    return evidence, champion.manifest


def _push_candidate(
    options: RetrainingOptions,
    promotion: Promotion,
    path: Path,
    state: RegistryState,
    progress: Progress,
) -> Promotion:
    """Push the new model as the candidate, and promote it if it passed."""
    registry, passed = options.registry, promotion.outcome == "promoted"
    why = journal_entry(ACCEPTED if passed else REJECTED, promotion.reason, promotion.evidence_id)
    move = state.candidate_move
    if move and previous_verdict(state, promotion.sha256, promotion.evidence_id) == ACCEPTED:
        # An earlier run was killed after its push, so the version exists.
        promotion = msgspec.structs.replace(promotion, version=move.version)
    else:
        progress(f"pushing {promotion.version}")
        registry.push(path, who=options.who)
    before = move.version if move else None
    registry.move(CANDIDATE, promotion.version, who=options.who, why=why, expected=before)
    return _promote(options, promotion, why, progress) if passed else promotion


def _promote(
    options: RetrainingOptions, promotion: Promotion, why: str, progress: Progress
) -> Promotion:
    """Promote the new model, unless production has moved since the comparison."""
    registry, skew, before = options.registry, options.allow_version_skew, promotion.production
    progress("checking the version from the registry as a service does")
    check_version(registry, promotion.version, pickle=True, allow_version_skew=skew)
    try:
        registry.move(PRODUCTION, promotion.version, who=options.who, why=why, expected=before)
    except Conflict as error:
        reason = f"production moved during the run; run again: {error.message}"
        return msgspec.structs.replace(promotion, outcome="kept", reason=reason)
    return promotion
