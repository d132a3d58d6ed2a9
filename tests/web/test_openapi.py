"""The OpenAPI document and its page: valid, complete and without external resources."""

import pytest
from conftest import ROOT
from openapi_spec_validator import validate

from slipway.web import create_app


@pytest.fixture
def document(client):
    response = client.get("/apispec_1.json")
    assert response.status_code == 200
    return response.json


def test_document_is_valid_openapi(document):
    assert document["openapi"].startswith("3.0")
    validate(document)


@pytest.mark.parametrize("with_pages", [True, False], ids=["app", "flask_api"])
def test_document_lists_every_route_and_method(settings, with_pages):
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


def test_document_every_operation_has_description_and_schemas(document):
    for verbs in document["paths"].values():
        for operation in verbs.values():
            assert operation["summary"]
            assert operation["description"]
            for response in operation["responses"].values():
                assert response["description"]
                assert all("schema" in content for content in response["content"].values())


def test_document_every_feature_has_type_range_and_example(document, manifest):
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


def test_document_example_returns_prediction(client, document):
    example = document["components"]["schemas"]["Record"]["example"]
    assert client.post("/predict", json=example).status_code == 200


def test_document_is_same_for_every_app(settings, document):
    again = create_app(ROOT, settings).test_client().get("/apispec_1.json")
    assert again.json == document


def test_apidocs_page_loads_local_resources_only(client):
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
    # Flasgger's own copy from 2020 is not served.
    assert client.get("/flasgger_static/swagger-ui-bundle.js").status_code == 404


@pytest.mark.parametrize(
    "query", ["url=//evil.example/x", "config=//evil.example/c", "configUrl=x"]
)
def test_apidocs_query_does_not_change_page(client, query):
    assert client.get(f"/apidocs/?{query}").data == client.get("/apidocs/").data
