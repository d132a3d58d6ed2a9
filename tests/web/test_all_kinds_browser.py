"""The form of a model with every kind of feature, in Chromium, served by Gunicorn."""

import csv
import json
import subprocess
from io import StringIO

import pandas as pd
import pytest
from all_kinds import save_all_kinds
from conftest import GUNICORN, IMPORTS, running
from own_models import own_predictions
from playwright.sync_api import expect

pytestmark = pytest.mark.browser
FILLED = {
    "Remark": "broken\nnever again",
    "Ordered at": "2026-03-01T10:00:00",
    "Visits": "3.5",
    "Amount": "Infinity",
    "Place": "Atlantis",
    "Rating": "",
}
CHOSEN = {"Size": "large", "Gift": "true", "Coupon": "(empty text)", "Payment": "card"}


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    """Yield the fitted pipeline, its training rows and the base URL of its service."""
    folder = tmp_path_factory.mktemp("kinds")
    model, X = save_all_kinds(folder)
    # The service must be able to import the pickle's own functions.
    environ = {"SLIPWAY_MODEL": str(folder / "model.pkl"), "PYTHONPATH": IMPORTS}
    with running(*GUNICORN, **environ) as (base, _):
        yield model, X, base


@pytest.fixture(params=["desktop", "phone", "without JavaScript"])
def page(request, kinds, chromium):
    """Yield the form, and check that the console stays empty."""
    size = {"width": 360 if request.param == "phone" else 1200, "height": 740}
    scripts = request.param != "without JavaScript"
    context = chromium.new_context(base_url=kinds[2], viewport=size, java_script_enabled=scripts)
    opened, complaints = context.new_page(), []
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.goto("/")
    yield opened
    assert opened.evaluate("document.documentElement.scrollWidth") == size["width"]
    context.close()
    assert complaints == []


def fill(page):
    for label, text in FILLED.items():
        page.get_by_label(label).fill(text)
    for label, name in CHOSEN.items():
        option = page.get_by_label(label).locator("option", has_text=name)
        page.get_by_label(label).select_option(option.get_attribute("value"))


def pipeline_probability(model, X, coupon=""):
    """Return the pipeline's probability for the values in the form."""
    row = X.head(1).assign(
        remark=FILLED["Remark"],
        ordered_at=pd.Timestamp("2026-03-01T10:00:00"),
        size=pd.Categorical(["large"], dtype=X["size"].dtype),
        visits=3.5,
        amount=float("inf"),
        gift=True,
        coupon=pd.Series([coupon], dtype=object),
        payment="card",
        place="Atlantis",
    )
    (response,) = own_predictions(model, row)
    return response.numbers[0]


def test_form_every_kind_returns_pipeline_prediction(page, kinds):
    model, X, _ = kinds
    expected = pipeline_probability(model, X)
    fill(page)
    page.get_by_role("button", name="Predict").click()
    expect(page.locator(".verdict")).to_contain_text(f"{expected:.4f}")
    for label, text in FILLED.items():
        expect(page.get_by_label(label)).to_have_value(text)
    warnings = page.locator(".warning li")
    for warning in ("Visits: Training had whole numbers only", "Gift: Training has not seen"):
        expect(warnings.filter(has_text=warning)).to_have_count(1)
    line = page.locator("#curl").inner_text()
    sent = subprocess.run(["sh", "-c", line], capture_output=True, check=True, timeout=60)
    assert json.loads(sent.stdout)["probability"] == expected


def test_form_not_known_option_differs_from_empty_text(page, kinds):
    model, X, _ = kinds
    fill(page)
    page.get_by_label("Coupon").select_option("NaN")
    page.get_by_role("button", name="Predict").click()
    expect(page.locator(".verdict")).to_contain_text(f"{pipeline_probability(model, X, None):.4f}")
    expect(page.locator(".warning")).to_contain_text("Coupon: Training had no missing value")
    expect(page.locator("#curl")).to_contain_text('"coupon": null')


def test_form_long_category_list_is_suggested(page):
    place = page.get_by_label("Place")
    options = page.locator(f"#{place.get_attribute('list')} option")
    assert options.count() == 300
    expect(page.get_by_label("Remark")).to_have_attribute("maxlength", "65536")


def test_sample_file_returns_no_errors(page):
    content = page.request.get("/sample.csv").body()
    response = page.request.post(
        "/predict_file", data=content, headers={"Content-Type": "text/csv"}
    )
    rows = list(csv.DictReader(StringIO(response.text(), newline="")))
    assert [row["error"] for row in rows] == [""] * len(rows)
    page.get_by_role("link", name="File").click()
    expect(page.get_by_role("row", name="coupon")).to_contain_text("(empty text), NA, SPRING")
    page.get_by_text("Cells that count as missing").click()
    expect(page.get_by_text("An empty cell, and a cell with one")).to_contain_text("#N/A")
