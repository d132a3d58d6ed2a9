"""The OpenAPI document: Flasgger joins the YAML of the views with schemas of the signature."""

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
from slipway.web.openapi_schemas import build_model_schemas

SPECS = Path(__file__).with_name("specs")
# Flasgger's object holds mutable state while it builds a document.
_BUILD_LOCK = threading.Lock()


def register(app: Flask) -> None:
    """Serve the document at ``/apispec_1.json`` and Flasgger's page at ``/apidocs/``.

    The page has its own template and the assets of the package ``flask-swagger-ui``, because
    Flasgger's assets are from 2020 and have known vulnerabilities.
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
    """Flasgger's document, built again for each model version."""

    def get_apispecs(self, endpoint: str = "apispec_1") -> Schema:
        """Return the document of the version that serves this request."""
        service: PredictionService | None = (
            current_app.extensions["slipway"] if "service" not in g else g.service
        )
        cached: tuple[PredictionService | None, Schema] | None = getattr(self, "_made", None)
        if cached is None or cached[0] is not service:
            with _BUILD_LOCK:
                self.template = _build_template(service)
                self.apispecs.clear()
                document = _drop_unsupported_parameters(super().get_apispecs(endpoint), service)
                cached = self._cached = service, document
        return cached[1]


def _drop_unsupported_parameters(document: Schema, service: PredictionService | None) -> Schema:
    """Return the document without the query parameters that the model rejects."""
    predict = document["paths"].get("/predict", {}).get("post")
    if service is None or predict is None:
        return document
    manifest = service.model.manifest
    supported = {
        "explain": manifest.scorecard is not None,
        "interval": manifest.covariance is not None,
    }
    parameters = [item for item in predict["parameters"] if supported.get(item["name"], True)]
    return document | {
        "paths": document["paths"] | {"/predict": {"post": predict | {"parameters": parameters}}}
    }


def _build_template(service: PredictionService | None) -> Schema:
    """Return the parts that the YAML of the views lacks: the title and the model's schemas."""
    info: Schema = {"title": "Slipway", "version": __version__}
    # Relative to the document's own URL, because the service may have a path prefix.
    document: Schema = {"info": info, "servers": [{"url": "."}], "paths": {}}
    if service is None:
        return {**document, "components": {"schemas": {}}}
    manifest = service.model.manifest
    target = manifest.signature.target
    info["title"] = manifest.title
    info["description"] = escape(
        f"{sentence(target.description)} The prediction is {describe_prediction(target)}. "
        f"Model version {manifest.version}."
    )
    schemas = build_model_schemas(service.model, service.settings.max_records)
    plain = {name: escape_descriptions(schema) for name, schema in schemas.items()}
    return {**document, "components": {"schemas": plain}}
