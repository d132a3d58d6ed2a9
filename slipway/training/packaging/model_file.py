"""Load the file of a fitted model: pickle, joblib, skops or an MLflow folder."""

from __future__ import annotations

import logging
import os
import pickle
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sklearn
from sklearn.exceptions import InconsistentVersionWarning, NotFittedError
from sklearn.model_selection._search import BaseSearchCV
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from slipway.core.errors import ModelError
from slipway.models.unpickling.containers import unwrap
from slipway.models.unpickling.pickles import PickleRejected, load_pickle, require_complete
from slipway.models.unpickling.skops_files import is_skops, load_skops
from slipway.models.unpickling.survey import list_names
from slipway.training.packaging.searches import get_predicting_part
from slipway.training.packaging.stamps import pickled_sklearn_version

_log = logging.getLogger(__name__)
_FIX = "fit it again in this environment"
# Packages whose estimators follow the convention that check_is_fitted() relies on.
_CONVENTIONAL_PACKAGES = ("sklearn", "imblearn", "xgboost", "lightgbm")
_MLFLOW_FILES = ("model.pkl", "model.skops", "model.joblib")


@dataclass(frozen=True)
class LoadedModel:
    """A fitted model, its plain pickle, and notes on omitted parts."""

    model: Any
    content: bytes
    notes: tuple[str, ...] = ()


def find_model_file(path: Path) -> Path:
    """Return the model's file in an MLflow folder; return a file unchanged.

    Raises
    ------
    ModelError
        The folder does not contain a scikit-learn model.
    """
    if not path.is_dir():
        return path
    for name in _MLFLOW_FILES:
        if (path / name).is_file():
            return path / name
    kind = "an MLflow folder of another flavor" if (path / "MLmodel").exists() else "a folder"
    raise ModelError(f"{path.name} is {kind} without {_MLFLOW_FILES[0]}; name the model's file")


def open_model(path: Path, content: bytes, *, allow_version_skew: bool = False) -> LoadedModel:
    """Load the file of a fitted model that has no manifest yet.

    Parameters
    ----------
    path : Path
    content : bytes
        The content of the file.
    allow_version_skew : bool
        Accept a file from another scikit-learn version.

    Returns
    -------
    Opened
        Its ``content`` is always a plain pickle.

    Raises
    ------
    ModelError
        The file cannot be read, uses names outside the allowlist, comes from another scikit-learn
        version, or does not contain a fitted estimator.
    """
    try:
        loaded, plain = _read(content, path, allow_version_skew)
    except PickleRejected as error:
        raise PickleRejected(f"{path.name}: {error.message}") from error
    except ModelError as error:
        separator = " " if error.message.startswith(_VERBS) else ": "
        raise ModelError(f"{path.name}{separator}{error.message}") from error
    model = get_predicting_part(loaded)
    notes: tuple[str, ...] = ()
    if model is not loaded:
        notes = (
            f"only best_estimator_ of the {type(loaded).__name__} is kept; nothing else predicts",
        )
    _require_estimator(path, model)
    if model is not loaded or plain is None:
        plain = pickle.dumps(model, protocol=5)
    return LoadedModel(model, plain, notes)


_VERBS = ("is ", "was ", "expands ", "has ", "cannot be read ")


def _read(content: bytes, path: Path, allow_version_skew: bool) -> tuple[Any, bytes | None]:
    """Return the object in a file, and its content if that is a plain pickle already."""
    if is_skops(content):
        return _load_checking_version(
            lambda: load_skops(content, os.environ), path, allow_version_skew
        )
    plain = unwrap(content)
    _require_version(path, pickled_sklearn_version(plain), allow_version_skew)
    loaded, _ = _load_checking_version(
        lambda: _load_plain(plain, os.environ), path, allow_version_skew
    )
    is_plain = plain[:1] == pickle.PROTO and plain[1] >= 3 and b"NumpyArrayWrapper" not in plain
    return loaded, plain if is_plain else None


def _load_plain(content: bytes, environ: Mapping[str, str]) -> Any:
    """Load a pickle; in a search, only the predicting part must be on the allowlist."""
    try:
        return load_pickle(content, environ)
    except PickleRejected:
        if not any(
            module.startswith("sklearn.model_selection._search")
            for module, _ in list_names(content)
        ):
            raise
        search = load_pickle(content, environ, replace_unknown=True)
        if not isinstance(search, BaseSearchCV):
            raise
        try:
            part = get_predicting_part(search)
            require_complete(part, environ)
        except PickleRejected:
            pass
        else:
            return search
        raise


def _load_checking_version(load: Any, path: Path, allow_version_skew: bool) -> tuple[Any, None]:
    """Load a file, and reject another scikit-learn version that scikit-learn reports."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", InconsistentVersionWarning)
        loaded = load()
    versions = [
        warning.message.original_sklearn_version
        for warning in caught
        if isinstance(warning.message, InconsistentVersionWarning)
    ]
    _require_version(path, versions[0] if versions else None, allow_version_skew, warn=False)
    return loaded, None


def _require_version(
    path: Path, version: str | None, allow_version_skew: bool, *, warn: bool = True
) -> None:
    """Reject a pickle of another scikit-learn version, or warn if it is allowed."""
    if version in (None, sklearn.__version__):
        return
    problem = f"was made by scikit-learn {version}, here is {sklearn.__version__}"
    if not allow_version_skew:
        raise ModelError(f"{problem}: {_FIX}")
    if warn:
        _log.warning("%s %s; its predictions may have changed", path.name, problem)


def _require_estimator(path: Path, model: Any) -> None:
    """Require a fitted estimator that is complete in this scikit-learn version."""
    if not hasattr(model, "predict") or not hasattr(model, "get_params"):
        raise ModelError(f"{path.name} {_describe_content(model)}")
    try:
        model.get_params()
        _require_fitted(model)
    except NotFittedError as error:
        raise ModelError(
            f"{path.name} is not fitted: call fit() and save the model again"
        ) from error
    except AttributeError as error:
        raise ModelError(
            f"{path.name} is incomplete in this scikit-learn version: {error}; {_FIX}"
        ) from error


def _require_fitted(model: Any) -> None:
    last = model
    while isinstance(last, Pipeline):
        last = last.steps[-1][1]
    if type(last).__module__.partition(".")[0] in _CONVENTIONAL_PACKAGES:
        check_is_fitted(last)


def _describe_content(content: Any) -> str:
    """Describe the object in a file that is not a model, and list the models inside it."""
    items: list[tuple[Any, Any]] = []
    if isinstance(content, dict):
        items = list(content.items())
    elif isinstance(content, list | tuple):
        items = list(enumerate(content))
    places = [repr(key) for key, item in items if hasattr(item, "predict")]
    kind = type(content).__name__
    if places:
        return (
            f"holds a {kind} with a model under {', '.join(places)}; save only the model, "
            f"for example pickle.dump(loaded[{places[0]}], file)"
        )
    return f"holds an object of type {kind}, not a fitted estimator; save the fitted model itself"
