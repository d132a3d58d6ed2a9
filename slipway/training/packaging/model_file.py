"""Open the file of a fitted model: a pickle, a file of joblib or skops, or MLflow's folder."""

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
from slipway.training.packaging.searches import answering_part
from slipway.training.packaging.stamps import pickled_sklearn_version

_log = logging.getLogger(__name__)
_FIX = "fit it again in this environment"
# Their estimators have fitted attributes by which check_is_fitted() knows them.
_CONVENTIONAL = ("sklearn", "imblearn", "xgboost", "lightgbm")
_MLFLOW = ("model.pkl", "model.skops", "model.joblib")


@dataclass(frozen=True)
class Opened:
    """A fitted model, the plain pickle of it, and notes on what was left out."""

    model: Any
    content: bytes
    notes: tuple[str, ...] = ()


def find_model_file(path: Path) -> Path:
    """Return the model's file in a folder, such as MLflow writes; a file is itself.

    Raises
    ------
    ModelError
        The folder has no model that scikit-learn wrote.
    """
    if not path.is_dir():
        return path
    for name in _MLFLOW:
        if (path / name).is_file():
            return path / name
    found = "MLflow's folder of another kind" if (path / "MLmodel").exists() else "a folder"
    raise ModelError(f"{path.name} is {found} without {_MLFLOW[0]}; name the file of the model")


def open_model(path: Path, content: bytes, *, allow_version_skew: bool = False) -> Opened:
    """Open the file of a fitted model that has no manifest yet.

    Parameters
    ----------
    path : Path
    content : bytes
        What the file holds.
    allow_version_skew : bool
        Whether it may be of another scikit-learn.

    Returns
    -------
    Opened
        Its content is always a plain pickle.

    Raises
    ------
    ModelError
        It cannot be read, asks for what no model needs, was made by another scikit-learn, or
        holds no fitted estimator.
    """
    try:
        made, plain = _read(content, path, allow_version_skew)
    except PickleRejected as error:
        raise PickleRejected(f"{path.name}: {error.message}") from error
    except ModelError as error:
        joint = " " if error.message.startswith(_VERBS) else ": "
        raise ModelError(f"{path.name}{joint}{error.message}") from error
    model = answering_part(made)
    notes: tuple[str, ...] = ()
    if model is not made:
        notes = (
            f"of the {type(made).__name__} only best_estimator_ is kept; nothing else predicts",
        )
    _require_estimator(path, model)
    if model is not made or plain is None:
        plain = pickle.dumps(model, protocol=5)
    return Opened(model, plain, notes)


_VERBS = ("is ", "was ", "expands ", "has ", "cannot be read ")


def _read(content: bytes, path: Path, allow_version_skew: bool) -> tuple[Any, bytes | None]:
    """Return what a file holds, and its content where that is a plain pickle already."""
    if is_skops(content):
        return _noting_version(lambda: load_skops(content, os.environ), path, allow_version_skew)
    plain = unwrap(content)
    _require_version(path, pickled_sklearn_version(plain), allow_version_skew)
    made, _ = _noting_version(lambda: _load(plain, os.environ), path, allow_version_skew)
    same = plain[:1] == pickle.PROTO and plain[1] >= 3 and b"NumpyArrayWrapper" not in plain
    return made, plain if same else None


def _load(content: bytes, environ: Mapping[str, str]) -> Any:
    """Open a pickle; of a search, what does not predict may have any names."""
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
            part = answering_part(search)
            require_complete(part, environ)
        except PickleRejected:
            pass
        else:
            return search
        raise


def _noting_version(load: Any, path: Path, allow_version_skew: bool) -> tuple[Any, None]:
    """Load, and refuse what scikit-learn itself knows to be of another version."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", InconsistentVersionWarning)
        made = load()
    found = [each.message for each in caught]
    makers = [
        each.original_sklearn_version
        for each in found
        if isinstance(each, InconsistentVersionWarning)
    ]
    _require_version(path, makers[0] if makers else None, allow_version_skew, warn=False)
    return made, None


def _require_version(
    path: Path, maker: str | None, allow_version_skew: bool, *, warn: bool = True
) -> None:
    """Refuse a pickle of another scikit-learn, or warn of it where it is allowed."""
    if maker in (None, sklearn.__version__):
        return
    message = f"{path.name} was made by scikit-learn {maker}, here is {sklearn.__version__}"
    if not allow_version_skew:
        raise ModelError(f"was made by scikit-learn {maker}, here is {sklearn.__version__}: {_FIX}")
    if warn:
        _log.warning("%s; nothing here shows that it still answers as it did", message)


def _require_estimator(path: Path, model: Any) -> None:
    """Require a fitted estimator that is whole in this scikit-learn."""
    if not hasattr(model, "predict") or not hasattr(model, "get_params"):
        raise ModelError(f"{path.name} {_what_is_it(model)}")
    try:
        model.get_params()
        _require_fitted(model)
    except NotFittedError as error:
        raise ModelError(
            f"{path.name} is not fitted: call fit() and save the model again"
        ) from error
    except AttributeError as error:
        raise ModelError(
            f"{path.name} is not whole in this scikit-learn: {error}; {_FIX}"
        ) from error


def _require_fitted(model: Any) -> None:
    last = model
    while isinstance(last, Pipeline):
        last = last.steps[-1][1]
    if type(last).__module__.partition(".")[0] in _CONVENTIONAL:
        check_is_fitted(last)


def _what_is_it(found: Any) -> str:
    """Say what a file holds instead of a model, and where in it a model is."""
    items: list[tuple[Any, Any]] = []
    if isinstance(found, dict):
        items = list(found.items())
    elif isinstance(found, list | tuple):
        items = list(enumerate(found))
    places = [repr(key) for key, item in items if hasattr(item, "predict")]
    kind = type(found).__name__
    if places:
        return (
            f"holds a {kind} with a model under {', '.join(places)}; save that alone, "
            f"for instance pickle.dump(loaded[{places[0]}], file)"
        )
    return f"holds an object of type {kind}, not a fitted estimator; save the fitted model itself"
