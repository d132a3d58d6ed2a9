"""Save every classifier and regressor of scikit-learn, and write ``docs/estimators.md``.

Run ``PYTHONPATH=. python tests/helpers/estimators_page.py`` to update the page.
"""

from __future__ import annotations

import tempfile
import warnings
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import sklearn
from own_models import start_check_in_process
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.svm import LinearSVC
from sklearn.utils import all_estimators

import slipway
from slipway.core.errors import SlipwayError
from slipway.models.manifest import Manifest

PAGE = Path(__file__).parents[2] / "docs" / "estimators.md"
CLASSES = dict(all_estimators("classifier")) | dict(all_estimators("regressor"))
# The inner estimators of an estimator that needs some.
INNER: dict[str, dict[str, Any]] = {
    "StackingClassifier": {"estimators": [("a", LogisticRegression()), ("b", LinearSVC())]},
    "VotingClassifier": {"estimators": [("a", LogisticRegression())]},
    "StackingRegressor": {"estimators": [("a", Ridge())]},
    "VotingRegressor": {"estimators": [("a", Ridge())]},
}
# Parameters that make a fit short, or possible at all.
SMALL = {"n_estimators": 3, "max_iter": 200, "random_state": 0, "cv": 2, "n_quantiles": 10}
FITTING: dict[str, dict[str, Any]] = {
    "RadiusNeighborsClassifier": {"radius": 1e3},
    "RadiusNeighborsRegressor": {"radius": 1e3},
    "OrthogonalMatchingPursuitCV": {"max_iter": 3},
    "RANSACRegressor": {"min_samples": 10},
    "NuSVC": {"nu": 0.2},
    "CCA": {"n_components": 1},
    "PLSCanonical": {"n_components": 1},
    "QuadraticDiscriminantAnalysis": {"reg_param": 0.1},
    "HistGradientBoostingClassifier": {"max_iter": 3},
    "HistGradientBoostingRegressor": {"max_iter": 3},
    "MLPClassifier": {"hidden_layer_sizes": (4,)},
    "MLPRegressor": {"hidden_layer_sizes": (4,)},
}
INTRODUCTION = """# scikit-learn's estimators

This page lists the estimators that `slipway.save` and `flask model add` accept, tested with
scikit-learn {version}. To add one of your own models, run:

```sh
flask model add fitted.pkl --data train.csv --output model.churn.pkl
```

Of {count} classifiers and regressors, {scorecards} become a scorecard in this test, {pickles} are
served from their pickle, and {refused} are rejected. A scorecard is faster and explains its
predictions; the API is the same. In a pipeline, the engine also depends on
[the other steps](compiler.md#supported-steps).

The test fits each estimator on a small frame, saves and loads it, and compares its predictions by
JSON, array, form and CSV with its own. To update this page, run
`PYTHONPATH=. python tests/helpers/estimators_page.py`; a
test fails if the page is out of date.

## Rejected

| estimator | reason |
|---|---|
{rejected}

## Served

| estimator | engine | prediction |
|---|---|---|
{served}
"""


class Fitted(NamedTuple):
    """A fitted estimator and its rows."""

    model: Any
    X: pd.DataFrame
    y: Any


class SaveResult(NamedTuple):
    """The result of saving an estimator: a manifest, or the reason for its rejection."""

    manifest: Manifest | None
    reason: str


def rows() -> tuple[pd.DataFrame, pd.Series[Any]]:
    """Return rows of small positive numbers, and a score."""
    draw = np.random.default_rng(0)
    columns = {"a": draw.gamma(2.0, 1.0, 60), "b": draw.integers(0, 4, 60), "c": draw.random(60)}
    X = pd.DataFrame(columns)
    return X, X["a"] + X["b"] - 2 * X["c"] + 2.5


@cache
def fitted(name: str) -> Fitted:
    """Fit an estimator."""
    X, score = rows()
    kind = CLASSES[name]
    required = {p for p in ("estimator", "estimators") if p in kind._get_param_names()}
    inner = Ridge() if "Regress" in name else LogisticRegression()
    parameters = {"estimator": inner} if required == {"estimator"} else INNER.get(name, {})
    model = kind(**parameters)
    accepted = model.get_params(deep=False)
    model.set_params(**{k: v for k, v in SMALL.items() if k in accepted} | FITTING.get(name, {}))
    y: Any = score
    if name in dict(all_estimators("classifier")):
        y = pd.Series(np.where(score > score.median(), "yes", "no"), name="target")
    if name.startswith(("Multi", "RegressorChain", "ClassifierChain")) and "NB" not in name:
        y = np.column_stack([y, y]) if "Task" not in name else np.column_stack([score, -score])
    if name == "ClassifierChain":
        y = np.column_stack([score > 2, score > 3]).astype(int)
    if name == "IsotonicRegression":
        X = X[["a"]]
    if name == "CategoricalNB":
        X = X[["b"]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Fitted(model.fit(X, y), X, y)


def try_to_save(name: str, folder: Path) -> SaveResult:
    """Save an estimator."""
    model, X, y = fitted(name)
    try:
        with start_check_in_process():
            return SaveResult(slipway.save(model, X, y, folder / "model.pkl"), "")
    except SlipwayError as error:
        return SaveResult(None, error.message)


def render_page(results: dict[str, SaveResult]) -> str:
    """Return the text of the page."""
    manifests = {name: result.manifest for name, result in results.items() if result.manifest}
    reasons = {name: result.reason for name, result in results.items() if not result.manifest}
    scorecards = sum(result.scorecard is not None for result in manifests.values())
    return INTRODUCTION.format(
        version=sklearn.__version__,
        count=len(results),
        scorecards=scorecards,
        pickles=len(manifests) - scorecards,
        refused=len(reasons),
        rejected="\n".join(f"| `{name}` | {reason} |" for name, reason in reasons.items()),
        served="\n".join(f"| `{name}` | {_served(result)} |" for name, result in manifests.items()),
    )


def _served(manifest: Manifest) -> str:
    """Return the engine and the kind of prediction, as cells of the table."""
    engine = "pickle" if manifest.scorecard is None else "scorecard"
    target = manifest.signature.target
    if target.task == "regression":
        return f"{engine} | value"
    model = fitted(manifest.estimator).model
    if hasattr(model, "predict_proba"):
        return f"{engine} | probability"
    return f"{engine} | {'decision score' if hasattr(model, 'decision_function') else 'label'}"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        PAGE.write_text(
            render_page({name: try_to_save(name, Path(scratch)) for name in sorted(CLASSES)})
        )
