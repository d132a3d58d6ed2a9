"""The report of a model version, as a file and as a page; its texts are escaped."""

import base64
import hashlib
import re

import msgspec
import numpy as np
import pandas as pd
import pytest
from reports import CURVE, ParsedPage, ids, write_shipped
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
from slipway.reports.html.sections import count_rows, label_rule
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


def render(manifest, tmp_path, previous=None):
    return ParsedPage(report_text(manifest, tmp_path / "model.pkl", previous))


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """Return the shipped model, with its report next to it and a learning curve in its manifest."""
    return write_shipped(tmp_path_factory.mktemp("shipped"))


def test_report_shows_version_and_training(tmp_path):
    text = render(WHOLE, tmp_path).text
    for expected in (
        f"Version {WHOLE.version}",
        "Created 2026-01-02 03:04 UTC",
        "Commit c0ffee+",
        "Command flask train --engine chunks",
        "Training engine in chunks",
        "numpy 2.0",
        "A probability of 0.4 or more gets the label “yes”, a lower probability “no”.",
        "Of the rows fitted on, 26.0% were “yes”; of those held out, 25.0%.",
        "30,000 of 260,000 rows would be enough.",
    ):
        assert expected in text, expected


def test_report_row_counts_add_up_to_rows_read(tmp_path):
    assert sum(count for _, count in count_rows(TRAINING)) == TRAINING.rows_read
    text = render(WHOLE, tmp_path).text
    assert "Left out: not yet known" in text
    assert "Rows read" in text
    assert "Not accounted for" not in text


def test_count_rows_with_missing_rows_reports_difference():
    short = msgspec.structs.replace(TRAINING, left_out={})
    assert count_rows(short)[-1] == ("not accounted for", 50)


def test_report_shows_scores_of_base_rate_and_boosting(tmp_path):
    page = render(WHOLE, tmp_path)
    assert "This model Base rate Gradient boosting" in page.text
    assert "The area under the ROC curve on rows held out is 80.0%." in page.text
    assert "gradient boosting 83.0%" in page.text
    assert "sea" in page.text
    assert {"holdout-calibration-title", "holdout-roc-title", "holdout-pr-title"} <= ids(page)


def test_report_ids_are_unique_and_references_resolve(tmp_path):
    page = render(WHOLE, tmp_path, previous=with_terms(manifest=WHOLE))
    found_ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(found_ids) == len(set(found_ids))
    for _, attrs in page.tags:
        references = attrs.get("aria-labelledby", "").split()
        references += [attrs["href"][1:]] if attrs.get("href", "").startswith("#") else []
        assert set(references) <= set(found_ids)


def test_report_learning_curve_shows_size_rule_and_omitted_sizes(tmp_path):
    text = render(WHOLE, tmp_path).text
    assert "30,000 rows are enough: the log loss is 0.0015 above the best." in text
    assert f"That is {CURVE.rule}." in text
    assert "No model could be fitted on samples of 100 rows: one class only." in text
    assert "0.6400 ± 0.0180" in text


def test_report_learning_curve_needing_all_rows_says_so(tmp_path):
    curve = msgspec.structs.replace(CURVE, recommended=260_000)
    training = msgspec.structs.replace(TRAINING, learning_curve=curve)
    text = render(msgspec.structs.replace(WHOLE, training=training), tmp_path).text
    assert "All 260,000 rows are needed, and more rows may improve the model." in text


def test_report_without_learning_curve_omits_section(tmp_path):
    training = msgspec.structs.replace(TRAINING, learning_curve=None)
    page = render(msgspec.structs.replace(WHOLE, training=training), tmp_path)
    assert "learning" not in ids(page)
    assert "#learning" not in [attrs.get("href") for _, attrs in page.tags]


def test_report_with_previous_version_compares_scores_and_terms(tmp_path):
    old = msgspec.structs.replace(HOLDOUT, scores={"model": scores(0.7)})
    earlier = TableTerm("place", ("sea", "hill"), (0.5, 0.75), -1.0, 0.1)
    before = with_terms(
        earlier, manifest=msgspec.structs.replace(WHOLE, evaluations={"holdout": old})
    )
    text = render(WHOLE, tmp_path, before).text
    assert "This model Previous version Base rate Gradient boosting" in text
    assert "0.800 0.700 0.500 0.830" in text
    assert "The predictions differ from the previous version." in text
    assert "Place hill +0.750 −0.250" in text
    assert "tested on other rows" not in text


def test_report_previous_version_on_other_rows_says_so(tmp_path):
    training = msgspec.structs.replace(TRAINING, data_sha256="e" * 64)
    before = msgspec.structs.replace(WHOLE, training=training, sha256="1" * 64)
    text = render(WHOLE, tmp_path, before).text
    assert "The previous version was tested on other rows" in text


def test_report_same_previous_version_omits_comparison(tmp_path):
    assert "before" not in ids(render(WHOLE, tmp_path, WHOLE))


def test_report_previous_version_without_scorecard_says_terms_not_comparable(tmp_path):
    pickled = version(ALL.signature.features, sha256="2" * 64)
    assert "cannot be compared" in render(WHOLE, tmp_path, pickled).text


def test_report_without_covariance_reports_reason(tmp_path):
    text = render(WHOLE, tmp_path).text
    assert "Intervals are not available: the version has no covariance of its parameters." in text
    assert "±" not in text.split("Contributions of the features")[-1].split("Features")[0]


def test_report_missing_covariance_file_reports_reason(shipped, tmp_path):
    _, manifest = shipped
    assert (
        "Intervals are not available: cannot read model.covariance"
        in render(manifest, tmp_path).text
    )


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
    assert EVIL in ParsedPage(text).text
    assert not OUTSIDE.search(re.sub(r"<style>.*?</style>", "", text, flags=re.S))


def test_report_loads_no_external_resources(shipped):
    text = report_path(shipped[0]).read_text()
    assert not OUTSIDE.search(text)
    assert "@import" not in text
    assert "<script" not in text
    assert " style=" not in text


def test_report_policy_allows_only_its_own_style(shipped):
    text = report_path(shipped[0]).read_text()
    style = text.partition("<style>")[2].partition("</style>")[0]
    expected = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = next(
        attrs["content"]
        for _, attrs in ParsedPage(text).tags
        if attrs.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{expected}'; ")


def test_report_shipped_model_has_intervals_and_all_sections(shipped):
    page = ParsedPage(report_path(shipped[0]).read_text())
    sections = {"short", "good", "learning", "terms", "features", "origin", "answers"}
    assert sections <= ids(page)
    terms = page.text.split("Contributions of the features")[-1].split("Features")[0]
    assert re.search(r"±\s0\.\d\d", terms)
    assert "95% interval of the difference from UA — United Air Lines Inc." in terms
    assert "band" in {attrs.get("class") for tag, attrs in page.tags if tag == "polyline"}


def test_sum_cards_interval_matches_numpy(shipped):
    """Compare the interval of two carriers with the difference of two rows of the design."""
    from slipway.models.artifacts import covariance_path
    from slipway.models.intervals import Uncertainty

    path, manifest = shipped
    uncertainty = Uncertainty.read(covariance_path(path), manifest.covariance.sha256)
    (cards,) = sum_cards(manifest, uncertainty)
    card = next(card for card in cards.cards if card.feature.name == "carrier")
    width = {bar.name: bar.half_width for bar in card.bars}["DL — Delta Air Lines Inc."]
    records = [
        tuple(carrier if f.name == "carrier" else f.example for f in manifest.signature.features)
        for carrier in (card.feature.example, "DL")
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
    assert width == pytest.approx(1.959964 * np.sqrt(difference @ sigma @ difference), rel=1e-5)
    assert uncertainty.variance_between(records[0], records[0]) == 0.0


def make_cases():
    draw = np.random.default_rng(0)
    X = pd.DataFrame({"kind": draw.choice(["a", "b", "c"], 200), "size": draw.uniform(0, 9, 200)})
    return X, X["size"] + (X["kind"] == "a")


def one_hot(estimator):
    return make_pipeline(OneHotEncoder(handle_unknown="ignore"), estimator)


def test_report_saved_regression_shows_available_facts(tmp_path):
    X, y = make_cases()
    path = tmp_path / "model.pkl"
    manifest = slipway.save(one_hot(LinearRegression()).fit(X[["kind"]], y), X[["kind"]], y, path)
    text = render(manifest, tmp_path).text
    assert "The model was not evaluated" in text
    assert "The prediction is a number." in text
    assert label_rule(manifest) == ""
    assert "Fitted on 200 rows" in text


def test_report_saved_multiclass_lists_classes(tmp_path):
    X, y = make_cases()
    kinds = pd.qcut(y, 3, labels=["low", "middle", "high"]).astype(str)
    model = one_hot(LogisticRegression()).fit(X[["kind"]], kinds)
    text = render(slipway.save(model, X[["kind"]], kinds, tmp_path / "model.pkl"), tmp_path).text
    assert "The classes: high, low, middle." in text
    assert "The label is the most probable class" in text
    assert "The model has a sum for each class" in text


def test_report_without_scorecard_reports_reason(tmp_path):
    X, y = make_cases()
    model = one_hot(RandomForestClassifier(5, random_state=0)).fit(X[["kind"]], y > 5)
    page = render(slipway.save(model, path=tmp_path / "model.pkl"), tmp_path)
    assert "Engine pickle: no rule for RandomForestClassifier" in page.text
    assert "terms" not in ids(page)
    assert "The training is unknown, because the model was saved without rows." in page.text


def test_label_rule_with_threshold_names_both_classes():
    assert label_rule(msgspec.structs.replace(ALL, threshold=0.25)).endswith(
        "a lower probability “no”."
    )


def test_read_report_other_version_returns_none(tmp_path):
    path = tmp_path / "model.pkl"
    assert read_report(path, ALL.version) is None
    assert write_report(ALL, path) == tmp_path / "report.html"
    assert read_report(path, ALL.version) == report_path(path).read_bytes()
    assert read_report(path, "another") is None
    report_path(path).write_bytes(b"something else")
    assert read_report(path, "") is None
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
