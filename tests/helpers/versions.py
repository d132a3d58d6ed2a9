"""Handmade manifests of small model versions, for cards and differences."""

import msgspec

from slipway.models.features import Feature, Target
from slipway.models.manifest import GoldenRow, Manifest, Training
from slipway.models.scorecard import LinearPredictor, Scorecard, SlopeTerm, StepTerm, TableTerm
from slipway.models.signature import Signature
from slipway.models.stages import SIGMOID

PLACE = Feature("place", "category", "Where", "sea", categories=("sea", "hill"), nullable=True)
AGE = Feature("age", "integer", "Age", 30, unit="years", seen=(1.0, 80.0), nullable=True)
COST = Feature("cost", "number", "Cost", 1.0, seen=(1.0, 10.0))
HIGH = Feature("high", "flag", "High", True)
TABLE = TableTerm("place", ("sea", "hill"), (0.5, -0.25), -1.0, 0.1)
STEPS = StepTerm("age", (18.0, 65.0), (0.3, -0.1, 0.75), 0.2)
SLOPE = SlopeTerm("cost", 0.5, 1.0, -0.5, 0.0)
FLAG = TableTerm("high", (False, True), (-0.2, 0.2), 0.0, 0.0)
YES_NO = Target("answer", "Whether it is so", ("no", "yes"), "yes")


def version(features, *sums, target=YES_NO, sha256="0" * 64, golden=()):
    """Return a manifest; without sums it has no scorecard."""
    link = SIGMOID if target.positive else ()
    predictors = tuple(LinearPredictor(-1.0 + i, terms, link) for i, terms in enumerate(sums))
    return Manifest(
        name="small",
        title="Is it so?",
        version=f"v-{sha256[:8]}",
        created="2026-01-02T03:04:05+00:00",
        sha256=sha256,
        estimator="LogisticRegression",
        signature=Signature(tuple(features), target),
        scorecard=Scorecard(predictors, softmax=len(sums) > 1) if sums else None,
        threshold=None,
        base_rate=None,
        evaluations={},
        golden=tuple(GoldenRow(record, answer) for record, answer in golden),
        training=Training("rows", "", "", 10, 10, 0, {}, 0.0),
        libraries={"numpy": "2.0"},
        reason="" if sums else "no rule for Forest as the estimator",
    )


ALL = version((PLACE, AGE, COST, HIGH), (TABLE, STEPS, SLOPE, FLAG))


def with_terms(*terms, manifest=ALL, sha256="1" * 64):
    """Return a manifest with other terms, as after another training."""
    (total,) = manifest.scorecard.sums
    new = {term.feature: term for term in terms}
    total = msgspec.structs.replace(
        total, terms=tuple(new.get(term.feature, term) for term in total.terms)
    )
    return msgspec.structs.replace(manifest, scorecard=Scorecard((total,)), sha256=sha256)


def run(app, *words):
    """Run a ``flask model`` command."""
    return app.test_cli_runner().invoke(args=["model", *map(str, words)])


def squeezed(text):
    """Return the lines of a text with single spaces."""
    return [" ".join(line.split()) for line in text.splitlines()]
