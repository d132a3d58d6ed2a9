"""``flask retrain``: promoted, kept, repeated, concurrent and killed runs."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from conftest import IMPORTS, ROOT
from registries import objects_of
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from small_problem import PROBLEM, QUERY, parcels, write_tables

from slipway.cli import add_commands
from slipway.core.errors import SlipwayError
from slipway.core.settings import Settings
from slipway.data.problem import Problem, PromotionRules
from slipway.models.manifest import read_manifest
from slipway.registry import Registry, open_registry
from slipway.training.retraining.holdout import Holdout
from slipway.training.retraining.non_inferiority import compare_models
from slipway.training.retraining.run import RetrainingOptions, retrain
from slipway.training.train import TrainingOptions
from slipway.web import create_app

pytest_plugins = ["registry_servers"]

# With few held out rows, the calibration error is not more accurate than this.
RULES = PromotionRules(calibration_margin=0.05, resamples=300)
SMALL = dataclasses.replace(PROBLEM, promotion=RULES)


def stops_alone():
    columns = make_column_transformer((StandardScaler(), ["stops"]))
    return make_pipeline(columns, LogisticRegression())


# A pipeline without the weight: worse, but better than the base rate.
WORSE = dataclasses.replace(SMALL, pipeline=stops_alone)


@dataclass
class Shop:
    """Folders and registry in which the small problem is retrained."""

    folder: Path
    address: str
    problem: Problem = SMALL
    stages: list[str] = field(default_factory=list)

    @property
    def registry(self) -> Registry:
        return open_registry(self.address, {})

    @property
    def verdict(self) -> Path:
        return self.folder / "rows" / "retrain" / "promotion.json"

    def source(self, n_rows=4_000):
        rows = sorted(parcels(n_rows), key=lambda row: (row[1], row[0]))
        return str(write_tables(self.folder / "source", rows))

    def retrain(self, problem=None, n_rows=4_000, on_stage=None, **how):
        """Run once, and record the stages."""
        self.stages.clear()

        def progress(stage):
            self.stages.append(stage)
            if on_stage:
                on_stage(stage)

        order = RetrainingOptions(
            **{"rows": self.folder / "rows", "registry": self.registry, "who": "a test"},
            **{"training": TrainingOptions(), "source": self.source(n_rows)} | how,
        )
        return retrain(problem or self.problem, order, progress)

    def aliases(self):
        return self.registry.aliases()

    def versions(self):
        return {stored.version for stored in self.registry.versions()}


@pytest.fixture
def anywhere(tmp_path, address):
    """A shop with a registry in a folder or in a bucket."""
    return Shop(tmp_path, address)


@pytest.fixture
def shop(tmp_path):
    return Shop(tmp_path, str(tmp_path / "registry"))


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    """The shop and the promotion after a first run."""
    folder = tmp_path_factory.mktemp("once")
    built = Shop(folder, str(folder / "registry"))
    return built, built.retrain()


@pytest.fixture
def begun(shop, once):
    """A shop with a first model in production, and its promotion."""
    shutil.copytree(once[0].folder, shop.folder, dirs_exist_ok=True)
    return shop, once[1]


def failed(promotion):
    return [check.rule for check in promotion.evidence.checks if not check.passed]


def test_retrain_first_model_is_promoted_then_unchanged_then_improved(anywhere):
    first = anywhere.retrain()
    assert (first.outcome, first.status, first.production) == ("promoted", 0, None)
    assert first.reason.startswith(
        "production was empty, and the model is better than the base rate"
    )
    assert anywhere.aliases() == {"candidate": first.version, "production": first.version}
    before = objects_of(anywhere.address)
    report = before[f"versions/{first.version}/report.html"].decode()
    assert '<h2 id="promotion">Promotion</h2>' in report
    assert f"The version can be promoted: {first.reason}." in report
    (move,) = anywhere.registry.history("production")
    assert (move.who, move.why[:8]) == ("a test", "passed: ")
    assert json.loads(anywhere.verdict.read_text())["version"] == first.version

    again = anywhere.retrain()
    assert (again.outcome, again.status) == ("nothing new", 0)
    assert again.reason == "identical to the version in production"
    assert objects_of(anywhere.address) == before

    more = anywhere.retrain(n_rows=5_000)
    assert (more.outcome, more.production) == ("promoted", first.version), more.reason
    assert anywhere.aliases() == {"candidate": more.version, "production": more.version}
    new, there = more.evidence.scores["new"], more.evidence.scores["production"]
    compared = more.evidence.compared["production"]
    assert compared.log_loss.value == pytest.approx(new.log_loss - there.log_loss)
    assert compared.log_loss.value < compared.log_loss.high < RULES.log_loss_margin
    copy = anywhere.registry.fetch(more.version, anywhere.folder / "copies")
    evaluated = read_manifest(copy).evaluations["holdout"].scores["model"]
    assert new.log_loss == pytest.approx(evaluated.log_loss)
    assert new.calibration_error == pytest.approx(evaluated.calibration_error)


def test_retrain_worse_model_stays_candidate_until_promoted_by_hand(anywhere):
    first = anywhere.retrain()
    worse = anywhere.retrain(WORSE)
    assert (worse.outcome, worse.status) == ("kept", 3)
    assert failed(worse) == ["log loss vs production"]
    assert "(required: below 0.002)" in worse.reason
    assert anywhere.aliases() == {"candidate": worse.version, "production": first.version}
    report = objects_of(anywhere.address)[f"versions/{worse.version}/report.html"].decode()
    assert f"The version stays a candidate: {worse.reason}." in report
    assert anywhere.registry.alias("candidate").why.startswith("kept: log loss vs production")

    again = anywhere.retrain(WORSE)
    assert (again.outcome, again.status) == ("nothing new", 0)
    assert again.reason.startswith("candidate is the same model with the same evidence")
    assert anywhere.versions() == {first.version, worse.version}

    anywhere.registry.move("production", worse.version, who="ada", why="I know better")
    assert anywhere.retrain(WORSE).reason == "identical to the version in production"
    better = anywhere.retrain()
    assert (better.outcome, better.production) == ("promoted", worse.version), better.reason
    assert better.evidence.compared["production"].log_loss.high < 0


def test_retrain_other_thresholds_compare_the_same_model_again(begun):
    shop, _ = begun
    kept = shop.retrain(WORSE)
    wide = dataclasses.replace(RULES, log_loss_margin=1.0, calibration_margin=1.0)
    run_result = shop.retrain(dataclasses.replace(WORSE, promotion=wide))
    assert (kept.outcome, run_result.outcome) == ("kept", "promoted")
    assert run_result.rules["log_loss_margin"] == 1.0
    assert shop.aliases()["production"] == run_result.version


@pytest.mark.parametrize(
    ("rules", "rule"),
    [
        ({}, None),
        ({"min_rows": 20_001}, "held out rows"),
        ({"min_groups": 1_001}, "groups by day"),
        ({"log_loss_margin": -1.0}, "log loss vs production"),
        ({"calibration_margin": -1.0}, "calibration error vs production"),
        # The new model is better, but by less than the width of the interval.
        ({"log_loss_margin": 0.0}, "log loss vs production"),
        ({"log_loss_margin": 0.0, "level": 0.5}, None),
    ],
)
def test_compare_models_each_threshold_alone_fails_a_model(rules, rule):
    draw = np.random.default_rng(5)
    p = draw.uniform(0.05, 0.95, 20_000)
    y = (draw.random(20_000) < p).astype(float)
    answers = {"new": p, "production": np.clip(p + draw.normal(0.0, 0.005, 20_000), 0.0, 1.0)}
    problem = dataclasses.replace(SMALL, promotion=dataclasses.replace(PromotionRules(), **rules))
    evidence = compare_models(problem, Holdout(y, np.arange(20_000) // 20, answers), 0.5)
    assert evidence.passed is (rule is None)
    assert [check.rule for check in evidence.checks if not check.passed] == [rule] * bool(rule)


def test_compare_models_missing_prediction_fails_the_model():
    p = np.linspace(0.1, 0.9, 4_000)
    y = (np.random.default_rng(5).random(4_000) < p).astype(float)
    for model in ("new", "production"):
        answers = {"new": p, "production": p.copy()} | {model: np.where(p > 0.899, np.nan, p)}
        evidence = compare_models(SMALL, Holdout(y, np.arange(4_000), answers), 0.5)
        assert f"without prediction, {model}" in [c.rule for c in evidence.checks if not c.passed]
        assert model not in evidence.scores


def test_retrain_first_model_not_better_than_the_base_rate_stays_candidate(shop):
    rows = [[*row[:5], row[0] % 2] for row in parcels(2_000)]
    source = write_tables(shop.folder / "luck", sorted(rows, key=lambda row: (row[1], row[0])))
    run_result = shop.retrain(source=str(source))
    assert (run_result.status, failed(run_result)) == (3, ["log loss vs base rate"])
    assert shop.aliases() == {"candidate": run_result.version}


def test_dry_run_reports_the_outcome_and_changes_nothing(shop):
    run_result = shop.retrain(dry_run=True)
    assert (run_result.outcome, run_result.dry_run) == ("promoted", True)
    assert objects_of(shop.address) == {}
    assert json.loads(shop.verdict.read_text())["dry_run"] is True


def test_dry_run_worse_model_exits_with_3_and_changes_nothing(begun):
    shop, first = begun
    before = objects_of(shop.address)
    run_result = shop.retrain(WORSE, dry_run=True)
    assert (run_result.outcome, run_result.status, run_result.production) == (
        "kept",
        3,
        first.version,
    )
    assert objects_of(shop.address) == before


def test_retrain_concurrent_promotion_wins_and_the_next_run_compares_with_it(anywhere):
    anywhere.retrain()
    worse = anywhere.retrain(WORSE)

    def promote_another(stage):
        if stage.startswith("checking the version"):
            open_registry(anywhere.address, {}).move("production", worse.version, who="ada")

    run_result = anywhere.retrain(n_rows=5_000, on_stage=promote_another)
    assert (run_result.outcome, run_result.status) == ("kept", 3)
    assert run_result.reason.startswith("production moved during the run; run again")
    assert anywhere.aliases() == {"candidate": run_result.version, "production": worse.version}
    last = anywhere.retrain(n_rows=5_000)
    assert (last.outcome, last.production) == ("promoted", worse.version)


def test_retrain_rolled_back_model_is_not_promoted_again(begun):
    shop, first = begun
    second = shop.retrain(n_rows=5_000)
    shop.registry.rollback(who="ada", why="callers complained")
    run_result = shop.retrain(n_rows=5_000)
    assert (run_result.outcome, run_result.status) == ("kept", 3)
    assert run_result.reason.startswith(
        "ada removed this model from production: callers complained"
    )
    assert shop.retrain(n_rows=5_000).outcome == "nothing new"
    assert shop.aliases()["production"] == first.version
    assert shop.retrain(n_rows=5_500).outcome == "promoted"
    assert second.version in shop.versions()


def test_retrain_production_with_removed_features_stays_with_the_reason(begun):
    shop, first = begun
    features = tuple(f for f in SMALL.features if f.name != "weight")
    query = QUERY.replace("    p.weight,\n", "")
    other = dataclasses.replace(WORSE, features=features, query=query)
    run_result = shop.retrain(other)
    assert (run_result.outcome, run_result.status) == ("kept", 3)
    assert failed(run_result) == ["production can predict these rows", "clients need no change"]
    assert "the rows no longer have its features weight" in run_result.reason
    assert set(run_result.evidence.scores) == {"new", "base rate"}
    assert shop.aliases() == {"candidate": run_result.version, "production": first.version}


def test_retrain_production_from_another_query_is_compared_with_a_note(begun):
    shop, _ = begun
    run_result = shop.retrain(dataclasses.replace(SMALL, query=QUERY + "\n"), n_rows=5_000)
    assert run_result.outcome == "promoted"
    (note,) = run_result.evidence.notes
    assert note.startswith("production may have been fitted on some of these rows")


def test_retrain_error_keeps_production_and_removes_the_earlier_verdict(begun):
    shop, first = begun
    assert shop.verdict.exists()
    with pytest.raises(SlipwayError, match="no such file or folder"):
        shop.retrain(source=str(shop.folder / "nowhere"))
    assert not shop.verdict.exists()
    assert shop.aliases()["production"] == first.version


def test_retrain_unwritable_folder_raises_one_line(shop):
    shop.folder.joinpath("rows").write_text("a file is in the way")
    with pytest.raises(SlipwayError, match=r"aborted at .*rows/retrain"):
        shop.retrain()


# A separate process that prints its stages. It can be killed at the start of a stage, or before or
# after the move of an alias.
PROCESS = """
import os, signal, sys
from pathlib import Path
from slipway.registry import Registry
from slipway.training.retraining.run import RetrainingOptions, retrain
from slipway.training.train import TrainingOptions
from test_retrain import SMALL
from slipway.registry import open_registry

rows, registry, source, when = sys.argv[1:]

def at(moment):
    print(moment, flush=True)
    if when and moment.startswith(when):
        os.kill(os.getpid(), signal.SIGKILL)
    if when == "wait" and moment.startswith("evaluating"):
        sys.stdin.read()

move = Registry.move
def stopping_move(self, alias, *words, **how):
    at(f"before {alias}")
    move(self, alias, *words, **how)
    at(f"after {alias}")

Registry.move = stopping_move
opened = open_registry(registry, {})
options = RetrainingOptions(Path(rows), opened, "a process", TrainingOptions(), source)
print(retrain(SMALL, options, at).outcome)
"""


def process(shop, when=""):
    words = (shop.folder / "rows", shop.address, shop.source(), when)
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", PROCESS, *map(str, words)],
        env=os.environ | {"PYTHONPATH": f"{IMPORTS}{os.pathsep}{Path(__file__).parent}"},
        **{"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True},
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("when", "versions"),
    [
        ("fitting", 1),
        ("before candidate", 2),
        ("after candidate", 1),
        ("after production", 1),
    ],
)
def test_retrain_killed_run_is_completed_by_the_next(shop, when, versions):
    with process(shop, when) as killed:
        output, _ = killed.communicate(timeout=300)
    assert killed.returncode == -signal.SIGKILL
    assert output.splitlines()[-1].startswith(when)
    run_result = shop.retrain()
    assert run_result.status == 0
    aliases = shop.aliases()
    assert aliases["candidate"] == aliases["production"]
    # A version without an alias remains until `flask model prune`.
    assert len(shop.versions()) == versions
    assert len(shop.registry.history("production")) == 1


@pytest.mark.slow
def test_retrain_concurrent_run_is_rejected_and_the_first_completes(shop):
    with process(shop, "wait") as first:
        for line in first.stdout:
            if line.startswith("evaluating"):
                break
        with pytest.raises(SlipwayError, match=rf"another run .*\(process {first.pid}\)"):
            shop.retrain()
        assert objects_of(shop.address) == {}
        output, _ = first.communicate("", timeout=300)
    assert (first.returncode, output.splitlines()[-1]) == (0, "promoted")
    assert shop.retrain().outcome == "nothing new"


@pytest.fixture
def flask_retrain(tmp_path, monkeypatch):
    """Run the command for a problem with the given rules."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("SLIPWAY_REGISTRY", str(tmp_path / "registry"))
    monkeypatch.setenv("SLIPWAY_SOURCE", "")

    def typed(name, rules, *words):
        module = tmp_path / f"{name}.py"
        module.write_text(
            "import dataclasses, small_problem\n"
            "from slipway.data.problem import PromotionRules\n"
            f"rules = PromotionRules({rules})\n"
            "PROBLEM = dataclasses.replace(small_problem.PROBLEM, promotion=rules)\n"
        )
        app = add_commands(create_app(ROOT, Settings(model=ROOT / "model.pkl", problem=name)))
        words = ("retrain", "--rows", tmp_path / "rows", *words)
        return app.test_cli_runner().invoke(args=[*map(str, words)])

    return typed


def test_retrain_command_exits_with_0_promoted_3_kept_1_failed(flask_retrain, tmp_path):
    done = flask_retrain("strict", "min_rows=100_000", "--dry-run")
    assert done.exit_code == 3, done.output
    assert "would stay candidate: held out rows: 413 (required: 100,000 or more)" in done.output
    done = flask_retrain("fair", "", "--who", "ada")
    assert done.exit_code == 0, done.output
    assert "On 413 held out rows, 242 groups by day" in done.output
    assert "promoted: production was empty" in " ".join(done.output.split())
    done = flask_retrain("fair", "", "--source", tmp_path / "nowhere")
    assert (done.exit_code, done.output.count("Error: ")) == (1, 1)
    assert "Traceback" not in done.output
    done = flask_retrain("fair", "")
    assert done.exit_code == 0
    assert "nothing new: identical to the version in production" in done.output
    (move,) = open_registry(str(tmp_path / "registry"), {}).history("production")
    assert move.who == "ada"
