"""The pipeline: a logistic regression whose log-odds are a sum of one-feature terms."""

from __future__ import annotations

from sklearn.compose import ColumnTransformer
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder

CATEGORIES = ["carrier", "origin", "dest", "departure_period", "departure_hour", "day_of_week"]
NUMBERS = ["distance", "departures_in_hour"]
# Missing in less than 1 % of the flights, and then almost always together.
RARELY_MISSING = ["temperature", "wind_speed", "visibility", "precipitation", "precipitation_6h"]
OFTEN_MISSING = ["wind_direction", "pressure_change_6h", "plane_year", "seats"]


def make_pipeline() -> Pipeline:
    """Return the unfitted pipeline.

    Numbers are binned at their quantiles, so a term can have any shape. Missing numbers are
    replaced by the median. If they are common, an indicator column is added. Features that are
    only missing together get no indicators: their coefficients would be large and cancel, and
    distort predictions for records that lack one of them.

    Categories with fewer than 100 flights share one column; for example, Lexington has one flight.
    The ridge penalty limits the other coefficients. Newton's method converges to the last digits,
    so every machine gets the same coefficients.

    Returns
    -------
    Pipeline
    """
    encoder = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=100)
    with_indicator = FeatureUnion(
        [("value", _impute_and_bin()), ("missing", MissingIndicator(features="all"))]
    )
    columns = ColumnTransformer(
        [
            ("category", encoder, CATEGORIES),
            ("number", _bin(), NUMBERS),
            ("number_to_fill", _impute_and_bin(), RARELY_MISSING),
            ("number_with_gaps", with_indicator, OFTEN_MISSING),
        ],
        sparse_threshold=1.0,
    )
    regression = LogisticRegression(C=1.0, solver="newton-cholesky", tol=1e-10, max_iter=100)
    return Pipeline([("columns", columns), ("regression", regression)])


def _impute_and_bin() -> Pipeline:
    """Replace missing numbers by the median, then bin."""
    return Pipeline([("fill", SimpleImputer(strategy="median")), ("bins", _bin())])


def _bin() -> KBinsDiscretizer:
    """Bin at the quantiles of all rows, without random subsampling."""
    return KBinsDiscretizer(
        n_bins=40,
        encode="onehot",
        strategy="quantile",
        quantile_method="averaged_inverted_cdf",
        subsample=None,
    )
