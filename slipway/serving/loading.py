"""Load the model of a service: a model version, or a pickle without a manifest."""

from __future__ import annotations

from pathlib import Path

from slipway.core.settings import ServingEngine
from slipway.models.artifacts import manifest_path
from slipway.models.pipeline_engine import limit_threads
from slipway.models.predictor import Predictor, build_checked_predictor, load_predictor, read_pickle


def load_model(path: Path, engine: ServingEngine, *, allow_version_skew: bool = False) -> Predictor:
    """Load a model version; infer the manifest of a pickle that has none.

    Parameters
    ----------
    path, engine, allow_version_skew
        As for ``load_predictor``.

    Returns
    -------
    Predictor

    Raises
    ------
    ModelError
        As for ``load_predictor``, or the manifest cannot be inferred from the pickle.
    """
    if manifest_path(path).exists():
        return load_predictor(path, engine, allow_version_skew=allow_version_skew)
    content = read_pickle(path)
    limit_threads()
    # This needs scikit-learn, which a service with a manifest may lack.
    from slipway.training.packaging.adoption import adopt

    pipeline, manifest = adopt(path, content, allow_version_skew=allow_version_skew)
    return build_checked_predictor(manifest, engine, pipeline)
