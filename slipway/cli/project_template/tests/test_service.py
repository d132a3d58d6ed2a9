"""The service: pages, API document and health checks."""

import pytest
from openapi_spec_validator import validate


def test_api_document_is_valid_and_describes_the_features(client, manifest):
    document = client.get("/apispec_1.json").get_json()
    validate(document)
    for name in manifest.signature.names:
        assert name in str(document)


@pytest.mark.parametrize("path", ["/", "/file", "/model", "/apidocs/", "/livez", "/readyz"])
def test_page_is_served(client, path):
    assert client.get(path).status_code == 200


def test_form_introduces_the_model(client, manifest):
    page = client.get("/").text
    for feature in manifest.signature.features:
        assert f'name="{feature.name}"' in page


def test_version_is_that_of_the_manifest(client, manifest):
    assert client.get("/version").get_json()["model_version"] == manifest.version
