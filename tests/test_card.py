"""``flask model show`` and ``flask model diff``: cards of model versions, and their differences."""

import json
import math
import subprocess
import sys

import msgspec
import pytest
from conftest import ROOT

from slipway.card import Card, brief, card_text, describe_card, points_like
from slipway.curve import SIGMOID, Named, Pieces
from slipway.difference import Difference, compare, difference_text
from slipway.manifest import GoldenRow, Manifest, Training, write_manifest
from slipway.scorecard import Bent, Mixed, Scorecard, Slope, Steps, Sum, Table
from slipway.signature import Feature, Signature, Target

PLACE = Feature("place", "category", "Where", "sea", categories=("sea", "hill"), nullable=True)
AGE = Feature("age", "integer", "Age", 30, unit="years", seen=(1.0, 80.0), nullable=True)
COST = Feature("cost", "number", "cost", 1.0, seen=(1.0, 10.0))
HIGH = Feature("high", "flag", "high", True)
TABLE = Table("place", ("sea", "hill"), (0.5, -0.25), -1.0, 0.1)
STEPS = Steps("age", (18.0, 19.0, 65.0), (0.3, 0.0, -0.1, 0.75), 0.2)
SLOPE = Slope("cost", 0.5, 1.0, -0.5, 0.0)
LOG = Bent("cost", (Named("log"),), Pieces((), (0.0,), ((0.0, 1.0),)), 0.0)
MIXED = Mixed(
    "cost", (LOG, Bent("cost", (), Pieces((5.0,), (0.0, 0.0), ((0.0,), (1.0,))), 0.0)), 0.0
)
FLAG = Table("high", (False, True), (-0.2, 0.2), 0.0, 0.0)
YES_NO = Target("answer", "Whether it is so", ("no", "yes"), "yes")


def version(features, *sums, target=YES_NO, sha256="0" * 64, golden=(), **changed):
    """Make a manifest by hand."""
    link = SIGMOID if target.positive else ()
    scorecard = Scorecard(
        tuple(Sum(-1.0 + i, terms, link) for i, terms in enumerate(sums)), softmax=len(sums) > 1
    )
    made = Manifest(
        name="small",
        title="Is it so?",
        version=f"v-{sha256[:8]}",
        created="2026-01-02T03:04:05+00:00",
        sha256=sha256,
        estimator="LogisticRegression",
        signature=Signature(tuple(features), target),
        scorecard=scorecard if sums else None,
        threshold=None,
        base_rate=None,
        evaluations={},
        golden=tuple(GoldenRow(record, answer) for record, answer in golden),
        training=Training("rows", "", "", 10, 10, 0, {}, 0.0),
        libraries={"numpy": "2.0"},
        reason="" if sums else "no rule for Forest as the estimator",
    )
    return msgspec.structs.replace(made, **changed)


ALL = version((PLACE, AGE, COST, HIGH), (TABLE, STEPS, SLOPE, FLAG))


def with_term(term, i, manifest=ALL, sha256="1" * 64):
    """Exchange a term, as another training would."""
    terms = list(manifest.scorecard.sums[0].terms)
    terms[i] = term
    card = Scorecard((msgspec.structs.replace(manifest.scorecard.sums[0], terms=tuple(terms)),))
    return msgspec.structs.replace(manifest, scorecard=card, sha256=sha256)


def text_of(manifest):
    return card_text(describe_card(manifest))


def lines_of(text, word):
    return [line.strip() for line in text.splitlines() if word in line]


def term_of(manifest, feature):
    return next(t for t in describe_card(manifest).terms if t.feature == feature)


def run(app, *words):
    return app.test_cli_runner().invoke(args=["model", *map(str, words)])


# The card


def test_show_shipped_model_tells_what_matters_in_100_columns(app, manifest):
    done = run(app, "show")
    assert done.exit_code == 0
    assert max(map(len, done.output.splitlines())) <= 100
    assert "\x1b" not in done.output
    for told in (
        manifest.title,
        manifest.version,
        manifest.sha256,
        manifest.training.data_sha256,
        "the probability of late, of on time or late",
        "late from 0.26 on",
        "24.5% late",
        "TAKES 17 features",
        "ADDS UP 17 terms",
        "336,776 read, 261,876 fitted on, 65,470 held out",
        "ROC AUC                0.7301     0.5000             0.7764",
        "below 0.01    -0.13",
        "scikit-learn 1.9.1",
    ):
        assert told in done.output
    assert done.output == text_of(manifest)


def test_show_json_of_shipped_model_is_a_card_with_every_place(app, manifest):
    done = run(app, "show", ROOT / "model.pkl", "--json")
    card = msgspec.json.decode(done.output, type=Card)
    assert card == describe_card(manifest)
    assert [term.reach for term in card.terms] == sorted(
        (t.reach for t in card.terms), reverse=True
    )
    dest = next(term for term in card.terms if term.feature == "dest")
    table = next(term for term in manifest.scorecard.sums[0].terms if term.feature == "dest")
    assert [place.value for place in dest.places] == list(table.levels)
    assert [place.points[0] for place in dest.places] == list(table.points)


def test_show_version_without_manifest_says_which(app, tmp_path):
    done = run(app, "show", tmp_path / "other.pkl")
    assert done.exit_code == 1
    assert (
        done.output
        == f"Error: {tmp_path}/other.pkl: cannot read other.json: No such file or directory\n"
    )


def test_show_broken_manifest_says_what_is_wrong(app, tmp_path):
    (tmp_path / "model.json").write_text("{}")
    done = run(app, "show", tmp_path / "model.pkl")
    assert done.exit_code == 1
    assert "model.json is not a manifest: Object missing required field" in done.output


def test_card_table_gives_levels_by_size_missing_and_unseen():
    assert lines_of(text_of(ALL), "sea")[-1].split() == ["sea", "+0.50", "hill", "-0.25"]
    assert "else    missing     -1.00   never seen  +0.10" in text_of(ALL)


def test_card_flag_has_no_unseen_and_numbers_without_gaps_no_missing():
    assert term_of(ALL, "high").unseen is None
    assert term_of(ALL, "cost").missing is None


def test_card_steps_of_integers_are_said_in_whole_numbers():
    places = [(place.text, place.points[0]) for place in term_of(ALL, "age").places]
    assert places == [("17 or less", 0.3), ("18", 0.0), ("19 to 64", -0.1), ("65 or more", 0.75)]


def test_card_steps_of_numbers_are_half_open():
    steps = Steps("cost", (2.5, math.nextafter(2.5, 3), 1e6), (0.1, 0.2, 0.3, 0.4), 0.0)
    places = term_of(with_term(steps, 2), "cost").places
    texts = ["below 2.5", "exactly 2.5", "2.5 to 1000000", "1000000 or more"]
    assert [place.text for place in places] == texts
    assert [place.points[0] for place in places] == [0.1, 0.2, 0.3, 0.4]
    assert places[1].start == 2.5
    assert places[0].start is places[-1].end is None


def test_card_steps_of_many_intervals_show_their_shape_and_the_largest():
    edges = tuple(map(float, range(10, 29)))
    steps = Steps("age", edges, tuple(i / 10 for i in range(20)), 0.0)
    shown = text_of(with_term(steps, 1))
    assert "shape   ▁▁▂▂▂▃▃▄▄▄▅▅▅▆▆▇▇▇██" in shown
    assert lines_of(shown, "up ")[0].startswith("up      28 or more  +1.90   27          +1.80")


def test_card_slope_gives_effect_of_one_unit():
    told = lines_of(text_of(ALL), "per unit")
    assert told == ["cost     -0.50 to +4.00    +0.5 per unit, over 1 to 10"]
    assert term_of(ALL, "cost").slope == (0.5,)


@pytest.mark.parametrize(("term", "at_ten"), [(LOG, 2.302585), (MIXED, 3.302585)])
def test_card_curve_gives_values_at_round_numbers_and_both_ends(term, at_ten):
    card = term_of(with_term(term, 2), "cost")
    assert [place.text for place in card.places] == ["1", "2", "4", "6", "8", "10"]
    assert card.kind == ("bent" if term is LOG else "mixed")
    assert card.high == pytest.approx(at_ten)
    assert "a curve, over 1 to 10" in text_of(with_term(term, 2))


def test_card_curve_outside_its_domain_says_no_answer_and_is_json():
    feature = msgspec.structs.replace(COST, seen=(-2.0, 2.0))
    made = version((feature,), (LOG,))
    assert "-2  no answer" in text_of(made)
    decoded = msgspec.json.decode(msgspec.json.encode(describe_card(made)), type=Card)
    assert decoded.terms[0].places[0].points == (None,)


def test_card_several_classes_have_a_column_each():
    target = Target("kind", "kind", ("a", "b", "c"))
    zero = Steps("cost", (), (0.0,), 0.0)
    other = Table("place", ("sea", "hill"), (0.0, 2.0), 0.0, 0.3)
    gone = Steps("place", (), (0.0,), 0.0)
    made = version((PLACE, COST), (TABLE, SLOPE), (other, zero), (gone, SLOPE), target=target)
    shown = text_of(made)
    assert "starts at -1.00 for a, 0.00 for b, +1.00 for c" in shown
    assert lines_of(shown, "hill")[-1].split() == ["hill", "-0.25", "+2.00", "0.00"]
    assert lines_of(shown, "never seen")[0].split() == ["never", "seen", "+0.10", "+0.30", "0.00"]
    assert lines_of(shown, "one unit more")[0].split()[3:] == ["+0.50", "0.00", "+0.50"]


def test_card_many_classes_stay_on_the_page():
    target = Target("kind", "kind", tuple(f"class number {i}" for i in range(12)))
    made = version((COST,), *[(SLOPE,)] * 12, target=target)
    assert max(map(len, text_of(made).splitlines())) <= 100
    assert "class number 11" in text_of(made)


def test_card_terms_that_move_nothing_are_only_named():
    shown = text_of(with_term(Slope("cost", 0.0, 1.0, 0.0, 0.0), 2))
    assert lines_of(shown, "cost")[-1] == "always the same: cost"
    gap = with_term(Slope("age", 0.0, 1.0, 0.0, 0.5), 1)
    assert "always the same" not in text_of(gap)


def test_card_regression_gives_values_with_their_unit():
    made = version((COST,), (SLOPE,), target=Target("price", "Price of it", unit="EUR"))
    assert "gives        price, in EUR" in text_of(made)
    assert "starts at -1.00 EUR. A feature adds" in text_of(made)


def test_card_without_scorecard_says_why_and_has_no_terms():
    made = version((COST,))
    assert "the pickle, because there is no rule for Forest as the estimator" in text_of(made)
    assert "ADDS UP" not in text_of(made)


def test_card_names_from_outside_cannot_move_the_cursor():
    feature = msgspec.structs.replace(COST, name="a\x1b[2Jb\nc", description="d\x07\u202e")
    shown = text_of(version((feature,), (SLOPE,)))
    assert "a\ufffd[2Jb\ufffdc" in shown
    assert all(c.isprintable() or c == "\n" for c in shown)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (184.0, "184"),
        (0.1 + 0.2, "0.3"),
        (37.84615384, "37.8462"),
        (1234567.5, "1234568"),
        (-0.0, "0"),
    ],
)
def test_brief_number_is_as_short_as_it_reads(number, text):
    assert brief(number) == text


@pytest.mark.parametrize(
    ("numbers", "texts"),
    [
        ((1.5, -0.001), ["+1.50", "0.00"]),
        ((152.13, -3.0), ["+152", "-3"]),
        ((0.0123, -0.001), ["+0.0123", "-0.0010"]),
        ((1e-9,), ["+1.00e-09"]),
        ((0.0, None), ["0.00", "no answer"]),
    ],
)
def test_points_have_digits_that_fit_the_largest(numbers, texts):
    assert list(map(points_like(numbers), numbers)) == texts


# The difference


def test_diff_version_with_itself_says_so(app):
    done = run(app, "diff", ROOT / "model.pkl", ROOT / "model.pkl")
    assert done.exit_code == 0
    same = "They are the same model: both pickles have the same sha256, nothing differs."
    assert done.output.splitlines()[3:] == [same]


def test_diff_changed_version_exits_0_and_its_json_is_a_difference(app, manifest, tmp_path):
    changed = msgspec.structs.replace(manifest, threshold=0.3, sha256="f" * 64)
    write_manifest(changed, tmp_path / "model.pkl")
    words = ("diff", ROOT / "model.pkl", tmp_path / "model.pkl")
    done = run(app, *words)
    assert done.exit_code == 0
    assert lines_of(done.output, "threshold") == ["threshold  0.26  0.3  +0.04"]
    told = run(app, *words, "--json").output
    assert msgspec.json.decode(told, type=Difference) == compare(manifest, changed)
    assert json.loads(told)["settings"] == [{"what": "threshold", "before": 0.26, "after": 0.3}]


def test_diff_missing_manifest_names_the_version_that_lacks_it(app, tmp_path):
    done = run(app, "diff", ROOT / "model.pkl", tmp_path / "new.pkl")
    assert done.exit_code == 1
    assert f"{tmp_path}/new.pkl: cannot read new.json" in done.output


@pytest.mark.parametrize(
    ("i", "term", "maximum", "where"),
    [
        (0, Table("place", ("sea", "hill"), (0.5, -0.5), -1.0, 0.1), 0.25, "hill"),
        (0, Table("place", ("sea", "hill"), (0.5, -0.25), -1.0, 0.6), 0.5, "never seen"),
        (0, Table("place", ("sea", "hill"), (0.5, -0.25), 0.0, 0.1), 1.0, "missing"),
        (0, Table("place", ("sea",), (0.5,), -1.0, 0.1), 0.35, "hill"),
        (1, Steps("age", (18.0, 19.0, 70.0), (0.3, 0.0, -0.1, 0.75), 0.2), 0.85, "65 to 69"),
        (2, Slope("cost", 0.6, 1.0, -0.5, 0.0), 0.9, "10"),
        (2, Bent("cost", (Named("square"),), Pieces((), (0.0,), ((0.0, 1.0),)), 0.0), 96.0, "10"),
        (3, Table("high", (False, True), (-0.2, 0.5), 0.0, 0.0), 0.3, "true"),
    ],
    ids=["level", "unseen", "missing", "level gone", "edge", "slope", "curve", "flag"],
)
def test_diff_term_moves_by_its_largest_gap_and_names_the_place(i, term, maximum, where):
    difference = compare(ALL, with_term(term, i))
    [change] = difference.terms
    assert change.maximum == pytest.approx(maximum)
    assert change.where == where
    assert change.maximum == pytest.approx(abs(change.after - change.before))
    assert 0 < change.mean <= change.maximum
    assert difference.verdict == "different"
    assert len(difference.unchanged) == 3


def test_diff_mean_is_over_levels_missing_and_unseen():
    other = with_term(Table("place", ("sea", "hill"), (0.5, -0.5), -1.0, 0.1), 0)
    # One of four places has moved: two levels, missing, never seen.
    assert compare(ALL, other).terms[0].mean == pytest.approx(0.25 / 4)


def test_diff_looks_at_values_of_golden_rows():
    row = {"place": "sea", "age": 20, "cost": 100.0, "high": True}
    other = with_term(Slope("cost", 0.6, 1.0, -0.5, 0.0), 2)
    other = msgspec.structs.replace(other, golden=(GoldenRow(row, 0.5),))
    [change] = compare(ALL, other).terms
    assert change.where == "100"
    assert change.maximum == pytest.approx(9.9)


def other_way(manifest):
    """Change several things of a version."""
    made = with_term(Slope("cost", 0.1, 1.0, 0.0, 0.0), 2, manifest)
    made = with_term(Steps("age", (30.0,), (0.0, 0.4), 0.0), 1, made)
    return with_term(Table("place", ("sea", "lake"), (0.4, 1.0), -1.0, 0.0), 0, made)


def test_diff_is_of_the_same_size_both_ways():
    one, other = compare(ALL, other_way(ALL)), compare(other_way(ALL), ALL)
    sizes = [[(t.feature, t.maximum, t.mean) for t in d.terms] for d in (one, other)]
    assert sizes[0] == sizes[1]
    assert [(t.before, t.after) for t in one.terms] == [(t.after, t.before) for t in other.terms]


def test_diff_puts_the_largest_effect_first():
    maxima = [term.maximum for term in compare(ALL, other_way(ALL)).terms]
    assert maxima == sorted(maxima, reverse=True)
    assert len(maxima) == 3
    text = difference_text(compare(ALL, other_way(ALL)))
    rows = [line.split()[0] for line in text.splitlines() if line.startswith("  ")]
    assert rows[:4] == ["feature", "cost", "place", "age"]


def test_diff_same_sum_centred_otherwise_gives_equal_answers():
    moved = Table("place", ("sea", "hill"), (1.5, 0.75), 0.0, 1.1)
    terms = (moved, STEPS, SLOPE, FLAG)
    card = Scorecard((Sum(-2.0, terms),))
    other = msgspec.structs.replace(ALL, scorecard=card, sha256="2" * 64)
    difference = compare(ALL, other)
    assert difference.verdict == "equal answers"
    text = difference_text(difference)
    assert "They give equal answers: their scorecards are the same sum. The terms are only" in text
    assert "TERMS" not in text


def test_diff_same_scorecard_at_another_threshold_is_different():
    one, other = (msgspec.structs.replace(ALL, threshold=x, sha256=str(x)) for x in (0.2, 0.3))
    assert compare(one, other).verdict == "different"


def test_diff_scorecard_lost_says_why():
    lost = version((PLACE, AGE, COST, HIGH), sha256="3" * 64)
    text = difference_text(compare(ALL, lost))
    assert "B  pickle, because there is no rule for Forest as the estimator" in text
    assert "The terms cannot be compared: B has no scorecard." in text
    assert "engine" in [change.what for change in compare(lost, ALL).settings]


def test_diff_two_pickles_are_compared_by_their_golden_rows():
    golden = [({"cost": 1.0}, 0.25), ({"cost": 2.0}, 0.75)]
    a = version((COST,), sha256="a" * 64, golden=golden)
    b = version((COST,), sha256="b" * 64, golden=golden)
    c = version((COST,), sha256="c" * 64, golden=[({"cost": 1.0}, 0.55), golden[1]])
    assert compare(a, b).verdict == "equal on golden rows"
    assert "On 2 golden rows their answers are equal; no labels change." in difference_text(
        compare(a, b)
    )
    answers = compare(a, c).answers
    assert (answers.records, answers.labels) == (2, 1)
    assert answers.maximum == pytest.approx(0.3)
    assert answers.mean == pytest.approx(0.15)


def test_diff_scorecard_answers_the_other_versions_golden_rows():
    golden = [({"cost": 1.0}, 0.5), ({"cost": -1e9}, 0.1)]
    pickle = version((COST,), sha256="a" * 64, golden=golden)
    bounded = msgspec.structs.replace(COST, minimum=0.0)
    # The second row is one that this version refuses.
    scorecard = version((bounded,), (SLOPE,), sha256="b" * 64)
    answers = compare(pickle, scorecard).answers
    assert answers.records == 1
    assert answers.maximum == pytest.approx(0.5 - 1 / (1 + math.exp(1.5)))


def test_diff_features_added_removed_and_changed_are_told():
    age = Feature("age", "number", "Age", 30, minimum=0.0, maximum=90.0)
    place = msgspec.structs.replace(PLACE, categories=("sea", "lake"), closed=True)
    new = Feature("new", "flag", "new", True)
    terms = (TABLE, STEPS, SLOPE, Table("new", (False, True), (-9.0, 9.0), 0.0, 0.0))
    other = version((place, age, COST, new), terms, sha256="4" * 64)
    difference = compare(ALL, other)
    text = difference_text(difference)
    told = " ".join(text.split())
    assert lines_of(text, "added: flag") == ["+  new    added: flag, true, false"]
    assert lines_of(text, "removed: flag") == ["-  high   removed: flag, true, false"]
    assert "other categories are refused now; new: lake; gone: hill" in told
    assert "kind integer → number; unit years → none; range any → 0 to 90" in told
    assert "must be given now" in told
    sizes = {term.feature: (term.status, term.maximum) for term in difference.terms}
    assert sizes == {"new": ("added", 9.0), "high": ("removed", 0.2)}


def test_diff_feature_of_another_kind_is_compared_without_falling_over():
    texts = Feature("cost", "category", "cost", "low", categories=("low",))
    other = version((texts,), (Table("cost", ("low",), (0.7,), 0.0, 0.2),), sha256="5" * 64)
    one = version((COST,), (SLOPE,))
    difference = compare(one, other)
    assert difference.terms[0].maximum == pytest.approx(3.8)
    assert difference.terms[0].maximum == compare(other, one).terms[0].maximum


def test_diff_domain_of_a_curve_is_told_where_only_one_has_an_answer():
    wide = msgspec.structs.replace(COST, seen=(-2.0, 2.0))
    one, other = version((wide,), (SLOPE,)), version((wide,), (LOG,), sha256="6" * 64)
    [change] = compare(one, other).terms
    assert change.undefined > 0
    assert "only one has an answer in" in difference_text(compare(one, other))


def test_diff_other_task_does_not_compare_terms():
    other = version((COST,), (SLOPE,), target=Target("price", "price"), sha256="7" * 64)
    difference = compare(version((COST,), (SLOPE,)), other)
    assert difference.not_compared == "one predicts another kind of target than the other"
    assert difference.answers is None


def test_diff_metrics_libraries_and_training_are_told(manifest):
    holdout = manifest.evaluations["holdout"]
    scores = msgspec.structs.replace(holdout.scores["model"], roc_auc=0.75, brier=0.1587)
    holdout = msgspec.structs.replace(holdout, scores=holdout.scores | {"model": scores})
    other = msgspec.structs.replace(
        manifest,
        sha256="8" * 64,
        evaluations=manifest.evaluations | {"holdout": holdout},
        libraries=manifest.libraries | {"numpy": "9.0"},
        training=msgspec.structs.replace(manifest.training, rows_fit=5, seconds=1.0),
    )
    difference = compare(manifest, other)
    assert [change.score for change in difference.metrics] == ["roc_auc", "brier"]
    assert [change.what for change in difference.training] == ["rows_fit"]
    text = difference_text(difference)
    assert lines_of(text, "ROC AUC") == ["holdout  ROC AUC      0.7301  0.7500  +0.0199"]
    assert lines_of(text, "numpy") == [f"numpy  {manifest.libraries['numpy']}  9.0"]
    assert difference.verdict == "equal answers"


@pytest.mark.parametrize("other", [ALL, other_way(ALL), version((COST,), sha256="9" * 64)])
def test_json_forms_hold_all_that_the_texts_say(other):
    card, difference = describe_card(other), compare(ALL, other)
    again = msgspec.json.decode(msgspec.json.encode(card), type=Card)
    assert card_text(again) == card_text(card)
    told = msgspec.json.decode(msgspec.json.encode(difference), type=Difference)
    assert difference_text(told) == difference_text(difference)


def test_cards_need_neither_flask_nor_a_training_library():
    code = "import sys, slipway.card, slipway.difference; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "slipway.difference" in loaded
    assert not loaded & {"flask", "click", "numpy", "sklearn", "pandas", "polars"}
