"""Test multiclass, regression and binary models through every endpoint and page."""

import csv
import io
import math
import sys

import pytest
from conftest import ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openapi_schema_validator import OAS30Validator
from openapi_spec_validator import validate
from task_models import CLASSES, FEATURES, RECORD, REFUSED, SCORECARDS, TASKS, write_model

from slipway.core.settings import Settings
from slipway.models.scorecard import CurveTerm, SlopeTerm
from slipway.models.stages import Affine, Named, Pieces
from slipway.reports import svg_charts as charts
from slipway.reports.formatting import decimals, signed, with_unit
from slipway.serving.batch import csv_stream as batch
from slipway.serving.batch.block_scorers import (
    FrameScorer,
    RowScorer,
    VectorizedScorer,
    choose_block_scorer,
)
from slipway.serving.batch.csv_stream import predict_file
from slipway.serving.service import PredictionService
from slipway.web import create_app

HTML = {"Accept": "text/html"}
FORM = {"colour": "red", "size": "2.5", "age": "7", "shiny": "true"}
ADDED = {
    "multiclass": ["prediction", "probability", *(f"probability_{label}" for label in CLASSES)],
    "regression": ["prediction"],
    "binary": ["prediction", "probability"],
}
NAMES = list(TASKS)
MULTICLASS = [name for name, task in TASKS.items() if task == "multiclass"]
REGRESSIONS = [name for name, task in TASKS.items() if task == "regression"]
BINARY = [name for name, task in TASKS.items() if task == "binary"]
PICKLED = [name for name in TASKS if name not in SCORECARDS]
relaxed = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return {name: write_model(name, tmp_path_factory.mktemp("model")) for name in TASKS}


@pytest.fixture(scope="module")
def services(paths):
    return {name: PredictionService(Settings(model=path)) for name, path in paths.items()}


@pytest.fixture(scope="module")
def clients(paths):
    apps = {name: create_app(ROOT, Settings(model=path)) for name, path in paths.items()}
    return {name: app.test_client() for name, app in apps.items()}


def schema_errors(client, schema, given):
    """Return the differences between a response and the API document."""
    document = client.get("/apispec_1.json").json
    whole = {"allOf": [{"$ref": f"#/components/schemas/{schema}"}]}
    validator = OAS30Validator(whole | {"components": document["components"]})
    return [error.message for error in validator.iter_errors(given)]


def predict_csv(live, text):
    return b"".join(predict_file(io.BytesIO(text.encode()), live, counts=True)).decode()


def parse_output(answer):
    rows, _, counts = answer.rpartition("# rows=")
    return list(csv.DictReader(io.StringIO(rows, newline=""))), counts


def write_csv(records):
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [feature.name for feature in FEATURES], lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


@pytest.mark.parametrize("name", NAMES)
def test_apispec_every_task_is_valid_with_valid_examples(clients, name):
    document = clients[name].get("/apispec_1.json").json
    validate(document)
    example = document["components"]["schemas"]["Record"]["example"]
    assert clients[name].post("/predict", json=example).status_code == 200
    assert "positive class" not in str(document)
    assert ("EUR" in str(document)) == (TASKS[name] == "regression")


@pytest.mark.parametrize("name", NAMES)
def test_predict_record_conforms_to_apispec(clients, name):
    for record in (RECORD, RECORD | {"colour": "pink", "age": None}):
        answer = clients[name].post("/predict", json=record)
        assert answer.status_code == 200
        assert schema_errors(clients[name], "Prediction", answer.json) == []
    assert [warning["field"] for warning in answer.json["warnings"]] == ["colour"]
    assert schema_errors(clients[name], "Prediction", {"label": "setosa"}) != []


@pytest.mark.parametrize("name", NAMES)
def test_predict_form_equals_json(clients, name):
    answer = clients[name].post("/predict", data=FORM)
    assert answer.status_code == 200
    assert answer.json == clients[name].post("/predict", json=RECORD).json


@pytest.mark.parametrize("name", NAMES)
def test_predict_array_with_invalid_record_returns_207(clients, name):
    records = [RECORD, RECORD | {"size": "large"}, RECORD | {"colour": "pink"}]
    answer = clients[name].post("/predict", json=records)
    assert answer.status_code == 207
    assert schema_errors(clients[name], "PredictionsOrFailures", answer.json) == []
    assert answer.json[1]["errors"][0]["row"] == 1
    plain = clients[name].post("/predict", json=[RECORD, RECORD])
    assert plain.status_code == 200
    assert schema_errors(clients[name], "Predictions", plain.json) == []


@pytest.mark.parametrize("name", MULTICLASS)
def test_predict_multiclass_label_is_the_most_probable(clients, services, name):
    answer = clients[name].post("/predict", json=RECORD).json
    probabilities = answer["probabilities"]
    assert list(probabilities) == list(CLASSES)
    assert math.isclose(math.fsum(probabilities.values()), 1.0, abs_tol=1e-12)
    assert answer["probability"] == max(probabilities.values()) == probabilities[answer["label"]]
    expected = services[name].model.manifest.golden[0].answer
    assert tuple(probabilities.values()) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", REGRESSIONS)
def test_predict_regression_returns_the_pipelines_value(clients, services, name):
    answer = clients[name].post("/predict", json=RECORD)
    assert answer.status_code == 200
    assert sorted(answer.json) == ["model_version", "value"]
    assert answer.json["value"] == pytest.approx(services[name].model.manifest.golden[0].answer)


@pytest.mark.parametrize("name", BINARY)
def test_predict_binary_without_threshold_returns_the_more_probable(clients, name):
    for size in (0.0, 50.5, 99.0):
        answer = clients[name].post("/predict", json=RECORD | {"size": size}).json
        assert "threshold" not in answer
        assert answer["label"] == ("yes" if answer["probability"] > 0.5 else "no")


@pytest.mark.parametrize("name", SCORECARDS)
def test_explain_contributions_add_up_to_the_score(clients, name):
    answer = clients[name].post("/predict?explain=true", json=RECORD)
    assert answer.status_code == 200
    assert schema_errors(clients[name], "Prediction", answer.json) == []
    explanation = answer.json
    score = explanation.get("score", explanation.get("log_odds"))
    scores = score if TASKS[name] == "multiclass" else {None: score}
    for key, expected in scores.items():
        start, adds = explanation["intercept"], explanation["contributions"]
        start, adds = (start, adds) if key is None else (start[key], adds[key])
        assert list(adds) == [feature.name for feature in FEATURES]
        assert math.isclose(start + math.fsum(adds.values()), expected, rel_tol=1e-12)
    assert ("log_odds" in explanation) == (name in ("log-odds", "rare", "huge", "bent log-odds"))


def test_explain_overflow_is_rejected(clients):
    huge = RECORD | {"size": 1e308}
    answer = clients["huge"].post("/predict", json=huge)
    assert (answer.status_code, answer.json["probability"]) == (200, 1.0)
    answer = clients["huge"].post("/predict?explain=true", json=[huge, RECORD])
    assert answer.status_code == 207
    assert answer.json[0]["errors"][0]["code"] == "out_of_range"


@pytest.mark.parametrize("name", PICKLED)
def test_explain_without_scorecard_returns_422(clients, name):
    answer = clients[name].post("/predict?explain=true", json=RECORD)
    assert (answer.status_code, answer.json["code"]) == (422, "not_explainable")


@pytest.mark.parametrize("name", NAMES)
def test_metadata_has_task_engine_and_reason(clients, name):
    answer = clients[name].get("/metadata")
    assert answer.status_code == 200
    assert answer.json["task"] == TASKS[name]
    assert answer.json["engine"] == ("pickle" if name in PICKLED else "scorecard")
    assert answer.json["engine_reason"] == ("no rule for Estimator" if name in PICKLED else "")
    assert answer.json["threshold"] is answer.json["base_rate"] is None


@pytest.mark.parametrize("name", PICKLED)
def test_predict_record_that_the_pipeline_rejects_is_an_error(clients, services, name):
    bad = RECORD | {"size": REFUSED}
    answer = clients[name].post("/predict", json=bad)
    assert (answer.status_code, answer.json["errors"][0]["code"]) == (422, "out_of_range")
    array = clients[name].post("/predict", json=[RECORD, bad, RECORD])
    assert array.status_code == 207
    assert ["errors" in each for each in array.json] == [False, True, False]
    assert array.json[1]["errors"][0]["row"] == 1
    rows, counts = parse_output(predict_csv(services[name], write_csv([RECORD, bad, RECORD])))
    assert [bool(row["error"]) for row in rows] == [False, True, False]
    assert rows[1]["prediction"] == ""
    assert counts.startswith("3 failed=1 warned=0")
    page = clients[name].post("/", data=FORM | {"size": "50"}, headers=HTML)
    assert page.status_code == 422
    assert "The pipeline raises" in page.text


@pytest.mark.parametrize("name", NAMES)
def test_predict_file_added_columns_follow_the_task(clients, name):
    records = [RECORD, RECORD | {"colour": "pink"}, RECORD | {"size": "x"}]
    answer = clients[name].post(
        "/predict_file?counts=true", data=write_csv(records), content_type="text/csv"
    )
    assert answer.status_code == 200
    rows, counts = parse_output(answer.text)
    added = [*ADDED[TASKS[name]], "warning", "error"]
    assert list(rows[0]) == [*RECORD, *added]
    assert counts.startswith("3 failed=1 warned=1")
    assert rows[1]["warning"].startswith("colour: training has not seen")
    assert rows[2]["error"].startswith("size: must be a number")
    assert all(rows[2][column] == "" for column in added[:-1])
    one = clients[name].post("/predict", json=RECORD).json
    if TASKS[name] == "regression":
        assert float(rows[0]["prediction"]) == pytest.approx(one["value"])
        return
    # A label that a spreadsheet would run as a formula has an apostrophe before it.
    assert rows[0]["prediction"].removeprefix("'") == one["label"]
    assert float(rows[0]["probability"]) == pytest.approx(one["probability"])
    for label, probability in one.get("probabilities", {}).items():
        assert float(rows[0][f"probability_{label}"]) == pytest.approx(probability)


def test_predict_file_reserved_column_returns_422(clients):
    text = "colour,size,probability_setosa\nred,1,1\n"
    answer = clients["softmax"].post(
        "/predict_file?counts=true", data=text, content_type="text/csv"
    )
    assert answer.status_code == 422
    assert answer.json["errors"][0]["code"] == "reserved_column"


def test_predict_file_formula_label_is_neutralized(services):
    records = [RECORD | {"colour": "blue", "size": size, "age": 1} for size in range(0, 100, 9)]
    answer = predict_csv(services["forest"], write_csv(records))
    rows, _ = parse_output(answer)
    assert '"probability_fine, or nearly"' in answer
    labels = {row["prediction"] for row in rows}
    assert "'=SUM(A1)" in labels
    assert labels <= {"'=SUM(A1)", "fine, or nearly", "setosa"}


odd_cells = st.one_of(
    st.sampled_from(
        ["", "1", "5.0", "1e1", "+3", "-0", ".5", "5.", "1_0", " 1", "nan", "inf", "1e400", "50"]
    ),
    st.sampled_from(["red", "pink", "true", "TRUE", "False", "t", "1" * 400, "200", "201", "é"]),
    st.floats(allow_nan=False).map(repr),
    st.floats(-5, 105).map(repr),
    st.integers(-(10**18), 10**18).map(str),
    st.integers(-2, 205).map(str),
    st.text(max_size=4),
)
cells = st.fixed_dictionaries(
    {
        "colour": st.one_of(st.sampled_from(["red", "green", "blue"]), odd_cells),
        "size": st.one_of(st.floats(0, 100).map(repr), odd_cells),
        "age": st.one_of(st.integers(0, 99).map(str), odd_cells),
        "shiny": st.one_of(st.sampled_from(["true", "false", ""]), odd_cells),
    }
)


@pytest.mark.parametrize("name", NAMES)
@relaxed
@given(rows=st.lists(cells, min_size=1, max_size=8))
def test_block_scorers_any_rows_write_the_same_bytes(services, name, rows):
    text = write_csv(rows)
    output = predict_csv(services[name], text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch, "choose_block_scorer", lambda header, model: RowScorer(model))
        expected_output = predict_csv(services[name], text)
    assert output == expected_output


@pytest.mark.parametrize("name", NAMES)
def test_choose_block_scorer_returns_the_fastest(services, name, monkeypatch):
    header, _ = batch.read_header(
        io.BytesIO(write_csv([RECORD]).encode()), services[name].signature, ()
    )
    scorer = choose_block_scorer(header, services[name].model)
    assert type(scorer) is (
        VectorizedScorer if name in ("log-odds", "rare", "huge") else FrameScorer
    )
    for module in (
        "slipway.serving.batch.vectorized_scorer",
        "slipway.serving.batch.typed_columns",
    ):
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "polars", None)
    assert type(choose_block_scorer(header, services[name].model)) is RowScorer


@pytest.mark.parametrize("name", PICKLED)
def test_block_scorers_doubtful_rows_of_a_pickle_have_the_same_bits(services, name):
    # The frame scorer checks a cell of blanks and an unseen colour separately.
    rows = [RECORD | {"size": i / 7, "colour": "pink" if i % 5 == 0 else "red"} for i in range(97)]
    rows[13] |= {"size": "x"}
    text = write_csv(rows)
    output = predict_csv(services[name], text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch, "choose_block_scorer", lambda header, model: RowScorer(model))
        assert predict_csv(services[name], text) == output


def test_predict_file_small_probabilities_are_formatted_as_python_does(services):
    rows = [RECORD | {"size": i / 8 - 0.0001, "colour": "green"} for i in range(1, 160)]
    answer, _ = parse_output(predict_csv(services["rare"], write_csv(rows)))
    texts = [row["probability"] for row in answer]
    assert texts == [repr(float(text)) for text in texts]
    assert any(text.endswith("e-05") for text in texts)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("path", ["/", "/?example=2", "/file", "/model", "/sample.csv"])
def test_pages_every_task_are_complete(clients, name, path):
    answer = clients[name].get(path, headers=HTML)
    assert answer.status_code == 200
    # The file page lists None among the texts that count as missing.
    assert "None" not in answer.text.replace('<code class="whole">None</code>', "")
    assert "UNSET" not in answer.text


@pytest.mark.parametrize("name", NAMES)
def test_answer_page_shows_the_prediction_of_the_api(clients, name):
    expected = clients[name].post("/predict", json=RECORD).json
    answer = clients[name].post("/", data=FORM, headers=HTML)
    assert answer.status_code == 200
    assert "UNSET" not in answer.text
    if TASKS[name] == "regression":
        assert f"To all digits, the value is {expected['value']}." in answer.text
        assert "EUR" in answer.text
    else:
        assert f"{expected['probability']:.4f}" in answer.text
    pushed = "What spoke for and against" if TASKS[name] == "multiclass" else "What pushed it"
    assert (pushed in answer.text) == (name in SCORECARDS)
    assert ("explain=true" in answer.text) == (name in SCORECARDS)


@pytest.mark.parametrize("name", MULTICLASS)
def test_answer_page_ranks_the_classes(clients, name):
    expected = clients[name].post("/predict", json=RECORD).json["probabilities"]
    answer = clients[name].post("/", data=FORM, headers=HTML)
    table = answer.text.split("The probability of each class")[1].split("</table>")[0]
    ranked = sorted(expected, key=lambda label: -expected[label])
    places = [table.index(f'<th scope="row">{label}</th>') for label in ranked]
    assert places == sorted(places)


@pytest.mark.parametrize("name", ["exponential", "calibrated"])
def test_answer_page_link_after_the_sum_is_explained(clients, name):
    answer = clients[name].post("/", data=FORM, headers=HTML)
    assert "on the scale of the model’s sum" in answer.text
    assert "log-odds" not in answer.text


@pytest.mark.parametrize("name", NAMES)
def test_model_page_shows_engine_and_terms(clients, name):
    answer = clients[name].get("/model", headers=HTML)
    assert answer.status_code == 200
    assert "Base rate" not in answer.text
    assert ("no rule for Estimator" in answer.text) == (name in PICKLED)
    plots = answer.text.count('role="img"')
    n_sums = {"multiclass": 3}.get(TASKS[name], 1) if name in SCORECARDS else 0
    assert plots == 2 * n_sums
    assert "nan" not in answer.text.split("What it takes")[0].split("What each feature")[-1]


def test_term_plot_partly_undefined_curve_is_drawn_where_defined():
    root = CurveTerm("size", (Affine(), Named("sqrt")), Pieces((), (0.0,), ((0.0, 1.0),)), 0.0)
    x = charts.choose_x_axis(root, FEATURES[1], [-4.0, 4.0])
    assert charts.find_range(root, x)[1] == pytest.approx(math.sqrt(x.high))
    plot = charts.term_plot(root, x, -1.0, 2.5)
    assert "nan" not in plot.lines["curve"]
    assert float(plot.lines["curve"].split(",")[0]) >= x.to_pixel(0.0)
    nowhere = charts.term_plot(root, charts.Axis(-4.0, -1.0, 0, 100), -1.0, 1.0)
    assert nowhere.lines["curve"] == ""
    straight = charts.term_plot(SlopeTerm("size", 1.0, 0.0, 0.0, 0.0), x, -5.0, 5.0)
    assert len(straight.lines["curve"].split()) == charts.SAMPLES + 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (152.13348416289605, "152.1"),
        (-1234567.8, "−1,234,568"),
        (0.00012345, "0.0001234"),
        (1e-20, "1.000e−20"),
        (1e30, "1.000e+30"),
        (0.0, "0"),
        (2.5, "2.5"),
    ],
)
def test_measured_number_has_four_digits(value, text):
    assert with_unit(value) == text
    assert with_unit(value, "EUR") == f"{text} EUR"


def test_decimals_depend_on_the_largest_number():
    largest = (0.0, 1.0, 250.0, 12345.0, 0.004, math.inf)
    assert [decimals(each) for each in largest] == [2, 2, 2, 0, 6, 2]
    assert signed(-12345.678, 0) == "−12,346"
    assert signed(0.00004, 2) == "0.00"
