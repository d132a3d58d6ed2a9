"""POST /predict_file: files as Excel, Europe and compressors write them."""

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
from slipway.serving.batch import csv_stream as batch
from slipway.serving.batch import upload
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
    return [each["probability"] for each in answer.json]


def sent(client, content, kind="text/csv", **query):
    content = content.encode() if isinstance(content, str) else content
    return client.post(FILE, data=content, content_type=kind, query_string=query)


def read(answer, **how):
    assert answer.status_code == 200, answer.text
    return pd.read_csv(io.BytesIO(answer.data), **how)


def test_file_answer_read_by_plain_pandas_keeps_cells_with_a_hash(shop_client, rows, probabilities):
    content = rows.assign(address=[f"{i} Elm St #{i}" for i in range(12)]).to_csv(index=False)
    table = read(sent(shop_client, content))
    assert len(table) == 12
    assert table["address"].tolist() == [f"{i} Elm St #{i}" for i in range(12)]
    assert table["probability"].tolist() == pytest.approx(probabilities, rel=1e-12)
    assert set(table["prediction"]) <= {"C", "C#"}


def test_file_counts_come_on_request_only(shop_client, rows):
    content = rows.to_csv(index=False)
    plain = sent(shop_client, content)
    for asked in ("true", "1"):
        counted = sent(shop_client, content, counts=asked)
        last = counted.data.removeprefix(plain.data)
        assert last.startswith(b"# rows=12 failed=0 warned=0 model=")
    assert sent(shop_client, content, counts="false").data == plain.data
    refused = sent(shop_client, content, counts="yes")
    assert (refused.status_code, refused.json["errors"][0]["field"]) == (422, "counts")


SPELLINGS = {
    "semicolons": ({"sep": ";"}, {"sep": ";"}),
    "semicolons and decimal commas": ({"sep": ";", "decimal": ","}, {"sep": ";", "decimal": ","}),
    "tabs": ({"sep": "\t"}, {"sep": "\t"}),
    "tabs and decimal commas": ({"sep": "\t", "decimal": ","}, {"sep": "\t", "decimal": ","}),
    "carriage returns": ({"lineterminator": "\r"}, {}),
    "all quoted": ({"quoting": 1}, {}),
    "quoted semicolons": ({"quoting": 1, "sep": ";", "decimal": ","}, {"sep": ";", "decimal": ","}),
}


@pytest.mark.parametrize(("written", "how"), SPELLINGS.values(), ids=SPELLINGS)
def test_file_spelling_is_read_and_carried(shop_client, rows, probabilities, written, how):
    content = rows.to_csv(index=False, **written)
    answer = sent(shop_client, content)
    table = read(answer, **how)
    pd.testing.assert_frame_equal(table[list(rows)], rows)
    assert table["probability"].tolist() == pytest.approx(probabilities, rel=1e-12)
    assert table["error"].isna().all()


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_file_separator_line_is_honoured_and_carried(shop_client, rows, probabilities, separator):
    first = f"sep={separator}\r\n"
    content = first + rows.to_csv(index=False, sep=separator, lineterminator="\r\n")
    answer = sent(shop_client, content)
    assert answer.data.startswith(first.encode())
    table = read(answer, sep=separator, skiprows=1)
    assert table["probability"].tolist() == pytest.approx(probabilities, rel=1e-12)


def test_file_of_semicolons_never_guesses_at_thousands(shop_client):
    content = "plan;age;spend\nbasic;40;12,5\nbasic;40;1.234\nbasic;40;1.234,5\n"
    table = read(sent(shop_client, content), sep=";")
    assert table["error"].isna().tolist() == [True, False, False]
    assert "decimal point where others in the file have a decimal comma" in table["error"][1]
    assert "must be a number" in table["error"][2]
    content = "plan;age;spend\nbasic;40;12.5\n" + "basic;40;13.5\n" * 60_000 + "basic;40;12,5\n"
    *_, last = sent(shop_client, content).text.splitlines()
    assert "decimal comma where others in the file have a decimal point" in last


def test_file_of_commas_has_no_decimal_commas(shop_client):
    table = read(sent(shop_client, 'plan,age,spend\nbasic,40,"12,5"\nbasic,40,"1,200.50"\n'))
    assert table["error"].str.contains("spend: must be a number").all()


def test_file_of_whole_numbers_gets_decimal_points(shop_client):
    answer = sent(shop_client, "plan;age;spend\nbasic;40;12\n")
    assert 0 < float(read(answer, sep=";")["probability"][0]) < 1


def test_file_answers_of_a_regression_have_the_decimal_mark_of_the_file(tmp_path):
    X = shop()[0][["age", "spend"]]
    save(
        make_pipeline(StandardScaler(), Ridge()).fit(X, X["age"] / 3),
        X,
        X["age"] / 3,
        tmp_path / "m.pkl",
    )
    client = create_app(ROOT, Settings(model=tmp_path / "m.pkl")).test_client()
    rows = X.head(5)
    wanted = [each["value"] for each in client.post("/predict", json=rows.to_dict("records")).json]
    for how in ({"sep": ";", "decimal": ","}, {"sep": "\t"}, {}):
        answer = sent(client, rows.to_csv(index=False, **how))
        assert read(answer, **how)["prediction"].tolist() == pytest.approx(wanted, rel=1e-12)


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
def test_all_ways_read_decimal_commas_alike(shop_live, cells, separator, quote, end):
    lines = [separator.join(("plan", "age", "spend"))]
    lines += [separator.join(("basic", "40", f"{quote}{cell}{quote}")) for cell in cells]
    content = (end.join(lines) + end).encode()
    fast = b"".join(predict_file(io.BytesIO(content), shop_live))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch, "choose_way", lambda header, model: RowScorer(model))
        assert b"".join(predict_file(io.BytesIO(content), shop_live)) == fast


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_file_byte_order_mark_tells_its_encoding(shop_client, rows, probabilities, encoding):
    answer = sent(shop_client, rows.to_csv(index=False).encode(encoding))
    table = read(answer)
    assert table["plan"].tolist() == rows["plan"].tolist()
    assert table["probability"].tolist() == pytest.approx(probabilities, rel=1e-12)


def test_file_charset_is_honoured(shop_client, rows, probabilities):
    content = rows.to_csv(index=False).encode("cp1252")
    answers = [sent(shop_client, content, "text/csv; charset=windows-1252")]
    part = (io.BytesIO(content), "x.csv", "text/csv; charset=ISO-8859-1")
    answers.append(shop_client.post(FILE, data={"file": part}))
    for answer in answers:
        table = read(answer)
        assert table["plan"].tolist() == rows["plan"].tolist()
        assert table["probability"].tolist() == pytest.approx(probabilities, rel=1e-12)


@pytest.mark.parametrize("charset", ["klingon", "rot13", "zlib_codec", "iso-8859-99", "utf-7"])
def test_file_charset_that_is_not_supported_returns_415(shop_client, charset):
    answer = sent(shop_client, "plan,age,spend\n", f"text/csv; charset={charset}")
    assert answer.status_code == 415
    assert "UTF-8" in answer.json["message"]


def test_file_of_windows_1252_without_charset_says_so_in_its_row(shop_client, rows):
    content = "plan,age,spend,note\ngrößer,40,12.5,x\nbasic,40,12.5,ä\n".encode("cp1252")
    first, second = sent(shop_client, content).data.splitlines()[1:]
    assert b"plan: not UTF-8, perhaps Windows-1252" in first
    assert b"charset=windows-1252" in first
    assert second.startswith(b"basic,40,12.5,\xe4,C,")
    answer = sent(shop_client, "plan,age,spend,größe\n".encode("cp1252"))
    assert (answer.status_code, answer.json["code"]) == (400, "not_utf8")
    assert "charset=windows-1252" in answer.json["message"]


def test_file_of_undefined_bytes_is_rejected_in_its_row(shop_client):
    content = b"plan,age,spend\nbasic\x81,40,12.5\nbasic,40,12.5\n"
    answer = sent(shop_client, content, "text/csv; charset=windows-1252")
    first, second = answer.data.splitlines()[1:]
    assert b"plan: not UTF-8" in first
    assert second.endswith(b",,")


@pytest.mark.parametrize("members", [1, 3])
def test_file_gzip_is_unpacked(shop_client, rows, probabilities, members):
    content = rows.to_csv(index=False).encode()
    step = len(content) // members + 1
    pieces = [content[at : at + step] for at in range(0, len(content), step)]
    packed = b"".join(map(gzip.compress, pieces))
    answer = sent(shop_client, packed)
    assert answer.data == sent(shop_client, content).data
    assert read(answer)["probability"].tolist() == pytest.approx(probabilities, rel=1e-12)
    uploaded = shop_client.post(FILE, data={"file": (io.BytesIO(packed), "x.csv.gz")})
    assert uploaded.data == answer.data


def test_file_gzip_that_unpacks_over_the_limit_returns_413(shop_settings):
    packed = gzip.compress(b"plan,age,spend\n" + b"basic,40,12.5\n" * 100_000)
    limit = Settings(model=shop_settings.model, max_file_bytes=len(packed) + 1000)
    answer = sent(create_app(ROOT, limit).test_client(), packed)
    assert (answer.status_code, answer.json["code"]) == (413, "too_large")


def test_file_gzip_bomb_is_never_kept(shop_settings, monkeypatch):
    packed = gzip.compress(b"\0" * 50_000_000)
    most = 0

    class Counted(gzip.GzipFile):
        def read(self, size=-1):
            nonlocal most
            piece = super().read(size)
            most = max(most, len(piece))
            return piece

    monkeypatch.setattr(upload.gzip, "GzipFile", Counted)
    limit = Settings(model=shop_settings.model, max_file_bytes=20_000_000)
    answer = sent(create_app(ROOT, limit).test_client(), packed)
    assert answer.status_code == 413
    assert 0 < most <= 2**20


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


@pytest.mark.parametrize(("content", "code", "said"), NOT_CSV.values(), ids=NOT_CSV)
def test_file_of_another_format_is_named(shop_client, content, code, said):
    answer = sent(shop_client, content)
    assert (answer.status_code, answer.json["code"]) == (400, code)
    assert said in answer.json["message"]


HEADERS = {
    "blanks": ("plan, age , spend", [" age ", "spend"]),
    "index in front": (",plan,age,spend", [""]),
    "named index": ("Unnamed: 0,plan,age,spend", ["Unnamed: 0"]),
    "others twice": ("x,plan,x,age,spend", ["x"]),
    "several lines": ('"a\nb",plan,age,spend', ["a\nb"]),
}


@pytest.mark.parametrize(("header", "carried"), HEADERS.values(), ids=HEADERS)
def test_file_header_is_found_and_carried(shop_client, header, carried):
    names = next(iter(pd.read_csv(io.StringIO(header + "\n"), header=None).values.tolist()))
    cells = {"plan": "basic", "age": "40", "spend": "12.5"}
    row = ",".join(cells.get(str(name).strip(), "7") for name in names)
    answer = sent(shop_client, f"{header}\n{row}\n")
    assert answer.status_code == 200
    assert answer.text.startswith(f"{header},prediction,probability,warning,error\n{row},C,")


@pytest.mark.parametrize(
    ("header", "field", "said"),
    [
        ("Plan,age,spend", "plan", "rename the column 'Plan'?"),
        ("plan,age, spend,spend ", "spend", "no such column"),
        ("plan;AGE;spend", "age", "rename the column 'AGE'?"),
        ("plan,spend", "age", "no such column"),
    ],
)
def test_file_header_that_does_not_fit_gives_a_hint(shop_client, header, field, said):
    answer = sent(shop_client, header + "\n")
    assert answer.status_code == 422
    errors = {error["field"]: error["message"] for error in answer.json["errors"]}
    assert said in errors[field]
    assert ("semicolons" in answer.json["message"]) == (";" in header)


def test_file_header_in_another_case_is_never_a_missing_value(shop_live):
    features = tuple(structs.replace(f, nullable=True) for f in shop_live.signature.features)
    signature = structs.replace(shop_live.signature, features=features)
    for header in ("Plan,age,spend", "plan,age, spend,spend "):
        with pytest.raises(BadInput, match="do not fit"):
            batch.read_header(io.BytesIO(header.encode()), signature, ())
    found, _ = batch.read_header(io.BytesIO(b"age,spend"), signature, ())
    assert list(found.positions) == ["age", "spend"]


def test_file_blank_lines_are_carried_and_not_counted(shop_client):
    content = "plan,age,spend\n\nbasic,40,12.5\n  \n\n"
    answer = sent(shop_client, content, counts="true")
    lines = answer.text.split("\n")
    assert (lines[1], lines[3], lines[4]) == ("", "  ", "")
    assert lines[5].startswith("# rows=1 failed=0 ")
    table = read(sent(shop_client, content))
    assert math.isfinite(table["probability"][0])
