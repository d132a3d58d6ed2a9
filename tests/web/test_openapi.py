"""The OpenAPI document: valid, complete, made from the signature, shown without outside help."""

import pytest
from conftest import ROOT
from openapi_spec_validator import validate

from slipway.web import create_app


@pytest.fixture
def document(client):
    answer = client.get("/apispec_1.json")
    assert answer.status_code == 200
    return answer.json


def test_document_is_valid_openapi(document):
    assert document["openapi"].startswith("3.0")
    validate(document)


@pytest.mark.parametrize("with_pages", [True, False], ids=["app", "flask_api"])
def test_document_names_every_route_and_method_of_the_api(settings, with_pages):
    app = create_app(ROOT, settings, with_pages=with_pages)
    document = app.test_client().get("/apispec_1.json").json
    routes = {
        (rule.rule, method.lower())
        for rule in app.url_map.iter_rules()
        if rule.endpoint.startswith("api.")
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    documented = {(path, method) for path, verbs in document["paths"].items() for method in verbs}
    assert routes == documented
    assert len(routes) == 7


def test_document_every_operation_is_described_with_a_schema_for_each_status(document):
    for verbs in document["paths"].values():
        for operation in verbs.values():
            assert operation["summary"]
            assert operation["description"]
            for answer in operation["responses"].values():
                assert answer["description"]
                assert all("schema" in content for content in answer["content"].values())


def test_document_every_feature_has_type_range_example_and_meaning(document, manifest):
    record = document["components"]["schemas"]["Record"]
    form = document["components"]["schemas"]["FormRecord"]
    for feature in manifest.signature.features:
        described = record["properties"][feature.name]
        assert described["example"] == feature.example
        assert described["description"].startswith(feature.description)
        if feature.unit:
            assert feature.unit in described["description"]
        if feature.kind != "category":
            assert (described["minimum"], described["maximum"]) == (
                feature.minimum,
                feature.maximum,
            )
        if feature.categories:
            assert form["properties"][feature.name]["enum"] == list(feature.categories)
        assert (feature.name in record["required"]) != feature.nullable
    assert list(record["properties"]) == list(manifest.signature.names)


def test_document_example_is_answered(client, document):
    example = document["components"]["schemas"]["Record"]["example"]
    assert client.post("/predict", json=example).status_code == 200


def test_document_is_the_same_from_every_app(settings, document):
    again = create_app(ROOT, settings).test_client().get("/apispec_1.json")
    assert again.json == document


def test_apidocs_page_takes_everything_from_here(client):
    page = client.get("/apidocs/")
    assert page.status_code == 200
    assert 'data-document="/apispec_1.json"' in page.text
    assert "http:" not in page.text
    assert "https:" not in page.text
    assert "<script>" not in page.text
    for path in ("/swagger_ui/swagger-ui-bundle.js", "/swagger_ui/swagger-ui.css"):
        assert path in page.text
        assert client.get(path).status_code == 200


def test_apidocs_assets_are_swagger_ui_5(client):
    assert client.get("/swagger_ui/VERSION").text.startswith("v5.")
    # Flasgger's own copy, of 2020, is not served at all.
    assert client.get("/flasgger_static/swagger-ui-bundle.js").status_code == 404


@pytest.mark.parametrize(
    "query", ["url=//evil.example/x", "config=//evil.example/c", "configUrl=x"]
)
def test_apidocs_query_changes_nothing(client, query):
    assert client.get(f"/apidocs/?{query}").data == client.get("/apidocs/").data
