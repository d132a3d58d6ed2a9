"""POST /predict_file: what hostile files cost, and that the work ends with its client."""

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
from slipway.serving.batch import csv_stream as batch
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
    """The header and a row that is answered."""
    examples = {feature.name: feature.example for feature in manifest.signature.features}
    return [",".join(map(str, each)).encode() + b"\n" for each in (examples, examples.values())]


def answered(live, content):
    return b"".join(predict_file(io.BytesIO(content), live, counts=True))


@pytest.mark.parametrize("row", [b"x\n", b'"x"\n', b'"x\n', b"\n", b",\n"])
def test_block_of_short_rows_holds_few(lines, row):
    header = Header("a,b", ["a", "b"], {"a": 0, "b": 1})
    content = row * (2**19 // len(row))
    sizes = [len(each.texts) for each in read_blocks(io.BytesIO(content), b"", header)]
    assert max(sizes) <= BLOCK_ROWS
    assert len(sizes) < 3 * 2**19 // len(row) // BLOCK_ROWS + 3


@settings(deadline=None, max_examples=100)
@given(
    rows=st.lists(st.text('ab,"\r', max_size=30), max_size=60),
    most=st.integers(1, 8),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_blocks_of_any_size_hold_the_same_rows(rows, most, end):
    content = "".join(row + end for row in rows).encode()
    header = Header("a,b", ["a", "b"], {"a": 0, "b": 1}, Dialect(line_end=end))

    def texts():
        blocks = list(read_blocks(io.BytesIO(content), b"", header))
        return [text for block in blocks for text in block.texts]

    whole = texts()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("slipway.serving.batch.csv_reader.BLOCK_ROWS", most)
        assert texts() == whole


@pytest.mark.parametrize("row", [b"x\n", b'"x"\n', b'"x"y\n', b"," * 16 + b"\n"])
def test_file_whose_first_rows_are_all_wrong_is_rejected_as_a_whole(client, lines, row):
    content = lines[0] + row * (FIRST_ROWS * 3)
    answer = client.post("/predict_file", data=content, content_type="text/csv")
    assert (answer.status_code, answer.json["code"]) == (422, "no_row_fits")
    assert "rows fits the model" in answer.json["message"]
    assert len(answer.json["errors"]) == 10
    assert answer.json["errors"][0]["row"] == 0


def test_file_of_wide_rows_that_are_all_wrong_is_rejected_early(live):
    names = ",".join(live.signature.names)
    wide = (names + ",c" * 10_000).encode() + b"\n"
    with pytest.raises(BadInput, match="none of the first"):
        predict_file(io.BytesIO(wide + b"x\n" * 20_000), live)


@pytest.mark.parametrize("n_wrong", [1, FIRST_ROWS - 1, FIRST_ROWS * 3])
def test_file_with_a_row_that_fits_is_answered_to_its_end(live, lines, n_wrong):
    end = answered(live, lines[0] + lines[1] + b"x\n" * n_wrong).splitlines()[-1]
    assert end.startswith(b"# rows=%d failed=%d " % (n_wrong + 1, n_wrong))


def test_file_of_fewer_wrong_rows_is_answered(live, lines):
    end = answered(live, lines[0] + b"x\n" * (FIRST_ROWS - 1)).splitlines()[-1]
    assert end.startswith(b"# rows=%d failed=%d " % (FIRST_ROWS - 1, FIRST_ROWS - 1))


def test_file_closed_stops_the_work(live, lines, monkeypatch):
    begun = []
    answer = batch.BlockAnswerer.__call__

    def counted(self, block):
        begun.append(len(block.texts))
        return answer(self, block)

    monkeypatch.setattr(batch.BlockAnswerer, "__call__", counted)
    stream = predict_file(io.BytesIO(lines[0] + lines[1] * 400_000), live)
    next(stream)
    next(stream)
    stream.close()
    time.sleep(0.5)
    n_begun = len(begun)
    assert n_begun < 10
    time.sleep(0.5)
    assert len(begun) == n_begun


def test_quoted_rows_cost_the_same_wherever_they_stand(live, lines):
    def seconds(n_rows):
        began = time.thread_time()
        header = Header("a,b", ["a", "b"], {"a": 0, "b": 1})
        rows = io.BytesIO(b'"x",1\n' * n_rows)
        assert sum(len(block.texts) for block in read_blocks(rows, b"", header)) == n_rows
        return time.thread_time() - began

    few = min(seconds(2_000) for _ in range(3))
    assert seconds(16_000) < 8 * 5 * few


def test_worker_short_rows_take_little_memory_and_end_with_their_client(lines):
    content = lines[0] + lines[1] + b"x\n" * (2 * 2**20)
    with running(*GUNICORN) as (base, process):
        worker = psutil.Process(process.pid).children()[0]
        sent = [connected(base) for _ in range(2)]
        for sock in sent:
            threading.Thread(target=sock.sendall, args=(HEAD % len(content) + content,)).start()
        most, until = 0, time.monotonic() + 3
        while time.monotonic() < until:
            for sock in sent:
                sock.recv(2**20)
            most = max(most, worker.memory_info().rss)
        assert most < 300 * 2**20
        for sock in sent:
            sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        time.sleep(1.5)
        before = sum(worker.cpu_times()[:2])
        time.sleep(1.5)
        assert sum(worker.cpu_times()[:2]) - before < 0.5
        began = time.monotonic()
        process.terminate()
        process.wait(30)
        assert time.monotonic() - began < 5


def test_answer_cut_off_on_its_way_is_told_by_http(lines):
    content = lines[0] + lines[1] * 400_000
    with running(*GUNICORN) as (base, process):
        (worker,) = psutil.Process(process.pid).children()
        connection = http.client.HTTPConnection(base.removeprefix("http://"), timeout=60)
        connection.request("POST", "/predict_file", content, {"Content-Type": "text/csv"})
        answer = connection.getresponse()
        assert answer.read(2**16)
        worker.kill()
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            answer.read()
