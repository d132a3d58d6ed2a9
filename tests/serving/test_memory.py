"""Test that the memory of the running service does not grow with the file."""

import http.client
from pathlib import Path

import pytest
from conftest import GUNICORN, running


def worker_peak(master):
    """Return the largest peak memory of Gunicorn's workers, in MB."""
    children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    peaks = []
    for child in children:
        status = Path(f"/proc/{child}/status").read_text()
        peaks.append(int(status.split("VmHWM:")[1].split()[0]) / 1024)
    return max(peaks)


def send_file(base, header, row, n_rows):
    """Upload rows in chunks, and return the last line of the response."""
    block = row * 10_000

    def body():
        yield header
        for _ in range(n_rows // 10_000):
            yield block

    connection = http.client.HTTPConnection(base.removeprefix("http://"), timeout=120)
    headers = {"Content-Type": "text/csv"}
    connection.request("POST", "/predict_file?counts=true", body(), headers, encode_chunked=True)
    answer = connection.getresponse()
    assert answer.status == 200
    last = b""
    while chunk := answer.read(2**20):
        last = (last + chunk)[-300:]
    connection.close()
    return last.splitlines()[-1].decode()


@pytest.mark.slow
def test_predict_file_ten_times_longer_uses_the_same_memory(example):
    header = (",".join(example) + "\n").encode()
    row = (",".join(map(str, example.values())) + "\n").encode()
    with running(*GUNICORN) as (base, process):
        peaks = []
        for n_rows in (100_000, 1_000_000):
            assert f"# rows={n_rows} failed=0" in send_file(base, header, row, n_rows)
            peaks.append(worker_peak(process.pid))
    assert peaks[1] < 300
    assert peaks[1] < peaks[0] + 40
