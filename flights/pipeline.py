"""The pipeline: a logistic regression whose log-odds are a sum of one-feature terms."""

from __future__ import annotations

from sklearn.compose import ColumnTransformer
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder

CATEGORIES = ["carrier", "origin", "dest", "departure_period", "departure_hour", "day_of_week"]
NUMBERS = ["distance", "departures_in_hour"]
NUMBERS_WITH_GAPS = [
    "temperature",
    "wind_speed",
    "wind_direction",
    "visibility",
    "precipitation",
    "precipitation_6h",
    "pressure_change_6h",
    "plane_year",
    "seats",
]


def make_pipeline() -> Pipeline:
    """Build the unfitted pipeline.

    Numbers are cut at their quantiles, so that a term may take any shape. A missing number
    stands at the median and gets points of its own. Destinations, carriers and hours with
    fewer than 100 flights share one column (Lexington has one flight, and a coefficient of
    its own would be noise); the ridge penalty holds the rest. Newton's method finds the
    optimum to the last digits, so that every machine gets the same coefficients.

    Returns
    -------
    Pipeline
    """
    encoder = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=100)
    with_gaps = FeatureUnion(
        [
            ("value", Pipeline([("fill", SimpleImputer(strategy="median")), ("bins", _bins())])),
            ("missing", MissingIndicator(features="all")),
        ]
    )
    columns = ColumnTransformer(
        [
            ("category", encoder, CATEGORIES),
            ("number", _bins(), NUMBERS),
            ("number_with_gaps", with_gaps, NUMBERS_WITH_GAPS),
        ],
        sparse_threshold=1.0,
    )
    regression = LogisticRegression(C=1.0, solver="newton-cholesky", tol=1e-10, max_iter=100)
    return Pipeline([("columns", columns), ("regression", regression)])


def _bins() -> KBinsDiscretizer:
    """Cut at the quantiles, from all rows, so that no random sample decides the edges."""
    return KBinsDiscretizer(
        n_bins=40,
        encode="onehot",
        strategy="quantile",
        quantile_method="averaged_inverted_cdf",
        subsample=None,
    )
