"""Models of many shapes on scikit-learn's data sets, saved and served over HTTP."""

import json

import numpy as np
import pandas as pd
import pytest
from conftest import GUNICORN, ROOT, running
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    load_wine,
)
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.feature_selection import SelectKBest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.linear_model import (
    HuberRegressor,
    LassoCV,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    SGDClassifier,
)
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    KBinsDiscretizer,
    MinMaxScaler,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    SplineTransformer,
    StandardScaler,
)
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from urllib3 import PoolManager
from xgboost import XGBClassifier

import slipway
from slipway.core.settings import Settings
from slipway.web import create_app

DATA = {
    "iris": load_iris,
    "wine": load_wine,
    "cancer": load_breast_cancer,
    "diabetes": load_diabetes,
    "digits": load_digits,
}


def bins():
    return KBinsDiscretizer(6, quantile_method="averaged_inverted_cdf")


SCORECARD = {
    "iris, multinomial": make_pipeline(StandardScaler(), LogisticRegression()),
    "iris, one against the rest": OneVsRestClassifier(LogisticRegression()),
    "iris, splines": make_pipeline(SplineTransformer(n_knots=4), LogisticRegression()),
    "wine, selected bins": make_pipeline(SelectKBest(k=5), bins(), LogisticRegression()),
    "wine, powers": make_pipeline(PowerTransformer(), SGDClassifier(loss="log_loss")),
    "cancer, scaled": make_pipeline(StandardScaler(), LogisticRegression()),
    "cancer, ranks": make_pipeline(
        QuantileTransformer(n_quantiles=50, output_distribution="normal"), LogisticRegression()
    ),
    "cancer, calibrated": make_pipeline(
        MinMaxScaler(),
        CalibratedClassifierCV(LogisticRegression(), method="isotonic", ensemble=False),
    ),
    "cancer, threshold": make_pipeline(
        StandardScaler(),
        FixedThresholdClassifier(
            LogisticRegression(), threshold=0.2, response_method="predict_proba"
        ),
    ),
    "diabetes, ridge": make_pipeline(StandardScaler(), Ridge()),
    "diabetes, lasso": make_pipeline(
        make_column_transformer((SplineTransformer(), ["bmi", "bp"]), remainder="passthrough"),
        LassoCV(),
    ),
    "diabetes, robust": HuberRegressor(max_iter=1000),
    "diabetes, counts": make_pipeline(bins(), PoissonRegressor()),
    "diabetes, log": TransformedTargetRegressor(
        make_pipeline(StandardScaler(), Ridge()), func=np.log1p, inverse_func=np.expm1
    ),
    "digits, multinomial": make_pipeline(MinMaxScaler(), LogisticRegression()),
}
PICKLE = {
    "iris, neighbours": KNeighborsClassifier(4),
    "iris, forest": RandomForestClassifier(12, random_state=0, n_jobs=-1),
    "iris, interactions": make_pipeline(PolynomialFeatures(2), LogisticRegression(max_iter=5000)),
    "wine, Bayes": GaussianNB(),
    "wine, discriminant": LinearDiscriminantAnalysis(),
    "cancer, boosting": HistGradientBoostingClassifier(max_iter=30, random_state=0),
    "cancer, tree": DecisionTreeClassifier(max_depth=4, random_state=0),
    "cancer, kernels": CalibratedClassifierCV(make_pipeline(StandardScaler(), SVC())),
    "cancer, vote": VotingClassifier(
        [("a", GaussianNB()), ("b", DecisionTreeClassifier(random_state=0))], voting="soft"
    ),
    "cancer, XGBoost": XGBClassifier(n_estimators=30, max_depth=3),
    "iris, XGBoost": XGBClassifier(n_estimators=20, max_depth=3),
    "diabetes, boosting": HistGradientBoostingRegressor(max_iter=30, random_state=0),
    "diabetes, Gaussian process": make_pipeline(StandardScaler(), GaussianProcessRegressor()),
    "digits, components": make_pipeline(PCA(12, random_state=0), LogisticRegression(max_iter=2000)),
}


def fitted(name, model):
    bunch = DATA[name.partition(",")[0]](as_frame=True)
    return model.fit(bunch.data, bunch.target), bunch.data, bunch.target


def expected(model, X):
    if not hasattr(model, "classes_"):
        return model.predict(X)
    probabilities = model.predict_proba(X)
    return probabilities if len(model.classes_) > 2 else probabilities[:, 1]


def given(answers, classes):
    """Return the numbers of predictions in scikit-learn's form."""
    if not classes:
        return np.array([answer["value"] for answer in answers])
    if len(classes) == 2:
        return np.array([answer["probability"] for answer in answers])
    return np.array([[answer["probabilities"][c] for c in classes] for answer in answers])


def assert_served(client, model, X, engine):
    """Predict 40 rows as an array, one by one and as a file, and compare with the model."""
    sample = X.sample(40, random_state=1)
    records = json.loads(sample.to_json(orient="records", double_precision=15))
    sample = pd.DataFrame(records)[list(X.columns)]
    metadata = client.get("/metadata").json
    assert metadata["engine"] == engine
    classes = metadata["signature"]["target"].get("classes", [])
    answers = client.post("/predict", json=records).json
    np.testing.assert_allclose(
        given(answers, classes), expected(model, sample), rtol=1e-11, atol=1e-12
    )
    for record, answer in zip(records[:5], answers, strict=False):
        single = client.post("/predict", json=record)
        assert single.status_code == 200
        # numpy rounds differently for many rows and for one.
        alone, among = given([single.json], classes), given([answer], classes)
        np.testing.assert_allclose(alone, among, rtol=1e-12, atol=1e-15)
    if classes:
        wanted = [str(label) for label in model.predict(sample)]
        assert [answer["label"] for answer in answers] == wanted
    file = client.post("/predict_file", data=sample.to_csv(index=False), content_type="text/csv")
    message = file.text.splitlines()
    place = message[0].split(",").index("prediction")
    predicted = [line.split(",")[place] for line in message[1:]]
    assert predicted == [str(answer.get("label", answer.get("value"))) for answer in answers]
    for page in ("/", "/model", "/file", "/apidocs/", "/apispec_1.json"):
        assert client.get(page).status_code == 200


@pytest.mark.parametrize("name", SCORECARD)
def test_gallery_linear_model_is_served_by_its_scorecard(tmp_path, name):
    model, X, y = fitted(name, SCORECARD[name])
    slipway.save(model, X, y, tmp_path / "model.pkl", name=name)
    client = create_app(ROOT, Settings(model=tmp_path / "model.pkl")).test_client()
    assert_served(client, model, X, "scorecard")
    record = json.loads(X.head(1).to_json(orient="records", double_precision=15))[0]
    explained = client.post("/predict?explain=true", json=record).json
    assert "contributions" in explained


@pytest.mark.parametrize("name", PICKLE)
def test_gallery_other_model_is_served_by_its_pickle(tmp_path, name):
    model, X, y = fitted(name, PICKLE[name])
    manifest = slipway.save(model, X, y, tmp_path / "model.pkl", name=name)
    assert manifest.reason
    client = create_app(ROOT, Settings(model=tmp_path / "model.pkl")).test_client()
    assert_served(client, model, X, "pickle")
    record = json.loads(X.head(1).to_json(orient="records", double_precision=15))[0]
    refused = client.post("/predict?explain=true", json=record)
    assert (refused.status_code, refused.json["code"]) == (422, "not_explainable")


@pytest.mark.slow
def test_pickle_with_openmp_threads_survives_a_fork(tmp_path):
    """OpenMP's threads do not survive a fork, and Gunicorn forks after the golden rows."""
    model, X, y = fitted("cancer, XGBoost", PICKLE["cancer, XGBoost"])
    slipway.save(model, X, y, tmp_path / "model.pkl")
    records = json.loads(X.head(200).to_json(orient="records", double_precision=15))
    probabilities = expected(model, pd.DataFrame(records))
    environ = {"SLIPWAY_MODEL": str(tmp_path / "model.pkl")}
    with running(*GUNICORN, "--workers=2", **environ) as (base, _):
        pool = PoolManager(timeout=60)
        for _ in range(8):
            answers = pool.request("POST", f"{base}/predict", json=records).json()
            np.testing.assert_allclose(
                [answer["probability"] for answer in answers], probabilities, rtol=0, atol=1e-12
            )
