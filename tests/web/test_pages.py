"""The HTML of the pages; ``test_browser.py`` tests them in a browser."""

import csv
import html
import json
import math
import re
import shlex
from html.parser import HTMLParser
from io import StringIO
from urllib.parse import urlencode

import pytest
from conftest import ROOT

from slipway.core.settings import Settings
from slipway.models.features import Feature
from slipway.models.scorecard import StepTerm, TableTerm
from slipway.reports import svg_charts
from slipway.reports.formatting import byte_count, compare_to_base_rate, percent, signed
from slipway.web import create_app

FORM = "application/x-www-form-urlencoded"
PATHS = ("/", "/?example=1", "/file", "/model", "/nothing-here")
HTML = {"Accept": "text/html"}


class Page(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, response):
        super().__init__()
        self.tags = []
        self.words = []
        self.areas = {}
        self.area = None
        self.feed(response.text)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "textarea":
            self.area = dict(attrs)["name"]
            self.areas[self.area] = ""

    def handle_endtag(self, tag):
        self.area = None if tag == "textarea" else self.area

    def handle_data(self, data):
        self.words.append(data)
        if self.area is not None:
            # Browsers remove a leading line end.
            self.areas[self.area] += data if self.areas[self.area] else data.removeprefix("\n")

    def all(self, *names):
        return [attrs for tag, attrs in self.tags if tag in names]

    def by(self, key, value):
        return next(attrs for _, attrs in self.tags if attrs.get(key) == value)

    @property
    def fields(self):
        """The fields that a browser would send."""
        values, select = {}, None
        for tag, attrs in self.tags:
            if tag == "select":
                select = attrs["name"]
            elif tag == "option" and "selected" in attrs:
                values[select] = attrs["value"]
            elif tag == "input":
                values[attrs["name"]] = attrs["value"]
        return values | self.areas


def send(client, fields, **kwargs):
    return client.post("/", data=urlencode(fields), content_type=FORM, headers=HTML, **kwargs)


@pytest.fixture
def texts(client):
    """Return the initial fields of the form."""
    return Page(client.get("/")).fields


def test_form_initially_has_example_values(client, texts, example):
    response = client.get("/")
    assert response.status_code == 200
    assert response.mimetype == "text/html"
    assert list(texts) == list(example)
    assert {name: float(texts[name]) for name in ("distance", "temperature")} == {
        name: example[name] for name in ("distance", "temperature")
    }


def test_form_category_has_drop_down_with_codes_and_names(client):
    response = client.get("/")
    assert '<option value="UA" selected>UA — United Air Lines Inc.</option>' in response.text
    assert '<option value="LGA">LGA — La Guardia</option>' in response.text


def test_form_integer_category_has_drop_down_with_names(client):
    assert '<option value="1">Monday</option>' in client.get("/").text


def test_form_optional_number_shows_range_and_unit(client):
    page = Page(client.get("/"))
    field = page.by("name", "temperature")
    assert "required" not in field
    assert "required" in page.by("name", "distance")
    assert "-80 to 140 °F." in page.text
    assert "Temperature optional" in page.text


def test_form_negative_number_has_keyboard_with_minus_sign(client):
    page = Page(client.get("/"))
    assert page.by("name", "temperature")["inputmode"] == "text"
    assert page.by("name", "wind_speed")["inputmode"] == "decimal"
    assert page.by("name", "seats")["inputmode"] == "numeric"


def test_form_example_shows_golden_row(client, manifest):
    fields = Page(client.get("/?example=2")).fields
    expected = manifest.golden[1].record
    assert fields["carrier"] == expected["carrier"]
    assert float(fields["wind_speed"]) == expected["wind_speed"]


@pytest.mark.parametrize("number", ["0", "999", "-1", "x", "01", "9" * 5000, ""])
def test_form_unknown_example_returns_404(client, number):
    response = client.get(f"/?example={number}", headers=HTML)
    assert response.status_code == 404
    assert "There is nothing at this address." in response.text


def test_form_surprise_link_names_other_example(client):
    for _ in range(60):
        links = [a["href"] for a in Page(client.get("/?example=3")).all("a")]
        surprise = next(link for link in links if "example=" in link)
        assert re.fullmatch(r"/\?example=\d+", surprise)
        assert surprise != "/?example=3"


def test_prediction_of_examples_is_golden_probability(client, manifest):
    for number, row in enumerate(manifest.golden, start=1):
        fields = Page(client.get(f"/?example={number}")).fields
        response = send(client, fields)
        assert response.status_code == 200
        assert f"because {row.answer:.4f}" in response.text


def test_prediction_page_matches_api(client, texts, example, manifest):
    expected = client.post("/predict?explain=true", json=example).json
    response = send(client, texts)
    page = Page(response)
    assert response.status_code == 200
    assert f"Answer: {expected['label']}" in page.text
    assert f"{percent(expected['probability'])} probability of “late”" in page.text
    assert f"{compare_to_base_rate(expected['probability'], manifest.base_rate)}" in page.text
    assert f"the sum {signed(expected['log_odds'])} is the probability" in page.text
    largest = max(expected["contributions"].values(), key=abs)
    assert page.all("rect")[4]["width"] == "50.0"
    assert signed(largest) in response.text


def test_prediction_bars_add_up_to_log_odds(client, texts, example):
    expected = client.post("/predict?explain=true", json=example).json
    table = send(client, texts).text.split("<tbody>")[1].split("</tbody>")[0]
    numbers = [float(n.replace("−", "-")) for n in re.findall(r'"number">([^<]+)<', table)]
    assert len(numbers) == 13
    assert "The other 5" in table
    assert math.isclose(sum(numbers), expected["log_odds"] - expected["intercept"], abs_tol=0.07)


def test_prediction_page_keeps_form_values(client, texts):
    texts["temperature"] = "33.25"
    texts["carrier"] = "B6"
    texts["seats"] = ""
    assert Page(send(client, texts)).fields == texts


def test_prediction_missing_optional_field_is_shown_as_missing(client, texts):
    texts["pressure_change_6h"] = ""
    response = send(client, texts)
    assert response.status_code == 200
    assert "Pressure change 6h <span>missing</span>" in response.text


def test_prediction_invalid_fields_are_listed_and_marked(client, texts):
    texts |= {"temperature": "hot", "distance": "", "departure_hour": "99"}
    response = send(client, texts)
    page = Page(response)
    assert response.status_code == 422
    assert "<title>Error: " in response.text
    assert "3 fields need attention" in page.text
    for name in ("temperature", "distance", "departure_hour"):
        field = page.by("name", name)
        assert field["aria-invalid"] == "true"
        error = field["aria-describedby"].split()[0]
        assert page.by("id", error)["class"] == "error"
        assert page.by("href", f"#{field['id']}")
    assert "aria-invalid" not in page.by("name", "wind_speed")
    assert page.fields == texts
    assert 'id="answer"' not in response.text


def test_prediction_absent_fields_are_missing_values(client):
    response = send(client, {"carrier": "UA"})
    assert response.status_code == 422
    assert "7 fields need attention" in response.text


def test_prediction_unknown_field_is_rejected(client, texts):
    response = send(client, texts | {"dests": "ORD"})
    assert response.status_code == 422
    assert "One field needs attention" in response.text
    assert "dests: the model has no such field; did you mean dest?" in response.text


@pytest.mark.parametrize(
    ("body", "kind", "status", "says"),
    [
        (b"carrier=UA&carrier=B6", FORM, 400, "A field is given twice."),
        (b"", FORM, 400, "The body is empty"),
        (b"\xff=1", FORM, 400, "not UTF-8."),
        (b'{"carrier":"UA"}', "application/json", 415, "Send application/x-www-form-urlencoded."),
    ],
)
def test_prediction_unreadable_body_returns_error_page(client, body, kind, status, says):
    response = client.post("/", data=body, content_type=kind, headers=HTML)
    assert response.status_code == status
    assert response.mimetype == "text/html"
    assert says in response.text


def test_prediction_unseen_category_shows_warning(client, texts):
    texts["dest"] = "ZZZ"
    response = send(client, texts)
    page = Page(response)
    assert response.status_code == 200
    assert "Dest : Training has not seen this value" in page.text
    assert '<option value="ZZZ" selected>ZZZ (not in the list)</option>' in response.text


def test_prediction_client_text_is_escaped(client, texts):
    texts["dest"] = "\"'><script>alert(1)</script>"
    response = send(client, texts)
    page = Page(response)
    assert response.status_code == 200
    assert page.fields["dest"] == texts["dest"]
    assert all("src" in script for script in page.all("script"))


def test_prediction_curl_line_sends_same_request(client, texts):
    texts |= {"dest": 'it\'s "$HOME" `id` \\ é', "temperature": ""}
    response = send(client, texts, base_url="https://flights.example.com/prefix/")
    line = response.text.split('<code id="curl">')[1].split("</code>")[0]
    arguments = shlex.split(html.unescape(line))
    assert arguments[:3] == ["curl", "-s", "https://flights.example.com/prefix/predict"]
    record = json.loads(arguments[-1])
    assert record["dest"] == texts["dest"]
    assert record["temperature"] is None
    again = client.post("/predict", data=arguments[-1], content_type="application/json")
    assert again.status_code == 200
    assert f"{again.json['probability']:.4f}" in response.text


def test_prediction_links_contain_no_values(client, texts):
    page = Page(send(client, texts))
    links = [attrs.get("href") or attrs.get("action", "") for _, attrs in page.tags]
    assert {link.split("?")[1].split("=")[0] for link in links if "?" in link} == {"example"}
    assert next(form for form in page.all("form"))["method"] == "post"


def test_file_page_posts_to_the_api(client, settings):
    response = client.get("/file")
    form = Page(response).by("id", "upload")
    assert response.status_code == 200
    assert (form["action"], form["method"]) == ("/predict_file", "post")
    assert form["enctype"] == "multipart/form-data"
    assert form["data-max-bytes"] == str(settings.max_file_bytes)
    assert "up to 1 GiB" in response.text


def test_sample_contains_golden_rows(client, manifest):
    response = client.get("/sample.csv")
    assert response.status_code == 200
    assert response.mimetype == "text/csv"
    rows = list(csv.DictReader(StringIO(response.text)))
    assert len(rows) == len(manifest.golden)
    assert float(rows[0]["wind_speed"]) == manifest.golden[0].record["wind_speed"]
    for line, row in zip(rows, manifest.golden, strict=True):
        assert (line["temperature"] == "") == (row.record["temperature"] is None)


def test_sample_returns_golden_probabilities(client, manifest):
    body = client.get("/sample.csv").data
    response = client.post("/predict_file?counts=true", data=body, content_type="text/csv")
    lines = response.text.splitlines()
    assert lines[-1].startswith(f"# rows={len(manifest.golden)} failed=0 warned=1 ")
    for line, row in zip(csv.DictReader(lines[:-1]), manifest.golden, strict=True):
        assert math.isclose(float(line["probability"]), row.answer, abs_tol=1e-12)


def test_model_page_has_metrics_origin_and_features(client, manifest):
    response = client.get("/model")
    text = Page(response).text
    assert response.status_code == 200
    for evaluation in manifest.evaluations.values():
        for scores in evaluation.scores.values():
            assert f"{scores.roc_auc:.3f}" in text
            assert f"{scores.calibration_error:.3f}" in text
    for expected_text in (manifest.version, manifest.sha256, manifest.estimator, "the scorecard"):
        assert expected_text in text
    assert manifest.training.source in text
    assert manifest.training.data_sha256 in text
    for reason, count in manifest.training.left_out.items():
        assert f"{count:,}: {reason}" in text
    for feature in manifest.signature.features:
        assert feature.description in text
    for name, version in manifest.libraries.items():
        assert f"{name} {version}" in text


def test_model_page_draws_curves_and_terms(client, manifest):
    page = Page(client.get("/model"))
    plots = [svg for svg in page.all("svg") if svg.get("role") == "img"]
    terms = [term for term in manifest.scorecard.sums[0].terms if not isinstance(term, TableTerm)]
    # The learning curve has a plot for the score and one for the log loss.
    assert len(plots) == 3 * len(manifest.evaluations) + len(terms) + 2
    assert "nan" not in " ".join(line["points"] for line in page.all("polyline"))


def test_model_page_labels_largest_levels(client):
    text = Page(client.get("/model")).text
    assert "The 12 largest contributions; 91 more are closer to zero." in text
    assert "F9 — Frontier Airlines Inc." in text


@pytest.mark.parametrize("path", PATHS)
def test_page_under_prefix_has_prefixed_links(client, path):
    response = client.get(path, base_url="https://example.com/prefix/", headers=HTML)
    for _, attrs in Page(response).tags:
        for key in ("href", "src", "action"):
            link = attrs.get(key, "/prefix/")
            assert link.startswith(("/prefix/", "#")), link


@pytest.mark.parametrize("path", [*PATHS, "answer", "errors"])
def test_page_is_accessible_to_screen_readers(client, texts, path):
    if path in ("answer", "errors"):
        page = Page(send(client, texts if path == "answer" else texts | {"seats": "many"}))
    else:
        page = Page(client.get(path, headers=HTML))
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("h1")) == len(page.all("main")) == len(page.all("title")[:1]) == 1
    labelled = {label["for"] for label in page.all("label")}
    assert {field["id"] for field in page.all("input", "select", "progress")} <= labelled
    for _, attrs in page.tags:
        for key in ("aria-labelledby", "aria-describedby", "for"):
            assert set((attrs.get(key) or "").split()) <= set(ids)
    for svg in page.all("svg"):
        assert svg.get("aria-hidden") == "true" or svg.get("role") == "img"
    for th in page.all("th"):
        assert th["scope"] in ("col", "row", "rowgroup")


@pytest.mark.parametrize("path", PATHS)
def test_page_has_no_inline_code_or_external_resources(client, path):
    response = client.get(path, headers=HTML)
    page = Page(response)
    assert "Content-Security-Policy" in response.headers
    assert "http://" not in response.text.replace("http://www.w3.org/", "")
    assert "https://" not in response.text
    assert all(script["src"].startswith("/static/") for script in page.all("script"))
    assert not [key for _, attrs in page.tags for key in attrs if key.startswith("on")]


def test_page_footer_has_model_version_and_request_id(client, manifest):
    response = client.get("/file", headers={"X-Request-Id": "given-by-caller"})
    assert manifest.version in response.text
    assert "given-by-caller" in response.text
    assert response.headers["X-Request-Id"] == "given-by-caller"


def test_error_format_follows_accept_header(client):
    page = client.get("/nothing-here", headers=HTML)
    assert (page.status_code, page.mimetype) == (404, "text/html")
    assert "There is nothing at this address." in page.text
    expected_text = client.get("/nothing-here")
    assert (expected_text.status_code, expected_text.mimetype) == (404, "application/json")
    assert expected_text.json["code"] == "not_found"


def test_error_page_wrong_method_shows_message(client):
    response = client.post("/model", headers=HTML)
    assert response.status_code == 405
    assert "This address does not accept this method." in response.text


def test_error_page_without_model_returns_503(tmp_path, monkeypatch):
    monkeypatch.setenv("FLASK_RUN_FROM_CLI", "true")
    client = create_app(ROOT, Settings(model=tmp_path / "model.pkl")).test_client()
    for path in ("/", "/file", "/model", "/sample.csv"):
        response = client.get(path, headers=HTML)
        assert response.status_code == 503
        assert "No model has been loaded" in response.text
        assert "Model version" not in response.text


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0%"), (0.001, "<1%"), (0.006, "1%"), (0.244, "24%"), (0.9951, ">99%"), (1, "100%")],
)
def test_percent_almost_all_is_not_100(share, text):
    assert percent(share) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.5, "2.0 times as likely as the average"),
        (0.26, "about as likely as the average"),
        (0.1, "0.4 times as likely as the average"),
        (0.001, "less than a tenth as likely as the average"),
    ],
)
def test_compare_to_base_rate_returns_text(share, text):
    assert compare_to_base_rate(share, 0.25) == text
    assert compare_to_base_rate(share, 0.0) == "about as likely as the average"


def test_signed_zero_has_no_sign():
    assert [signed(x) for x in (1.234, -0.5, 0.0, -0.001, 0.005)][:4] == [
        "+1.23",
        "−0.50",
        "0.00",
        "0.00",
    ]


@pytest.mark.parametrize(
    ("count", "text"),
    [(512, "512 bytes"), (2**20, "1 MiB"), (2**30, "1 GiB"), (5 * 2**40, "5120 GiB")],
)
def test_byte_count_returns_short_text(count, text):
    assert byte_count(count) == text


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 1, (0, 0.2, 0.4, 0.6, 0.8, 1)),
        (-0.92, 1.19, (-0.5, 0, 0.5, 1)),
        (21, 93, (40, 60, 80)),
        (1e-6, 3e-6, (1e-6, 1.5e-6, 2e-6, 2.5e-6, 3e-6)),
    ],
)
def test_axis_ticks_are_round(low, high, ticks):
    assert svg_charts.Axis(low, high, 0, 100).ticks == pytest.approx(ticks)


def test_axis_ends_map_to_its_width():
    axis = svg_charts.Axis(-1, 3, 200, 0)
    assert [axis.to_pixel(value) for value in (-1, 1, 3)] == [200, 100, 0]


def test_layout_bars_start_in_middle():
    bars = svg_charts.layout_bars([2.0, -1.0, 0.0], 2.0)
    assert [(bar.x, bar.width) for bar in bars] == [(50, 50), (25, 25), (50, 0)]
    assert svg_charts.layout_bars([0.0], 0.0) == [svg_charts.Bar(0.0, 50.0, 0.0)]


def test_term_plot_steps_have_two_corners_per_edge():
    feature = Feature("x", "number", "X", 1.0, minimum=0)
    steps = StepTerm("x", (1.0, 11.0), (0.0, 1.0, -1.0), 0.0)
    plot = svg_charts.term_plot(steps, svg_charts.choose_x_axis(steps, feature, []), -1, 1)
    assert len(plot.lines["curve"].split()) == 6
    assert plot.x.low == pytest.approx(0.2)
    flat = StepTerm("x", (), (0.5,), 0.0)
    one = svg_charts.term_plot(flat, svg_charts.choose_x_axis(flat, feature, []), -1, 1)
    assert len(one.lines["curve"].split()) == 2
