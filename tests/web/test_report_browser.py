"""The report and the learning curve in Chromium: served, printed and from a file."""

import re
from itertools import pairwise

import pytest
from conftest import GUNICORN, running
from playwright.sync_api import expect
from reports import write_shipped
from test_browser import contrast, width

from slipway.reports.html import report_path

pytestmark = pytest.mark.browser

PHONE = {"viewport": {"width": 360, "height": 740}}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_shipped(tmp_path_factory.mktemp("shipped"))[0]


@pytest.fixture(scope="module")
def reporting(path):
    """Yield the base URL of a service with a report."""
    with running(*GUNICORN, SLIPWAY_MODEL=str(path)) as (base, _):
        yield base


@pytest.fixture
def open_quiet(chromium, reporting):
    """Yield a function that opens pages, and check their requests and consoles at the end."""
    contexts, complaints, urls = [], [], []

    def open_(address="/model/report", **options):
        context = chromium.new_context(base_url=reporting, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: urls.append(request.url))
        page.goto(address)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert complaints == []
    assert [url for url in urls if not url.startswith((reporting, "file:", "data:"))] == []


def test_model_page_links_to_report(open_quiet):
    page = open_quiet("/model")
    page.get_by_role("link", name="The report of this version").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Report of a model version")
    for name in ("Calibration, on rows held out", "Log loss by rows", "Distance "):
        plot = page.get_by_role("img", name=re.compile(f"^{name}"))
        assert plot.bounding_box()["width"] > 200
    page.get_by_role("link", name="Training data and libraries").click()
    expect(page.get_by_role("heading", name="Training data and libraries")).to_be_in_viewport()


@pytest.mark.parametrize("size", [360, 320])
@pytest.mark.parametrize("address", ["/model/report", "/model"])
def test_learning_curve_narrow_screen_has_no_horizontal_scroll(open_quiet, address, size):
    page = open_quiet(address, viewport={"width": size, "height": 740})
    for details in page.locator("summary").all():
        details.click()
    assert width(page) == size


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_report_light_and_dark_has_enough_contrast(open_quiet, scheme):
    page = open_quiet(color_scheme=scheme)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(re.findall(r"\d+", ground)[0]) < 64) == (scheme == "dark")
    for selector in ("h1", ".lead", ".hint", "dt", "a", "thead th", ".plot text", ".plot .note"):
        assert contrast(page, selector) >= 4.5, selector
    for selector in ("rect.up", "rect.down", ".plot circle"):
        assert contrast(page, selector) >= 3, selector


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_learning_curve_mark_has_enough_contrast(open_quiet, scheme):
    page = open_quiet("/model", color_scheme=scheme)
    assert contrast(page, ".plot .note") >= 4.5


def test_report_printed_is_light_with_all_tables(open_quiet):
    page = open_quiet(color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert contrast(page, "h1") >= 7
    expect(page.get_by_role("navigation")).to_be_hidden()
    # A4 without margins, at 96 pixels per inch.
    page.set_viewport_size({"width": 680, "height": 1000})
    assert width(page) == 680
    cut = "all => all.filter(one => one.scrollWidth > one.clientWidth + 1).length"
    assert page.locator(".scroll").evaluate_all(cut) == 0
    printed = page.pdf(prefer_css_page_size=True)
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) > 5


def test_report_from_file_works_without_service(open_quiet, path):
    page = open_quiet(report_path(path).as_uri(), **PHONE)
    expect(page.get_by_role("img", name="Log loss by rows")).to_be_visible()
    assert width(page) == 360
    font = page.evaluate("getComputedStyle(document.body).fontFamily")
    assert "system-ui" in font


def test_report_headings_skip_no_level(open_quiet):
    page = open_quiet()
    levels = page.locator("h1, h2, h3, h4").evaluate_all("all => all.map(one => +one.tagName[1])")
    assert levels[0] == 1
    assert all(later - level <= 1 for level, later in pairwise(levels))
