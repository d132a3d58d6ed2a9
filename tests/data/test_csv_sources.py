"""Text files of Excel, pandas and European locales."""

import gzip
from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace as replace_struct
from small_problem import PROBLEM

from slipway.core.errors import SlipwayError
from slipway.data.sources import open_source
from slipway.models.validation import MISSING_TEXTS

ROWS = pd.DataFrame(
    {"plan": ["basic", "max", "größer"], "spend": [1.5, 20.25, 3.0], "n": [1, 2, 3]}
)
EXPECTED = [("basic", 1.5, 1), ("max", 20.25, 2), ("größer", 3.0, 3)]
SHOP = replace(PROBLEM, tables=("shop",), features=())
PLAN = replace_struct(PROBLEM.features[0], name="plan", example="a")


def read(tmp_path, content, problem=SHOP, name="shop.csv", columns="*"):
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with open_source(str(file), problem) as source:
        return source.rows(f"SELECT {columns} FROM shop")


def to_csv(**options):
    return ROWS.to_csv(index=False, **options)


@pytest.mark.parametrize(
    "content",
    [
        to_csv(),
        to_csv().encode("utf-8-sig"),
        to_csv().encode("utf-16"),
        to_csv(sep="\t", decimal=",").encode("utf-16"),
        to_csv(sep=";", decimal=","),
        "sep=;\r\n" + to_csv(sep=";", decimal=",", lineterminator="\r\n"),
        "sep=,\n" + to_csv(),
        to_csv(sep="\t"),
        to_csv(sep="|"),
        to_csv(lineterminator="\r"),
        to_csv(quoting=1),
        gzip.compress(to_csv().encode(), mtime=0),
        gzip.compress(to_csv(sep=";", decimal=",").encode(), mtime=0),
    ],
    ids=range(13),
)
def test_text_file_any_dialect_returns_same_rows(tmp_path, content):
    assert read(tmp_path, content) == EXPECTED


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (to_csv().encode("latin-1"), r"shop.csv is not UTF-8: line 4 has 'größer.*iconv -f WIND"),
        (to_csv().replace("max", "5€").encode("cp1252"), "line 3 has '5€"),
        (gzip.compress(to_csv().encode("latin-1"), mtime=0), "line 4 has 'größer"),
        (b"", "shop.csv is empty"),
        (b"PK\x03\x04zip", "shop.csv is a zip archive or an Excel workbook"),
        (b"PAR1rest", "is a Parquet file; name it .parquet"),
        (b"SQLite format 3\0rest", "use --source sqlite:///FILE"),
        (
            to_csv().replace("3.0,3", "3.0,3,4,5"),
            "shop.csv: line 4 has 5 cells, but the header has 3",
        ),
    ],
)
def test_text_file_unreadable_raises_error_naming_line(tmp_path, content, expected):
    with pytest.raises(SlipwayError, match=expected):
        read(tmp_path, content)


@pytest.mark.parametrize("missing", MISSING_TEXTS)
def test_text_file_missing_text_is_null_in_all_columns(tmp_path, missing):
    content = f"plan,spend,n\nbasic,1.5,1\n{missing},{missing},2\n"
    assert read(tmp_path, content) == [("basic", 1.5, 1), (None, None, 2)]


@given(st.lists(st.sampled_from([*MISSING_TEXTS, "a", "1", "2.5", "true", "01"]), min_size=1))
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None
)
def test_text_file_missing_texts_match_pandas(tmp_path, cells):
    frame = pd.DataFrame({"n": range(len(cells)), "plan": cells})
    frame.to_csv(tmp_path / "shop.csv", index=False)
    expected = pd.read_csv(tmp_path / "shop.csv")["plan"].isna().tolist()
    rows = read(tmp_path, (tmp_path / "shop.csv").read_bytes(), columns="plan")
    assert [value is None for (value,) in rows] == expected


def test_text_file_known_category_is_not_missing(tmp_path):
    problem = replace(SHOP, features=(replace_struct(PLAN, categories=("a", "NA", "null")),))
    content = "plan,spend,n\na,1.5,1\nNA,NA,2\nnull,null,3\nN/A,,4\n,2.5,5\n"
    expected = [("a", 1.5, 1), ("NA", None, 2), ("null", None, 3), (None, None, 4), (None, 2.5, 5)]
    assert read(tmp_path, content, problem) == expected


def test_text_file_known_category_among_numbers_is_not_missing(tmp_path):
    problem = replace(SHOP, features=(replace_struct(PLAN, categories=("1", "2", "NA")),))
    assert read(tmp_path, "plan,n\n1,1\nNA,2\n2,NA\n", problem) == [
        ("1", 1),
        ("NA", 2),
        ("2", None),
    ]


def test_text_file_custom_missing_texts_replace_default(tmp_path):
    problem = replace(SHOP, missing=("-", "?"))
    content = "plan,spend,n\nNA,1.5,1\n-,?,2\n,,3\n"
    assert read(tmp_path, content, problem) == [
        ("NA", 1.5, 1),
        (None, None, 2),
        (None, None, 3),
    ]


def test_text_file_only_true_and_false_become_flags(tmp_path):
    content = "plan,spend,n\nyes,true,t\nno,False,f\n,,\n"
    assert read(tmp_path, content) == [
        ("yes", True, "t"),
        ("no", False, "f"),
        (None, None, None),
    ]


def test_text_file_invalid_decimal_comma_keeps_other_numbers(tmp_path):
    content = "plan;spend\na;1,5\nb;unknown\nc;2,25\nd;4\n"
    assert read(tmp_path, content) == [
        ("a", "1.5"),
        ("b", "unknown"),
        ("c", "2.25"),
        ("d", "4"),
    ]


@pytest.mark.parametrize(
    "content",
    [
        'plan,spend\na,"1,500"\nb,"2,250"\n',
        "plan\tspend\na\t1,500\nb\t2,250\n",
    ],
)
def test_text_file_thousands_separator_stays_text(tmp_path, content):
    assert read(tmp_path, content) == [("a", "1,500"), ("b", "2,250")]


def test_text_file_category_with_comma_stays_text(tmp_path):
    problem = replace(SHOP, features=(PLAN,))
    assert read(tmp_path, "plan;n\n1,5;1\n2,0;2\n", problem) == [("1,5", 1), ("2,0", 2)]


@pytest.mark.slow
def test_text_file_on_spark_returns_same_rows(tmp_path):
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
    features = (replace_struct(PLAN, categories=("NA", "null", "a")),)
    problem = replace(SHOP, features=features)
    columns = (
        "plan, zip, n, x, flag, CAST(day AS VARCHAR) AS day, CAST(moment AS VARCHAR) AS moment"
    )
    query = f"SELECT {columns} FROM shop"
    results = []
    for url in (str(tmp_path), f"spark://local[2]/?path={tmp_path}"):
        with open_source(url, problem) as source:
            results.append(sorted(source.rows(query), key=str))
    assert results[0] == results[1]
    assert {"NA", "null", "a", "b", "yes", None} == {row[0] for row in results[0]}
