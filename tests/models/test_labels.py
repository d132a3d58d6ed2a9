"""Labels equal predict in every format; scores replace missing probabilities."""

import copy
import csv
import io
import json
import math
import pickle
import warnings
from urllib.parse import urlencode

import msgspec
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from label_models import LABELS, MODELS, PROBABILITIES, SCORES, far_out, fitted, rows, write_fitted
from openapi_schema_validator import OAS30Validator
from openapi_spec_validator import validate
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.neighbors import LocalOutlierFactor
from sklearn.neural_network import MLPClassifier
from sklearn.svm import LinearSVC

import slipway
from slipway.compiler.sql import model_sql
from slipway.core.errors import SlipwayError
from slipway.core.settings import Settings
from slipway.models.features import Target
from slipway.models.labels import LabelledNumber, LabelledNumbers, Labels, without_label
from slipway.models.manifest import read_manifest, write_manifest
from slipway.models.predictor import load_predictor
from slipway.models.scorecard import LinearPredictor, Scorecard, SlopeTerm
from slipway.monitoring.smoke import Answer, CheckFailed, Service, SmokeTest
from slipway.reports.model_card import card_text, describe_card
from slipway.serving.batch import csv_stream as batch
from slipway.serving.batch.block_scorers import RowScorer
from slipway.serving.batch.csv_stream import predict_file
from slipway.serving.service import PredictionService
from slipway.training.packaging.probes import has_prediction
from slipway.web import create_app

FAR = far_out()
RECORDS = FAR.to_dict("records")
RECORD = {"income": 60_000.0, "num": 0.5}
HTML = {"Accept": "text/html"}
names = pytest.mark.parametrize("name", list(MODELS))


@pytest.fixture(scope="module")
def models():
    return {}


@pytest.fixture
def served(name, models, tmp_path_factory):
    """A fitted model and its prediction service."""
    if name not in models:
        model, folder = fitted(name), tmp_path_factory.mktemp("model")
        write_fitted(model, folder)
        models[name] = model, PredictionService(Settings(model=folder / "model.pkl"))
    return models[name]


def predicted(model, X=FAR):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(map(str, model.predict(X)))


def in_file(live, X=FAR):
    text = X.to_csv(index=False).encode()
    answered = b"".join(predict_file(io.BytesIO(text), live)).decode()
    return list(csv.DictReader(io.StringIO(answered, newline="")))


@names
def test_label_extreme_rows_equals_predict_in_every_format(name, served):
    model, live = served
    expected = predicted(model)
    bodies = [json.dumps(record).encode() for record in RECORDS]
    assert [json.loads(live.predict_json(body)[1])["label"] for body in bodies] == expected
    status, array = live.predict_json(json.dumps(RECORDS).encode())
    assert status == 200
    assert [answer["label"] for answer in json.loads(array)] == expected
    forms = [urlencode(record).encode() for record in RECORDS[::10]]
    assert [json.loads(live.predict_form(form)[1])["label"] for form in forms] == expected[::10]
    assert [row["prediction"] for row in in_file(live)] == expected


@names
def test_label_pickle_engine_equals_predict(name, served):
    model, live = served
    pickled = load_predictor(live.path, "pickle")
    records = list(FAR.itertuples(index=False, name=None))
    assert list(map(pickled.label, pickled.score(records))) == predicted(model)


@names
def test_golden_rows_contain_the_label_of_predict(name, served):
    model, live = served
    golden = live.model.manifest.golden
    X = pd.DataFrame([row.record for row in golden])[list(FAR)]
    assert [row.label for row in golden] == predicted(model, X)
    assert live.model.replay() is None


@pytest.mark.parametrize("name", list(PROBABILITIES))
def test_probabilities_equal_the_pipeline(name, served):
    model, live = served
    _, array = live.predict_json(json.dumps(RECORDS).encode())
    answers = json.loads(array)
    expected = model.predict_proba(FAR)
    if live.model.task == "binary":
        actual, expected = [answer["probability"] for answer in answers], expected[:, 1]
    else:
        actual = [list(answer["probabilities"].values()) for answer in answers]
        assert all(a["probability"] == a["probabilities"][a["label"]] for a in answers)
    # The last digits of saturated scorecards differ, because their scores are large.
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", list(SCORES))
def test_scores_equal_the_decision_function(name, served):
    model, live = served
    expected = model.decision_function(FAR)
    response = json.loads(live.predict_json(json.dumps(RECORD).encode())[1])
    number = "score" if expected.ndim == 1 else "scores"
    assert set(response) == {"label", number, "model_version"}
    _, array = live.predict_json(json.dumps(RECORDS).encode())
    actual = [answer[number] for answer in json.loads(array)]
    in_csv = [[row[key] for key in row if key.startswith("score")] for row in in_file(live)]
    if expected.ndim == 1:
        assert in_csv == [[repr(score)] for score in actual]
    else:
        assert all(list(scores) == list(model.classes_) for scores in actual)
        actual = [list(scores.values()) for scores in actual]
        assert in_csv == [list(map(repr, scores)) for scores in actual]
    # The rows contain numbers up to 1e13, so that the sum has the rounding error of its terms.
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("name", list(LABELS))
def test_model_without_scores_returns_only_a_label(name, served):
    _, live = served
    response = json.loads(live.predict_json(json.dumps(RECORD).encode())[1])
    assert set(response) == {"label", "model_version"}
    assert list(in_file(live)[0]) == ["income", "num", "prediction", "warning", "error"]
    with pytest.raises(SlipwayError, match="sum of one-feature terms"):
        live.predict_json(json.dumps(RECORD).encode(), explain=True)


@pytest.mark.parametrize(
    ("name", "engine"),
    [
        ("sgd log_loss", "scorecard"),
        ("softmax", "scorecard"),
        ("linear svc", "scorecard"),
        ("linear svc of three", "scorecard"),
        ("ridge", "scorecard"),
        ("hinge", "scorecard"),
        ("calibrated", "scorecard"),
        ("threshold of the score", "pickle"),
        ("svc", "pickle"),
    ],
)
def test_classifier_uses_the_expected_engine(name, engine, served):
    _, live = served
    assert live.model.engine == engine


@names
def test_predict_file_every_block_scorer_returns_the_same_bytes(name, served, monkeypatch):
    _, live = served
    text = FAR.to_csv(index=False).encode()
    fast = b"".join(predict_file(io.BytesIO(text), live))
    monkeypatch.setattr(batch, "choose_block_scorer", lambda header, model: RowScorer(model))
    assert b"".join(predict_file(io.BytesIO(text), live)) == fast


@pytest.mark.parametrize("name", ["sgd log_loss", "naive Bayes", "hinge", "svc of three", "ridge"])
def test_openapi_document_describes_the_response(name, served):
    _, live = served
    client = create_app(ROOT, live.settings).test_client()
    document = client.get("/apispec_1.json").json
    validate(document)
    whole = {"allOf": [{"$ref": "#/components/schemas/Prediction"}]}
    validator = OAS30Validator(whole | {"components": document["components"]})
    for query in ("", "?explain=true"):
        answer = client.post(f"/predict{query}", json=RECORD)
        if answer.status_code == 200:
            assert list(validator.iter_errors(answer.json)) == []
    assert list(validator.iter_errors({"label": live.model.target.classes[0]})) != []
    assert client.get("/metadata").json["golden"]["label"] in live.model.target.classes


@pytest.mark.parametrize("name", ["linear svc", "linear svc of three"])
def test_explain_contributions_add_up_to_the_score(name, served):
    _, live = served
    answer = json.loads(live.predict_json(json.dumps(RECORD).encode(), explain=True)[1])
    several = live.model.task == "multiclass"
    scores = answer["scores"] if several else {"": answer["score"]}
    for label, score in scores.items():
        start, adds = answer["intercept"], answer["contributions"]
        start, adds = (start[label], adds[label]) if several else (start, adds)
        assert math.isclose(start + math.fsum(adds.values()), score, rel_tol=1e-12)
    assert "log_odds" not in answer


@pytest.mark.parametrize("name", [*SCORES, *LABELS])
def test_pages_model_without_probabilities_mention_only_scores(name, served):
    _, live = served
    client = create_app(ROOT, live.settings).test_client()
    for path in ("/", "/file", "/model"):
        page = client.get(path, headers=HTML)
        assert page.status_code == 200
        assert "robability of" not in page.text
    assert "the model has no probabilities" in client.get("/model", headers=HTML).text
    answer = client.post("/", data={"income": "60000", "num": "0.5"}, headers=HTML)
    assert answer.status_code == 200
    expected = client.post("/predict", json=RECORD).json["label"]
    assert f"Answer: {expected}" in answer.text
    assert "UNSET" not in answer.text
    assert "nan" not in answer.text.split('id="answer"')[1].split("</section>")[0]
    assert "The model has no probabilities" in answer.text
    assert ("score of “" in answer.text) == (name in SCORES)


class ClientService(Service):
    """A service that forwards requests to a test client and can change the responses."""

    def __init__(self, client, change=lambda body: body):
        super().__init__("http://127.0.0.1")
        self._client, self._change = client, change

    def send(self, path, body=None, **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        method = "GET" if body is None else "POST"
        answer = self._client.open(path, method=method, data=body, headers=named)
        changed = self._change(answer.data) if body is not None else answer.data
        return Answer(answer.status_code, answer.headers, changed)


@pytest.mark.parametrize(
    "name", ["sgd log_loss", "linear svc", "svc of three", "hard voting", "hard voting of three"]
)
def test_smoke_compares_scores_and_labels_with_the_golden_row(name, served):
    _, live = served
    client = create_app(ROOT, live.settings).test_client()
    smoke = SmokeTest(ClientService(client))
    assert smoke.prediction().endswith(" as the golden row")
    assert smoke.file().endswith(" as the golden row")
    label = live.model.manifest.golden[0].label
    other = next(text for text in live.model.target.classes if text != label)
    changed = SmokeTest(
        ClientService(
            client,
            lambda body: body.replace(
                f'"label":"{label}"'.encode(), f'"label":"{other}"'.encode()
            ).replace(f",{label},".encode(), f",{other},".encode()),
        )
    )
    with pytest.raises(
        CheckFailed, match=f"the label '{other}' where the golden row has '{label}'"
    ):
        changed.prediction()
    if name in SCORES:
        with pytest.raises(CheckFailed, match=f"the label '{other}' where"):
            changed.file()


def test_page_label_differs_from_probability_explains_why(tmp_path):
    model = fitted("centroids")
    write_fitted(model, tmp_path)
    client = create_app(ROOT, Settings(model=tmp_path / "model.pkl")).test_client()
    actual = [client.post("/predict", json=record).json for record in RECORDS[:200]]
    other = next(
        i
        for i, response in enumerate(actual)
        if (response["probability"] > 0.5) != (response["label"] == "yes")
    )
    page = client.post("/", data=RECORDS[other], headers=HTML)
    assert f"the pipeline’s predict returns “{actual[other]['label']}”" in page.text


@pytest.mark.parametrize("name", ["linear svc", "ridge", "perceptron", "hinge"])
def test_model_card_and_sql_without_probabilities_contain_scores(name, served):
    _, live = served
    manifest = live.model.manifest
    assert "decision" in card_text(describe_card(manifest))
    text = model_sql(manifest, table="t", dialect="duckdb")
    assert "probability" not in text
    assert "score" in text


@pytest.mark.parametrize(
    "name", ["sgd log_loss", "sgd log_loss of two", "linear svc", "perceptron"]
)
def test_sql_label_equals_predict(name, served):
    duckdb = pytest.importorskip("duckdb")
    model, live = served
    connection = duckdb.connect()
    connection.register("given", FAR.assign(row=range(len(FAR))))
    statement = model_sql(live.model.manifest, table="given", dialect="duckdb", key="row")
    table = connection.sql(statement).df().sort_values("row")
    assert list(table["label"]) == predicted(model)


def label_by_hand(score, positive="yes", label_from="scores"):
    """Return the label that a scorecard with one term chooses for a score."""
    labels = Labels(Target("t", "t", ("no", "yes"), positive))
    card = Scorecard(
        (LinearPredictor(0.0, (SlopeTerm("x", 1.0, 0.0, 0.0, 0.0),)),), label_from=label_from
    )
    return labels.name(card.compile_answers()([(score,)])[0])


@pytest.mark.parametrize(
    ("score", "label"),
    [(1e-17, "yes"), (-1e-17, "no"), (0.0, "no"), (5e-324, "yes"), (41.0, "yes"), (-800.0, "no")],
)
def test_scorecard_label_follows_the_sign_of_the_score(score, label):
    assert label_by_hand(score) == label
    # If the other class is the positive one, the score has the opposite sign.
    other = label_by_hand(-score, positive="no")
    assert other == label


def test_scorecard_tied_probabilities_choose_the_first_class():
    assert label_by_hand(1e-17, label_from="answers") == "no"
    assert label_by_hand(1e-17, positive="no", label_from="answers") == "no"


@pytest.mark.parametrize("positive", ["no", "yes"])
def test_logistic_label_extreme_scores_equals_predict(tmp_path, positive):
    X = pd.DataFrame({"x": np.linspace(-1, 1, 50)})
    model = LogisticRegression().fit(X, np.where(X["x"] > 0, "yes", "no"))
    model.intercept_[:] = 0.0
    model.coef_[:] = 1.0
    sizes = [1e-320, 1e-17, 1e-16, 2e-16, 1e-15, 40.0, 50.0, 800.0, 1e300]
    far = pd.DataFrame({"x": [0.0, *sizes, *(-size for size in sizes)]})
    slipway.save(model, path=tmp_path / "model.pkl", positive=positive)
    live = PredictionService(Settings(model=tmp_path / "model.pkl"))
    assert live.model.engine == "scorecard"
    bodies = [json.dumps({"x": x}).encode() for x in far["x"]]
    labels = [json.loads(live.predict_json(body)[1])["label"] for body in bodies]
    assert labels == predicted(model, far)
    _, array = live.predict_json(json.dumps(far.to_dict("records")).encode())
    assert [answer["label"] for answer in json.loads(array)] == labels
    assert [row["prediction"] for row in in_file(live, far)] == labels


def test_threshold_of_the_owner_overrides_predict(tmp_path):
    model = fitted("sgd log_loss of two")
    manifest = write_fitted(model, tmp_path)
    probability = json.loads(
        PredictionService(Settings(model=tmp_path / "model.pkl")).predict_json(
            json.dumps(RECORD).encode()
        )[1]
    )["probability"]
    content = json.loads((tmp_path / "model.json").read_bytes()) | {"threshold": probability}
    (tmp_path / "model.json").write_text(json.dumps(content))
    for engine in ("scorecard", "pickle"):
        live = PredictionService(Settings(model=tmp_path / "model.pkl", engine=engine))
        answer = json.loads(live.predict_json(json.dumps(RECORD).encode())[1])
        assert (answer["label"], answer["threshold"]) == ("yes", answer["probability"])
        assert in_file(live, pd.DataFrame([RECORD]))[0]["prediction"] == "yes"
    assert manifest.threshold is None


@pytest.mark.parametrize("positive", ["no", "yes"])
def test_threshold_of_the_model_equals_predict_for_either_class(tmp_path, positive):
    X, y = rows(), np.where(rows()["num"] > 0, "yes", "no")
    model = FixedThresholdClassifier(
        LogisticRegression(), threshold=0.5, pos_label="yes", response_method="predict_proba"
    ).fit(X, y)
    model.estimator_.coef_[:] = [[0.0, 1.0]]
    model.estimator_.intercept_[:] = 0.0
    write_fitted(model, tmp_path, positive=positive)
    live = PredictionService(Settings(model=tmp_path / "model.pkl"))
    ties = pd.DataFrame({"income": 1.0, "num": [0.0, 1e-17, -1e-17, 0.25, -0.25]})
    _, array = live.predict_json(ties.to_json(orient="records").encode())
    assert [answer["label"] for answer in json.loads(array)] == predicted(model, ties)


def test_golden_row_wrong_label_is_rejected(tmp_path):
    manifest = write_fitted(fitted("naive Bayes"), tmp_path)
    first, *others = manifest.golden
    other = next(label for label in "abc" if label != first.label)
    golden = (msgspec.structs.replace(first, label=other), *others)
    write_manifest(msgspec.structs.replace(manifest, golden=golden), tmp_path / "model.pkl")
    with pytest.raises(SlipwayError, match="golden row 1 gets the label"):
        load_predictor(tmp_path / "model.pkl", "pickle")


def test_manifest_without_labels_and_measure_loads(tmp_path):
    write_fitted(fitted("softmax"), tmp_path)
    path = tmp_path / "model.json"
    content = json.loads(path.read_bytes())
    for row in content["golden"]:
        del row["label"]
    del content["scorecard"]["label_from"]
    assert "measure" not in content["signature"]["target"]
    path.write_text(json.dumps(content))
    assert read_manifest(tmp_path / "model.pkl").golden[0].label is None
    assert PredictionService(Settings(model=tmp_path / "model.pkl")).not_ready is None


MANY = np.c_[rows()["num"] > 0, rows()["num"] > 1, rows()["income"] > 60_000].astype(int)


@pytest.mark.parametrize("with_rows", [True, False])
@pytest.mark.parametrize(
    "model",
    [
        OneVsRestClassifier(LogisticRegression()),
        MultiOutputClassifier(LogisticRegression()),
        ClassifierChain(LogisticRegression()),
        RandomForestClassifier(3),
        MLPClassifier((3,), max_iter=5),
        RidgeClassifier(),
        LinearRegression(),
    ],
    ids=lambda model: type(model).__name__,
)
@pytest.mark.filterwarnings("ignore")
def test_save_several_targets_is_rejected(tmp_path, model, with_rows):
    model.fit(rows(), MANY)
    with pytest.raises(SlipwayError, match=r"several targets at once.*one model for each"):
        slipway.save(model, rows() if with_rows else None, path=tmp_path / "model.pkl")
    assert not list(tmp_path.iterdir())


def test_save_outlier_detector_without_predict_is_rejected(tmp_path):
    model = LocalOutlierFactor().fit(rows())
    with pytest.raises(SlipwayError, match="fit it with novelty=True"):
        slipway.save(model, rows(), path=tmp_path / "model.pkl")


@pytest.mark.parametrize(
    "classes",
    [
        (False, True),
        (0, 1),
        (-1, 1),
        (1.0, 2.0),
        ("", "x"),
        ("a\nb", "c,d"),
        ("=1+1", "@x"),
        ("-1", "+1"),
        ('"<b>', "é" * 300),
    ],
    ids=repr,
)
@pytest.mark.parametrize("model", [LogisticRegression(), LinearSVC()], ids=["log", "svc"])
def test_label_any_type_is_text_in_json_and_csv(tmp_path, model, classes):
    y = np.where(rows()["num"] > 0, classes[1], classes[0])
    model = model.fit(rows(), y)
    write_fitted(model, tmp_path)
    live = PredictionService(Settings(model=tmp_path / "model.pkl"))
    assert live.model.target.classes == tuple(map(str, model.classes_.tolist()))
    expected = predicted(model, FAR[:50])
    _, array = live.predict_json(json.dumps(RECORDS[:50]).encode())
    assert [answer["label"] for answer in json.loads(array)] == expected
    escaped = {"=1+1": "'=1+1", "@x": "'@x"}
    actual = [row["prediction"] for row in in_file(live, FAR[:50])]
    assert actual == [escaped.get(label, label) for label in expected]


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["1", 1], "the classes '1' and 1 are written alike as text"),
        (["=x", "'=x"], "are written alike in a CSV file"),
        (["\ud800", "x"], "is not valid Unicode"),
    ],
)
def test_save_ambiguous_classes_are_rejected(tmp_path, classes, message):
    model = LogisticRegression().fit(rows(), rows()["num"] > 0)
    model.classes_ = np.array(classes, dtype=object)
    with pytest.raises(SlipwayError, match=message):
        slipway.save(model, rows(), path=tmp_path / "model.pkl")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sgd log_loss", "hinge", "svc of three", "hard voting"])
def test_save_classifier_passes_the_start_check(tmp_path, name):
    model = fitted(name)
    manifest = slipway.save(model, rows(), path=tmp_path / "model.pkl")
    X = pd.DataFrame([manifest.golden[0].record])
    assert manifest.golden[0].label == predicted(model, X)[0]


def test_labelled_predictions_can_be_pickled_and_copied():
    for answer in (LabelledNumber(0.5, 1), LabelledNumbers((0.5, 0.5), 1)):
        for other in (pickle.loads(pickle.dumps(answer)), copy.deepcopy(answer)):
            assert other == answer
            assert other.label_index == 1
        assert type(without_label(answer)) in (float, tuple)
        assert has_prediction(answer)
