"""Test the unchanged cells, the added cells and the errors of POST /predict_file."""

import csv
import io
import json
import math

import pytest
from conftest import ROOT
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from slipway.core.settings import Settings
from slipway.serving.batch import csv_reader, csv_stream
from slipway.serving.batch.block_scorers import RowScorer
from slipway.serving.batch.csv_stream import predict_file
from slipway.serving.batch.output_columns import escape_text_cell
from slipway.serving.service import PredictionService

ADDED = ("prediction", "probability", "warning", "error")
relaxed = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def columns(manifest):
    return list(manifest.signature.names)


@pytest.fixture
def cells(example_cells):
    return dict(example_cells)


@pytest.fixture
def example_cells(manifest):
    return {feature.name: str(feature.example) for feature in manifest.signature.features}


def write_csv(rows, line_end="\n"):
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), lineterminator=line_end)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def predict_csv(live, text):
    content = text if isinstance(text, bytes) else text.encode()
    return b"".join(predict_file(io.BytesIO(content), live, counts=True)).decode(
        "utf-8", "surrogateescape"
    )


def parse_output(text):
    """Return the rows of an output, and the counts of its last line."""
    rows, mark, last = text.rpartition("# rows=")
    counts = dict(part.split("=") for part in (mark + last)[2:].split())
    return list(csv.DictReader(io.StringIO(rows, newline=""))), counts


def post(client, text, kind="text/csv"):
    return client.post("/predict_file?counts=true", data=text, content_type=kind)


def test_predict_file_raw_body_predicts_each_row(client, manifest, cells):
    answer = post(client, write_csv([cells, cells | {"carrier": "DL"}]))
    assert answer.status_code == 200
    assert answer.mimetype == "text/csv"
    assert answer.headers["X-Model-Version"] == manifest.version
    rows, counts = parse_output(answer.text)
    assert counts == {"rows": "2", "failed": "0", "warned": "0", "model": manifest.version}
    for row, carrier in zip(rows, ("UA", "DL"), strict=True):
        service = client.post("/predict", data=cells | {"carrier": carrier}).json
        assert row["prediction"] == service["label"]
        assert float(row["probability"]) == service["probability"]
        assert row["warning"] == row["error"] == ""


def test_predict_file_multipart_upload_equals_raw_body(client, cells):
    text = write_csv([cells])
    file = (io.BytesIO(text.encode()), "flights.csv")
    answer = client.post("/predict_file?counts=true", data={"file": file})
    assert answer.status_code == 200
    assert answer.text == post(client, text).text
    assert "attachment" in answer.headers["Content-Disposition"]


def test_predict_file_multipart_without_file_returns_422(client):
    answer = client.post("/predict_file", data={"other": (io.BytesIO(b"x"), "x.csv")})
    assert answer.status_code == 422
    assert answer.json["errors"][0]["field"] == "file"


def test_predict_file_unknown_columns_in_any_order_are_kept(live, cells):
    shuffled = {"note": 'a "b", c', **dict(reversed(cells.items())), "id": " 007 "}
    rows, _ = parse_output(predict_csv(live, write_csv([shuffled])))
    assert list(rows[0]) == [*shuffled, *ADDED]
    assert {name: rows[0][name] for name in shuffled} == shuffled
    plain, _ = parse_output(predict_csv(live, write_csv([cells])))
    assert rows[0]["probability"] == plain[0]["probability"]


def test_predict_file_invalid_row_has_errors_in_its_place(live, cells):
    bad = cells | {"temperature": "hot", "carrier": ""}
    rows, counts = parse_output(predict_csv(live, write_csv([cells, bad, cells])))
    assert [bool(row["error"]) for row in rows] == [False, True, False]
    assert rows[1]["prediction"] == rows[1]["probability"] == ""
    assert "temperature: must be a number" in rows[1]["error"]
    assert "carrier: this field must be given" in rows[1]["error"]
    assert (counts["rows"], counts["failed"]) == ("3", "1")


def test_predict_file_unseen_category_has_a_warning(live, client, cells):
    rows, counts = parse_output(predict_csv(live, write_csv([cells | {"dest": "XXX"}])))
    assert rows[0]["warning"].startswith("dest: training has not seen")
    assert counts["warned"] == "1"
    service = client.post("/predict", data=cells | {"dest": "XXX"}).json
    assert float(rows[0]["probability"]) == service["probability"]


def test_predict_file_missing_optional_columns_are_missing_values(live, client, cells):
    fewer = {name: cell for name, cell in cells.items() if name not in ("temperature", "seats")}
    rows, _ = parse_output(predict_csv(live, write_csv([fewer])))
    service = client.post("/predict", data=cells | {"temperature": "", "seats": ""}).json
    assert float(rows[0]["probability"]) == service["probability"]


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte order mark"])
def test_predict_file_keeps_line_ends_and_drops_byte_order_mark(live, cells, line_end, mark):
    text = write_csv([cells | {"note": "a\nb"}, cells | {"note": "c"}], line_end)
    answer = predict_csv(live, mark + text.encode())
    assert answer.startswith("carrier,")
    assert answer.count("\r\n") == (4 if line_end == "\r\n" else 0)
    rows, counts = parse_output(answer.replace("\r\n", "\n"))
    assert [row["note"] for row in rows] == ["a\nb", "c"]
    assert counts["failed"] == "0"


def test_predict_file_blank_lines_and_missing_last_line_end_are_accepted(live, cells):
    text = write_csv([cells]) + "\n\n" + write_csv([cells]).splitlines()[1]
    rows, counts = parse_output(predict_csv(live, text))
    assert len(rows) == 2
    assert (counts["rows"], counts["failed"]) == ("2", "0")


def test_predict_file_header_only_returns_no_rows(live, columns):
    rows, counts = parse_output(predict_csv(live, ",".join(columns)))
    assert rows == []
    assert counts["rows"] == "0"


@pytest.mark.parametrize("row", ["1,2", "{good},extra", ""], ids=["short", "long", "blank cell"])
def test_predict_file_ragged_row_keeps_the_columns_in_place(live, cells, row):
    header, good = write_csv([cells]).splitlines()
    rows, counts = parse_output(predict_csv(live, "\n".join([header, row.format(good=good), good])))
    if row:
        assert "the row has" in rows[0]["error"]
        assert None not in rows[0]
    assert rows[-1]["prediction"] == "late"
    assert counts["failed"] == ("1" if row else "0")


def test_predict_file_open_quote_affects_one_row(live, cells):
    header, good = write_csv([cells]).splitlines()
    text = "\n".join([header, good, '"' + good, good, good])
    rows, counts = parse_output(predict_csv(live, text))
    assert [bool(row["error"]) for row in rows] == [False, True, False, False]
    assert "a quote is not closed" in rows[1]["error"]
    assert (counts["rows"], counts["failed"]) == ("4", "1")


def test_predict_file_row_of_ten_megabytes_is_rejected_alone(live, cells):
    header, good = write_csv([cells | {"note": "x"}]).splitlines()
    huge = good[:-1] + "x" * 10_000_000
    rows, counts = parse_output(predict_csv(live, "\n".join([header, good, huge, good])))
    assert [bool(row["error"]) for row in rows] == [False, True, False]
    assert counts["failed"] == "1"


def test_predict_file_invalid_utf8_is_rejected_in_features_only(live, cells):
    header, good = write_csv([{"note": "n", **cells}]).encode().split(b"\n")[:2]
    carried = b"\xff" + good
    spoiled = good.replace(b"UA", b"\xff\xfe")
    answer = b"".join(predict_file(io.BytesIO(b"\n".join([header, carried, spoiled])), live))
    lines = answer.split(b"\n")
    assert lines[1].startswith(carried + b",late,")
    assert b"carrier: not UTF-8" in lines[2]


def test_predict_file_nul_byte_is_rejected_in_its_row(live, cells):
    rows, counts = parse_output(predict_csv(live, write_csv([cells | {"dest": "\0"}, cells])))
    assert rows[0]["error"].startswith("dest: contains a NUL")
    assert counts["failed"] == "1"


FILES = {
    "empty": (b"", 400, "empty_body"),
    "blank": (b"\n\n", 400, "empty_body"),
    "zip": (b"PK\x03\x04\x14\x00\x00\x00", 400, "not_csv"),
    "utf-16 without mark": ("carrier,origin\n".encode("utf-16-le"), 400, "not_csv"),
    "one endless line": (b"x" * 3_000_000, 400, "not_csv"),
    "open quote": (b'"carrier,origin\n', 400, "not_csv"),
    "no column": (b"a,b\n1,2\n", 422, "invalid_input"),
}


@pytest.mark.parametrize(("content", "status", "code"), FILES.values(), ids=FILES)
def test_predict_file_unusable_file_is_rejected(client, content, status, code):
    answer = post(client, content)
    assert (answer.status_code, answer.json["code"]) == (status, code)


def test_predict_file_missing_column_suggests_a_similar_one(client, columns):
    names = ["Carrier" if name == "carrier" else name for name in columns]
    answer = post(client, ",".join(names))
    assert answer.status_code == 422
    error = answer.json["errors"][0]
    assert (error["field"], error["code"]) == ("carrier", "missing_column")
    assert "Carrier" in error["message"]


def test_predict_file_duplicate_or_reserved_column_returns_422(client, columns):
    answer = post(client, ",".join([*columns, "carrier", "error"]))
    assert answer.status_code == 422
    errors = [(e["field"], e["code"]) for e in answer.json["errors"]]
    assert errors == [("carrier", "duplicate_column"), ("error", "reserved_column")]


@pytest.mark.parametrize("first", "=+-@\t\r\n")
def test_text_cell_formula_is_neutralized(first):
    (cell,) = next(csv.reader([escape_text_cell(f"{first}SUM(A1)")], strict=True))
    assert cell == f"'{first}SUM(A1)"


def test_predict_file_added_number_is_not_neutralized(live, cells):
    rows, _ = parse_output(predict_csv(live, write_csv([cells])))
    assert 0 < float(rows[0]["probability"]) < 1


def test_predict_file_pickle_engine_equals_scorecard(live, cells):
    pickled = PredictionService(Settings(model=ROOT / "model.pkl", engine="pickle"))
    text = write_csv([cells, cells | {"dest": "XXX", "seats": ""}, cells | {"seats": "-1"}])
    scorecard_output, pickle_output = (
        parse_output(predict_csv(service, text)) for service in (live, pickled)
    )
    assert scorecard_output[1] == pickle_output[1]
    for a, b in zip(scorecard_output[0], pickle_output[0], strict=True):
        assert {k: v for k, v in a.items() if k != "probability"} == {
            k: v for k, v in b.items() if k != "probability"
        }
        both = [float(row["probability"] or "nan") for row in (a, b)]
        assert math.isclose(*both, abs_tol=1e-12) or both[0] != both[0]


odd_cells = st.one_of(
    st.sampled_from(
        ["", "1", "5.0", "1e1", "+3", "-0", ".5", "5.", "1_0", " 1", "nan", "inf", "1e400", "0x1"]
    ),
    st.sampled_from(["UA", "JFK", "07-afternoon", "XXX", "true", "1" * 400, "9007199254740993"]),
    st.floats(allow_nan=False).map(repr),
    st.integers(-(10**18), 10**18).map(str),
    st.text(max_size=6),
)


@relaxed
@given(data=st.data(), line_end=st.sampled_from(["\n", "\r\n"]))
def test_block_scorers_any_cells_write_the_same_bytes(live, cells, data, line_end):
    """Compare the whole output of the vectorized scorer and of the row scorer."""
    changes = st.dictionaries(st.sampled_from(list(cells)), odd_cells, max_size=3)
    rows = [cells | change for change in data.draw(st.lists(changes, min_size=1, max_size=6))]
    text = write_csv(rows, line_end)
    output = predict_csv(live, text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_stream, "choose_block_scorer", lambda header, model: RowScorer(model))
        row_output = predict_csv(live, text)
    assert output == row_output


@relaxed
@given(content=st.binary(max_size=300), quote_cell=st.lists(st.text(',"\n\r ab1', max_size=30)))
@example(content=b'"', quote_cell=['"""\n', '"'])
def test_predict_file_hostile_rows_return_all_counts(live, columns, content, quote_cell):
    for rows in (content, "\n".join(quote_cell).encode()):
        answer = predict_csv(live, ",".join(columns).encode() + b"\n" + rows)
        assert answer.split("\n")[-2].startswith("# rows=")


@relaxed
@given(
    notes=st.lists(st.text("ab,\"\n\r'", max_size=12), min_size=1, max_size=12),
    block_bytes=st.integers(40, 400),
)
def test_predict_file_any_block_size_writes_the_same_bytes(live, cells, notes, block_bytes):
    header, row = write_csv([cells]).splitlines()
    quote_cell = ['"' + note.replace('"', '""') + '"' for note in notes]
    text = "\n".join([f"{header},note", *(f"{row},{note}" for note in quote_cell)])
    whole = predict_csv(live, text)
    with pytest.MonkeyPatch.context() as patch:
        # The header must fit the first block.
        patch.setattr(csv_reader, "BLOCK_BYTES", block_bytes + len(header) + 6)
        assert predict_csv(live, text) == whole
    rows, counts = parse_output(whole)
    assert [row["note"] for row in rows] == notes
    assert counts["rows"] == str(len(notes))


def test_predict_file_counts_failed_and_warned_rows(client, cells, manifest):
    rows = [cells, cells | {"seats": "x"}, cells | {"dest": "XXX"}]
    _, counts = parse_output(post(client, write_csv(rows)).text)
    assert counts == {"rows": "3", "failed": "1", "warned": "1", "model": manifest.version}
    typed = json.loads(client.post("/predict", json=[manifest.golden[0].record] * 3).data)
    assert len(typed) == 3
