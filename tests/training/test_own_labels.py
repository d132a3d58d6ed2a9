"""Custom models: the label equals that of ``predict``."""

import numpy as np
import pandas as pd
import pytest
from own_models import (
    assert_same_predictions,
    attempt,
    customers,
    rejection_message,
    save_and_serve,
)
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import (
    LogisticRegression,
    PassiveAggressiveClassifier,
    Perceptron,
    RidgeClassifier,
    SGDClassifier,
)
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC, NuSVC
from sklearn.tree import DecisionTreeClassifier

import slipway
from slipway.core.errors import SlipwayError


def numbers():
    X, y = customers()
    return X[["age", "spend"]], y


def three(X):
    return pd.qcut(X["spend"], 3, labels=["lo", "mid", "hi"]).astype(str)


def unscaled():
    draw = np.random.default_rng(1)
    X = pd.DataFrame({"income": draw.lognormal(11, 1, 240), "num": draw.normal(size=240)})
    y = pd.qcut(X["num"] + draw.normal(size=240), 3, labels=["lo", "mid", "hi"]).astype(str)
    far = pd.DataFrame({"income": draw.lognormal(14, 1, 60), "num": draw.normal(size=60)})
    return X, y, pd.concat([X.head(20), far], ignore_index=True)


@pytest.mark.parametrize(
    "estimator",
    [
        SGDClassifier(loss="log_loss", random_state=0),
        SGDClassifier(loss="modified_huber", random_state=0),
        OneVsRestClassifier(LogisticRegression(max_iter=20)),
        LogisticRegression(max_iter=20),
    ],
)
def test_label_of_saturated_probabilities_equals_predict(tmp_path, estimator):
    X, y, asked = unscaled()
    assert_same_predictions(save_and_serve(estimator.fit(X, y), X, y, tmp_path), asked)


def test_label_of_two_saturated_classes_equals_predict(tmp_path):
    X, _, asked = unscaled()
    y = (X["num"] > 0).astype(int)
    model = SGDClassifier(loss="log_loss", random_state=0).fit(X, y)
    assert_same_predictions(save_and_serve(model, X, y, tmp_path), asked)


def test_label_of_tied_probabilities_equals_predict(tmp_path):
    X = pd.DataFrame({"a": [0, 0, 1, 1, 2, 2] * 10})
    for y in (["x", "y"] * 30, ["b", "a", "c"] * 20, [True, False] * 30, [2, 10] * 30):
        for model in (DecisionTreeClassifier(), RandomForestClassifier(4, random_state=0)):
            assert_same_predictions(save_and_serve(model.fit(X, y), X, y, tmp_path), X.head(6))


SCORED = {
    "LinearSVC": LinearSVC(),
    "RidgeClassifier": RidgeClassifier(),
    "Perceptron": Perceptron(),
    "hinge": SGDClassifier(random_state=0),
    "SVC": SVC(),
    "NuSVC": NuSVC(nu=0.3),
    "one against one": OneVsOneClassifier(LinearSVC()),
    "passive": PassiveAggressiveClassifier(random_state=0),
}


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", SCORED)
def test_classifier_without_probabilities_has_a_label_and_decision_scores(tmp_path, classes, name):
    X, y = numbers()
    y = y if classes == 2 else three(X)
    model = make_pipeline(StandardScaler(), SCORED[name]).fit(X, y)
    served = save_and_serve(model, X, y, tmp_path)
    assert_same_predictions(served, X.head(12))
    answer = served.client.post("/predict", json={"age": 40, "spend": 20.5}).json
    assert "probability" not in answer
    for page in ("/", "/model", "/file", "/apidocs/", "/apispec_1.json", "/metadata"):
        assert served.client.get(page).status_code == 200


def test_positive_class_option_negates_the_scores(tmp_path):
    X, y = numbers()
    y = y.map({0: "stays", 1: "leaves"})
    for model in (LogisticRegression(), RandomForestClassifier(3, random_state=0)):
        served = save_and_serve(model.fit(X, y), X, y, tmp_path, positive="stays")
        answer = served.client.post("/predict", json={"age": 40, "spend": 20.5}).json
        row = pd.DataFrame({"age": [40], "spend": [20.5]})
        column = model.classes_.tolist().index("stays")
        expected = model.predict_proba(row)[0, column]
        assert answer["probability"] == pytest.approx(expected, abs=1e-12)
        assert answer["label"] == model.predict(row)[0]


def test_threshold_of_the_model_decides_the_label(tmp_path):
    X, y = numbers()
    for threshold in (0.2, 0.5, 0.9):
        inner = make_pipeline(StandardScaler(), LogisticRegression())
        model = FixedThresholdClassifier(inner, threshold=threshold).fit(X, y)
        assert_same_predictions(save_and_serve(model, X, y, tmp_path), X.head(30))
    calibrated = CalibratedClassifierCV(LinearSVC(), ensemble=False, cv=2).fit(X, y)
    assert_same_predictions(save_and_serve(calibrated, X, y, tmp_path), X.head(10))


@pytest.mark.parametrize("rows", [True, False], ids=["rows", "no rows"])
def test_multilabel_model_is_rejected(tmp_path, rows):
    X, y = numbers()
    several = np.column_stack([y, 1 - y, y])
    for model in (OneVsRestClassifier(LogisticRegression()), RandomForestClassifier(3)):
        model.fit(X, several)
        given = (X, several) if rows else (None, None)
        with pytest.raises(SlipwayError, match=r"several|3 columns"):
            slipway.save(model, *given, tmp_path / "model.pkl")
        assert "several" in rejection_message(model, tmp_path)


@pytest.mark.parametrize("labels", [[0, 1], [-1, 1], [1.0, 2.0], [True, False], ["é", "=a,b"]])
def test_classes_of_every_type_are_returned_as_texts(tmp_path, labels):
    X, y = numbers()
    y = np.array(labels)[y]
    assert_same_predictions(
        save_and_serve(LogisticRegression().fit(X, y), X, y, tmp_path), X.head(6)
    )


def test_single_class_is_predicted_or_rejected_with_one_sentence(tmp_path):
    X, _ = numbers()
    model = RandomForestClassifier(2, random_state=0).fit(X, ["only"] * len(X))
    message = attempt(lambda: save_and_serve(model, X, ["only"] * len(X), tmp_path))
    if isinstance(message, str):
        assert "class" in message
    else:
        assert_same_predictions(message, X.head(3))
