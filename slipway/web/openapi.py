"""The OpenAPI document: Flasgger joins the views' YAML with schemas made from the signature."""

from __future__ import annotations

import threading
from importlib.metadata import distribution
from pathlib import Path

from flasgger import Swagger
from flask import Flask, current_app, g

from slipway.core.version import __version__
from slipway.reports.formatting import describe_prediction, sentence
from slipway.serving.service import PredictionService
from slipway.web.input_schemas import Schema
from slipway.web.markdown import escape, escape_descriptions
from slipway.web.openapi_schemas import model_schemas

SPECS = Path(__file__).with_name("specs")
# Flasgger keeps what it works on in itself.
_MAKING = threading.Lock()


def register(app: Flask) -> None:
    """Serve the document at ``/apispec_1.json`` and Flasgger's page at ``/apidocs/``.

    The page's template is ours and its assets are the ones of the package
    ``flask-swagger-ui``: those that Flasgger brings are from 2020 and have known holes.
    """
    assets = distribution("flask-swagger-ui").locate_file("flask_swagger_ui/dist")
    config = {
        "openapi": "3.0.3",
        "title": "Slipway API",
        "headers": [],
        "specs": [
            {
                "endpoint": "apispec_1",
                "route": "/apispec_1.json",
                "rule_filter": lambda rule: rule.endpoint.startswith("api."),
                "model_filter": lambda tag: True,
            }
        ],
        "static_folder": str(assets),
        "static_url_path": "/swagger_ui",
        "swagger_ui": True,
        "specs_route": "/apidocs/",
        "doc_dir": str(SPECS),
    }
    Document(app, config=config)


class Document(Swagger):  # type: ignore[misc]
    """Flasgger's document, made anew where another version answers."""

    def get_apispecs(self, endpoint: str = "apispec_1") -> Schema:
        """Give the document of the version that answers this request."""
        loaded: PredictionService | None = (
            current_app.extensions["slipway"] if "live" not in g else g.live
        )
        made: tuple[PredictionService | None, Schema] | None = getattr(self, "_made", None)
        if made is None or made[0] is not loaded:
            with _MAKING:
                self.template = _template(loaded)
                self.apispecs.clear()
                document = _without_unsupported(super().get_apispecs(endpoint), loaded)
                made = self._made = loaded, document
        return made[1]


def _without_unsupported(document: Schema, live: PredictionService | None) -> Schema:
    """Leave out the query parameters that the model would reject."""
    predict = document["paths"].get("/predict", {}).get("post")
    if live is None or predict is None:
        return document
    manifest = live.model.manifest
    supported = {
        "explain": manifest.scorecard is not None,
        "interval": manifest.covariance is not None,
    }
    kept = [each for each in predict["parameters"] if supported.get(each["name"], True)]
    return document | {
        "paths": document["paths"] | {"/predict": {"post": predict | {"parameters": kept}}}
    }


def _template(live: PredictionService | None) -> Schema:
    """Give what the views' own YAML does not say: the title, and the schemas of the model."""
    info: Schema = {"title": "Slipway", "version": __version__}
    # Relative to the document itself, so that it is right under any path prefix.
    document: Schema = {"info": info, "servers": [{"url": "."}], "paths": {}}
    if live is None:
        return {**document, "components": {"schemas": {}}}
    manifest = live.model.manifest
    target = manifest.signature.target
    info["title"] = manifest.title
    info["description"] = escape(
        f"{sentence(target.description)} The answer is {describe_prediction(target)}. "
        f"Model version {manifest.version}."
    )
    schemas = model_schemas(live.model, live.settings.max_records)
    plain = {name: escape_descriptions(schema) for name, schema in schemas.items()}
    return {**document, "components": {"schemas": plain}}
