"""The files that Slipway writes into a project of your own."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from slipway.cli.project_pins import serving_pins, training_pins
from slipway.core.settings import Settings
from slipway.models.manifest import Manifest, read_manifest
from slipway.reports.feature_texts import accepted_values
from slipway.serving.service import PredictionService

TEMPLATE = Path(__file__).with_name("project_template")
# The smoke test is one file, which the package has already.
SMOKE = Path(__file__).parent.parent / "monitoring" / "smoke.py"
EXECUTABLE = (".sh",)


@dataclass(frozen=True)
class Project:
    """What a project is called and predicts.

    Attributes
    ----------
    name : str
        Its folder, and its app on Heroku.
    title : str
        The question that the model answers.
    settings : mapping of str to str
        Of ``slipway.toml``.
    installed : mapping of str to str
        Versions of packages under scikit-learn, which the manifest does not have.
    in_repository : bool
        Whether the package stands beside it, as in Slipway's own repository.
    """

    name: str
    title: str
    settings: Mapping[str, str] = field(default_factory=dict)
    installed: Mapping[str, str] = field(default_factory=dict)
    in_repository: bool = False


def render_project(project: Project, model: Path) -> dict[str, str]:
    """Render every file of a project.

    Parameters
    ----------
    project : Project
    model : Path
        Its ``model.pkl``, with the manifest beside it.

    Returns
    -------
    dict of str to str
        The content by path, relative to the project.
    """
    values = _values(project, model)
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - YAML, Markdown and Python, none of it HTML
        variable_start_string="%{",
        variable_end_string="}%",
        line_statement_prefix="%%",
        block_start_string="%(block",
        block_end_string="block)%",
        comment_start_string="%(#",
        comment_end_string="#)%",
    )
    environment.filters |= {"json": json.dumps, "html": html_text, "cell": table_cell}
    files = {"deploy/smoke.py": SMOKE.read_text(encoding="utf-8")}
    for path in sorted(TEMPLATE.rglob("*")):
        name = path.relative_to(TEMPLATE).as_posix()
        if path.is_dir() or "__pycache__" in name:
            continue
        target = name.replace("dot_", ".").removesuffix(".jinja")
        if name.endswith(".jinja"):
            files[target] = environment.get_template(name).render(values)
        else:
            files[target] = path.read_text(encoding="utf-8")
    return files


def html_text(text: str) -> str:
    """Write a text for a Jinja template, which renders it once more."""
    return html.escape(text).replace("{", "&#123;").replace("}", "&#125;")


def table_cell(text: str) -> str:
    """Write a text as a cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|")


def _values(project: Project, model: Path) -> dict[str, Any]:
    """Return the values of the templates."""
    manifest = read_manifest(model)
    request, response = _sample(manifest, model)
    engine = "pickle" if manifest.scorecard is None else "scorecard"
    return {
        "name": project.name,
        "title": project.title,
        "settings": dict(project.settings),
        "in_repository": project.in_repository,
        "python": ".".join(manifest.libraries["python"].split(".")[:2]),
        "introduction": _introduction(manifest),
        "request": request,
        "response": response,
        "estimator": manifest.estimator,
        "engine": engine,
        "version": manifest.version,
        "features": [
            {
                "name": feature.name,
                "kind": feature.kind,
                "example": json.dumps(feature.example, ensure_ascii=False),
                "accepted": accepted_values(feature),
            }
            for feature in manifest.signature.features
        ],
        "serving_pins": serving_pins(manifest, project.installed),
        "training_pins": training_pins(manifest, project.installed),
    }


def _introduction(manifest: Manifest) -> str:
    """Describe the model in one sentence."""
    target, names = manifest.signature.target, manifest.signature.names
    listed = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    if target.task == "regression":
        return f"This model predicts {target.name} from {listed}."
    if target.positive:
        return f"This model predicts whether {target.name} is {target.positive}, from {listed}."
    return f"This model predicts {target.name} ({', '.join(target.classes)}) from {listed}."


def _sample(manifest: Manifest, model: Path) -> tuple[str, str]:
    """Return a request, as a shell takes it between quotes, and its response."""
    rows = [row.record for row in manifest.golden] or [
        {feature.name: feature.example for feature in manifest.signature.features}
    ]
    body = msgspec.json.encode(rows[0])
    service = PredictionService(Settings(model=model))
    _, answer = service.predict_json(body)
    return body.decode().replace("'", "\\u0027"), answer.decode()
