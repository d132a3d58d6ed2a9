"""Slipway: the way of a fitted scikit-learn model from a notebook to a production web service."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"


def save(
    model: Any,
    X: Any = None,
    y: Any = None,
    path: Any = "model.pkl",
    *,
    name: str = "model",
    title: str = "What does the model predict?",
    positive: str | None = None,
) -> Any:
    """Write a fitted model as a model version.

    Parameters
    ----------
    model : estimator
        A fitted classifier or regressor; as a rule a ``Pipeline``.
    X : frame, array, sparse matrix, Series or list, optional
        The rows it was fitted on, or others like them.
    y : array-like of shape (n_samples,), optional
        The target.
    path : str or Path
        The pickle; the manifest goes beside it.
    name, title : str
        For the metadata and the pages.
    positive : str, optional
        The class whose probability is returned; by default the second of two.

    Returns
    -------
    Manifest

    Raises
    ------
    SlipwayError
        The model cannot be served; the message says why, and what to do.
    """
    # Imported here, because the web process must not load scikit-learn.
    from slipway.training.packaging.version import save as save_version

    return save_version(model, X, y, path, name=name, title=title, positive=positive)
