"""Test the cost of hostile files for POST /predict_file, and the end of work without a client."""

import http.client
import io
import socket
import threading
import time

import psutil
import pytest
from clients import connected
from conftest import GUNICORN, running
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.core.errors import BadInput
from slipway.serving.batch import csv_stream
from slipway.serving.batch.csv_dialect import Dialect
from slipway.serving.batch.csv_header import Header
from slipway.serving.batch.csv_reader import BLOCK_ROWS, read_blocks
from slipway.serving.batch.csv_stream import FIRST_ROWS, predict_file

HEAD = (
    b"POST /predict_file HTTP/1.1\r\nHost: a\r\nContent-Type: text/csv\r\n"
    b"Content-Length: %d\r\n\r\n"
)


@pytest.fixture(scope="module")
def lines(manifest):
    """A header and a valid row."""
    examples = {feature.name: feature.example for feature in manifest.signature.features}
    return [",".join(map(str, block)).encode() + b"\n" for block in (examples, examples.values())]


def predict_csv(live, content):
    return b"".join(predict_file(io.BytesIO(content), live, counts=True))


@pytest.mark.parametrize("row", [b"x\n", b'"x"\n', b'"x\n', b"\n", b",\n"])
def test_read_blocks_short_rows_are_limited_per_block(lines, row):
    header = Header("a,b", ["a", "b"], {"a": 0, "b": 1})
    content = row * (2**19 // len(row))
    sizes = [len(block.texts) for block in read_blocks(io.BytesIO(content), b"", header)]
    assert max(sizes) <= BLOCK_ROWS
    assert len(sizes) < 3 * 2**19 // len(row) // BLOCK_ROWS + 3


@settings(deadline=None, max_examples=100)
@given(
    rows=st.lists(st.text('ab,"\r', max_size=30), max_size=60),
    peak=st.integers(1, 8),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_read_blocks_any_block_size_yields_the_same_rows(rows, peak, end):
    content = "".join(row + end for row in rows).encode()
    header = Header("a,b", ["a", "b"], {"a": 0, "b": 1}, Dialect(line_end=end))

    def texts():
        blocks = list(read_blocks(io.BytesIO(content), b"", header))
        return [text for block in blocks for text in block.texts]

    whole = texts()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("slipway.serving.batch.csv_reader.BLOCK_ROWS", peak)
        assert texts() == whole


@pytest.mark.parametrize("row", [b"x\n", b'"x"\n', b'"x"y\n', b"," * 16 + b"\n"])
def test_predict_file_only_invalid_first_rows_returns_422(client, lines, row):
    content = lines[0] + row * (FIRST_ROWS * 3)
    response = client.post("/predict_file", data=content, content_type="text/csv")
    assert (response.status_code, response.json["code"]) == (422, "no_row_fits")
    assert "rows fits the model" in response.json["message"]
    assert len(response.json["errors"]) == 10
    assert response.json["errors"][0]["row"] == 0


def test_predict_file_only_invalid_wide_rows_raises_early(live):
    names = ",".join(live.signature.names)
    wide = (names + ",c" * 10_000).encode() + b"\n"
    with pytest.raises(BadInput, match="none of the first"):
        predict_file(io.BytesIO(wide + b"x\n" * 20_000), live)


@pytest.mark.parametrize("n_wrong", [1, FIRST_ROWS - 1, FIRST_ROWS * 3])
def test_predict_file_one_valid_first_row_returns_all_rows(live, lines, n_wrong):
    end = predict_csv(live, lines[0] + lines[1] + b"x\n" * n_wrong).splitlines()[-1]
    assert end.startswith(b"# rows=%d failed=%d " % (n_wrong + 1, n_wrong))


def test_predict_file_few_invalid_rows_returns_all_rows(live, lines):
    end = predict_csv(live, lines[0] + b"x\n" * (FIRST_ROWS - 1)).splitlines()[-1]
    assert end.startswith(b"# rows=%d failed=%d " % (FIRST_ROWS - 1, FIRST_ROWS - 1))


def test_predict_file_closed_stream_stops_the_work(live, lines, monkeypatch):
    started = []
    response = csv_stream.BlockAnswerer.__call__

    def counted(self, block):
        started.append(len(block.texts))
        return response(self, block)

    monkeypatch.setattr(csv_stream.BlockAnswerer, "__call__", counted)
    stream = predict_file(io.BytesIO(lines[0] + lines[1] * 400_000), live)
    next(stream)
    next(stream)
    stream.close()
    time.sleep(0.5)
    n_started = len(started)
    assert n_started < 10
    time.sleep(0.5)
    assert len(started) == n_started


def test_read_blocks_quoted_rows_take_linear_time(live, lines):
    def seconds(n_rows):
        started_at = time.thread_time()
        header = Header("a,b", ["a", "b"], {"a": 0, "b": 1})
        rows = io.BytesIO(b'"x",1\n' * n_rows)
        assert sum(len(block.texts) for block in read_blocks(rows, b"", header)) == n_rows
        return time.thread_time() - started_at

    few = min(seconds(2_000) for _ in range(3))
    assert seconds(16_000) < 8 * 5 * few


def test_worker_short_rows_use_little_memory_and_stop_without_client(lines):
    content = lines[0] + lines[1] + b"x\n" * (2 * 2**20)
    with running(*GUNICORN) as (base, process):
        worker = psutil.Process(process.pid).children()[0]
        sent = [connected(base) for _ in range(2)]
        for sock in sent:
            threading.Thread(target=sock.sendall, args=(HEAD % len(content) + content,)).start()
        peak, until = 0, time.monotonic() + 3
        while time.monotonic() < until:
            for sock in sent:
                sock.recv(2**20)
            peak = max(peak, worker.memory_info().rss)
        assert peak < 300 * 2**20
        for sock in sent:
            sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        time.sleep(1.5)
        before = sum(worker.cpu_times()[:2])
        time.sleep(1.5)
        assert sum(worker.cpu_times()[:2]) - before < 0.5
        started_at = time.monotonic()
        process.terminate()
        process.wait(30)
        assert time.monotonic() - started_at < 5


def test_predict_file_killed_worker_is_an_incomplete_response(lines):
    content = lines[0] + lines[1] * 400_000
    with running(*GUNICORN) as (base, process):
        (worker,) = psutil.Process(process.pid).children()
        connection = http.client.HTTPConnection(base.removeprefix("http://"), timeout=60)
        connection.request("POST", "/predict_file", content, {"Content-Type": "text/csv"})
        response = connection.getresponse()
        assert response.read(2**16)
        worker.kill()
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            response.read()
