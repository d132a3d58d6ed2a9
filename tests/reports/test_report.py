"""The report of a model version, as a file and as a page; nothing in it is believed to be HTML."""

import base64
import hashlib
import re

import msgspec
import numpy as np
import pandas as pd
import pytest
from reports import CURVE, Read, ids, write_shipped
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from versions import ALL, version, with_terms

import slipway
from slipway.models.features import Feature
from slipway.models.manifest import CalibrationBin, Evaluation, Scores, Slice, Training
from slipway.models.scorecard import TableTerm
from slipway.reports.html import read_report, report_path, write_report
from slipway.reports.html.renderer import report_text
from slipway.reports.html.sections import counts, label_rule
from slipway.reports.term_charts import sum_cards

OUTSIDE = re.compile(r"""(?:src|href|action|url)\s*[=(]\s*["']?(?!#|data:,)[^"'\s>]+""")
EVIL = "<script>alert(1)</script>\"'&"


def scores(roc_auc):
    return Scores(roc_auc, 0.4, 0.5, 0.2, 0.01)


HOLDOUT = Evaluation(
    description="a random 20% of the rows held out",
    rows_fit=800,
    rows_test=200,
    base_rate=0.25,
    scores={"model": scores(0.8), "base rate": scores(0.5), "gradient boosting": scores(0.83)},
    calibration=(CalibrationBin(150, 0.1, 0.12), CalibrationBin(50, 0.8, 0.7)),
    roc=((0.0, 0.0), (0.2, 0.7), (1.0, 1.0)),
    precision_recall=((0.0, 1.0), (1.0, 0.25)),
    slices=(
        Slice("place", "sea", 120, 0.3, 0.31, 0.79),
        Slice("place", "hill", 80, 0.1, 0.1, None),
    ),
)
TRAINING = Training(
    "a table of cases",
    "q" * 64,
    "d" * 64,
    1_050,
    800,
    200,
    {"not yet known": 30, "age: over 200": 20},
    1.5,
    engine="chunks",
    command="flask train --engine chunks",
    commit="c0ffee+",
    learning_curve=CURVE,
)
WHOLE = msgspec.structs.replace(
    ALL, evaluations={"holdout": HOLDOUT}, training=TRAINING, threshold=0.4, base_rate=0.26
)


def told(manifest, tmp_path, previous=None):
    return Read(report_text(manifest, tmp_path / "model.pkl", previous))


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """The shipped model, with its report beside it and a learning curve in its manifest."""
    return write_shipped(tmp_path_factory.mktemp("shipped"))


def test_report_says_what_the_version_is_and_what_made_it(tmp_path):
    text = told(WHOLE, tmp_path).text
    for due in (
        f"Version {WHOLE.version}",
        "Made 2026-01-02 03:04 UTC",
        "Commit c0ffee+",
        "Command flask train --engine chunks",
        "Rows during the fit in chunks",
        "numpy 2.0",
        "A probability of 0.4 or more gets the label “yes”, a lower one “no”.",
        "Of the rows fitted on, 26.0% were “yes”; of those held out, 25.0%.",
        "30,000 of 260,000 rows would be enough.",
    ):
        assert due in text, due


def test_report_counts_add_up_to_the_rows_read(tmp_path):
    assert sum(count for _, count in counts(TRAINING)) == TRAINING.rows_read
    text = told(WHOLE, tmp_path).text
    assert "Left out: not yet known" in text
    assert "Rows read" in text
    assert "Not accounted for" not in text


def test_counts_that_do_not_add_up_say_so():
    short = msgspec.structs.replace(TRAINING, left_out={})
    assert counts(short)[-1] == ("not accounted for", 50)


def test_report_scores_stand_beside_base_rate_and_boosting(tmp_path):
    page = told(WHOLE, tmp_path)
    assert "This model Base rate Gradient boosting" in page.text
    assert "the right one in 80.0% of all pairs" in page.text
    assert "gradient boosting 83.0%" in page.text
    assert "sea" in page.text
    assert {"holdout-calibration-title", "holdout-roc-title", "holdout-pr-title"} <= ids(page)


def test_report_ids_are_unique_and_every_reference_leads_to_one(tmp_path):
    page = told(WHOLE, tmp_path, previous=with_terms(manifest=WHOLE))
    every = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(every) == len(set(every))
    for _, attrs in page.tags:
        named = attrs.get("aria-labelledby", "").split()
        named += [attrs["href"][1:]] if attrs.get("href", "").startswith("#") else []
        assert set(named) <= set(every)


def test_report_learning_curve_says_size_rule_and_what_is_left_out(tmp_path):
    text = told(WHOLE, tmp_path).text
    assert "30,000 rows are enough: the log loss is 0.0015 above the best." in text
    assert f"That is {CURVE.rule}." in text
    assert "No model could be fitted on samples of 100 rows: one class only." in text
    assert "0.6400 ± 0.0180" in text


def test_report_learning_curve_that_needs_all_rows_says_so(tmp_path):
    curve = msgspec.structs.replace(CURVE, recommended=260_000)
    training = msgspec.structs.replace(TRAINING, learning_curve=curve)
    text = told(msgspec.structs.replace(WHOLE, training=training), tmp_path).text
    assert "All 260,000 rows are needed, and more may make it better." in text


def test_report_without_learning_curve_has_no_section_of_it(tmp_path):
    training = msgspec.structs.replace(TRAINING, learning_curve=None)
    page = told(msgspec.structs.replace(WHOLE, training=training), tmp_path)
    assert "learning" not in ids(page)
    assert "#learning" not in [attrs.get("href") for _, attrs in page.tags]


def test_report_with_the_version_before_compares_scores_and_terms(tmp_path):
    old = msgspec.structs.replace(HOLDOUT, scores={"model": scores(0.7)})
    earlier = TableTerm("place", ("sea", "hill"), (0.5, 0.75), -1.0, 0.1)
    before = with_terms(
        earlier, manifest=msgspec.structs.replace(WHOLE, evaluations={"holdout": old})
    )
    text = told(WHOLE, tmp_path, before).text
    assert "This model Version before Base rate Gradient boosting" in text
    assert "0.800 0.700 0.500 0.830" in text
    assert "It answers otherwise than the version before." in text
    assert "Place hill +0.750 −0.250" in text
    assert "tested on other rows" not in text


def test_report_version_before_on_other_rows_says_so(tmp_path):
    training = msgspec.structs.replace(TRAINING, data_sha256="e" * 64)
    before = msgspec.structs.replace(WHOLE, training=training, sha256="1" * 64)
    text = told(WHOLE, tmp_path, before).text
    assert "The version before was tested on other rows" in text


def test_report_version_before_that_is_the_same_is_not_compared(tmp_path):
    assert "before" not in ids(told(WHOLE, tmp_path, WHOLE))


def test_report_version_before_of_another_kind_says_terms_cannot_be_compared(tmp_path):
    pickled = version(ALL.signature.features, sha256="2" * 64)
    assert "cannot be compared" in told(WHOLE, tmp_path, pickled).text


def test_report_without_covariance_says_that_there_are_no_intervals(tmp_path):
    text = told(WHOLE, tmp_path).text
    assert "There are no intervals: the version has no covariance of its parameters." in text
    assert "±" not in text.split("What each feature can add")[-1].split("What it takes")[0]


def test_report_covariance_that_is_lost_is_said(shipped, tmp_path):
    _, manifest = shipped
    assert "There are no intervals: cannot read model.covariance" in told(manifest, tmp_path).text


def test_report_texts_from_data_are_escaped(tmp_path):
    place = Feature(EVIL, "category", EVIL, EVIL, categories=(EVIL, "b"), labels={"b": EVIL})
    evil = version((place,), (TableTerm(EVIL, (EVIL, "b"), (0.5, -0.5), 0.0, 0.0),))
    slices = (Slice(EVIL, EVIL, 120, 0.3, 0.3, None), Slice("gone", EVIL, 99, 0.1, 0.1, None))
    evil = msgspec.structs.replace(
        evil,
        title=EVIL,
        version=EVIL,
        evaluations={EVIL: msgspec.structs.replace(HOLDOUT, description=EVIL, slices=slices)},
        training=msgspec.structs.replace(
            TRAINING, source=EVIL, left_out={EVIL: 50}, command=EVIL, commit=EVIL
        ),
        libraries={EVIL: EVIL},
    )
    terms = (TableTerm(EVIL, (EVIL, "b"), (0.5, 0.9), 0.0, 0.0),)
    text = report_text(evil, tmp_path / "model.pkl", with_terms(*terms, manifest=evil))
    assert "<script" not in text.lower()
    assert EVIL in Read(text).text
    assert not OUTSIDE.search(re.sub(r"<style>.*?</style>", "", text, flags=re.S))


def test_report_asks_for_nothing_from_outside(shipped):
    text = report_path(shipped[0]).read_text()
    assert not OUTSIDE.search(text)
    assert "@import" not in text
    assert "<script" not in text
    assert " style=" not in text


def test_report_policy_allows_its_own_style_alone(shipped):
    text = report_path(shipped[0]).read_text()
    style = text.partition("<style>")[2].partition("</style>")[0]
    due = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = next(
        attrs["content"]
        for _, attrs in Read(text).tags
        if attrs.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{due}'; ")


def test_report_of_the_shipped_model_has_intervals_and_every_section(shipped):
    page = Read(report_path(shipped[0]).read_text())
    every = {"short", "good", "learning", "terms", "features", "origin", "answers"}
    assert every <= ids(page)
    terms = page.text.split("What each feature can add")[-1].split("What it takes")[0]
    assert re.search(r"±\s0\.\d\d", terms)
    assert "95% interval of the difference from UA — United Air Lines Inc." in terms
    assert "band" in {attrs.get("class") for tag, attrs in page.tags if tag == "polyline"}


def test_sum_cards_interval_of_a_difference_is_numpys(shipped):
    """Two carriers differ by the difference of two rows of the design."""
    from slipway.models.artifacts import covariance_path
    from slipway.models.intervals import Uncertainty

    path, manifest = shipped
    uncertainty = Uncertainty.read(covariance_path(path), manifest.covariance.sha256)
    (total,) = sum_cards(manifest, uncertainty)
    card = next(card for card in total.cards if card.feature.name == "carrier")
    reach = {bar.name: bar.reach for bar in card.bars}["DL — Delta Air Lines Inc."]
    records = [
        tuple(other if f.name == "carrier" else f.example for f in manifest.signature.features)
        for other in (card.feature.example, "DL")
    ]
    rows = []
    for record in records:
        row = np.zeros(uncertainty.design.columns)
        for column, value in uncertainty._cells(record):
            row[column] += value
        rows.append(row)
    n = uncertainty.design.columns
    sigma = np.zeros((n, n))
    for i, triangle in enumerate(uncertainty._rows):
        sigma[i, : i + 1] = sigma[: i + 1, i] = triangle
    difference = rows[1] - rows[0]
    assert reach == pytest.approx(1.959964 * np.sqrt(difference @ sigma @ difference), rel=1e-5)
    assert uncertainty.variance_between(records[0], records[0]) == 0.0


def cases():
    draw = np.random.default_rng(0)
    X = pd.DataFrame({"kind": draw.choice(["a", "b", "c"], 200), "size": draw.uniform(0, 9, 200)})
    return X, X["size"] + (X["kind"] == "a")


def one_hot(estimator):
    return make_pipeline(OneHotEncoder(handle_unknown="ignore"), estimator)


def test_report_of_a_saved_regression_tells_what_there_is(tmp_path):
    X, y = cases()
    path = tmp_path / "model.pkl"
    manifest = slipway.save(one_hot(LinearRegression()).fit(X[["kind"]], y), X[["kind"]], y, path)
    text = told(manifest, tmp_path).text
    assert "It was not evaluated" in text
    assert "The answer is a number." in text
    assert label_rule(manifest) == ""
    assert "Fitted on 200 rows" in text


def test_report_of_a_saved_multiclass_names_its_classes(tmp_path):
    X, y = cases()
    kinds = pd.qcut(y, 3, labels=["low", "middle", "high"]).astype(str)
    model = one_hot(LogisticRegression()).fit(X[["kind"]], kinds)
    text = told(slipway.save(model, X[["kind"]], kinds, tmp_path / "model.pkl"), tmp_path).text
    assert "The classes: high, low, middle." in text
    assert "The label is the most probable class" in text
    assert "The model has a sum for each class" in text


def test_report_of_a_model_without_scorecard_says_why(tmp_path):
    X, y = cases()
    model = one_hot(RandomForestClassifier(5, random_state=0)).fit(X[["kind"]], y > 5)
    page = told(slipway.save(model, path=tmp_path / "model.pkl"), tmp_path)
    assert "the pickle: no rule for RandomForestClassifier" in page.text
    assert "terms" not in ids(page)
    assert "No rows were given, so that nothing is known of the training." in page.text


def test_label_rule_of_a_threshold_names_both_classes():
    assert label_rule(msgspec.structs.replace(ALL, threshold=0.25)).endswith("a lower one “no”.")


def test_read_report_of_another_version_is_none(tmp_path):
    path = tmp_path / "model.pkl"
    assert read_report(path, ALL.version) is None
    assert write_report(ALL, path) == tmp_path / "report.html"
    assert read_report(path, ALL.version) == report_path(path).read_bytes()
    assert read_report(path, "another") is None
    report_path(path).write_bytes(b"something else")
    assert read_report(path, "") is None
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
