"""Every task through every front: several classes, values, two classes without a threshold."""

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
    ColumnsScorer,
    FusedScorer,
    RowScorer,
    choose_block_scorer,
)
from slipway.serving.batch.csv_stream import predict_file
from slipway.serving.service import PredictionService
from slipway.web import create_app

HTML = {"Accept": "text/html"}
FORM = {"colour": "red", "size": "2.5", "age": "7", "shiny": "true"}
ADDED = {
    "multiclass": ["prediction", "probability", *(f"probability_{each}" for each in CLASSES)],
    "regression": ["prediction"],
    "binary": ["prediction", "probability"],
}
NAMES = list(TASKS)
OF_CLASSES = [name for name, task in TASKS.items() if task == "multiclass"]
OF_VALUES = [name for name, task in TASKS.items() if task == "regression"]
OF_TWO = [name for name, task in TASKS.items() if task == "binary"]
PICKLED = [name for name in TASKS if name not in SCORECARDS]
relaxed = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return {name: write_model(name, tmp_path_factory.mktemp("model")) for name in TASKS}


@pytest.fixture(scope="module")
def lives(paths):
    return {name: PredictionService(Settings(model=path)) for name, path in paths.items()}


@pytest.fixture(scope="module")
def clients(paths):
    apps = {name: create_app(ROOT, Settings(model=path)) for name, path in paths.items()}
    return {name: app.test_client() for name, app in apps.items()}


def conforms(client, schema, given):
    """Hold an answer against the API document."""
    document = client.get("/apispec_1.json").json
    whole = {"allOf": [{"$ref": f"#/components/schemas/{schema}"}]}
    validator = OAS30Validator(whole | {"components": document["components"]})
    return [error.message for error in validator.iter_errors(given)]


def in_file(live, text):
    return b"".join(predict_file(io.BytesIO(text.encode()), live, counts=True)).decode()


def rows_of(answer):
    rows, _, counts = answer.rpartition("# rows=")
    return list(csv.DictReader(io.StringIO(rows, newline=""))), counts


def csv_text(records):
    made = io.StringIO(newline="")
    writer = csv.DictWriter(made, [feature.name for feature in FEATURES], lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return made.getvalue()


@pytest.mark.parametrize("name", NAMES)
def test_document_is_valid_and_its_examples_are_answered(clients, name):
    document = clients[name].get("/apispec_1.json").json
    validate(document)
    example = document["components"]["schemas"]["Record"]["example"]
    assert clients[name].post("/predict", json=example).status_code == 200
    assert "positive class" not in str(document)
    assert ("EUR" in str(document)) == (TASKS[name] == "regression")


@pytest.mark.parametrize("name", NAMES)
def test_predict_one_conforms_to_the_document(clients, name):
    for record in (RECORD, RECORD | {"colour": "pink", "age": None}):
        answer = clients[name].post("/predict", json=record)
        assert answer.status_code == 200
        assert conforms(clients[name], "Prediction", answer.json) == []
    assert [warning["field"] for warning in answer.json["warnings"]] == ["colour"]
    assert conforms(clients[name], "Prediction", {"label": "setosa"}) != []


@pytest.mark.parametrize("name", NAMES)
def test_predict_form_answers_as_json_does(clients, name):
    answer = clients[name].post("/predict", data=FORM)
    assert answer.status_code == 200
    assert answer.json == clients[name].post("/predict", json=RECORD).json


@pytest.mark.parametrize("name", NAMES)
def test_predict_array_answers_each_record_in_its_place(clients, name):
    records = [RECORD, RECORD | {"size": "large"}, RECORD | {"colour": "pink"}]
    answer = clients[name].post("/predict", json=records)
    assert answer.status_code == 207
    assert conforms(clients[name], "PredictionsOrFailures", answer.json) == []
    assert answer.json[1]["errors"][0]["row"] == 1
    plain = clients[name].post("/predict", json=[RECORD, RECORD])
    assert plain.status_code == 200
    assert conforms(clients[name], "Predictions", plain.json) == []


@pytest.mark.parametrize("name", OF_CLASSES)
def test_label_of_several_classes_is_the_most_probable(clients, lives, name):
    answer = clients[name].post("/predict", json=RECORD).json
    probabilities = answer["probabilities"]
    assert list(probabilities) == list(CLASSES)
    assert math.isclose(math.fsum(probabilities.values()), 1.0, abs_tol=1e-12)
    assert answer["probability"] == max(probabilities.values()) == probabilities[answer["label"]]
    due = lives[name].model.manifest.golden[0].answer
    assert tuple(probabilities.values()) == pytest.approx(due, abs=1e-12)


@pytest.mark.parametrize("name", OF_VALUES)
def test_value_is_the_models_own(clients, lives, name):
    answer = clients[name].post("/predict", json=RECORD)
    assert answer.status_code == 200
    assert sorted(answer.json) == ["model_version", "value"]
    assert answer.json["value"] == pytest.approx(lives[name].model.manifest.golden[0].answer)


@pytest.mark.parametrize("name", OF_TWO)
def test_two_classes_without_a_threshold_give_the_more_probable(clients, name):
    for size in (0.0, 50.5, 99.0):
        answer = clients[name].post("/predict", json=RECORD | {"size": size}).json
        assert "threshold" not in answer
        assert answer["label"] == ("yes" if answer["probability"] > 0.5 else "no")


@pytest.mark.parametrize("name", SCORECARDS)
def test_explain_adds_up_to_the_score(clients, name):
    answer = clients[name].post("/predict?explain=true", json=RECORD)
    assert answer.status_code == 200
    assert conforms(clients[name], "Prediction", answer.json) == []
    told = answer.json
    score = told.get("score", told.get("log_odds"))
    each = score if TASKS[name] == "multiclass" else {None: score}
    for key, due in each.items():
        start, adds = told["intercept"], told["contributions"]
        start, adds = (start, adds) if key is None else (start[key], adds[key])
        assert list(adds) == [feature.name for feature in FEATURES]
        assert math.isclose(start + math.fsum(adds.values()), due, rel_tol=1e-12)
    assert ("log_odds" in told) == (name in ("log-odds", "rare", "huge", "bent log-odds"))


def test_explain_numbers_too_large_to_be_told_is_refused(clients):
    huge = RECORD | {"size": 1e308}
    answer = clients["huge"].post("/predict", json=huge)
    assert (answer.status_code, answer.json["probability"]) == (200, 1.0)
    answer = clients["huge"].post("/predict?explain=true", json=[huge, RECORD])
    assert answer.status_code == 207
    assert answer.json[0]["errors"][0]["code"] == "out_of_range"


@pytest.mark.parametrize("name", PICKLED)
def test_explain_without_a_scorecard_is_refused(clients, name):
    answer = clients[name].post("/predict?explain=true", json=RECORD)
    assert (answer.status_code, answer.json["code"]) == (422, "not_explainable")


@pytest.mark.parametrize("name", NAMES)
def test_metadata_says_task_engine_and_why(clients, name):
    answer = clients[name].get("/metadata")
    assert answer.status_code == 200
    assert answer.json["task"] == TASKS[name]
    assert answer.json["engine"] == ("pickle" if name in PICKLED else "scorecard")
    assert answer.json["engine_reason"] == ("no rule for Estimator" if name in PICKLED else "")
    assert answer.json["threshold"] is answer.json["base_rate"] is None


@pytest.mark.parametrize("name", PICKLED)
def test_record_that_the_pipeline_refuses_is_an_error_of_its_own(clients, lives, name):
    bad = RECORD | {"size": REFUSED}
    answer = clients[name].post("/predict", json=bad)
    assert (answer.status_code, answer.json["errors"][0]["code"]) == (422, "out_of_range")
    array = clients[name].post("/predict", json=[RECORD, bad, RECORD])
    assert array.status_code == 207
    assert ["errors" in each for each in array.json] == [False, True, False]
    assert array.json[1]["errors"][0]["row"] == 1
    rows, counts = rows_of(in_file(lives[name], csv_text([RECORD, bad, RECORD])))
    assert [bool(row["error"]) for row in rows] == [False, True, False]
    assert rows[1]["prediction"] == ""
    assert counts.startswith("3 failed=1 warned=0")
    page = clients[name].post("/", data=FORM | {"size": "50"}, headers=HTML)
    assert page.status_code == 422
    assert "The pipeline raises" in page.text


@pytest.mark.parametrize("name", NAMES)
def test_file_columns_follow_the_task(clients, name):
    records = [RECORD, RECORD | {"colour": "pink"}, RECORD | {"size": "x"}]
    answer = clients[name].post(
        "/predict_file?counts=true", data=csv_text(records), content_type="text/csv"
    )
    assert answer.status_code == 200
    rows, counts = rows_of(answer.text)
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
    # A label that a spreadsheet would run has an apostrophe before it.
    assert rows[0]["prediction"].removeprefix("'") == one["label"]
    assert float(rows[0]["probability"]) == pytest.approx(one["probability"])
    for label, probability in one.get("probabilities", {}).items():
        assert float(rows[0][f"probability_{label}"]) == pytest.approx(probability)


def test_file_with_a_column_that_is_added_is_refused(clients):
    text = "colour,size,probability_setosa\nred,1,1\n"
    answer = clients["softmax"].post(
        "/predict_file?counts=true", data=text, content_type="text/csv"
    )
    assert answer.status_code == 422
    assert answer.json["errors"][0]["code"] == "reserved_column"


def test_file_label_that_would_run_in_a_spreadsheet_is_neutralised(lives):
    records = [RECORD | {"colour": "blue", "size": size, "age": 1} for size in range(0, 100, 9)]
    answer = in_file(lives["forest"], csv_text(records))
    rows, _ = rows_of(answer)
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
def test_every_way_gives_the_same_bytes(lives, name, rows):
    text = csv_text(rows)
    fast = in_file(lives[name], text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch, "choose_way", lambda header, model: RowScorer(model))
        careful = in_file(lives[name], text)
    assert fast == careful


@pytest.mark.parametrize("name", NAMES)
def test_way_is_the_quickest_that_the_model_has(lives, name, monkeypatch):
    header, _ = batch.read_header(
        io.BytesIO(csv_text([RECORD]).encode()), lives[name].signature, ()
    )
    way = choose_block_scorer(header, lives[name].model)
    assert type(way) is (FusedScorer if name in ("log-odds", "rare", "huge") else ColumnsScorer)
    for module in (
        "slipway.serving.batch.vectorized_scorer",
        "slipway.serving.batch.typed_columns",
    ):
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "polars", None)
    assert type(choose_block_scorer(header, lives[name].model)) is RowScorer


@pytest.mark.parametrize("name", PICKLED)
def test_pickle_gives_the_same_bits_whichever_rows_are_doubtful(lives, name):
    # An empty optional cell of blanks, or an unseen colour, is left to the careful way.
    rows = [RECORD | {"size": i / 7, "colour": "pink" if i % 5 == 0 else "red"} for i in range(97)]
    rows[13] |= {"size": "x"}
    text = csv_text(rows)
    fast = in_file(lives[name], text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch, "choose_way", lambda header, model: RowScorer(model))
        assert in_file(lives[name], text) == fast


def test_file_small_probabilities_are_written_as_python_does(lives):
    rows = [RECORD | {"size": i / 8 - 0.0001, "colour": "green"} for i in range(1, 160)]
    answer, _ = rows_of(in_file(lives["rare"], csv_text(rows)))
    texts = [row["probability"] for row in answer]
    assert texts == [repr(float(text)) for text in texts]
    assert any(text.endswith("e-05") for text in texts)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("path", ["/", "/?example=2", "/file", "/model", "/sample.csv"])
def test_page_is_whole(clients, name, path):
    answer = clients[name].get(path, headers=HTML)
    assert answer.status_code == 200
    # The file page lists None among the texts that count as missing.
    assert "None" not in answer.text.replace('<code class="whole">None</code>', "")
    assert "UNSET" not in answer.text


@pytest.mark.parametrize("name", NAMES)
def test_answer_page_shows_what_the_api_answers(clients, name):
    due = clients[name].post("/predict", json=RECORD).json
    answer = clients[name].post("/", data=FORM, headers=HTML)
    assert answer.status_code == 200
    assert "UNSET" not in answer.text
    if TASKS[name] == "regression":
        assert f"To all digits, the value is {due['value']}." in answer.text
        assert "EUR" in answer.text
    else:
        assert f"{due['probability']:.4f}" in answer.text
    pushed = "What spoke for and against" if TASKS[name] == "multiclass" else "What pushed it"
    assert (pushed in answer.text) == (name in SCORECARDS)
    assert ("explain=true" in answer.text) == (name in SCORECARDS)


@pytest.mark.parametrize("name", OF_CLASSES)
def test_answer_page_ranks_the_classes(clients, name):
    due = clients[name].post("/predict", json=RECORD).json["probabilities"]
    answer = clients[name].post("/", data=FORM, headers=HTML)
    table = answer.text.split("The probability of each class")[1].split("</table>")[0]
    ranked = sorted(due, key=lambda label: -due[label])
    places = [table.index(f'<th scope="row">{label}</th>') for label in ranked]
    assert places == sorted(places)


@pytest.mark.parametrize("name", ["exponential", "calibrated"])
def test_answer_page_says_that_a_last_step_follows_the_sum(clients, name):
    answer = clients[name].post("/", data=FORM, headers=HTML)
    assert "on the scale of the model’s sum" in answer.text
    assert "log-odds" not in answer.text


@pytest.mark.parametrize("name", NAMES)
def test_model_page_says_what_answers_and_draws_the_terms(clients, name):
    answer = clients[name].get("/model", headers=HTML)
    assert answer.status_code == 200
    assert "Base rate" not in answer.text
    assert ("no rule for Estimator" in answer.text) == (name in PICKLED)
    plots = answer.text.count('role="img"')
    n_sums = {"multiclass": 3}.get(TASKS[name], 1) if name in SCORECARDS else 0
    assert plots == 2 * n_sums
    assert "nan" not in answer.text.split("What it takes")[0].split("What each feature")[-1]


def test_curve_that_ends_where_it_is_undefined_is_drawn_as_far_as_it_goes():
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
def test_measured_has_four_figures(value, text):
    assert with_unit(value) == text
    assert with_unit(value, "EUR") == f"{text} EUR"


def test_decimals_follow_the_largest_number():
    largest = (0.0, 1.0, 250.0, 12345.0, 0.004, math.inf)
    assert [decimals(each) for each in largest] == [2, 2, 2, 0, 6, 2]
    assert signed(-12345.678, 0) == "−12,346"
    assert signed(0.00004, 2) == "0.00"
