"""``flask model diff``: the differences between two model versions."""

import math
import subprocess
import sys

import msgspec
import pytest
from conftest import ROOT
from versions import (
    AGE,
    ALL,
    COST,
    HIGH,
    PLACE,
    SLOPE,
    STEPS,
    TABLE,
    run,
    squeezed,
    version,
    with_terms,
)

from slipway.models.features import Feature, Target
from slipway.models.manifest import write_manifest
from slipway.models.scorecard import (
    CurveTerm,
    LinearPredictor,
    Scorecard,
    SlopeTerm,
    StepTerm,
    TableTerm,
)
from slipway.models.stages import Named, Pieces
from slipway.reports.model_diff import Difference, compare, difference_text

replace = msgspec.structs.replace
SQUARE = CurveTerm("cost", (Named("square"),), Pieces((), (0.0,), ((0.0, 1.0),)), 0.0)
LOG = replace(SQUARE, path=(Named("log"),))
OTHER = with_terms(
    SlopeTerm("cost", 0.1, 1.0, 0.0, 0.0),
    StepTerm("age", (30.0,), (0.0, 0.4), 0.0),
    TableTerm("place", ("sea", "lake"), (0.4, 1.0), -1.0, 0.0),
)


def test_diff_same_version_prints_no_changes(app):
    result = run(app, "diff", ROOT / "model.pkl", ROOT / "model.pkl")
    assert result.exit_code == 0
    assert squeezed(result.output)[0] == "SAME"
    assert len(result.output.splitlines()) == 3


def test_diff_other_threshold_is_different(app, manifest, tmp_path):
    write_manifest(replace(manifest, threshold=0.5), tmp_path / "model.pkl")
    arguments = ("diff", ROOT / "model.pkl", tmp_path / "model.pkl")
    lines = squeezed(run(app, *arguments).output)
    assert lines[0] == "DIFFERENT"
    difference = 0.5 - manifest.threshold
    assert f"threshold {manifest.threshold} → 0.5 ({difference:+.6g})" in lines
    decoded = msgspec.json.decode(run(app, *arguments, "--json").output, type=Difference)
    assert [(c.what, c.after) for c in decoded.about] == [("threshold", 0.5)]
    assert decoded.terms == ()


def test_diff_missing_manifest_names_file(app, tmp_path):
    result = run(app, "diff", ROOT / "model.pkl", tmp_path / "new.pkl")
    assert result.exit_code == 1
    assert f"{tmp_path}/new.pkl: cannot read new.json" in result.output


@pytest.mark.parametrize(
    ("term", "effect", "where"),
    [
        (TableTerm("place", ("sea", "hill"), (0.5, -0.5), -1.0, 0.1), 0.25, "hill"),
        (TableTerm("place", ("sea", "hill"), (0.5, -0.25), -1.0, 0.6), 0.5, "never seen"),
        (TableTerm("place", ("sea", "hill"), (0.5, -0.25), 0.0, 0.1), 1.0, "missing"),
        (TableTerm("place", ("sea",), (0.5,), -1.0, 0.1), 0.35, "hill"),
        (StepTerm("age", (18.0, 70.0), (0.3, -0.1, 0.75), 0.2), 0.85, "65 to <70"),
        (SlopeTerm("cost", 0.6, 1.0, -0.5, 0.0), 0.9, "10"),
        (SQUARE, 96.0, "10"),
        (TableTerm("high", (False, True), (-0.2, 0.5), 0.0, 0.0), 0.3, "true"),
    ],
    ids=["level", "unseen", "missing", "level gone", "edge", "slope", "curve", "flag"],
)
def test_diff_term_reports_largest_effect_and_value(term, effect, where):
    difference = compare(ALL, with_terms(term))
    (change,) = difference.terms
    assert (change.feature, change.where) == (term.feature, where)
    assert change.effect == pytest.approx(effect)
    assert change.effect == pytest.approx(abs(change.after - change.before))
    assert difference.verdict == "different"


def test_diff_sorts_by_effect_and_is_symmetric():
    one, other = compare(ALL, OTHER).terms, compare(OTHER, ALL).terms
    assert [term.feature for term in one] == ["cost", "place", "age"]
    assert [(t.feature, t.effect) for t in one] == [(t.feature, t.effect) for t in other]
    assert [(t.before, t.after) for t in one] == [(t.after, t.before) for t in other]
    assert "cost yes by 3.1 +4.00 → +0.90 at 10" in squeezed(difference_text(compare(ALL, OTHER)))


def test_diff_rounding_differences_are_equal():
    other = with_terms(SlopeTerm("cost", math.nextafter(0.5, 1), 1.0, -0.5, 0.0))
    assert compare(ALL, other).verdict == "equal"
    assert compare(ALL, replace(other, sha256=ALL.sha256)).verdict == "same"


def test_diff_intercept_is_listed_as_term():
    (total,) = ALL.scorecard.sums
    card = Scorecard((LinearPredictor(-2.0, total.terms),))
    (change,) = compare(ALL, replace(ALL, scorecard=card)).terms
    assert (change.feature, change.before, change.after) == ("intercept", -1.0, -2.0)


def test_diff_several_classes_names_class():
    target = Target("kind", "kind", ("a", "b"))
    steep = SlopeTerm("cost", 1.0, 1.0, -0.5, 0.0)
    one = version((COST,), (SLOPE,), (SLOPE,), target=target)
    other = version((COST,), (SLOPE,), (steep,), target=target, sha256="1" * 64)
    assert [term.label for term in compare(one, other).terms] == ["b"]


def test_diff_lost_scorecard_reports_reason():
    lost = version((PLACE, AGE, COST, HIGH), sha256="3" * 64)
    difference = compare(ALL, lost)
    lines = squeezed(difference_text(difference))
    assert "engine scorecard → pickle: no rule for Forest as the estimator" in lines
    assert "cannot be compared" in lines
    assert (difference.verdict, difference.terms) == ("different", None)


def test_diff_two_pickles_compares_golden_rows():
    golden = [({"cost": 1.0}, 0.25), ({"cost": 2.0}, 0.75)]
    a = version((COST,), sha256="a" * 64, golden=golden)
    b = version((COST,), sha256="b" * 64, golden=golden)
    c = version((COST,), sha256="c" * 64, golden=[({"cost": 1.0}, 0.55), golden[1]])
    assert compare(a, b).verdict == "equal"
    difference = compare(a, c)
    assert (difference.verdict, difference.golden) == ("different", 2)
    assert difference.moved == pytest.approx(0.3)


def test_diff_scorecard_predicts_golden_rows_of_other_version():
    golden = [({"cost": 1.0}, 0.5), ({"cost": -1e9}, 0.1)]
    pickle = version((COST,), sha256="a" * 64, golden=golden)
    # This version rejects the second row.
    scorecard = version((replace(COST, minimum=0.0),), (SLOPE,), sha256="b" * 64)
    difference = compare(pickle, scorecard)
    assert difference.golden == 1
    assert difference.moved == pytest.approx(0.5 - 1 / (1 + math.exp(1.5)))


def test_diff_lists_added_removed_and_changed_features():
    age = Feature("age", "number", "Age", 30, minimum=0.0, maximum=90.0)
    place = replace(PLACE, categories=("sea", "lake"), closed=True)
    new = Feature("new", "flag", "new", True)
    terms = (TABLE, STEPS, SLOPE, TableTerm("new", (False, True), (-9.0, 9.0), 0.0, 0.0))
    difference = compare(ALL, version((place, age, COST, new), terms, sha256="4" * 64))
    lines = squeezed(difference_text(difference))
    for expected in (
        "new none → flag",
        "high flag → none",
        "age integer → number",
        "age, unit years → none",
        "age, maximum none → 90",
        "age, nullable true → false",
        "place, closed false → true",
        "place, categories hill → lake",
    ):
        assert expected in lines
    sizes = {term.feature: term.effect for term in difference.terms}
    assert sizes == {"new": 9.0, "high": 0.2}
    assert (difference.terms[0].before, difference.terms[1].after) == (None, None)


def test_diff_feature_of_other_kind_is_compared():
    texts = Feature("cost", "category", "cost", "low", categories=("low",))
    other = version((texts,), (TableTerm("cost", ("low",), (0.7,), 0.0, 0.2),), sha256="5" * 64)
    one = version((COST,), (SLOPE,))
    (change,) = compare(one, other).terms
    assert (change.before, change.where) == (4.0, "10")
    assert compare(other, one).terms[0].effect == change.effect == pytest.approx(3.8)


def test_diff_undefined_curve_is_null_in_json():
    wide = replace(COST, seen=(-2.0, 2.0))
    one, other = version((wide,), (SLOPE,)), version((wide,), (LOG,), sha256="6" * 64)
    difference = compare(one, other)
    assert (difference.terms[0].where, difference.terms[0].after) == ("-2", None)
    decoded = msgspec.json.decode(msgspec.json.encode(difference), type=Difference)
    assert difference_text(decoded) == difference_text(difference)


def test_diff_other_target_omits_terms_and_golden_rows():
    other = version((COST,), (SLOPE,), target=Target("price", "price"), sha256="7" * 64)
    difference = compare(version((COST,), (SLOPE,), golden=[({"cost": 1.0}, 0.2)]), other)
    assert (difference.verdict, difference.terms, difference.golden) == ("different", None, 0)


def test_diff_lists_metrics_libraries_and_data(manifest):
    holdout = manifest.evaluations["holdout"]
    ours = holdout.scores["model"]
    scores = replace(ours, roc_auc=ours.roc_auc + 0.02, brier=ours.brier + 0.001)
    holdout = replace(holdout, scores=holdout.scores | {"model": scores})
    other = replace(
        manifest,
        sha256="8" * 64,
        evaluations=manifest.evaluations | {"holdout": holdout},
        libraries=manifest.libraries | {"numpy": "9.0"},
        training=replace(manifest.training, rows_fit=5),
    )
    difference = compare(manifest, other)
    assert [change.what for change in difference.metrics] == ["holdout, roc_auc", "holdout, brier"]
    assert [change.what for change in difference.made_from] == ["rows_fit", "numpy"]
    assert difference.verdict == "equal"
    lines = squeezed(difference_text(difference))
    assert f"holdout, roc_auc {ours.roc_auc:.6g} → {scores.roc_auc:.6g} (+0.02)" in lines
    assert f"numpy {manifest.libraries['numpy']} → 9.0" in lines


def test_card_and_diff_import_no_flask_and_no_training_library():
    code = "import sys, slipway.reports.model_card, slipway.reports.model_diff; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = set(result.stdout.split())
    assert "slipway.reports.model_diff" in loaded
    assert not loaded & {"flask", "click", "numpy", "sklearn", "pandas", "polars"}
