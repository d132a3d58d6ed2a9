"""The page at /apidocs in Chromium."""

import json

import pytest
from conftest import GUNICORN, running
from playwright.sync_api import expect
from test_markdown import EVIL, write_evil_manifest

pytestmark = pytest.mark.browser


@pytest.fixture
def page(chromium):
    """Yield a page that records its requests and console messages."""
    opened = chromium.new_page()
    opened.urls, opened.messages = [], []
    opened.on("request", lambda request: opened.urls.append(request.url))
    opened.on("console", lambda message: opened.messages.append(message.text))
    opened.on("pageerror", lambda error: opened.messages.append(str(error)))
    yield opened
    opened.close()


def open_predict(page, base, query=""):
    page.goto(f"{base}/apidocs/{query}")
    operation = page.locator("#operations-predict-predict")
    operation.locator(".opblock-summary-control").click()
    return operation


def assert_clean(page, base):
    origin = "/".join(base.split("/")[:3])
    assert all(url.startswith((origin, "data:", "blob:")) for url in page.urls)
    assert page.messages == []


def test_apidocs_form_has_filled_input_for_each_feature(page, service, manifest):
    operation = open_predict(page, service)
    for feature in manifest.signature.features:
        row = operation.locator(f'tr[data-property-name="{feature.name}"]')
        if feature.categories:
            expect(row.locator("select")).to_have_value(str(feature.example))
            assert row.locator("option").count() >= len(feature.categories)
        else:
            assert float(row.locator("input").first.input_value()) == feature.example
    assert_clean(page, service)


@pytest.mark.parametrize("where", ["service", "prefixed"])
def test_apidocs_execute_shows_prediction(request, page, where, manifest):
    base = request.getfixturevalue(where)
    operation = open_predict(page, base)
    operation.get_by_role("button", name="Execute").click()
    answer = operation.locator(".live-responses-table .response-col_description pre").first
    expect(answer).to_contain_text(manifest.version)
    assert json.loads(answer.inner_text())["label"] in manifest.signature.target.classes
    assert any(url.startswith(f"{base}/predict") for url in page.urls)
    assert_clean(page, base)


@pytest.mark.parametrize("name", ["url", "config", "configUrl"])
def test_apidocs_query_loads_nothing(page, service, name):
    open_predict(page, service, f"?{name}=http://127.0.0.1:9/evil.json")
    assert f"{service}/apispec_1.json" in page.urls
    assert not [url for url in page.urls if url.startswith("http://127.0.0.1:9/")]
    assert_clean(page, service)


def test_apidocs_hostile_manifest_texts_are_not_rendered(page, tmp_path):
    with running(*GUNICORN, SLIPWAY_MODEL=str(write_evil_manifest(tmp_path))) as (base, _):
        operation = open_predict(page, base)
        expect(operation).to_contain_text("<img src=x onerror=alert(1)>")
        for model in page.locator("section.models .model-container button").all():
            model.click()
        expect(page.locator(".info .description")).to_contain_text(EVIL)
        assert page.locator("#swagger-ui img").count() == 0
        assert page.locator(".renderedMarkdown em, .renderedMarkdown a").count() == 0
    assert not [text for text in page.messages if "Content Security" in text]
