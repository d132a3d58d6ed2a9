"""Pages of models without evaluations, with flags and free texts, and without a scorecard."""

import hashlib
import pickle

import msgspec
import pytest
import sklearn
from conftest import ROOT
from sklearn.dummy import DummyClassifier
from sklearn.pipeline import Pipeline
from test_pages import Page, send

from slipway.core.settings import Settings
from slipway.models.features import Feature, Target
from slipway.models.manifest import GoldenRow, write_manifest
from slipway.models.scorecard import LinearPredictor, Scorecard, SlopeTerm, TableTerm
from slipway.models.signature import Signature
from slipway.models.stages import sigmoid
from slipway.web import create_app


def create_other_app(folder, scorecard, pipeline, manifest):
    """Create the app of another model, with flags and free texts, without evaluations."""
    features = (
        Feature("colour", "category", "Any colour", "red", nullable=True),
        Feature("member", "flag", "Whether a member", True),
        Feature("vip", "flag", "Whether known", None, nullable=True),
        Feature("amount", "number", "Amount paid", 2.5, unit="EUR", minimum=-5),
    )
    target = Target("bought", "Buys it", ("no", "yes"), "yes")
    record = {"colour": None, "member": False, "vip": None, "amount": 1.0}
    content = pickle.dumps(pipeline)
    bars = msgspec.structs.replace(
        manifest,
        name="shop",
        title="Who buys?",
        sha256=hashlib.sha256(content).hexdigest(),
        signature=Signature(features, target),
        scorecard=scorecard,
        evaluations={},
        golden=(GoldenRow(record, sigmoid(0.1) if scorecard else 0.25),),
        libraries={"scikit-learn": sklearn.__version__},
    )
    (folder / "model.pkl").write_bytes(content)
    write_manifest(bars, folder / "model.pkl")
    return create_app(ROOT, Settings(model=folder / "model.pkl"))


@pytest.fixture
def other_client(tmp_path, manifest):
    terms = (
        TableTerm("colour", ("red",), (0.2,), 0.0, 0.0),
        TableTerm("member", (False, True), (-0.1, 0.3), 0.0, 0.0),
        TableTerm("vip", (False, True), (0.0, 0.0), 0.0, 0.0),
        SlopeTerm("amount", 0.2, 0.0, 0.0, 0.0),
    )
    return create_other_app(
        tmp_path, Scorecard((LinearPredictor(0.0, terms),)), "not opened", manifest
    ).test_client()


@pytest.fixture
def unexplained_client(tmp_path, manifest):
    estimator = DummyClassifier().fit([[0]] * 4, [0, 0, 0, 1])
    pipeline = Pipeline([("model", estimator)])
    return create_other_app(tmp_path, None, pipeline, manifest).test_client()


def test_other_model_form_has_flags_and_free_texts(other_client):
    response = other_client.get("/")
    assert response.status_code == 200
    assert "Who buys?" in response.text
    assert "light" not in Page(response).text
    assert '<option value="true" selected>true</option>' in response.text
    assert '<option value="" selected>not known</option>' in response.text
    assert Page(response).fields == {"colour": "red", "member": "true", "vip": "", "amount": "2.5"}


def test_other_model_returns_explained_prediction(other_client):
    response = send(other_client, {"colour": "blue", "member": "true", "amount": "10"})
    assert response.status_code == 200
    assert "91% probability of “yes”" in Page(response).text
    assert "Amount <span>10 EUR</span>" in response.text
    assert "The other" not in response.text


def test_other_model_invalid_flag_is_marked(other_client):
    response = send(other_client, {"member": "perhaps", "amount": "-6"})
    assert response.status_code == 422
    assert "Must be true or false." in response.text
    assert "Must be a number, -5 EUR or more." in response.text
    assert "perhaps (not in the list)" in response.text


def test_other_model_page_without_evaluations_is_complete(other_client):
    response = other_client.get("/model")
    assert response.status_code == 200
    assert "How good it is" not in response.text
    assert "What each feature can add" in response.text
    assert "any text" in response.text


def test_other_model_sample_has_flags_and_missing_values(other_client):
    assert other_client.get("/sample.csv").text == "colour,member,vip,amount\r\n,false,,1\r\n"


def test_unexplained_model_returns_prediction_without_bars(unexplained_client):
    response = send(unexplained_client, {"member": "true", "amount": "1"})
    assert response.status_code == 200
    assert "What pushed it" not in response.text
    assert "explain=true" not in response.text
    assert "curl -s" in response.text


def test_unexplained_model_page_is_complete(unexplained_client):
    response = unexplained_client.get("/model")
    assert response.status_code == 200
    assert "the pickle" in response.text
    assert "What each feature can add" not in response.text
