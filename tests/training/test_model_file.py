"""Files of fitted models: pickle, joblib, skops, compressed files and other objects."""

import builtins
import bz2
import functools
import gzip
import io
import lzma
import operator
import pickle
import sys
import zipfile
import zlib

import cloudpickle
import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.stats
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import make_scorer
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.utils import all_estimators
from sklearn.utils._test_common.instance_generator import _construct_instances
from versions import run

from slipway.core.errors import ModelError
from slipway.models.predictor import load_predictor
from slipway.models.unpickling.pickles import load_pickle
from slipway.serving.loading import load_model
from slipway.training.packaging.model_file import find_model_file, get_predicting_part, open_model

RANDOM = np.random.default_rng(0)
X = pd.DataFrame({"plan": ["a", "b", "c"] * 20, "age": np.arange(60.0), "x": RANDOM.random(60)})
Y = np.arange(60) % 2
NUMBERS = X[["age", "x"]]


def fitted(last=None):
    columns = make_column_transformer((OneHotEncoder(), ["plan"]), remainder=StandardScaler())
    return make_pipeline(columns, LogisticRegression() if last is None else last).fit(X, Y)


def dumped(model, **options):
    file = io.BytesIO()
    joblib.dump(model, file, **options)
    return file.getvalue()


WRITERS = {
    "joblib": dumped,
    "joblib, protocol 2": lambda model: dumped(model, protocol=2),
    "joblib, compressed": lambda model: dumped(model, compress=3),
    "joblib, gzip": lambda model: dumped(model, compress=("gzip", 3)),
    "joblib, bz2": lambda model: dumped(model, compress=("bz2", 3)),
    "joblib, lzma": lambda model: dumped(model, compress=("lzma", 3)),
    "joblib, xz": lambda model: dumped(model, compress=("xz", 3)),
    "gzip": lambda model: gzip.compress(pickle.dumps(model)),
    "bz2": lambda model: bz2.compress(pickle.dumps(model)),
    "zlib": lambda model: zlib.compress(pickle.dumps(model)),
    "xz": lambda model: lzma.compress(pickle.dumps(model)),
    "cloudpickle": cloudpickle.dumps,
    **{f"protocol {n}": lambda model, n=n: pickle.dumps(model, n) for n in range(6)},
}
LAST = {
    "logistic": LogisticRegression(),
    "forest": RandomForestClassifier(5, random_state=0),
    "boosting": HistGradientBoostingClassifier(max_iter=3),
}


@pytest.mark.parametrize("last", LAST)
@pytest.mark.parametrize("writer", WRITERS)
def test_open_model_of_every_writer_predicts_the_same(tmp_path, writer, last):
    model = fitted(LAST[last])
    opened = open_model(tmp_path / "model", WRITERS[writer](model))
    np.testing.assert_array_equal(opened.model.predict_proba(X), model.predict_proba(X))
    again = pickle.loads(opened.content)
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))


def test_open_model_plain_pickle_keeps_its_bytes(tmp_path):
    content = pickle.dumps(fitted())
    assert open_model(tmp_path / "model.pkl", content).content == content


def test_joblib_arrays_keep_order_and_values():
    arrays = [
        np.asfortranarray(RANDOM.random((300, 200))),
        RANDOM.random((3, 4))[:, ::2],
        np.array([]),
        np.array(3.0),
        np.array(["a", None, 1], dtype=object),
        np.array(["2020"], dtype="M8[D]"),
    ]
    opened = load_pickle(dumped(arrays), {})
    for expected, array in zip(arrays, opened, strict=True):
        np.testing.assert_array_equal(array, expected)
    assert opened[0].flags.f_contiguous


@pytest.mark.parametrize("writer", WRITERS)
def test_truncated_file_is_rejected_with_one_sentence(tmp_path, writer):
    content = WRITERS[writer](fitted())
    for length in (1, 2, 10, len(content) // 2, len(content) - 3):
        with pytest.raises(ModelError) as refused:
            open_model(tmp_path / "model.pkl", content[:length])
        assert refused.value.message.startswith("model.pkl")
        assert "\n" not in refused.value.message


def zipped(*names):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return file.getvalue()


OTHERS = {
    "is empty": b"",
    "a text file": b"age,x\n1,2\n" * 20,
    "is an ONNX file": b"\x08\x09\x12\x08skl2onnx\x1a\x05",
    "is a model of PyTorch": zipped("archive/data.pkl", "archive/version"),
    "is a model of Keras": zipped("config.json", "model.weights.h5"),
    "is a ZIP archive": zipped("a"),
    "is an HDF5 file": b"\x89HDF\r\n\x1a\n",
    "is compressed with LZ4": b"\x04\x22\x4d\x18....",
    "expands to more than 200 times": gzip.compress(bytes(300 * 2**20), 1),
    "is compressed and damaged": b"\x1f\x8b" + bytes(40),
    "is not fitted": pickle.dumps(make_pipeline(StandardScaler(), LogisticRegression())),
    "a dict with a model under 'model'": pickle.dumps({"model": fitted(), "columns": list(X)}),
    "a list with a model under 0, 1": pickle.dumps([fitted(), fitted()]),
    "an object of type int": pickle.dumps(1),
}


@pytest.mark.parametrize("message", OTHERS)
def test_file_without_a_model_is_rejected_with_its_content(tmp_path, message):
    with pytest.raises(ModelError) as refused:
        open_model(tmp_path / "model.pkl", OTHERS[message])
    assert message in refused.value.message


def doubled(values):
    return values * 2


def own_score(truth, predictions):
    return 1.0


SEARCHES = {
    "distributions": lambda: RandomizedSearchCV(
        LogisticRegression(), {"C": scipy.stats.loguniform(1e-3, 1)}, n_iter=2, random_state=0
    ),
    "own scorer": lambda: GridSearchCV(
        LogisticRegression(), {"C": [1, 2]}, scoring=make_scorer(own_score)
    ),
    "plain": lambda: GridSearchCV(LogisticRegression(), {"C": [1, 2]}, scoring="roc_auc"),
}


@pytest.mark.parametrize("writer", ["joblib", "protocol 4"])
@pytest.mark.parametrize("name", SEARCHES)
def test_search_is_reduced_to_its_best_estimator(tmp_path, name, writer):
    search = SEARCHES[name]().fit(NUMBERS, Y)
    opened = open_model(tmp_path / "model.pkl", WRITERS[writer](search))
    assert type(opened.model) is LogisticRegression
    assert "only best_estimator_ of the" in opened.notes[0]
    np.testing.assert_array_equal(
        opened.model.predict_proba(NUMBERS), search.predict_proba(NUMBERS)
    )
    assert get_predicting_part(search) is search.best_estimator_


def test_search_with_custom_code_in_its_best_estimator_is_rejected(tmp_path):
    model = make_pipeline(FunctionTransformer(doubled), StandardScaler())
    search = GridSearchCV(make_pipeline(model, LogisticRegression()), {}).fit(NUMBERS, Y)
    with pytest.raises(ModelError, match=r"test_model_file\.doubled"):
        open_model(tmp_path / "model.pkl", pickle.dumps(search))


def test_search_without_refit_is_rejected(tmp_path):
    search = GridSearchCV(LogisticRegression(), {"C": [1]}, refit=False).fit(NUMBERS, Y)
    with pytest.raises(ModelError, match="fit it with refit=True"):
        open_model(tmp_path / "model.pkl", pickle.dumps(search))


def test_search_in_a_pipeline_with_memory_is_opened_without_unused_parts(tmp_path):
    memory = joblib.Memory(tmp_path / "cache", verbose=0)
    search = SEARCHES["distributions"]()
    model = make_pipeline(StandardScaler(), search, memory=memory).fit(NUMBERS, Y)
    opened = load_pickle(pickle.dumps(model), {})
    assert opened.memory is None
    np.testing.assert_array_equal(opened.predict_proba(NUMBERS), model.predict_proba(NUMBERS))


def test_cloudpickle_lambda_is_rejected_without_advice_of_a_setting(tmp_path):
    model = make_pipeline(FunctionTransformer(lambda values: values * 2), LogisticRegression())
    with pytest.raises(ModelError) as refused:
        open_model(tmp_path / "model.pkl", cloudpickle.dumps(model.fit(NUMBERS, Y)))
    assert "SLIPWAY_PICKLE_ALLOW" not in refused.value.message
    assert "mymodule.py next to the model" in refused.value.message


@pytest.mark.parametrize(
    "function",
    [builtins.eval, functools.reduce, operator.methodcaller, joblib.load, cloudpickle.dumps],
)
def test_advice_never_allows_arbitrary_code(function):
    with pytest.raises(ModelError) as refused:
        load_pickle(pickle.dumps([function, own_score]), {})
    assert function.__name__ in refused.value.message
    assert "SLIPWAY_PICKLE_ALLOW" not in refused.value.message


def test_mlflow_folder_is_found_and_other_folders_are_rejected(tmp_path):
    with pytest.raises(ModelError, match="is a folder without"):
        find_model_file(tmp_path)
    (tmp_path / "MLmodel").write_text("flavors:\n")
    with pytest.raises(ModelError, match="an MLflow folder of another flavor"):
        find_model_file(tmp_path)
    (tmp_path / "model.pkl").write_bytes(b"")
    assert find_model_file(tmp_path) == tmp_path / "model.pkl"


def test_model_add_joblib_file_writes_a_plain_pickle(tmp_path, app):
    (tmp_path / "MLmodel").write_text("flavors:\n")
    (tmp_path / "model.pkl").write_bytes(dumped(fitted(), compress=3))
    output = tmp_path / "out" / "model.pkl"
    done = run(app, "add", tmp_path, "--output", output)
    assert done.exit_code == 0, done.output
    np.testing.assert_array_equal(
        pickle.loads(output.read_bytes()).predict_proba(X), fitted().predict_proba(X)
    )
    assert load_predictor(output, "pickle").replay() is None


def test_bare_joblib_file_is_served(tmp_path):
    (tmp_path / "model.joblib").write_bytes(dumped(fitted()))
    assert load_model(tmp_path / "model.joblib", "pickle").replay() is None


def test_skops_file_uses_the_same_allowlist(tmp_path):
    skops = pytest.importorskip("skops.io")
    model = fitted()
    opened = open_model(tmp_path / "model.skops", skops.dumps(model))
    np.testing.assert_array_equal(opened.model.predict_proba(X), model.predict_proba(X))
    own = make_pipeline(FunctionTransformer(own_score), LogisticRegression())
    with pytest.raises(ModelError, match=r"not on the list: test_model_file\.own_score"):
        open_model(tmp_path / "model.skops", skops.dumps(own))


def test_skops_file_without_skops_names_the_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "skops", None)
    monkeypatch.setitem(sys.modules, "skops.io", None)
    with pytest.raises(ModelError, match="run: pip install skops"):
        open_model(tmp_path / "model.skops", zipped("schema.json"))


TEXTS = ["a b c", "b c d"] * 30
POSITIVE = np.abs(RANDOM.normal(size=(60, 3))) + 0.1
ROWS = [
    (POSITIVE, Y),
    (POSITIVE, POSITIVE[:, 0]),
    (POSITIVE, np.column_stack([Y, Y])),
    (POSITIVE, np.arange(60) % 3),
    ((POSITIVE * 10).astype(int), Y),
    (TEXTS, Y),
    ([{"a": 1.0}] * 60, Y),
    (Y, None),
    (POSITIVE[:, :1], POSITIVE[:, 0]),
]


def fits(estimator):
    """Fit an estimator on each kind of rows that it accepts."""
    for rows, labels in ROWS:
        try:
            yield estimator.fit(rows, labels)
        except Exception:
            continue


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "kind"), all_estimators(), ids=str)
def test_every_sklearn_estimator_is_opened(name, kind):
    frozen = [FrozenEstimator(LogisticRegression().fit(NUMBERS, Y))]
    for estimator in frozen if kind is FrozenEstimator else list(_construct_instances(kind))[:2]:
        for model in fits(estimator):
            opened = load_pickle(pickle.dumps(model), {})
            assert type(opened) is kind
            assert repr(opened) == repr(model)
