"""The law: every record gets the pipeline's own prediction, or an error if it has none."""

import tempfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from hypothesis_profiles import examples
from own_frames import ROWS, Column, as_read, columns, frame_of, odd_value, row_with
from own_models import equal, own_prediction, records_of, save_and_serve
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    SGDClassifier,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
    TargetEncoder,
)
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

ENCODERS = {
    "one-hot": OneHotEncoder,
    "one-hot ignoring": lambda: OneHotEncoder(handle_unknown="ignore"),
    "one-hot dropping": lambda: OneHotEncoder(drop="first", handle_unknown="ignore"),
    "one-hot binary": lambda: OneHotEncoder(drop="if_binary"),
    "one-hot rare": lambda: OneHotEncoder(min_frequency=9, handle_unknown="infrequent_if_exist"),
    "codes": OrdinalEncoder,
    "codes or -1": lambda: OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
    "codes or nan": lambda: make_pipeline(
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan),
        SimpleImputer(add_indicator=True),
    ),
    "target": lambda: TargetEncoder(smooth=5.0),
}
NUMERIC = {
    "as it is": lambda: "passthrough",
    "scale": StandardScaler,
    "range": lambda: MinMaxScaler(clip=True),
    "largest": MaxAbsScaler,
    "robust": RobustScaler,
    "bins": lambda: KBinsDiscretizer(3, quantile_method="averaged_inverted_cdf"),
    "even bins": lambda: KBinsDiscretizer(4, strategy="uniform", encode="ordinal"),
    "quantile": lambda: QuantileTransformer(n_quantiles=10),
    "normal": lambda: QuantileTransformer(n_quantiles=10, output_distribution="normal"),
    "power": PowerTransformer,
    "spline": lambda: SplineTransformer(n_knots=3),
    "spline error": lambda: SplineTransformer(n_knots=3, extrapolation="error"),
    "spline linear": lambda: SplineTransformer(degree=2, n_knots=4, extrapolation="linear"),
    "spline periodic": lambda: SplineTransformer(n_knots=5, extrapolation="periodic"),
    "products": lambda: PolynomialFeatures(2, include_bias=False),
    "binary": lambda: Binarizer(threshold=1.0),
    "square": lambda: FunctionTransformer(np.square),
    "root": lambda: FunctionTransformer(np.sqrt),
    "logarithm": lambda: FunctionTransformer(np.log1p),
    "size": lambda: FunctionTransformer(np.abs),
}
IMPUTED = ("", "", "mean", "median", "most_frequent", "indicator")
CLASSIFIERS = {
    "logistic": lambda: LogisticRegression(max_iter=50),
    "balanced": lambda: LogisticRegression(C=1e3, class_weight="balanced", max_iter=50),
    "sgd": lambda: SGDClassifier(loss="log_loss", random_state=0, max_iter=20),
    "huber": lambda: SGDClassifier(loss="modified_huber", random_state=0, max_iter=20),
    "svc": lambda: LinearSVC(max_iter=200),
    "tree": lambda: DecisionTreeClassifier(max_depth=3, random_state=0),
    "forest": lambda: RandomForestClassifier(3, max_depth=3, random_state=0),
    "boosting": lambda: GradientBoostingClassifier(n_estimators=2, random_state=0),
    "histogram": lambda: HistGradientBoostingClassifier(max_iter=2, min_samples_leaf=5),
    "neighbours": lambda: KNeighborsClassifier(3),
    "bayes": GaussianNB,
}
REGRESSORS = {
    "least squares": LinearRegression,
    "ridge": Ridge,
    "poisson": lambda: PoissonRegressor(max_iter=50),
    "forest": lambda: RandomForestRegressor(3, max_depth=3, random_state=0),
    "histogram": lambda: HistGradientBoostingRegressor(max_iter=2, min_samples_leaf=5),
}
law = settings(
    max_examples=examples(25, 150),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def step_for(draw, column):
    """Draw the step for a column, or None."""
    if column.family != "number" or draw(st.sampled_from([False] * 5 + [True])):
        encoder = ENCODERS[draw(st.sampled_from(sorted(ENCODERS)))]()
        filling = draw(st.sampled_from(["", "", "most_frequent"]))
        steps = [SimpleImputer(strategy=filling)] if filling else []
        return make_pipeline(*steps, encoder)
    step = NUMERIC[draw(st.sampled_from(sorted(NUMERIC)))]()
    filling = (
        draw(st.sampled_from(IMPUTED))
        if column.missing_kind
        else draw(st.sampled_from(IMPUTED[1:]))
    )
    strategy = "mean" if filling == "indicator" else filling
    imputer = SimpleImputer(strategy=strategy or "mean", add_indicator=filling == "indicator")
    return make_pipeline(imputer, step) if filling else step


@st.composite
def pipelines(draw, drawn):
    """Draw a pipeline over some columns and its task."""
    read = [column for column in drawn if draw(st.integers(0, 7)) > 0] or drawn[:1]
    parts = [(step_for(draw, column), [column.name]) for column in read]
    remainder = draw(st.sampled_from(["drop", "drop", "passthrough"]))
    task = draw(st.sampled_from(["two", "two", "three", "value"]))
    kinds = REGRESSORS if task == "value" else CLASSIFIERS
    last = kinds[draw(st.sampled_from(sorted(kinds)))]()
    sparse = 0.0 if isinstance(last, GaussianNB) or "Hist" in type(last).__name__ else 0.3
    columns_ = make_column_transformer(*parts, remainder=remainder, sparse_threshold=sparse)
    return make_pipeline(columns_, last), task, {column.name for column in read}


def target_of(task, seed):
    draw = np.random.default_rng(seed + 1)
    if task == "two":
        return pd.Series(np.where(draw.random(ROWS) < 0.4, "yes", "no"), name="y")
    if task == "three":
        return pd.Series(draw.choice(["lo", "mid", "hi"], ROWS), name="y")
    return pd.Series(draw.gamma(2.0, 3.0, ROWS), name="y")


def fitted(model, X, y):
    """Fit a pipeline; return None if scikit-learn cannot."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return model.fit(X, y)
        except (ValueError, TypeError, AttributeError, IndexError, ArithmeticError):
            return None


@st.composite
def cases(draw):
    """Draw a fitted pipeline, its training rows, and rows to predict."""
    drawn: list[Column] = draw(columns())
    seed = draw(st.integers(0, 2**16))
    X = frame_of(drawn, seed)
    model, task, read = draw(pipelines(drawn))
    y = target_of(task, seed)
    changed = st.dictionaries(st.sampled_from(drawn), st.none(), max_size=2)
    rows = []
    for place in draw(st.lists(st.integers(0, ROWS - 1), min_size=4, max_size=9)):
        odd = {column.name: draw(odd_value(column)) for column in draw(changed)}
        rows.append(row_with(X, place, odd))
    return model, X, y, rows, read


def ask_all(served, rows, texts):
    """Predict all rows in every way; return the predictions of each way."""
    records = [records_of(row)[0] for row in rows]
    lines = [row.to_csv(index=False, header=False) for row in rows]
    header = ",".join(rows[0].columns) + "\n"
    whole = [i for i, line in enumerate(lines) if line.strip('\n"')]
    answers = served.csv(header + "".join(lines[i] for i in whole))
    return {
        "json": list(zip(rows, served.json(records), strict=True)),
        "array": list(zip(rows, served.array(records), strict=True)),
        "form": list(zip(texts, served.form(records), strict=True)),
        "csv": list(zip([texts[i] for i in whole], answers, strict=True)),
    }


@law
@given(cases())
def test_service_predicts_as_the_pipeline_or_rejects_what_it_raises_for(case):
    model, X, y, rows, read = case
    if fitted(model, X, y) is None:
        return
    if isinstance(own_prediction(model, X.head(1)), str):
        return
    with tempfile.TemporaryDirectory() as folder:
        served = save_and_serve(model, X, y, Path(folder))
        texts = [as_read(X, row, read) for row in rows]
        for way, pairs in ask_all(served, rows, texts).items():
            for row, answer in pairs:
                expected = own_prediction(model, row)
                note(f"{way}, {served.engine}: {records_of(row)[0]} -> {answer}, due {expected}")
                assert equal(answer, expected), (way, records_of(row)[0], answer, expected, model)
