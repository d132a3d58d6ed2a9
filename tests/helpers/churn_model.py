"""A model of your own, saved as a version."""

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import slipway


@pytest.fixture(scope="session")
def customers():
    """Rows of customers, and whether each customer left."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "plan": rng.choice(["basic", "plus", "pro"], 400),
            "months": rng.integers(1, 60, 400),
            "spend": rng.gamma(2, 20, 400).round(2),
        }
    )
    leaves = rng.random(400) < 0.9 - X.months / 70
    y = pd.Series(np.where(leaves, "yes", "no"), name="churned")
    return X, y


@pytest.fixture(scope="session")
def own_pipeline(customers):
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["plan"]),
        (StandardScaler(), ["months", "spend"]),
    )
    return make_pipeline(columns, LogisticRegression()).fit(*customers)


@pytest.fixture(scope="session")
def own_version(own_pipeline, customers, tmp_path_factory):
    """The path of a saved version's pickle."""
    path = tmp_path_factory.mktemp("own") / "model.pkl"
    slipway.save(own_pipeline, *customers, path, name="churn", title="Will this customer leave?")
    return path
