"""The pipeline: a logistic regression whose log-odds are a sum of one-feature terms."""

from __future__ import annotations

from sklearn.compose import ColumnTransformer
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder

CATEGORIES = ["carrier", "origin", "dest", "departure_period", "departure_hour", "day_of_week"]
NUMBERS = ["distance", "departures_in_hour"]
# Missing in less than one flight in a hundred, and then nearly always together.
NUMBERS_TO_FILL = ["temperature", "wind_speed", "visibility", "precipitation", "precipitation_6h"]
NUMBERS_WITH_GAPS = ["wind_direction", "pressure_change_6h", "plane_year", "seats"]


def make_pipeline() -> Pipeline:
    """Return the unfitted pipeline.

    Numbers are cut at their quantiles, so that a term can have any shape. A missing number
    becomes the median. Features with many missing values also get an indicator column. The
    other weather values are missing together. Indicators for them would get large coefficients
    that cancel each other, and would distort the prediction if only one value is missing.

    Destinations, carriers and hours with fewer than 100 flights share one column: a coefficient
    for the single flight to Lexington would be noise. The ridge penalty limits the other
    coefficients. Newton's method finds the optimum to the last digits, so that every machine
    computes the same coefficients.

    Returns
    -------
    Pipeline
    """
    encoder = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=100)
    with_gaps = FeatureUnion(
        [("value", _filled_bins()), ("missing", MissingIndicator(features="all"))]
    )
    columns = ColumnTransformer(
        [
            ("category", encoder, CATEGORIES),
            ("number", _bins(), NUMBERS),
            ("number_to_fill", _filled_bins(), NUMBERS_TO_FILL),
            ("number_with_gaps", with_gaps, NUMBERS_WITH_GAPS),
        ],
        sparse_threshold=1.0,
    )
    regression = LogisticRegression(C=1.0, solver="newton-cholesky", tol=1e-10, max_iter=100)
    return Pipeline([("columns", columns), ("regression", regression)])


def _filled_bins() -> Pipeline:
    """Return a pipeline that replaces a missing number by the median, then cuts."""
    return Pipeline([("fill", SimpleImputer(strategy="median")), ("bins", _bins())])


def _bins() -> KBinsDiscretizer:
    """Return a binner at the quantiles of all rows, so that the edges are not random."""
    return KBinsDiscretizer(
        n_bins=40,
        encode="onehot",
        strategy="quantile",
        quantile_method="averaged_inverted_cdf",
        subsample=None,
    )
