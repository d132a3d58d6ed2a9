"""The pages in Chromium, served by Gunicorn."""

import csv
import json
import re
import subprocess
import urllib.request
from io import StringIO

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

SLOW = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 60_000}


@pytest.fixture
def open_page(chromium, service):
    """Yield a function that opens pages, and check their requests and consoles at the end."""
    contexts, outside, complaints = [], [], []

    def noted(message):
        # Chromium reports every status over 399 as a failed load; 5xx are checked below.
        if message.type in ("error", "warning") and "Failed to load" not in message.text:
            complaints.append(message.text)

    def answered(response):
        if response.status >= 400 and "/static/" in response.url:
            complaints.append(f"{response.url} answered {response.status}")

    def open_(path="/", **options):
        context = chromium.new_context(base_url=service, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("console", noted)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("response", answered)
        page.on("request", lambda request: outside.append(request.url))
        page.goto(path)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert [url for url in outside if not url.startswith((f"{service}/", f"blob:{service}/"))] == []
    assert complaints == []


@pytest.fixture(scope="module")
def sample(service):
    with urllib.request.urlopen(f"{service}/sample.csv") as answer:
        return answer.read()


def choose(page, content, name="flights.csv"):
    page.get_by_label("CSV file").set_input_files(
        {"name": name, "mimeType": "text/csv", "buffer": content}
    )


def width(page):
    return page.evaluate("document.documentElement.scrollWidth")


def contrast(page, selector):
    """Return the contrast of a text with its background, by WCAG 2.2."""
    colours = page.locator(selector).first.evaluate(
        """element => {
            let behind = element;
            const clear = (node) => getComputedStyle(node).backgroundColor === "rgba(0, 0, 0, 0)";
            while (clear(behind)) behind = behind.parentElement;
            const style = getComputedStyle(element);
            return [style.fill === "rgb(0, 0, 0)" ? style.color : style.fill,
                    getComputedStyle(behind).backgroundColor];
        }"""
    )

    def luminance(colour):
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted(map(luminance, colours))
    return (light + 0.05) / (dark + 0.05)


def test_form_submitted_shows_prediction(open_page):
    page = open_page()
    page.get_by_label("Carrier").select_option(label="B6 — JetBlue Airways")
    page.get_by_label("Temperature").fill("30")
    page.get_by_role("button", name="Predict").click()
    expect(page.get_by_role("heading", name=re.compile("^Answer: "))).to_be_in_viewport()
    expect(page.locator(".big strong")).to_have_text(re.compile(r"^\d+%$"))
    expect(page.get_by_role("table", name="What pushed it up and down")).to_be_visible()
    expect(page).to_have_title(re.compile(r"^\d+% late: "))
    assert page.get_by_label("Carrier").input_value() == "B6"
    assert page.get_by_label("Temperature").input_value() == "30"
    assert "B6" not in page.url


def test_form_invalid_value_links_to_field(open_page):
    page = open_page()
    page.get_by_label("Temperature").fill("hot")
    page.get_by_role("button", name="Predict").click()
    summary = page.get_by_role("alert")
    expect(summary).to_be_focused()
    summary.get_by_role("link", name="Temperature: must be a number").click()
    field = page.get_by_label("Temperature")
    expect(field).to_be_focused()
    expect(field).to_have_accessible_description(re.compile("^Error: Must be a number"))


def test_surprise_link_fills_in_other_example(open_page, manifest):
    page = open_page()
    seen = set()
    for _ in range(3):
        page.get_by_role("link", name="Surprise me").click()
        number = int(page.url.split("?example=")[1])
        record = manifest.golden[number - 1].record
        assert page.get_by_label("Carrier").input_value() == record["carrier"]
        seen.add(number)
    assert len(seen) > 1


def test_prediction_curl_line_returns_same_prediction(open_page):
    page = open_page()
    page.get_by_role("button", name="Predict").click()
    line = page.locator("#curl").inner_text()
    answer = subprocess.run(["sh", "-c", line], capture_output=True, check=True, timeout=60)
    probability = json.loads(answer.stdout)["probability"]
    expect(page.locator(".verdict")).to_contain_text(f"{probability:.4f}")


def test_prediction_copy_button_copies_curl_line(open_page):
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Predict").click()
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_text("Copied.")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == page.locator("#curl").inner_text()


def test_form_keyboard_only_returns_prediction(open_page):
    page = open_page()
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Surprise me")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_label("Carrier")).to_be_focused()
    page.keyboard.type("Delta")
    page.keyboard.type("DL")
    for _ in page.locator("select, input").all():
        page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Predict")).to_be_focused()
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=re.compile("^Answer: "))).to_be_visible()


def test_pages_without_javascript_return_predictions(open_page, sample, manifest):
    page = open_page(java_script_enabled=False)
    page.get_by_role("link", name="Surprise me").click()
    page.get_by_role("button", name="Predict").click()
    expect(page.get_by_role("heading", name=re.compile("^Answer: "))).to_be_visible()
    expect(page.get_by_role("button", name="Copy")).to_be_hidden()
    page.get_by_role("link", name="File").click()
    choose(page, sample)
    with page.expect_download() as download:
        page.get_by_role("button", name="Predict the file").click()
    lines = download.value.path().read_text().splitlines()
    assert len(lines) == 1 + len(manifest.golden)
    assert lines[0].endswith(",prediction,probability,warning,error")


def test_file_upload_offers_predictions_for_download(open_page, sample, manifest):
    page = open_page("/file")
    header, first, *others = sample.splitlines(keepends=True)
    carrier, _, rest = first.split(b",", 2)
    broken = b"".join([header, carrier + b",," + rest, *others])
    choose(page, broken)
    page.get_by_role("button", name="Predict the file").click()
    title = page.get_by_role("heading", name="The predictions are ready")
    expect(title).to_be_focused()
    facts = page.locator("#result dd")
    expect(facts).to_have_text([str(len(manifest.golden)), "1", "1", manifest.version])
    expect(page.locator("#advice")).to_contain_text("the reason for each rejected row")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the predictions").click()
    assert download.value.suggested_filename == "flights-predictions.csv"
    text = download.value.path().read_text()
    rows = list(csv.DictReader(StringIO(text)))
    # The page removes the line of counts.
    assert len(rows) == len(manifest.golden)
    assert rows[0]["error"] == "origin: this field must be given"
    assert float(rows[1]["probability"]) == pytest.approx(manifest.golden[1].answer)


def test_file_upload_shows_progress_and_can_be_cancelled(open_page, sample, manifest):
    page = open_page("/file")
    network = page.context.new_cdp_session(page)
    network.send("Network.emulateNetworkConditions", SLOW)
    header, rows = sample.split(b"\n", 1)
    choose(page, header + b"\n" + rows * 700)
    send = page.get_by_role("button", name="Predict the file")
    send.click()
    expect(page.get_by_role("progressbar", name="Progress")).to_be_visible()
    expect(page.get_by_role("status")).to_have_text("Sending the file.")
    expect(page.locator("#amount")).to_have_text(re.compile(r"^[1-9]\d?% sent$"))
    expect(send).to_be_disabled()
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("status")).to_have_text("Cancelled.")
    expect(send).to_be_enabled()
    network.send("Network.emulateNetworkConditions", SLOW | {"uploadThroughput": -1})
    send.click()
    expect(page.locator("#result dd").first).to_have_text(f"{700 * len(manifest.golden):,}")


def test_file_with_missing_columns_shows_reason(open_page):
    page = open_page("/file")
    choose(page, b"carrier,origin\nUA,EWR\n")
    page.get_by_role("button", name="Predict the file").click()
    problem = page.get_by_role("alert")
    expect(problem).to_contain_text("The columns do not fit the model.")
    expect(problem).to_contain_text("dest: the file has no such column")
    expect(problem).to_contain_text("Request ")


def test_file_over_the_limit_is_not_sent(open_page):
    page = open_page("/file")
    page.locator("#upload").evaluate("form => { form.dataset.maxBytes = 3; }")
    choose(page, b"carrier\n")
    page.get_by_role("button", name="Predict the file").click()
    expect(page.get_by_role("alert")).to_contain_text("The file is over the limit of 1 GiB.")


def test_file_incomplete_response_is_not_offered(open_page, sample):
    page = open_page("/file")
    page.route("**/predict_file?counts=true", lambda route: route.fulfill(body="a,b\n1,2\n"))
    choose(page, sample)
    page.get_by_role("button", name="Predict the file").click()
    expect(page.get_by_role("alert")).to_contain_text("The response is incomplete.")
    expect(page.locator("#result")).to_be_hidden()


def test_file_response_of_proxy_shows_status(open_page, sample):
    page = open_page("/file")
    page.route(
        "**/predict_file?counts=true", lambda route: route.fulfill(status=502, body="<h1>Bad</h1>")
    )
    choose(page, sample)
    page.get_by_role("button", name="Predict the file").click()
    expect(page.get_by_role("alert")).to_contain_text("The service returned status 502.")


def test_file_lost_connection_shows_error(open_page, sample):
    page = open_page("/file")
    page.route("**/predict_file?counts=true", lambda route: route.abort())
    choose(page, sample)
    page.get_by_role("button", name="Predict the file").click()
    expect(page.get_by_role("alert")).to_contain_text("The connection was lost.")


def test_model_page_draws_charts(open_page):
    page = open_page("/model")
    expect(page.get_by_role("heading", level=1)).to_have_text("The model")
    plot = page.get_by_role("img", name="Calibration, on rows held out")
    expect(plot).to_be_visible()
    box = plot.bounding_box()
    assert box["width"] > 250
    assert box["height"] > 200
    page.get_by_text("Group by group, on rows held out").click()
    expect(page.get_by_role("row", name=re.compile("^LGA — La Guardia [0-9]"))).to_be_visible()


@pytest.mark.parametrize("size", [360, 320])
def test_pages_narrow_screen_have_no_horizontal_scroll(open_page, size):
    page = open_page(viewport={"width": size, "height": 740}, is_mobile=True, has_touch=True)
    assert width(page) == size
    page.get_by_label("Dest").evaluate("s => s.add(new Option('x'.repeat(90), 'x', true, true))")
    page.get_by_label("Distance").fill("far")
    page.get_by_role("button", name="Predict").click()
    assert width(page) == size
    page.get_by_label("Distance").fill("719")
    page.get_by_role("button", name="Predict").click()
    expect(page.locator(".warning")).to_be_visible()
    assert width(page) == size
    for path in ("/file", "/model", "/nothing-here"):
        page.goto(path)
        for details in page.locator("summary").all():
            details.click()
        assert width(page) == size


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_light_and_dark_have_enough_contrast(open_page, scheme):
    page = open_page(color_scheme=scheme)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(re.findall(r"\d+", ground)[0]) < 64) == (scheme == "dark")
    for selector in ("h1", ".lead", ".hint", "label span", "nav a", "input", "button", "footer"):
        assert contrast(page, selector) >= 4.5, selector
    page.get_by_label("Dest").evaluate("s => s.add(new Option('ZZZ', 'ZZZ', true, true))")
    page.get_by_role("button", name="Predict").click()
    for selector in (".key.up", ".key.down", ".warning h3", ".warning a", "summary", "#curl"):
        assert contrast(page, selector) >= 4.5, selector
    for selector in ("rect.up", "rect.down", ".fill"):
        assert contrast(page, selector) >= 3, selector
    page.get_by_label("Distance").fill("far")
    page.get_by_role("button", name="Predict").click()
    for selector in (".problem a", ".error"):
        assert contrast(page, selector) >= 4.5, selector
    page.goto("/model")
    for selector in (".plot text", "thead th", ".card .hint", "dt"):
        assert contrast(page, selector) >= 4.5, selector


def test_api_documentation_is_linked_from_every_page(open_page):
    for path in ("/", "/file", "/model"):
        page = open_page(path)
        href = page.get_by_role("link", name="API", exact=True).get_attribute("href")
        assert href == "/apidocs/"
