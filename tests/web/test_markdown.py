"""Texts of a manifest in the OpenAPI document, which Swagger UI must not render as Markdown."""

import html
import json
import shutil

import mistune
import pytest
from conftest import ROOT
from hypothesis import example, given
from hypothesis import strategies as st

from slipway.core.settings import Settings
from slipway.web import create_app
from slipway.web.markdown import escape, escape_descriptions

MARKS = st.text(st.sampled_from("<>&;\"'\\`*_{}[]()#+-.!|~= \n\t1a:/@"), max_size=30)
EVIL = "<img src=x onerror=alert(1)> *a* [b](javascript:c) `d` _e_ &lt; ![f](g)"


@given(MARKS | st.text(max_size=30))
@example("# heading")
@example("1. list")
@example("- list")
@example("1986) list")
@example("---")
@example("<!-- -->")
@example("    code")
def test_markdown_escaped_text_is_rendered_unchanged(text):
    if not text.strip() or not text.isprintable():
        text = "".join(character for character in text if character.isprintable()) + "x"
    rendered = mistune.html(escape(text)).strip()
    assert rendered.startswith("<p>")
    inner = rendered.removeprefix("<p>").removesuffix("</p>")
    assert "<" not in inner
    assert html.unescape(inner) == " ".join(text.split())


def write_evil_manifest(folder):
    """Write a version with hostile texts, and return the path of its pickle."""
    manifest = json.loads((ROOT / "model.json").read_text())
    manifest["title"] = EVIL
    for feature in manifest["signature"]["features"]:
        feature |= {"description": EVIL, "unit": EVIL}
        if feature["kind"] == "category":
            feature["unseen"] = EVIL
            feature["labels"] = dict.fromkeys(feature["categories"][:15], EVIL)
    manifest["signature"]["target"]["description"] = EVIL
    (folder / "model.json").write_text(json.dumps(manifest))
    for name in ("model.pkl", "model.covariance"):
        shutil.copy(ROOT / name, folder / name)
    return folder / "model.pkl"


def collect_descriptions(schema, result):
    """Return all descriptions of an OpenAPI document."""
    for key, value in schema.items():
        if key == "description" and isinstance(value, str):
            result.append(value)
        elif isinstance(value, dict) and key not in ("example", "default"):
            collect_descriptions(value, result)
    return result


def test_document_hostile_descriptions_are_plain_text(tmp_path):
    app = create_app(ROOT, Settings(model=write_evil_manifest(tmp_path)))
    document = app.test_client().get("/apispec_1.json").json
    result = collect_descriptions(document, [])
    assert sum("onerror" in text for text in result) > 20
    for text in result:
        rendered = mistune.html(text)
        if "onerror" in text:
            assert "<img" not in rendered
            assert "<em>" not in rendered
            assert "<a " not in rendered
            assert "<code>" not in rendered


def test_document_examples_and_categories_are_not_escaped(client, manifest):
    schemas = client.get("/apispec_1.json").json["components"]["schemas"]
    examples = {feature.name: feature.example for feature in manifest.signature.features}
    assert schemas["Record"]["example"] == examples
    assert list(schemas["Record"]["properties"]) == list(examples)
    for feature in manifest.signature.features:
        if feature.categories:
            enum = schemas["FormRecord"]["properties"][feature.name]["enum"]
            assert enum == list(feature.categories)


@pytest.mark.parametrize("name", ["description", "example", "enum", "default", "properties"])
def test_document_feature_named_like_keyword_keeps_values(name):
    schema = {
        "type": "object",
        "example": {name: "<b>"},
        "properties": {name: {"type": "string", "description": "<b>", "example": "<b>"}},
    }
    assert escape_descriptions(schema) == {
        "type": "object",
        "example": {name: "<b>"},
        "properties": {name: {"type": "string", "description": "&lt;b&gt;", "example": "<b>"}},
    }
