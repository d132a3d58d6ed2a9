"""Choose the training engine by rows and memory."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.core.errors import SlipwayError
from slipway.data.dataset import Dataset, DatasetManifest
from slipway.training.engines.selection import (
    available_memory,
    choose_engine,
    format_size,
    parse_size,
)

GIB = 2**30


def of_rows(folder, rows):
    """Create a dataset of which only the number of rows is known."""
    message = {field.name: None for field in msgspec.structs.fields(DatasetManifest)}
    return Dataset(folder, DatasetManifest(**message | {"rows": rows}))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1GiB", GIB), ("512M", 512 * 2**20), ("1.5 gb", 3 * GIB // 2), ("2000000", 2_000_000)],
)
def test_parse_size_returns_bytes(text, expected):
    assert parse_size(text) == expected


@pytest.mark.parametrize("text", ["", "much", "-1GiB", "1 PiB", "GiB"])
def test_parse_size_invalid_text_raises(text):
    with pytest.raises(ValueError, match="1GiB or 512MiB"):
        parse_size(text)


@given(st.integers(1, 2**45))
def test_parse_size_formatted_size_is_nearly_equal(size):
    # The text has three digits, and reading truncates to whole bytes.
    assert abs(parse_size(format_size(size)) - size) <= 0.005 * size + 1


def test_engine_rows_that_fit_use_memory(tmp_path):
    choice = choose_engine(None, of_rows(tmp_path, 300_000), 17, 4 * GIB)
    assert choice.engine == "memory"
    assert choice.max_rows >= 300_000
    assert "300,000 rows need about" in choice.reason
    assert "4 GiB is available" in choice.reason


def test_engine_rows_that_do_not_fit_use_chunks(tmp_path):
    choice = choose_engine(None, of_rows(tmp_path, 50_000_000), 17, GIB)
    assert choice.engine == "chunks"
    assert choice.max_rows < 50_000_000


def test_engine_requested_is_used(tmp_path):
    choice = choose_engine("spark", of_rows(tmp_path, 1_000), 17, GIB)
    assert choice.engine == "spark"
    assert choice.reason.startswith("requested")


def test_engine_too_little_memory_raises(tmp_path):
    with pytest.raises(SlipwayError, match="300 MiB of memory is too little"):
        choose_engine(None, of_rows(tmp_path, 1_000_000), 17, 300 * 2**20)


def machine(root, limit):
    """Create the files of a machine with 8 GiB free and a container's limit."""
    for file, text in {
        "proc/meminfo": f"MemTotal: 16777216 kB\nMemAvailable: {8 * 2**20} kB\n",
        "sys/fs/cgroup/memory.max": f"{limit}\n",
        "sys/fs/cgroup/memory.current": f"{GIB}\n",
    }.items():
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(text)
    return root


@pytest.mark.parametrize(("limit", "expected"), [("max", 8 * GIB), (3 * GIB, 2 * GIB)])
def test_available_memory_in_a_container_is_its_limit(tmp_path, limit, expected):
    assert available_memory(machine(tmp_path, limit)) == expected


def test_available_memory_of_this_machine_is_positive():
    assert available_memory() > 0
