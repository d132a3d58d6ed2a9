"""Pickles are loaded through an allowlist: models load, and other pickles run nothing."""

import contextlib
import functools
import hashlib
import pickle

import msgspec
import numpy as np
import pandas as pd
import pytest
import sklearn
from attack_pickles import ATTACKS, NOT_TRIED, attack, text
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_selection import SelectKBest, mutual_info_classif
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import make_scorer, roc_auc_score
from sklearn.model_selection import GridSearchCV, TunedThresholdClassifierCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from versions import run
from xgboost import XGBClassifier

from slipway.core.errors import ModelError
from slipway.core.settings import Settings
from slipway.models.manifest import write_manifest
from slipway.models.predictor import load_predictor
from slipway.models.unpickling.pickles import PickleRejected, load_pickle
from slipway.training.packaging.stamps import pickled_sklearn_version
from slipway.web import create_app

X = np.random.default_rng(0).normal(size=(80, 4))
X[:, 0] = np.round(X[:, 0] + 5)
Y = (X[:, 0] - 6 + X[:, 1] ** 2 > 0).astype(int)
PROTOCOL = pickle.PROTO + b"\4"


def double(values):
    return values * 2


class Doubled(FunctionTransformer):
    """A custom transformer."""


@pytest.mark.parametrize("name", sorted(set(ATTACKS) - NOT_TRIED))
def test_attack_python_unpickler_runs_it(tmp_path, name):
    """Check that the attacks work, otherwise the next test would prove nothing."""
    canary = tmp_path / "canary"
    try:
        pickle.loads(attack(name, canary))
    except Exception as error:
        outcome = repr(error)
    else:
        outcome = "the pickle was loaded"
    assert canary.exists(), outcome


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_is_rejected_and_runs_nothing(tmp_path, name):
    canary = tmp_path / "canary"
    content = attack(name, canary)
    with pytest.raises(PickleRejected) as rejected:
        load_pickle(content, {})
    assert not canary.exists()
    assert "posix:system" not in rejected.value.message


def named(module, name):
    return text(module) + text(name) + pickle.STACK_GLOBAL


PIPELINE = named("sklearn.pipeline", "Pipeline")
BOOSTER = named("xgboost.core", "Booster")
DICT = named("builtins", "dict")
COUNTER = named("collections", "Counter") + b"}\x85R"
GUARDED = {
    "changes a class": PIPELINE + b"N}" + text("predict") + DICT + b"s" + pickle.TUPLE2 + b"b",
    "binds arguments to an object": named("functools", "partial") + DICT + b"\x85R",
    "calls Booster": BOOSTER + b"NN" + text("file") + pickle.TUPLE3 + b"R",
    "constructs an object": BOOSTER + b"N" + pickle.TUPLE1 + pickle.NEWOBJ,
    "constructs an object with": BOOSTER + b")}" + text("model_file") + text("f") + b"s" + b"\x92",
    "sets a special method": PIPELINE + b")\x81}" + text("__setstate__") + DICT + b"sb",
    "restores an object": PIPELINE + b")\x81" + COUNTER + b"b",
    "contains an unknown method name": PIPELINE
    + b")\x81}"
    + text("response_method")
    + text("dump")
    + b"sb",
    "replaces the method predict": PIPELINE + b")\x81}" + text("predict") + DICT + b"sb",
    "appends to an object that is not a list": COUNTER + text("a") + b"a",
    "appends to an object that is not a lis": COUNTER + b"(" + text("a") + b"e",
    "adds to an object that is not a set": COUNTER + b"(" + text("a") + pickle.ADDITEMS,
    "sets items of an object": BOOSTER + b")\x81" + text("a") + b"Ns",
    "an unsupported dictionary key": b"}" + BOOSTER + b")\x81Ns",
    "uses an instruction": text("key") + pickle.BINPERSID,
    "longer than the pickle": pickle.BYTEARRAY8 + (2**31).to_bytes(8, "little"),
    "leaves a part": named("sklearn.neighbors._kd_tree", "newObj")
    + named("sklearn.neighbors._kd_tree", "KDTree")
    + b"\x85R",
}


@pytest.mark.parametrize("message", GUARDED)
def test_load_pickle_misused_names_are_rejected(message):
    with pytest.raises(PickleRejected, match=message):
        load_pickle(PROTOCOL + GUARDED[message] + b".", {})
    assert Pipeline.predict is not dict


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("numpy", "load"),
        ("numpy.f2py", "compile"),
        ("numpy", "memmap"),
        ("sklearn.datasets", "fetch_openml"),
        ("sklearn.datasets._base", "load_files"),
        ("sklearn.utils", "os"),
        ("sklearn.utils._testing", "assert_run_python_script_without_output"),
        ("sklearn.externals._packaging.version", "Version"),
        ("sklearn.pipeline", "joblib"),
        ("sklearn.pipeline", "BaseEstimator"),
        ("joblib.numpy_pickle", "load"),
        ("scipy.stats", "rv_histogram"),
        ("xgboost.core", "DMatrix"),
        ("pandas.core.computation.eval", "eval"),
        ("operator", "attrgetter"),
    ],
)
def test_load_pickle_unlisted_name_is_rejected(module, name):
    with pytest.raises(PickleRejected, match="rejected the pickle, which uses"):
        load_pickle(PROTOCOL + named(module, name) + b".", {})


MODELS = {
    "logistic": make_pipeline(StandardScaler(), LogisticRegression()),
    "forest": RandomForestClassifier(5),
    "neighbours": KNeighborsClassifier(),
    "search": GridSearchCV(LogisticRegression(), {"C": [1, 2]}, scoring="roc_auc"),
    "own scorer": GridSearchCV(
        LogisticRegression(), {"C": [1]}, scoring=make_scorer(roc_auc_score)
    ),
    "threshold": TunedThresholdClassifierCV(LogisticRegression(), cv=3),
    "boosting": HistGradientBoostingClassifier(max_iter=3, categorical_features=[0]),
    "function": make_pipeline(FunctionTransformer(np.tanh), LogisticRegression()),
    "partial": make_pipeline(
        SelectKBest(functools.partial(mutual_info_classif, random_state=0), k=2),
        LogisticRegression(),
    ),
    "xgboost": XGBClassifier(n_estimators=3),
}


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("name", MODELS)
def test_load_pickle_model_predicts_as_before(name, protocol):
    model = MODELS[name].fit(X, Y)
    opened = load_pickle(pickle.dumps(model, protocol), {})
    np.testing.assert_array_equal(opened.predict_proba(X), model.predict_proba(X))


def test_load_pickle_plain_values_are_equal():
    frame = pd.DataFrame({"a": [1.5], "b": ["x"], "c": pd.Categorical(["q"]), "d": [1]})
    carried = [frame, frame["a"], {1, 2}, slice(3), 1j, np.float32(1), np.array(["a", None])]
    opened = load_pickle(pickle.dumps(carried), {})
    pd.testing.assert_frame_equal(opened[0], frame)
    assert repr(opened[1:]) == repr(carried[1:])


def test_load_pickle_custom_code_is_rejected_with_the_setting_to_allow_it():
    model = make_pipeline(FunctionTransformer(double), Doubled(), LogisticRegression()).fit(X, Y)
    content = pickle.dumps(model)
    with pytest.raises(PickleRejected) as rejected:
        load_pickle(content, {})
    setting = rejected.value.message.split()[-1]
    assert setting == "SLIPWAY_PICKLE_ALLOW=test_pickles:Doubled,test_pickles:double"
    name, _, value = setting.partition("=")
    np.testing.assert_array_equal(load_pickle(content, {name: value}).predict(X), model.predict(X))


def test_load_pickle_notebook_function_is_rejected_with_a_fix():
    with pytest.raises(PickleRejected, match="functions and classes of a notebook to a module"):
        load_pickle(PROTOCOL + named("__main__", "clean") + b".", {})


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickled_sklearn_version_any_protocol_is_found(protocol):
    assert (
        pickled_sklearn_version(pickle.dumps(LogisticRegression(), protocol)) == sklearn.__version__
    )


@pytest.mark.parametrize(
    "content", [b"", b"a,b\n1,2\n", pickle.dumps({"_sklearn_version": "new"}), pickle.dumps(1)]
)
def test_pickled_sklearn_version_other_content_is_none(content):
    assert pickled_sklearn_version(content) is None


def test_setting_whole_module_allows_definitions_but_not_imports():
    allowed = {"SLIPWAY_PICKLE_ALLOW": "test_pickles:*, other:Name"}
    assert load_pickle(pickle.dumps(double), allowed) is double
    with pytest.raises(PickleRejected):
        load_pickle(PROTOCOL + named("test_pickles", "load_predictor") + b".", allowed)


def test_allowed_function_called_by_a_pickle_is_rejected():
    allowed = {"SLIPWAY_PICKLE_ALLOW": "test_pickles:double"}
    with pytest.raises(PickleRejected, match="calls double"):
        load_pickle(PROTOCOL + named("test_pickles", "double") + b"K\1\x85R.", allowed)


def test_allowed_class_special_method_is_rejected():
    allowed = {"SLIPWAY_PICKLE_ALLOW": "test_pickles:Doubled"}
    state = b"}" + text("__array__") + b"Nsb."
    with pytest.raises(PickleRejected, match="sets a special method of an object"):
        load_pickle(PROTOCOL + named("test_pickles", "Doubled") + b")\x81" + state, allowed)


def test_shared_object_state_is_rejected():
    zone = named("pandas._libs.tslibs.nattype", "__nat_unpickle") + b"N\x85R"
    with pytest.raises(PickleRejected, match="changes an object of NaTType"):
        load_pickle(PROTOCOL + zone + b"}" + text("mark") + b"Nsb.", {})


def test_setting_invalid_names_are_rejected():
    with pytest.raises(
        ModelError, match="must be comma-separated names such as mymodule:MyTransformer"
    ):
        load_pickle(pickle.dumps(1), {"SLIPWAY_PICKLE_ALLOW": "mymodule"})


def test_rejection_message_control_characters_are_escaped():
    content = PROTOCOL + b"".join(named("evil\x1b[2J\n", str(i)) + b"0" for i in range(30)) + b"N."
    with pytest.raises(PickleRejected) as rejected:
        load_pickle(content, {})
    assert rejected.value.message.isprintable()
    assert "and 10 more" in rejected.value.message


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(GUARDED)), st.binary(max_size=60), st.integers(0, 400))
def test_load_pickle_broken_content_raises_only_model_errors(name, tail, at):
    model = pickle.dumps(LogisticRegression())
    with contextlib.suppress(ModelError):
        load_pickle(model[:at] + GUARDED[name] + tail, {})


def test_model_add_custom_code_is_rejected_with_the_setting_to_allow_it(tmp_path, app, monkeypatch):
    monkeypatch.delenv("SLIPWAY_PICKLE_ALLOW", raising=False)
    model = make_pipeline(FunctionTransformer(double), LogisticRegression()).fit(X, Y)
    (tmp_path / "own.pkl").write_bytes(pickle.dumps(model))
    words = ("add", tmp_path / "own.pkl", "--output", tmp_path / "model.pkl")
    rejected = run(app, *words)
    assert rejected.exit_code == 1
    assert "own.pkl: rejected the pickle, which uses test_pickles.double" in rejected.output
    assert "set SLIPWAY_PICKLE_ALLOW=test_pickles:double" in rejected.output
    monkeypatch.setenv("SLIPWAY_PICKLE_ALLOW", "test_pickles:double")
    assert run(app, *words).exit_code == 0


def with_pickle(folder, manifest, content):
    """Write the shipped version with another pickle and a matching hash in the manifest."""
    path = folder / "model.pkl"
    path.write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    write_manifest(msgspec.structs.replace(manifest, sha256=sha256), path)
    return path


def test_scorecard_engine_never_loads_the_pickle(tmp_path, manifest, example):
    canary = tmp_path / "canary"
    path = with_pickle(tmp_path, manifest, attack("os.system", canary))
    client = create_app(ROOT, Settings(model=path)).test_client()
    assert client.post("/predict", json=example).status_code == 200
    assert client.get("/readyz").status_code == 200
    assert load_predictor(path, "scorecard").engine == "scorecard"
    assert not canary.exists()


def test_pickle_engine_attack_with_valid_manifest_is_rejected(tmp_path, manifest):
    canary = tmp_path / "canary"
    path = with_pickle(tmp_path, manifest, attack("os.system", canary))
    with pytest.raises(PickleRejected, match=r"uses posix\.system"):
        load_predictor(path, "pickle")
    assert not canary.exists()
