"""Pages, documents and cards of a model with every kind of feature, compared with its pipeline."""

import csv
import json
import re
from io import StringIO
from urllib.parse import urlencode

import msgspec
import pytest
from all_kinds import save_all_kinds
from conftest import ROOT
from openapi_schema_validator import OAS30Validator
from openapi_spec_validator import validate
from own_models import equal, outcome, own_predictions
from test_pages import FORM, HTML, Page, send

from slipway.core.settings import Settings
from slipway.models.features import Feature
from slipway.models.manifest import read_manifest, write_manifest
from slipway.models.record_texts import field_text
from slipway.models.signature import Signature
from slipway.models.validation import MAX_TEXT, MISSING_TEXTS, parse_text
from slipway.reports.html.renderer import report_text
from slipway.reports.model_card import card_text, describe_card
from slipway.reports.model_diff import compare
from slipway.web import create_app
from slipway.web.form_fields import Field, without_browser_line_ends


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    """Return a fitted pipeline, its training rows and the path of its saved version."""
    folder = tmp_path_factory.mktemp("kinds")
    return *save_all_kinds(folder), folder / "model.pkl"


@pytest.fixture(scope="module")
def manifest(kinds):
    return read_manifest(kinds[2])


@pytest.fixture(scope="module")
def app(kinds):
    return create_app(ROOT, Settings(model=kinds[2]))


@pytest.fixture
def client(app):
    return app.test_client()


@pytest.fixture
def document(client):
    return client.get("/apispec_1.json").json


def predict(client, record):
    response = client.post("/predict", json=record)
    return outcome(response.status_code, response.json)


def displayed_number(response):
    return float(re.search(r"because ([\d.]+)", Page(response).text)[1])


def test_form_every_kind_has_control_with_its_values(client):
    page = Page(client.get("/"))
    assert page.by("name", "remark")["maxlength"] == "65536"
    tags = {attrs["name"]: tag for tag, attrs in page.tags if "name" in attrs and tag != "meta"}
    assert tags == {
        **dict.fromkeys(["size", "gift", "coupon", "payment"], "select"),
        **dict.fromkeys(["ordered_at", "visits", "amount", "place", "rating"], "input"),
        "remark": "textarea",
    }
    assert page.by("id", page.by("name", "place")["list"])
    assert (
        len([option for option in page.all("option") if option["value"].startswith("Place ")])
        == 300
    )
    assert page.by("name", "amount")["inputmode"] == "text"
    for expected_text in (
        "A date and time in ISO 8601, such as 2025-",
        "in training 0 to 29. Whole numbers in training. Infinity is accepted",
        "300 known values: type to find one. Any other gets a warning.",
        "not known (training had none)",
        "true (not seen in training)",
        "(empty text)",
    ):
        assert expected_text in page.text


def test_form_golden_row_examples_return_their_predictions(client, manifest):
    for number, row in enumerate(manifest.golden, start=1):
        response = send(client, Page(client.get(f"/?example={number}")).fields)
        assert response.status_code == 200, number
        assert displayed_number(response) == pytest.approx(row.answer, abs=6e-5)


def test_form_empty_text_and_missing_value_are_separate_options(client):
    texts = Page(client.get("/")).fields
    options = Page(client.get("/")).text
    assert texts["coupon"] == ""
    assert "not known" in options
    for text, value in (("", ""), ("NaN", None), ("NA", "NA")):
        response = send(client, texts | {"coupon": text})
        assert f'"coupon": {json.dumps(value)}' in read_curl(response)
        assert Page(response).fields["coupon"] == text


def read_curl(response):
    line = response.text.split('<code id="curl">')[1].split("</code>")[0]
    return line.replace("&#34;", '"').replace("&#39;", "'")


def test_form_multiline_text_keeps_line_feeds(client):
    texts = Page(client.get("/")).fields | {"remark": "\r\nbroken\r\nnever", "amount": "-Infinity"}
    response = send(client, texts)
    assert response.status_code == 200
    assert '"remark": "\\nbroken\\nnever"' in read_curl(response)
    assert '"amount": "-Infinity"' in read_curl(response)
    assert Page(response).fields["remark"] == "\nbroken\nnever"


def test_form_category_with_line_ends_is_restored():
    feature = Feature("x", "category", "x", "a", categories=("a\nb", "c\r\nd"))
    signature = Signature((feature,), None)
    for text, expected in (("a\r\nb", "a\nb"), ("c\r\nd", "c\r\nd"), ("e\r\nf", "e\nf")):
        assert without_browser_line_ends(signature, {"x": text, "y": "\r\n"}) == {
            "x": expected,
            "y": "\r\n",
        }
    many = tuple(f"{i}\n" for i in range(400))
    feature = Feature("x", "category", "x", "a", categories=many)
    assert Field("f", feature, "a", None, MISSING_TEXTS).control == "drop-down"


def test_form_invalid_date_and_text_show_reason(client):
    texts = Page(client.get("/")).fields | {"ordered_at": "March", "remark": "", "payment": ""}
    response = send(client, texts)
    page = Page(response)
    assert response.status_code == 422
    assert "must be a date and time in ISO 8601, such as" in page.text
    assert "this field must be given: the pipeline raises" in page.text
    assert page.fields == texts
    assert "choose one" in page.text


@pytest.mark.parametrize("missing", [MISSING_TEXTS, ("", "-"), ("-",), ()])
@pytest.mark.parametrize(
    ("feature", "values"),
    [
        (Feature("x", "text", "x", "a", nullable=True), ("a", "", "NA", None, "a\nb", " a ")),
        (
            Feature("x", "category", "x", "", categories=("", "NA", "-"), nullable=True),
            ("", "NA", "-", None, "new"),
        ),
        (
            Feature("x", "category", "x", "", categories=("", "a"), nullable=True, complete=True),
            ("", "a", None),
        ),
        (Feature("x", "number", "x", 1.0, nullable=True), (1.0, -0.0, 1e300, 0.1 + 0.2, None)),
        (Feature("x", "number", "x", 1, dtype="int64", whole=True), (2**63 - 1, -3, 0.5, 10**18)),
        (Feature("x", "number", "x", 1.0, infinite=True), ("Infinity", "-Infinity", 2.0)),
        (Feature("x", "flag", "x", None, nullable=True), (True, False, None)),
        (Feature("x", "datetime", "x", None, nullable=True), ("2025-01-01T00:00:00+02:00", None)),
    ],
    ids=lambda value: value.kind if isinstance(value, Feature) else "",
)
def test_field_text_parsed_again_returns_same_value(feature, values, missing):
    for value in values:
        text = field_text(feature, value, missing)
        if text is None:
            # Only values whose text is a missing text have no form text.
            assert value is None or str(value) in missing or feature.kind == "category"
        else:
            parsed = parse_text(feature, text, missing)
            assert (parsed, str(parsed)) in ((value, str(value)), (value, str(parsed)))
            assert str(value) != "-0.0" or str(parsed) == "-0.0"


def test_sample_file_uploaded_returns_golden_predictions(client, manifest):
    body = client.get("/sample.csv").data
    rows = list(csv.DictReader(StringIO(body.decode(), newline="")))
    assert len(rows) == len(manifest.golden)
    assert {row["coupon"] for row in rows} >= {"", "NA", "NaN", "SPRING"}
    response = client.post("/predict_file", data=body, content_type="text/csv")
    for line, row in zip(csv.DictReader(StringIO(response.text)), manifest.golden, strict=True):
        assert line["error"] == ""
        assert float(line["probability"]) == pytest.approx(row.answer, abs=1e-12)


def test_file_page_names_missing_texts_and_ignored_columns(client):
    text = Page(client.get("/file")).text
    for expected_text in ("#N/A", "null", "Requests may omit them, or send any value: customer ."):
        assert expected_text in text
    assert "An empty cell, and a cell with one of these texts, is a missing value" in text
    assert re.search(r"coupon – 3 known values: \(empty text\), NA, SPRING .* NaN", text)


def test_model_page_lists_accepted_values_and_reasons(client):
    text = Page(client.get("/model")).text
    for expected_text in (
        "any text Required, because the pipeline raises: ",
        "3 known values in ascending order: small, medium, large with a warning",
        "Training had whole numbers only; a fraction gets a warning.",
        "any number or infinity, in training",
        "true or false, only false in training",
        "2 allowed values: card, invoice",
        "The list is closed, because the pipeline raises for any other value.",
    ):
        assert expected_text in text


def test_card_and_report_list_same_values(kinds, manifest):
    card = " ".join(card_text(describe_card(manifest)).split())
    report = report_text(manifest, kinds[2])
    for expected_text in (
        "2 allowed values: card, invoice",
        "The list is closed, because the pipeline",
    ):
        assert expected_text in card
        assert expected_text in report
    assert "ignored customer" in card
    assert "ordered_at datetime a date and time in ISO 8601, or missing with a warning" in card
    assert "customer" in report


def test_difference_changed_features_lists_kinds_types_and_orders(manifest):
    def changed(feature):
        changes = {
            "size": {"categories": ("large", "medium", "small")},
            "visits": {"whole": False, "answered": (0.0, 10.0)},
            "coupon": {"categories": ("NA", "SPRING")},
            "ordered_at": {"dtype": "datetime64[ns, UTC]"},
        }
        return msgspec.structs.replace(feature, **changes.get(feature.name, {}))

    features = tuple(map(changed, manifest.signature.features))
    other = msgspec.structs.replace(
        manifest,
        signature=msgspec.structs.replace(manifest.signature, features=features, missing=("", "-")),
    )
    difference = compare(manifest, other)
    assert {change.what: (change.before, change.after) for change in difference.features} == {
        "size, order of categories": (("small", "medium", "large"), ("large", "medium", "small")),
        "visits, whole": (True, False),
        "visits, answered": (None, (0.0, 10.0)),
        "coupon, categories": (("(empty text)",), ()),
        "ordered_at, dtype": ("datetime64[ns]", "datetime64[ns, UTC]"),
    }
    assert ("missing", ["(empty text)", "-"]) in [(c.what, c.after) for c in difference.about]


def test_metadata_has_rules_and_reasons_without_ignored_columns(client):
    response = client.get("/metadata")
    signature = response.json["signature"]
    features = {feature["name"]: feature for feature in signature["features"]}
    assert signature["missing"] == list(MISSING_TEXTS)
    assert features["payment"]["closed"]
    assert features["payment"]["reasons"].keys() == {"required", "closed"}
    assert features["visits"].items() >= {"whole": True, "infinite": True, "complete": True}.items()
    assert features["size"]["ordered"]
    assert "customer" not in response.text


def test_document_is_valid_and_describes_each_kind(document):
    validate(document)
    record = document["components"]["schemas"]["Record"]
    features = record["properties"]
    assert record["required"] == ["remark", "payment"]
    assert features["remark"].items() >= {"type": "string", "maxLength": MAX_TEXT}.items()
    assert features["payment"]["enum"] == ["card", "invoice"]
    assert "Required, because the pipeline raises" in features["payment"]["description"]
    for name in ("size", "coupon", "place", "gift"):
        assert "enum" not in features[name]
        assert features[name]["nullable"]
    assert features["amount"]["oneOf"][1]["enum"] == ["Infinity", "-Infinity"]
    assert features["customer"] == {"description": "Ignored, with any value"}
    assert "customer" not in document["components"]["schemas"]["FormRecord"]["properties"]


def test_document_omits_parameters_that_model_rejects(client, document):
    assert document["paths"]["/predict"]["post"]["parameters"] == []
    for query in ("explain=true", "interval=0.9"):
        assert client.post(f"/predict?{query}", json={}).status_code == 422


VALUES = {
    "remark": ["", "NA", "a" * MAX_TEXT, "a" * (MAX_TEXT + 1), None, 1, "a\0", "é\n"],
    "ordered_at": [
        *("2025-01-01", "2025-01-31 10:00", "2026-12-31T23:59:59.999999999", "2025-01-01T00:00Z"),
        *("2025-01-01T24:00", "2025-02-30", "01.02.2025", "2025-01-01T00:00+02:00", 5, None),
        *("1500-01-01", "9999-12-31", "2025-1-1", "2025-01-01T00:00:00.", "2200-04-30T01:02"),
    ],
    "size": ["small", "huge", None, 1, ""],
    "visits": [3, 3.5, -1, None, "Infinity", "3", True, 2**62],
    "amount": [1e300, "-Infinity", "NaN", None, False],
    "gift": [True, False, None, "true", 0],
    "coupon": ["", "NA", "OTHER", None],
    "payment": ["card", "cash", None, "NaN"],
    "place": ["Place 0001", "Atlantis", None],
    "rating": [None, 1.0, "x"],
    "customer": ["c", None, 1, [], {"a": 1}],
    "unknown": [1],
}


@pytest.mark.parametrize("name", VALUES)
def test_document_schemas_match_responses(client, document, manifest, name):
    schemas = document["components"]["schemas"]
    example = schemas["Record"]["example"]
    validator = OAS30Validator(schemas["Record"])
    for value in VALUES[name]:
        record = example | {name: value}
        response = client.post("/predict", json=record)
        assert validator.is_valid(record) == (response.status_code == 200), (value, response.text)


@pytest.mark.parametrize(
    "changes",
    [
        {"size": None, "visits": 2.5, "amount": "Infinity", "gift": True, "place": "Atlantis"},
        {
            "ordered_at": "2026-03-01T10:00",
            "coupon": None,
            "rating": 4.0,
            "remark": "broken\nagain",
        },
        {"ordered_at": None, "size": "large", "visits": None, "coupon": "", "amount": "-Infinity"},
    ],
)
def test_form_and_api_return_pipeline_predictions(client, kinds, document, changes):
    model, X, _ = kinds
    record = document["components"]["schemas"]["Record"]["example"] | changes
    texts = {name: "" if value is None else str(value) for name, value in record.items()}
    texts["gift"] = texts["gift"].lower()
    texts["coupon"] = "NaN" if record["coupon"] is None else record["coupon"]
    row = X.head(1).copy()
    for name, value in record.items():
        row[name] = typed(X[name], value)
    (expected,) = own_predictions(model, row)
    assert equal(predict(client, record), expected, 0.0)
    response = client.post("/", data=urlencode(texts), content_type=FORM, headers=HTML)
    assert displayed_number(response) == pytest.approx(expected.numbers[0], abs=6e-5)


def typed(column, value):
    """Return a value as in a column of the notebook."""
    import pandas as pd

    if str(column.dtype) == "category":
        return pd.Categorical([value], categories=column.cat.categories, ordered=True)
    if str(column.dtype).startswith("datetime"):
        return [pd.NaT if value is None else pd.Timestamp(value)]
    if column.dtype.kind in "if":
        return [float("nan") if value is None else float(value)]
    return pd.Series([value], dtype=column.dtype)


def test_custom_missing_texts_are_listed_and_accepted(kinds, tmp_path, manifest):
    signature = msgspec.structs.replace(manifest.signature, missing=("-",))
    (tmp_path / "model.pkl").write_bytes(kinds[2].read_bytes())
    write_manifest(msgspec.structs.replace(manifest, signature=signature), tmp_path / "model.pkl")
    client = create_app(ROOT, Settings(model=tmp_path / "model.pkl")).test_client()
    page = Page(client.get("/"))
    assert "Enter - for a missing value." in page.text
    assert page.fields["rating"] == "-"
    assert send(client, page.fields).status_code == 200
    assert "A cell with one of these texts, is a missing value" in Page(client.get("/file")).text
