"""Text files as Excel, pandas and Europe write them, read as the rows that people mean."""

import gzip
from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace as changed
from small_problem import PROBLEM

from slipway.core.errors import SlipwayError
from slipway.data.sources import open_source
from slipway.models.validation import MISSING_TEXTS

ROWS = pd.DataFrame(
    {"plan": ["basic", "max", "größer"], "spend": [1.5, 20.25, 3.0], "n": [1, 2, 3]}
)
DUE = [("basic", 1.5, 1), ("max", 20.25, 2), ("größer", 3.0, 3)]
SHOP = replace(PROBLEM, tables=("shop",), features=())
PLAN = changed(PROBLEM.features[0], name="plan", example="a")


def read(tmp_path, content, problem=SHOP, name="shop.csv", columns="*"):
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with open_source(str(file), problem) as source:
        return source.rows(f"SELECT {columns} FROM shop")


def text(**words):
    return ROWS.to_csv(index=False, **words)


@pytest.mark.parametrize(
    "content",
    [
        text(),
        text().encode("utf-8-sig"),
        text().encode("utf-16"),
        text(sep="\t", decimal=",").encode("utf-16"),
        text(sep=";", decimal=","),
        "sep=;\r\n" + text(sep=";", decimal=",", lineterminator="\r\n"),
        "sep=,\n" + text(),
        text(sep="\t"),
        text(sep="|"),
        text(lineterminator="\r"),
        text(quoting=1),
        gzip.compress(text().encode(), mtime=0),
        gzip.compress(text(sep=";", decimal=",").encode(), mtime=0),
    ],
    ids=range(13),
)
def test_text_file_of_any_writer_gives_the_same_rows(tmp_path, content):
    assert read(tmp_path, content) == DUE


@pytest.mark.parametrize(
    ("content", "due"),
    [
        (text().encode("latin-1"), r"shop.csv is not UTF-8: line 4 holds 'größer.*iconv -f WIND"),
        (text().replace("max", "5€").encode("cp1252"), "line 3 holds '5€"),
        (gzip.compress(text().encode("latin-1"), mtime=0), "line 4 holds 'größer"),
        (b"", "shop.csv is empty"),
        (b"PK\x03\x04zip", "shop.csv is a zip archive or an Excel workbook"),
        (b"PAR1rest", "is a Parquet file; name it .parquet"),
        (b"SQLite format 3\0rest", "give --source sqlite:///FILE"),
        (
            text().replace("3.0,3", "3.0,3,4,5"),
            "shop.csv: line 4 has 5 cells, and the header has 3",
        ),
    ],
)
def test_text_file_that_cannot_be_read_raises_error_with_the_line(tmp_path, content, due):
    with pytest.raises(SlipwayError, match=due):
        read(tmp_path, content)


@pytest.mark.parametrize("missing", MISSING_TEXTS)
def test_text_file_missing_text_is_null_in_numbers_and_texts(tmp_path, missing):
    content = f"plan,spend,n\nbasic,1.5,1\n{missing},{missing},2\n"
    assert read(tmp_path, content) == [("basic", 1.5, 1), (None, None, 2)]


@given(st.lists(st.sampled_from([*MISSING_TEXTS, "a", "1", "2.5", "true", "01"]), min_size=1))
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None
)
def test_text_file_missing_texts_are_those_of_pandas(tmp_path, cells):
    frame = pd.DataFrame({"n": range(len(cells)), "plan": cells})
    frame.to_csv(tmp_path / "shop.csv", index=False)
    due = pd.read_csv(tmp_path / "shop.csv")["plan"].isna().tolist()
    rows = read(tmp_path, (tmp_path / "shop.csv").read_bytes(), columns="plan")
    assert [value is None for (value,) in rows] == due


def test_text_file_known_category_is_never_missing(tmp_path):
    problem = replace(SHOP, features=(changed(PLAN, categories=("a", "NA", "null")),))
    content = "plan,spend,n\na,1.5,1\nNA,NA,2\nnull,null,3\nN/A,,4\n,2.5,5\n"
    due = [("a", 1.5, 1), ("NA", None, 2), ("null", None, 3), (None, None, 4), (None, 2.5, 5)]
    assert read(tmp_path, content, problem) == due


def test_text_file_known_category_among_numbers_is_never_missing(tmp_path):
    problem = replace(SHOP, features=(changed(PLAN, categories=("1", "2", "NA")),))
    assert read(tmp_path, "plan,n\n1,1\nNA,2\n2,NA\n", problem) == [
        ("1", 1),
        ("NA", 2),
        ("2", None),
    ]


def test_text_file_other_missing_texts_are_the_problems(tmp_path):
    problem = replace(SHOP, missing=("-", "?"))
    content = "plan,spend,n\nNA,1.5,1\n-,?,2\n,,3\n"
    assert read(tmp_path, content, problem) == [("NA", 1.5, 1), (None, None, 2), (None, None, 3)]


def test_text_file_yes_and_no_stay_texts_and_true_and_false_flags(tmp_path):
    content = "plan,spend,n\nyes,true,t\nno,False,f\n,,\n"
    assert read(tmp_path, content) == [("yes", True, "t"), ("no", False, "f"), (None, None, None)]


def test_text_file_bad_cell_among_decimal_commas_leaves_the_numbers(tmp_path):
    content = "plan;spend\na;1,5\nb;unknown\nc;2,25\nd;4\n"
    assert read(tmp_path, content) == [("a", "1.5"), ("b", "unknown"), ("c", "2.25"), ("d", "4")]


@pytest.mark.parametrize(
    "content",
    [
        'plan,spend\na,"1,500"\nb,"2,250"\n',
        "plan\tspend\na\t1,500\nb\t2,250\n",
    ],
)
def test_text_file_thousands_are_not_taken_for_decimals(tmp_path, content):
    assert read(tmp_path, content) == [("a", "1,500"), ("b", "2,250")]


def test_text_file_category_keeps_its_comma(tmp_path):
    problem = replace(SHOP, features=(PLAN,))
    assert read(tmp_path, "plan;n\n1,5;1\n2,0;2\n", problem) == [("1,5", 1), ("2,0", 2)]


@pytest.mark.slow
def test_text_file_gives_the_same_rows_on_spark(tmp_path):
    texts = [*MISSING_TEXTS, "b", "yes"]
    frame = pd.DataFrame(
        {
            "plan": [*texts[:10], "a", *texts[10:]],
            "zip": ["00501", "94110"] * 11,
            "n": [*range(21), "NULL"],
            "x": ["1.5", "nan", "1e3", "-2"] * 5 + ["n/a", "0"],
            "flag": ["true", "None"] * 11,
            "day": ["2026-01-31", "NA"] * 11,
            "moment": ["2026-01-31 10:00:00", "<NA>"] * 11,
        },
        dtype=object,
    )
    frame.to_csv(tmp_path / "shop.csv", index=False)
    features = (changed(PLAN, categories=("NA", "null", "a")),)
    problem = replace(SHOP, features=features)
    columns = (
        "plan, zip, n, x, flag, CAST(day AS VARCHAR) AS day, CAST(moment AS VARCHAR) AS moment"
    )
    query = f"SELECT {columns} FROM shop"
    found = []
    for url in (str(tmp_path), f"spark://local[2]/?path={tmp_path}"):
        with open_source(url, problem) as source:
            found.append(sorted(source.rows(query), key=str))
    assert found[0] == found[1]
    assert {"NA", "null", "a", "b", "yes", None} == {row[0] for row in found[0]}
