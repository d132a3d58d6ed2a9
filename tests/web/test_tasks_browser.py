"""The pages of every task in Chromium, served by Gunicorn."""

import re

import pytest
from conftest import GUNICORN, IMPORTS, running
from playwright.sync_api import expect
from task_models import TASKS, write_model

pytestmark = pytest.mark.browser


@pytest.fixture(params=["softmax", "forest", "exponential", "ridge", "logistic"], scope="module")
def task_service(request, tmp_path_factory):
    """Yield a model's name and the base URL of its service."""
    path = write_model(request.param, tmp_path_factory.mktemp("model"))
    # The service must be able to import the pickle's own functions.
    environ = {"SLIPWAY_MODEL": str(path), "PYTHONPATH": IMPORTS}
    with running(*GUNICORN, **environ) as (base, _):
        yield request.param, base


def test_pages_of_task_show_prediction_on_narrow_screen(task_service, chromium):
    name, base = task_service
    context = chromium.new_context(base_url=base, viewport={"width": 360, "height": 740})
    page = context.new_page()
    complaints = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto("/")
    page.get_by_role("button", name="Predict").click()
    expect(page.get_by_role("heading", name=re.compile("^Answer: "))).to_be_in_viewport()
    ranked = page.get_by_role("table", name="The probability of each class")
    expect(ranked).to_have_count(int(TASKS[name] == "multiclass"))
    for path in (None, "/file", "/model"):
        if path:
            page.goto(path)
        for details in page.locator("summary").all():
            details.click()
        assert page.evaluate("document.documentElement.scrollWidth") == 360
    context.close()
    assert complaints == []


def test_file_of_task_offers_predictions_for_download(task_service, chromium):
    _, base = task_service
    context = chromium.new_context(base_url=base)
    page = context.new_page()
    page.goto("/file")
    content = page.request.get("/sample.csv").body()
    page.get_by_label("CSV file").set_input_files(
        {"name": "rows.csv", "mimeType": "text/csv", "buffer": content}
    )
    page.get_by_role("button", name="Predict the file").click()
    expect(page.locator("#result dd").first).to_have_text("2")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the predictions").click()
    assert download.value.suggested_filename == "rows-predictions.csv"
    assert download.value.path().read_text().startswith("colour,size,age,shiny,prediction")
    context.close()
