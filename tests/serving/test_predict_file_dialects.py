"""Test POST /predict_file with the dialects, encodings and compression of common programs."""

import gzip
import io
import math

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from slipway import save
from slipway.core.errors import BadInput
from slipway.core.settings import Settings
from slipway.serving.batch import csv_stream, upload
from slipway.serving.batch.block_scorers import RowScorer
from slipway.serving.batch.csv_stream import predict_file
from slipway.serving.service import PredictionService
from slipway.web import create_app

FILE = "/predict_file"


def shop():
    random = np.random.default_rng(5)
    X = pd.DataFrame(
        {
            "plan": random.choice(["basic", "größer", "a, b\nc"], 300),
            "age": random.integers(18, 70, 300),
            "spend": random.gamma(2.0, 40.0, 300).round(2),
        }
    )
    return X, (X["spend"] + X["age"] > 120).map({True: "C#", False: "C"})


@pytest.fixture(scope="module")
def shop_settings(tmp_path_factory):
    X, y = shop()
    encoded = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["plan"]), (StandardScaler(), ["age", "spend"])
    )
    path = tmp_path_factory.mktemp("shop") / "model.pkl"
    save(make_pipeline(encoded, LogisticRegression()).fit(X, y), X, y, path)
    return Settings(model=path)


@pytest.fixture(scope="module")
def shop_client(shop_settings):
    return create_app(ROOT, shop_settings).test_client()


@pytest.fixture(scope="module")
def shop_live(shop_settings):
    return PredictionService(shop_settings)


@pytest.fixture(scope="module")
def rows():
    return shop()[0].head(12)


@pytest.fixture(scope="module")
def probabilities(shop_client, rows):
    answer = shop_client.post("/predict", json=rows.to_dict("records"))
    return [prediction["probability"] for prediction in answer.json]


def send_file(client, content, kind="text/csv", **query):
    content = content.encode() if isinstance(content, str) else content
    return client.post(FILE, data=content, content_type=kind, query_string=query)


def read(answer, **options):
    assert answer.status_code == 200, answer.text
    return pd.read_csv(io.BytesIO(answer.data), **options)


def test_predict_file_output_read_by_pandas_keeps_cells_with_a_hash(
    shop_client, rows, probabilities
):
    content = rows.assign(address=[f"{i} Elm St #{i}" for i in range(12)]).to_csv(index=False)
    table = read(send_file(shop_client, content))
    assert len(table) == 12
    assert table["address"].tolist() == [f"{i} Elm St #{i}" for i in range(12)]
    assert table["probability"].tolist() == pytest.approx(probabilities, rel=1e-12)
    assert set(table["prediction"]) <= {"C", "C#"}


def test_predict_file_counts_are_optional(shop_client, rows):
    content = rows.to_csv(index=False)
    plain = send_file(shop_client, content)
    for flag in ("true", "1"):
        counted = send_file(shop_client, content, counts=flag)
        last = counted.data.removeprefix(plain.data)
        assert last.startswith(b"# rows=12 failed=0 warned=0 model=")
    assert send_file(shop_client, content, counts="false").data == plain.data
    rejected = send_file(shop_client, content, counts="yes")
    assert (rejected.status_code, rejected.json["errors"][0]["field"]) == (422, "counts")


DIALECTS = {
    "semicolons": ({"sep": ";"}, {"sep": ";"}),
    "semicolons and decimal commas": ({"sep": ";", "decimal": ","}, {"sep": ";", "decimal": ","}),
    "tabs": ({"sep": "\t"}, {"sep": "\t"}),
    "tabs and decimal commas": ({"sep": "\t", "decimal": ","}, {"sep": "\t", "decimal": ","}),
    "carriage returns": ({"lineterminator": "\r"}, {}),
    "all quoted": ({"quoting": 1}, {}),
    "quoted semicolons": ({"quoting": 1, "sep": ";", "decimal": ","}, {"sep": ";", "decimal": ","}),
}


@pytest.mark.parametrize(("written", "options"), DIALECTS.values(), ids=DIALECTS)
def test_predict_file_dialect_is_detected_and_kept(
    shop_client, rows, probabilities, written, options
):
    content = rows.to_csv(index=False, **written)
    answer = send_file(shop_client, content)
    table = read(answer, **options)
    pd.testing.assert_frame_equal(table[list(rows)], rows)
    assert table["probability"].tolist() == pytest.approx(probabilities, rel=1e-12)
    assert table["error"].isna().all()


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_predict_file_separator_line_is_used_and_kept(shop_client, rows, probabilities, separator):
    first = f"sep={separator}\r\n"
    content = first + rows.to_csv(index=False, sep=separator, lineterminator="\r\n")
    answer = send_file(shop_client, content)
    assert answer.data.startswith(first.encode())
    table = read(answer, sep=separator, skiprows=1)
    assert table["probability"].tolist() == pytest.approx(probabilities, rel=1e-12)


def test_predict_file_semicolons_reject_mixed_decimal_marks(shop_client):
    content = "plan;age;spend\nbasic;40;12,5\nbasic;40;1.234\nbasic;40;1.234,5\n"
    table = read(send_file(shop_client, content), sep=";")
    assert table["error"].isna().tolist() == [True, False, False]
    assert "decimal point where others in the file have a decimal comma" in table["error"][1]
    assert "must be a number" in table["error"][2]
    content = "plan;age;spend\nbasic;40;12.5\n" + "basic;40;13.5\n" * 60_000 + "basic;40;12,5\n"
    *_, last = send_file(shop_client, content).text.splitlines()
    assert "decimal comma where others in the file have a decimal point" in last


def test_predict_file_commas_reject_decimal_commas(shop_client):
    table = read(send_file(shop_client, 'plan,age,spend\nbasic,40,"12,5"\nbasic,40,"1,200.50"\n'))
    assert table["error"].str.contains("spend: must be a number").all()


def test_predict_file_whole_numbers_get_decimal_points(shop_client):
    answer = send_file(shop_client, "plan;age;spend\nbasic;40;12\n")
    assert 0 < float(read(answer, sep=";")["probability"][0]) < 1


def test_predict_file_regression_values_have_the_decimal_mark_of_the_file(tmp_path):
    X = shop()[0][["age", "spend"]]
    save(
        make_pipeline(StandardScaler(), Ridge()).fit(X, X["age"] / 3),
        X,
        X["age"] / 3,
        tmp_path / "m.pkl",
    )
    client = create_app(ROOT, Settings(model=tmp_path / "m.pkl")).test_client()
    rows = X.head(5)
    predictions = client.post("/predict", json=rows.to_dict("records")).json
    expected = [prediction["value"] for prediction in predictions]
    for options in ({"sep": ";", "decimal": ","}, {"sep": "\t"}, {}):
        answer = send_file(client, rows.to_csv(index=False, **options))
        assert read(answer, **options)["prediction"].tolist() == pytest.approx(expected, rel=1e-12)


number_cells = st.one_of(
    st.floats(0, 500).map(lambda value: f"{value:.2f}"),
    st.floats(0, 500).map(lambda value: f"{value:.2f}".replace(".", ",")),
    st.sampled_from(
        ["", "1,", ",5", "1.", ".5", "1.234,5", "1,234.5", "1,2,3", "1e3", "1,5e1", "-0", " 7", "x"]
    ),
)


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    cells=st.lists(number_cells, min_size=1, max_size=8),
    separator=st.sampled_from([";", "\t"]),
    quote=st.sampled_from(["", '"']),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_block_scorers_decimal_commas_write_the_same_bytes(shop_live, cells, separator, quote, end):
    lines = [separator.join(("plan", "age", "spend"))]
    lines += [separator.join(("basic", "40", f"{quote}{cell}{quote}")) for cell in cells]
    content = (end.join(lines) + end).encode()
    fast = b"".join(predict_file(io.BytesIO(content), shop_live))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_stream, "choose_block_scorer", lambda header, model: RowScorer(model))
        assert b"".join(predict_file(io.BytesIO(content), shop_live)) == fast


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_predict_file_byte_order_mark_sets_the_encoding(shop_client, rows, probabilities, encoding):
    answer = send_file(shop_client, rows.to_csv(index=False).encode(encoding))
    table = read(answer)
    assert table["plan"].tolist() == rows["plan"].tolist()
    assert table["probability"].tolist() == pytest.approx(probabilities, rel=1e-12)


def test_predict_file_charset_sets_the_encoding(shop_client, rows, probabilities):
    content = rows.to_csv(index=False).encode("cp1252")
    answers = [send_file(shop_client, content, "text/csv; charset=windows-1252")]
    part = (io.BytesIO(content), "x.csv", "text/csv; charset=ISO-8859-1")
    answers.append(shop_client.post(FILE, data={"file": part}))
    for answer in answers:
        table = read(answer)
        assert table["plan"].tolist() == rows["plan"].tolist()
        assert table["probability"].tolist() == pytest.approx(probabilities, rel=1e-12)


@pytest.mark.parametrize("charset", ["klingon", "rot13", "zlib_codec", "iso-8859-99", "utf-7"])
def test_predict_file_unsupported_charset_returns_415(shop_client, charset):
    answer = send_file(shop_client, "plan,age,spend\n", f"text/csv; charset={charset}")
    assert answer.status_code == 415
    assert "UTF-8" in answer.json["message"]


def test_predict_file_windows_1252_without_charset_is_reported_in_its_row(shop_client, rows):
    content = "plan,age,spend,note\ngrößer,40,12.5,x\nbasic,40,12.5,ä\n".encode("cp1252")
    first, second = send_file(shop_client, content).data.splitlines()[1:]
    assert b"plan: not UTF-8, perhaps Windows-1252" in first
    assert b"charset=windows-1252" in first
    assert second.startswith(b"basic,40,12.5,\xe4,C,")
    answer = send_file(shop_client, "plan,age,spend,größe\n".encode("cp1252"))
    assert (answer.status_code, answer.json["code"]) == (400, "not_utf8")
    assert "charset=windows-1252" in answer.json["message"]


def test_predict_file_undefined_byte_is_rejected_in_its_row(shop_client):
    content = b"plan,age,spend\nbasic\x81,40,12.5\nbasic,40,12.5\n"
    answer = send_file(shop_client, content, "text/csv; charset=windows-1252")
    first, second = answer.data.splitlines()[1:]
    assert b"plan: not UTF-8" in first
    assert second.endswith(b",,")


@pytest.mark.parametrize("members", [1, 3])
def test_predict_file_gzip_is_decompressed(shop_client, rows, probabilities, members):
    content = rows.to_csv(index=False).encode()
    step = len(content) // members + 1
    pieces = [content[at : at + step] for at in range(0, len(content), step)]
    packed = b"".join(map(gzip.compress, pieces))
    answer = send_file(shop_client, packed)
    assert answer.data == send_file(shop_client, content).data
    assert read(answer)["probability"].tolist() == pytest.approx(probabilities, rel=1e-12)
    uploaded = shop_client.post(FILE, data={"file": (io.BytesIO(packed), "x.csv.gz")})
    assert uploaded.data == answer.data


def test_predict_file_gzip_over_the_limit_returns_413(shop_settings):
    packed = gzip.compress(b"plan,age,spend\n" + b"basic,40,12.5\n" * 100_000)
    limit = Settings(model=shop_settings.model, max_file_bytes=len(packed) + 1000)
    answer = send_file(create_app(ROOT, limit).test_client(), packed)
    assert (answer.status_code, answer.json["code"]) == (413, "too_large")


def test_predict_file_gzip_bomb_is_read_in_chunks(shop_settings, monkeypatch):
    packed = gzip.compress(b"\0" * 50_000_000)
    largest = 0

    class Counted(gzip.GzipFile):
        def read(self, size=-1):
            nonlocal largest
            chunk = super().read(size)
            largest = max(largest, len(chunk))
            return chunk

    monkeypatch.setattr(upload.gzip, "GzipFile", Counted)
    limit = Settings(model=shop_settings.model, max_file_bytes=20_000_000)
    answer = send_file(create_app(ROOT, limit).test_client(), packed)
    assert answer.status_code == 413
    assert 0 < largest <= 2**20


NOT_CSV = {
    "gzip cut off": (gzip.compress(b"plan,age,spend\n" * 1000)[:-20], "not_gzip", "damaged"),
    "gzip of noise": (b"\x1f\x8b\x08\x00" + b"\0" * 40, "not_gzip", "damaged"),
    "gzip twice": (gzip.compress(gzip.compress(b"plan\n")), "not_csv", "twice"),
    "xlsx": (b"PK\x03\x04" + b"\0" * 40, "not_csv", "Excel workbook (.xlsx)"),
    "xlsx as gzip": (gzip.compress(b"PK\x03\x04" + b"\0" * 40), "not_csv", "Excel workbook"),
    "xls": (b"\xd0\xcf\x11\xe0" + b"\0" * 40, "not_csv", "old Excel workbook"),
    "parquet": (b"PAR1" + b"\0" * 40, "not_csv", "Parquet"),
    "utf-16 without mark": ("plan,age\n".encode("utf-16-le"), "not_csv", "UTF-16"),
}


@pytest.mark.parametrize(("content", "code", "message"), NOT_CSV.values(), ids=NOT_CSV)
def test_predict_file_other_format_is_named(shop_client, content, code, message):
    answer = send_file(shop_client, content)
    assert (answer.status_code, answer.json["code"]) == (400, code)
    assert message in answer.json["message"]


HEADERS = {
    "blanks": ("plan, age , spend", [" age ", "spend"]),
    "index in front": (",plan,age,spend", [""]),
    "named index": ("Unnamed: 0,plan,age,spend", ["Unnamed: 0"]),
    "others twice": ("x,plan,x,age,spend", ["x"]),
    "several lines": ('"a\nb",plan,age,spend', ["a\nb"]),
}


@pytest.mark.parametrize(("header", "carried"), HEADERS.values(), ids=HEADERS)
def test_predict_file_unusual_header_is_parsed_and_kept(shop_client, header, carried):
    names = next(iter(pd.read_csv(io.StringIO(header + "\n"), header=None).values.tolist()))
    cells = {"plan": "basic", "age": "40", "spend": "12.5"}
    row = ",".join(cells.get(str(name).strip(), "7") for name in names)
    answer = send_file(shop_client, f"{header}\n{row}\n")
    assert answer.status_code == 200
    assert answer.text.startswith(f"{header},prediction,probability,warning,error\n{row},C,")


@pytest.mark.parametrize(
    ("header", "field", "message"),
    [
        ("Plan,age,spend", "plan", "rename the column 'Plan'?"),
        ("plan,age, spend,spend ", "spend", "no such column"),
        ("plan;AGE;spend", "age", "rename the column 'AGE'?"),
        ("plan,spend", "age", "no such column"),
    ],
)
def test_predict_file_wrong_header_suggests_a_column(shop_client, header, field, message):
    answer = send_file(shop_client, header + "\n")
    assert answer.status_code == 422
    errors = {error["field"]: error["message"] for error in answer.json["errors"]}
    assert message in errors[field]
    assert ("semicolons" in answer.json["message"]) == (";" in header)


def test_read_header_other_case_raises(shop_live):
    features = tuple(structs.replace(f, nullable=True) for f in shop_live.signature.features)
    signature = structs.replace(shop_live.signature, features=features)
    for header in ("Plan,age,spend", "plan,age, spend,spend "):
        with pytest.raises(BadInput, match="do not fit"):
            csv_stream.read_header(io.BytesIO(header.encode()), signature, ())
    header, _ = csv_stream.read_header(io.BytesIO(b"age,spend"), signature, ())
    assert list(header.positions) == ["age", "spend"]


def test_predict_file_blank_lines_are_kept_and_not_counted(shop_client):
    content = "plan,age,spend\n\nbasic,40,12.5\n  \n\n"
    answer = send_file(shop_client, content, counts="true")
    lines = answer.text.split("\n")
    assert (lines[1], lines[3], lines[4]) == ("", "  ", "")
    assert lines[5].startswith("# rows=1 failed=0 ")
    table = read(send_file(shop_client, content))
    assert math.isfinite(table["probability"][0])
