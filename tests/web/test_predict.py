"""POST /predict: records, arrays, forms and explanations."""

import json
import math
from urllib.parse import urlencode

import msgspec
import pytest
from conftest import ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slipway.core.settings import Settings
from slipway.web import create_app

FORM = "application/x-www-form-urlencoded"


def as_texts(record):
    """Return a record as the texts of a form or CSV file."""
    return {name: "" if value is None else str(value) for name, value in record.items()}


def test_predict_example_returns_all_fields(client, example, manifest):
    response = client.post("/predict", json=example)
    assert response.status_code == 200
    assert response.mimetype == "application/json"
    assert list(response.json) == ["label", "probability", "threshold", "model_version"]
    assert response.json["label"] == "late"
    assert manifest.threshold <= response.json["probability"] < 1
    assert response.json["threshold"] == manifest.threshold
    assert response.json["model_version"] == manifest.version


def test_predict_golden_rows_return_pipeline_predictions(client, manifest):
    response = client.post("/predict", json=[row.record for row in manifest.golden])
    assert response.status_code == 200
    given = [prediction["probability"] for prediction in response.json]
    expected = [row.answer for row in manifest.golden]
    assert all(math.isclose(a, b, abs_tol=1e-12) for a, b in zip(given, expected, strict=True))


def test_predict_label_follows_the_threshold(client, manifest):
    response = client.post("/predict", json=[row.record for row in manifest.golden])
    labels = {prediction["label"] for prediction in response.json}
    assert labels == {"late", "on time"}
    for prediction in response.json:
        late = prediction["probability"] >= manifest.threshold
        assert prediction["label"] == ("late" if late else "on time")


def test_predict_explain_contributions_sum_to_log_odds(client, manifest):
    for row in manifest.golden:
        response = client.post("/predict?explain=true", json=row.record).json
        assert set(response["contributions"]) == set(manifest.signature.names)
        total = math.fsum([response["intercept"], *response["contributions"].values()])
        assert math.isclose(total, response["log_odds"], abs_tol=1e-12)
        assert math.isclose(1 / (1 + math.exp(-total)), response["probability"], abs_tol=1e-12)


def test_predict_explain_not_a_flag_returns_400(client, example):
    response = client.post("/predict?explain=maybe", json=example)
    assert response.status_code == 422
    assert response.json["errors"][0]["field"] == "explain"


def test_predict_array_returns_predictions_in_order(client, example):
    bad = example | {"temperature": "hot"}
    response = client.post("/predict", json=[example, bad, 5, example])
    assert response.status_code == 207
    assert [set(place) == {"errors"} for place in response.json] == [False, True, True, False]
    assert response.json[1]["errors"] == [
        {
            "field": "temperature",
            "row": 1,
            "code": "not_a_number",
            "message": "must be a number, -80 to 140 °F",
        }
    ]
    assert response.json[2]["errors"][0]["row"] == 2
    assert response.json[0] == response.json[3]


@pytest.mark.parametrize("count", [99, 100, 101, 200, 250])
def test_predict_array_encoded_in_pieces_returns_same_bytes(client, example, count):
    values = [example if place % 7 else {} for place in range(count)]
    response = client.post("/predict", json=values)
    assert response.data == msgspec.json.encode(response.json)
    assert len(response.json) == count


def test_predict_array_duplicate_key_rejects_one_record(client, example):
    good = json.dumps(example)
    twice = good[:-1] + ', "carrier": "DL"}'
    response = client.post("/predict", data=f"[{good},{twice}]", content_type="application/json")
    assert response.status_code == 207
    assert response.json[1]["errors"][0]["code"] == "duplicate_key"


def test_predict_array_over_limit_returns_413(example):
    settings = Settings(model=ROOT / "model.pkl", max_records=3)
    client = create_app(ROOT, settings).test_client()
    assert client.post("/predict", json=[example] * 3).status_code == 200
    response = client.post("/predict", json=[example] * 4)
    assert response.status_code == 413
    assert response.json["code"] == "too_many_records"


def test_predict_unseen_category_returns_warning(client, example):
    response = client.post("/predict", json=example | {"dest": "XXX"})
    assert response.status_code == 200
    assert [(w["field"], w["code"]) for w in response.json["warnings"]] == [
        ("dest", "unseen_category")
    ]


def test_predict_missing_value_absent_or_null_returns_same(client, example):
    left_out = {k: v for k, v in example.items() if k not in ("temperature", "seats")}
    null = example | {"temperature": None, "seats": None}
    first, second = (client.post("/predict", json=record) for record in (left_out, null))
    assert first.status_code == second.status_code == 200
    assert first.data == second.data


def test_predict_form_returns_same_as_json(client, example):
    form = client.post("/predict", data=as_texts(example))
    assert form.status_code == 200
    assert form.data == client.post("/predict", json=example).data


def test_predict_form_invalid_field_is_named(client, example):
    response = client.post("/predict", data=as_texts(example) | {"seats": "many"})
    assert response.status_code == 422
    assert [error["field"] for error in response.json["errors"]] == ["seats"]


def test_predict_json_sent_as_form_error_names_content_type(client, example):
    response = client.post("/predict", data=json.dumps(example), content_type=FORM)
    assert response.status_code == 400
    assert "Content-Type: application/json" in response.json["message"]


def test_predict_pickle_engine_returns_same_predictions(client, manifest):
    settings = Settings(model=ROOT / "model.pkl", engine="pickle")
    pickled = create_app(ROOT, settings).test_client()
    assert pickled.get("/metadata").json["engine"] == "pickle"
    assert client.get("/metadata").json["engine"] == "scorecard"
    sent = [row.record for row in manifest.golden]
    ours, theirs = (c.post("/predict", json=sent).json for c in (client, pickled))
    for a, b in zip(ours, theirs, strict=True):
        assert math.isclose(a["probability"], b["probability"], abs_tol=1e-12)
        assert a["label"] == b["label"]
        assert a.get("warnings") == b.get("warnings")


def draw_value(feature):
    """Draw a value that a feature accepts."""
    if feature.kind == "category":
        values = st.sampled_from([*feature.categories, "never seen"])
    elif feature.kind == "integer":
        values = st.integers(int(feature.minimum), int(feature.maximum))
    else:
        values = st.floats(feature.minimum, feature.maximum)
    return st.one_of(st.none(), values) if feature.nullable else values


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_predict_same_record_in_every_format_returns_same(client, manifest, data):
    """Compare JSON, array, form and CSV."""
    record = data.draw(
        st.fixed_dictionaries({f.name: draw_value(f) for f in manifest.signature.features})
    )
    one = client.post("/predict", json=record)
    assert one.status_code == 200
    assert client.post("/predict", json=[record]).json == [one.json]
    form = urlencode(as_texts(record))
    assert client.post("/predict", data=form, content_type=FORM).json == one.json
    header, row = (",".join(cells) for cells in zip(*as_texts(record).items(), strict=True))
    file = client.post("/predict_file", data=f"{header}\n{row}\n", content_type="text/csv")
    label, probability = file.text.splitlines()[1].removeprefix(row + ",").split(",")[:2]
    assert (label, float(probability)) == (one.json["label"], one.json["probability"])
