"""Texts of a manifest in the OpenAPI document: Swagger UI shows them, and renders none of them."""

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
def test_markdown_escaped_text_is_rendered_as_itself(text):
    if not text.strip() or not text.isprintable():
        text = "".join(each for each in text if each.isprintable()) + "x"
    rendered = mistune.html(escape(text)).strip()
    assert rendered.startswith("<p>")
    inner = rendered.removeprefix("<p>").removesuffix("</p>")
    assert "<" not in inner
    assert html.unescape(inner) == " ".join(text.split())


def evil_manifest(folder):
    """A version whose every text is hostile, in a folder; the path of its pickle."""
    told = json.loads((ROOT / "model.json").read_text())
    told["title"] = EVIL
    for feature in told["signature"]["features"]:
        feature |= {"description": EVIL, "unit": EVIL}
        if feature["kind"] == "category":
            feature["unseen"] = EVIL
            feature["labels"] = dict.fromkeys(feature["categories"][:15], EVIL)
    told["signature"]["target"]["description"] = EVIL
    (folder / "model.json").write_text(json.dumps(told))
    for name in ("model.pkl", "model.covariance"):
        shutil.copy(ROOT / name, folder / name)
    return folder / "model.pkl"


def descriptions(schema, found):
    """Collect the descriptions of an OpenAPI document, wherever they stand."""
    for key, value in schema.items():
        if key == "description" and isinstance(value, str):
            found.append(value)
        elif isinstance(value, dict) and key not in ("example", "default"):
            descriptions(value, found)
    return found


def test_document_descriptions_of_a_hostile_manifest_are_plain_text(tmp_path):
    app = create_app(ROOT, Settings(model=evil_manifest(tmp_path)))
    document = app.test_client().get("/apispec_1.json").json
    found = descriptions(document, [])
    assert sum("onerror" in each for each in found) > 20
    for each in found:
        rendered = mistune.html(each)
        if "onerror" in each:
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
def test_document_feature_named_like_a_keyword_keeps_its_values(name):
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
