"""Custom models: the types of columns, preserved from the fit to the prediction."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from custom_steps import codes_of
from own_models import (
    add_and_serve,
    assert_same_predictions,
    customers,
    own_prediction,
    save_and_serve,
)
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
    TargetEncoder,
)
from xgboost import XGBClassifier

SIZES = ["S", "M", "L"]


def sized():
    X, y = customers()
    sizes = np.random.default_rng(8).choice(SIZES, len(X))
    X = X[["age", "spend"]].assign(size=pd.Categorical(sizes, SIZES, ordered=True))
    return X, y ^ (sizes == "M")


def beside(step, column, estimator=None):
    columns = make_column_transformer((step, [column]), remainder="passthrough")
    last = LogisticRegression(max_iter=1000) if estimator is None else estimator
    return make_pipeline(columns, last)


def forest():
    return RandomForestClassifier(5, max_depth=4, random_state=0)


def unseen(X, column, value):
    """Return one row with a category that is not in training."""
    row = X.head(1).copy()
    categories = [*X[column].cat.categories, value]
    ordered = X[column].cat.ordered
    row[column] = pd.Categorical([value], categories, ordered=ordered)
    return row


ORDERED = {
    "codes": beside(FunctionTransformer(codes_of), "size"),
    "listed": beside(OrdinalEncoder(categories=[SIZES]), "size"),
    "one-hot": beside(OneHotEncoder(), "size"),
    "alphabet": beside(OrdinalEncoder(), "size"),
    "histogram": HistGradientBoostingClassifier(max_iter=10),
    "xgboost": XGBClassifier(n_estimators=10, enable_categorical=True),
}


@pytest.mark.parametrize("name", ORDERED)
def test_ordered_categories_keep_their_order(tmp_path, name):
    X, y = sized()
    model = ORDERED[name].fit(X, y)
    served = save_and_serve(model, X, y, tmp_path)
    expected = assert_same_predictions(served, X.head(20))
    assert not any(isinstance(outcome, str) for outcome in expected)
    assert_same_predictions(served, unseen(X, "size", "XL"), sent_rows=X.head(1).assign(size="XL"))
    assert served.feature("size")["categories"] == SIZES


@pytest.mark.parametrize(
    ("step", "estimator"),
    [
        (OneHotEncoder(handle_unknown="ignore"), LogisticRegression()),
        (OneHotEncoder(handle_unknown="ignore"), forest()),
        (OneHotEncoder(), LogisticRegression()),
        (OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=60), forest()),
        (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), forest()),
        (TargetEncoder(), LogisticRegression()),
        (
            make_pipeline(
                SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")
            ),
            forest(),
        ),
        (
            make_pipeline(
                SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")
            ),
            LogisticRegression(),
        ),
    ],
)
def test_unseen_value_of_a_category_column_reaches_the_pipeline_as_unseen(
    tmp_path, step, estimator
):
    X, y = customers()
    y = y | (X.index % 5 == 0)
    X.loc[::5, "plan"] = np.nan
    X["plan"] = X["plan"].astype("category")
    model = beside(step, "plan", estimator).fit(X, y)
    served = save_and_serve(model, X, y, tmp_path)
    assert_same_predictions(served, X.head(15))
    assert_same_predictions(
        served, unseen(X, "plan", "gold"), sent_rows=X.head(1).assign(plan="gold")
    )


@pytest.mark.parametrize("model", [HistGradientBoostingClassifier(max_iter=5)])
def test_unseen_value_of_boosting_equals_the_pipeline(tmp_path, model):
    X, y = customers()
    X["plan"] = X["plan"].astype("category")
    model = model.fit(X, y)
    served = save_and_serve(model, X, y, tmp_path)
    assert_same_predictions(
        served, unseen(X, "plan", "gold"), sent_rows=X.head(1).assign(plan="gold")
    )


@pytest.mark.parametrize(
    "step",
    [OneHotEncoder(), OneHotEncoder(handle_unknown="ignore"), OrdinalEncoder(), TargetEncoder()],
)
def test_category_declared_but_not_seen_equals_the_pipeline(tmp_path, step):
    X, y = customers()
    X["plan"] = pd.Categorical(X["plan"], ["basic", "gold", "max", "plus"])
    model = beside(step, "plan").fit(X, y)
    served = save_and_serve(model, X, y, tmp_path)
    gold = X.head(2).assign(plan=pd.Categorical(["gold", "max"], X["plan"].cat.categories))
    assert_same_predictions(served, gold)


@pytest.mark.parametrize("kind", ["int", "float", "bool"])
def test_categories_other_than_texts_keep_their_type(tmp_path, kind):
    X, y = customers()
    values = {"int": [3, 10, 20], "float": [0.5, 1.5, 10.0], "bool": [False, True]}[kind]
    drawn = np.random.default_rng(4).choice(values, len(X))
    X = X[["spend"]].assign(c=pd.Categorical(drawn, values))
    for step in (OneHotEncoder(handle_unknown="ignore"), FunctionTransformer(codes_of)):
        model = beside(step, "c").fit(X, y)
        assert_same_predictions(save_and_serve(model, X, y, tmp_path), X.head(12))


def test_cut_intervals_equal_the_pipeline(tmp_path):
    X, y = customers()
    X = X[["spend"]].assign(band=pd.cut(X["age"], [0, 30, 50, 90]))
    model = beside(FunctionTransformer(codes_of), "band").fit(X, y)
    assert_same_predictions(save_and_serve(model, X, y, tmp_path), X.head(12))
    labels = X.assign(band=pd.cut(customers()[0]["age"], [0, 30, 90], labels=["young", "old"]))
    model = beside(OneHotEncoder(), "band").fit(labels, y)
    assert_same_predictions(save_and_serve(model, labels, y, tmp_path), labels.head(12))


@pytest.mark.parametrize(
    "estimator", [LogisticRegression(), forest(), GradientBoostingClassifier(n_estimators=5)]
)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_narrow_float_column_is_rounded_first(tmp_path, estimator, dtype):
    X, y = customers()
    X = (X[["age", "spend"]] / 7).astype(dtype)
    model = make_pipeline(StandardScaler(), estimator).fit(X, y)
    served = save_and_serve(model, X, y, tmp_path)
    assert_same_predictions(served, X.head(12))
    exact = pd.DataFrame({"age": [1 / 3, 5.1], "spend": [0.1, 1e-3]})
    assert_same_predictions(served, exact.astype(dtype), sent_rows=exact)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "uint64"])
def test_narrow_integer_column_equals_the_pipeline(tmp_path, dtype):
    X, _ = customers()
    X = pd.DataFrame({"k": (X["age"] % 12).astype(dtype)})
    y = X["k"].astype(float) * 1.5
    model = make_pipeline(FunctionTransformer(np.square), Ridge()).fit(X, y)
    served = save_and_serve(model, X, y, tmp_path)
    assert_same_predictions(served, X.head(12))
    assert_same_predictions(served, pd.DataFrame({"k": np.array([11, 100], dtype=dtype)}))
    assert_same_predictions(served, pd.DataFrame({"k": [1.5, 2.25]}))


def test_integer_overflow_equals_numpy(tmp_path):
    X, y = customers()
    X = pd.DataFrame({"k": X["age"] % 9})
    model = make_pipeline(FunctionTransformer(np.square), Ridge()).fit(X, X["k"] * 1.5)
    served = save_and_serve(model, X, y, tmp_path)
    for value in (4_000_000_000, -4_000_000_000, 2**53 + 1, 2**62):
        assert_same_predictions(served, pd.DataFrame({"k": [value]}))


def test_identifiers_beyond_the_integers_of_a_float_are_exact(tmp_path):
    X, y = customers()
    draw = np.random.default_rng(1)
    X = X[["spend"]].assign(id=draw.integers(2**54, 2**60, len(X)))
    for estimator in (LogisticRegression(), forest()):
        model = beside(OneHotEncoder(handle_unknown="ignore"), "id", estimator).fit(X, y)
        served = save_and_serve(model, X, y, tmp_path)
        assert_same_predictions(served, X.head(8))
        assert_same_predictions(served, X.head(8).assign(id=X["id"].head(8) + 1))
        scaled = make_pipeline(StandardScaler(), estimator).fit(X, y)
        assert_same_predictions(save_and_serve(scaled, X, y, tmp_path), X.head(8))


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(),
        LogisticRegression(C=1e4),
        LogisticRegression(fit_intercept=False),
        forest(),
    ],
)
@pytest.mark.parametrize("step", [TargetEncoder(), OneHotEncoder(), OrdinalEncoder()])
def test_flag_that_was_always_false_equals_the_pipeline(tmp_path, estimator, step):
    X, y = customers()
    X = X[["spend"]].assign(f=False)
    model = beside(step, "f", estimator).fit(X, y)
    assert_same_predictions(
        save_and_serve(model, X, y, tmp_path), X.head(2).assign(f=[True, False])
    )


def test_numbers_in_an_object_column_equal_the_pipeline(tmp_path):
    X, y = customers()
    X = X[["age", "spend"]].astype(object)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    served = save_and_serve(model, X, y, tmp_path)
    assert_same_predictions(served, X.head(8))
    assert_same_predictions(served, X.head(2).assign(age=pd.Series([1.5, 80], dtype=object)))


def test_decimals_of_a_database_equal_the_pipeline(tmp_path):
    X, y = customers()
    X["spend"] = [Decimal(str(value)) for value in X["spend"]]
    columns = make_column_transformer(
        (OneHotEncoder(), ["plan"]), (StandardScaler(), ["age", "spend"])
    )
    for estimator in (LogisticRegression(), forest()):
        model = make_pipeline(columns, estimator).fit(X, y)
        served = save_and_serve(model, X, y, tmp_path)
        expected = assert_same_predictions(served, X.head(8))
        assert not any(isinstance(outcome, str) for outcome in expected)


def test_infinities_of_boosting_are_predicted(tmp_path):
    X, y = customers()
    X = X[["age", "spend"]].assign(ratio=X["spend"] / X["age"])
    X.loc[::40, "ratio"] = np.inf
    X.loc[::50, "ratio"] = -np.inf
    model = HistGradientBoostingClassifier(max_iter=5).fit(X, y)
    served = save_and_serve(model, X, y, tmp_path)
    expected = assert_same_predictions(served, X.iloc[:3].assign(ratio=[np.inf, -np.inf, np.nan]))
    assert not any(isinstance(outcome, str) for outcome in expected)
    record = {"age": 40, "spend": 2.5, "ratio": "Infinity"}
    right = own_prediction(model, pd.DataFrame([record | {"ratio": np.inf}]))
    assert served.predict(record) == right


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e308, -1e308, 1e40])
def test_number_too_large_is_rejected_as_by_the_pipeline(tmp_path, value):
    X, y = customers()
    X = X[["age", "spend"]] * 0.1
    for estimator in (LogisticRegression(), forest(), HistGradientBoostingClassifier(max_iter=3)):
        model = make_pipeline(StandardScaler(), estimator).fit(X, y)
        served = save_and_serve(model, X, y, tmp_path)
        assert_same_predictions(served, X.head(2).assign(spend=[value, 1.0]))


def test_column_whose_mean_is_huge_keeps_its_digits(tmp_path):
    draw = np.random.default_rng(1)
    _, y = customers()
    X = pd.DataFrame({"big": draw.normal(size=240) * 1e12 + 3e12, "num": draw.normal(size=240)})
    for scale in (None, StandardScaler()):
        steps = [step for step in (scale, LogisticRegression(max_iter=200)) if step is not None]
        model = make_pipeline(*steps).fit(X, y)
        served = save_and_serve(model, X, y, tmp_path)
        assert_same_predictions(served, X.head(4))
        assert_same_predictions(
            served, pd.DataFrame({"big": [0.0, 1.0, -5e12], "num": [-0.05, 0.3, 2.0]})
        )


def test_types_in_a_file_equal_read_csv(tmp_path):
    X, y = customers()
    model = beside(OneHotEncoder(), "plan", forest()).fit(X.astype({"spend": "float32"}), y)
    served = add_and_serve(
        model, tmp_path, X.assign(left=y).to_csv(index=False), "--target", "left"
    )
    assert_same_predictions(served, X.head(12))
