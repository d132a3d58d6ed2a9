"""Custom models of other packages and in other file formats."""

import gzip
import io
import pickle

import cloudpickle
import joblib
import lightgbm
import numpy as np
import pandas as pd
import pytest
import skops.io
import xgboost
from conftest import ROOT
from imblearn.ensemble import BalancedRandomForestClassifier
from imblearn.over_sampling import SMOTE, RandomOverSampler
from imblearn.pipeline import make_pipeline as make_sampling_pipeline
from imblearn.under_sampling import RandomUnderSampler
from own_models import (
    Served,
    add_and_serve,
    assert_same_predictions,
    customers,
    model_add,
    own_predictions,
    rejection_message,
    save_and_serve,
    serve,
    start_check_in_process,
)
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from slipway.cli import add_commands
from slipway.core.errors import SlipwayError
from slipway.core.settings import Settings
from slipway.web import create_app


def numbers():
    X, y = customers()
    return X[["age", "spend"]], y


@pytest.fixture(scope="module")
def fitted():
    X, y = customers()
    columns = make_column_transformer((OneHotEncoder(), ["plan"]), remainder=StandardScaler())
    return make_pipeline(columns, LogisticRegression()).fit(X, y)


@pytest.mark.parametrize(
    "sampler", [SMOTE(random_state=0), RandomOverSampler(), RandomUnderSampler()]
)
@pytest.mark.parametrize("road", ["save", "model add"])
def test_imbalanced_learn_sampler_has_no_effect_on_predict(tmp_path, sampler, road):
    X, y = numbers()
    model = make_sampling_pipeline(StandardScaler(), sampler, LogisticRegression()).fit(X, y)
    served = (
        save_and_serve(model, X, y, tmp_path)
        if road == "save"
        else add_and_serve(model, tmp_path, None)
    )
    assert_same_predictions(served, X.head(8))


def test_imbalanced_learn_forest_is_served(tmp_path):
    X, y = numbers()
    model = BalancedRandomForestClassifier(3, random_state=0).fit(X, y)
    assert_same_predictions(save_and_serve(model, X, y, tmp_path), X.head(8))


BOOSTERS = {
    "xgboost": lambda: xgboost.XGBClassifier(n_estimators=5, enable_categorical=True),
    "xgboost forest": lambda: xgboost.XGBRFClassifier(n_estimators=5),
    "lightgbm": lambda: lightgbm.LGBMClassifier(n_estimators=5, verbose=-1),
}


@pytest.mark.parametrize("name", BOOSTERS)
@pytest.mark.parametrize("classes", [2, 3])
def test_boosting_of_another_package_is_served(tmp_path, name, classes):
    X, y = numbers()
    y = y if classes == 2 else pd.qcut(X["spend"], 3, labels=False)
    model = BOOSTERS[name]().fit(X, y)
    served = save_and_serve(model, X, y, tmp_path)
    assert_same_predictions(served, X.head(8))
    gaps = X.head(2).astype(float)
    gaps.iloc[0, 0] = np.nan
    assert_same_predictions(served, gaps)


@pytest.mark.parametrize("name", ["xgboost", "lightgbm"])
def test_boosting_of_categories_is_served(tmp_path, name):
    X, y = customers()
    sizes = np.random.default_rng(8).choice(["S", "M", "L"], len(X))
    X = X.assign(
        size=pd.Categorical(sizes, ["S", "M", "L"], ordered=True),
        plan=X["plan"].astype("category"),
    )
    model = BOOSTERS[name]().fit(X, y ^ (sizes == "M"))
    served = save_and_serve(model, X, y, tmp_path)
    expected = assert_same_predictions(served, X.head(12))
    assert not any(isinstance(outcome, str) for outcome in expected)
    gap = X.head(2).copy()
    gap.loc[0, "plan"] = np.nan
    assert_same_predictions(served, gap)


@pytest.mark.parametrize("package", ["xgboost", "lightgbm"])
def test_boosting_regressor_is_served(tmp_path, package):
    X, _ = numbers()
    kinds = {
        "xgboost": xgboost.XGBRegressor(n_estimators=5),
        "lightgbm": lightgbm.LGBMRegressor(n_estimators=5, verbose=-1),
    }
    model = kinds[package].fit(X, X["spend"] * 2)
    assert_same_predictions(save_and_serve(model, X, X["spend"], tmp_path), X.head(8))


def joblib_bytes(model, **named):
    result = io.BytesIO()
    joblib.dump(model, result, **named)
    return result.getvalue()


FILES = {
    "joblib": joblib_bytes,
    "compressed joblib": lambda model: joblib_bytes(model, compress=3),
    "lzma joblib": lambda model: joblib_bytes(model, compress=("lzma", 3)),
    "bz2 joblib": lambda model: joblib_bytes(model, compress=("bz2", 3)),
    "gzip": lambda model: gzip.compress(pickle.dumps(model)),
    "skops": skops.io.dumps,
    "cloudpickle": cloudpickle.dumps,
    "protocol 4": lambda model: pickle.dumps(model, protocol=4),
}


@pytest.mark.parametrize("name", FILES)
def test_file_of_another_format_is_accepted(tmp_path, fitted, name):
    X, _ = customers()
    done = model_add(FILES[name](fitted), tmp_path)
    assert done.exit_code == 0, done.output
    assert_same_predictions(Served(fitted, serve(tmp_path / "added.pkl")), X.head(6))


@pytest.mark.parametrize("name", FILES)
def test_truncated_file_of_another_format_is_reported_as_such(tmp_path, fitted, name):
    content = FILES[name](fitted)
    message = rejection_message(content[: len(content) * 2 // 3], tmp_path)
    assert message.count("\n") == 1
    assert any(
        word in message for word in ("cut off", "truncated", "incomplete", "damaged", "cannot read")
    )


class _Around:
    """A custom class around a model."""

    def __init__(self, model):
        self.model = model


BAD = {
    "empty": (lambda model: b"", ("empty",)),
    "text": (lambda model: b"plan,age\nmax,3\n", ("not a pickle",)),
    "dict": (lambda model: pickle.dumps({"model": model, "columns": ["a"]}), ("dict", "model")),
    "list": (lambda model: pickle.dumps([model, model]), ("list",)),
    "unfitted": (
        lambda model: pickle.dumps(make_pipeline(StandardScaler(), LogisticRegression())),
        ("not fitted",),
    ),
    "onnx": (lambda model: b"\x08\x0a\x12\x08skl2onnx\x1a\x061.17.0", ("ONNX",)),
    "zip": (lambda model: b"PK\x03\x04" + bytes(60), ("zip",)),
    "array": (lambda model: pickle.dumps(np.arange(3)), ("ndarray",)),
}


@pytest.mark.parametrize("name", BAD)
def test_file_without_a_model_is_rejected_with_the_reason(tmp_path, fitted, name):
    make, words = BAD[name]
    message = rejection_message(make(fitted), tmp_path)
    assert message.count("\n") == 1
    assert all(word.lower() in message.lower() for word in words)


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_old_protocol_is_accepted_or_rejected_with_one_sentence(tmp_path, fitted, protocol):
    done = model_add(pickle.dumps(fitted, protocol), tmp_path)
    if done.exit_code == 0:
        assert_same_predictions(
            Served(fitted, serve(tmp_path / "added.pkl")), customers()[0].head(4)
        )
    else:
        assert "protocol" in done.output


def test_mlflow_folder_is_accepted(tmp_path, fitted):
    folder = tmp_path / "mlflow"
    folder.mkdir()
    (folder / "MLmodel").write_text("flavors:\n  sklearn:\n    pickled_model: model.pkl\n")
    (folder / "model.pkl").write_bytes(cloudpickle.dumps(fitted))
    runner = add_commands(create_app(ROOT, Settings(model=ROOT / "model.pkl"))).test_cli_runner()
    command = ["model", "add", str(folder), "--output", str(tmp_path / "added.pkl")]
    with start_check_in_process():
        done = runner.invoke(args=command)
    assert done.exit_code == 0, done.output
    assert_same_predictions(Served(fitted, serve(tmp_path / "added.pkl")), customers()[0].head(4))


def test_lambda_is_rejected_without_advice_to_allow_arbitrary_code(tmp_path):
    X, y = numbers()
    steps = (FunctionTransformer(lambda X: X * 2), StandardScaler(), LogisticRegression())
    model = make_pipeline(*steps).fit(X, y)
    message = rejection_message(cloudpickle.dumps(model), tmp_path)
    assert "module" in message
    advice = message.partition("SLIPWAY_PICKLE_ALLOW=")[2]
    for word in ("cloudpickle", "_make_function", "builtins", "functools"):
        assert word not in advice
    with pytest.raises(SlipwayError, match="module"):
        save_and_serve(model, X, y, tmp_path)


def test_custom_wrapper_class_is_rejected_by_name(tmp_path, fitted):
    message = rejection_message(pickle.dumps(_Around(fitted)), tmp_path)
    assert "_Around" in message
    with pytest.raises(SlipwayError, match="_Around"):
        save_and_serve(_Around(fitted), *customers(), tmp_path)
    assert own_predictions(fitted, customers()[0].head(1))
