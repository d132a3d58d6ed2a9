"""The loop worker with slow senders, slow readers, endless senders and too many clients."""

import json
import select
import threading
import time
from contextlib import ExitStack, suppress
from types import SimpleNamespace

import psutil
import pytest
from clients import CHUNKED, HEAD, connected, memory, post, until_closed
from conftest import GUNICORN, running
from served import PATIENCE

from slipway.web.worker.connection import Client
from slipway.web.worker.sender import Sender
from slipway.web.worker.timeouts import MIN_BYTES_PER_SECOND, SEND_TIMEOUT

pytest_plugins = ["served"]
pytestmark = pytest.mark.slow

FILE, CHUNKED_FILE = (
    head.replace(b"/predict", b"/predict_file?counts=true").replace(
        b"application/json", b"text/csv"
    )
    for head in (HEAD, CHUNKED)
)
EXPECTING = HEAD.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
# Far more than the buffers of client and server together.
N_ROWS = 400_000


def open_slow_clients(stack, base, body):
    """Open 16 connections with part of a body, 64 with part of a head, and 200 idle ones."""
    opened = [stack.enter_context(connected(base)) for _ in range(16 + 64 + 200)]
    for sock in opened[:16]:
        sock.sendall(HEAD % len(body) + body[:10])
    for sock in opened[16:80]:
        sock.sendall(b"POST /predict HT")
    return opened


def test_worker_slow_clients_do_not_delay_others(patient, body):
    with ExitStack() as stack:
        opened = open_slow_clients(stack, patient, body)
        assert {post(patient, body)[0] for _ in range(50)} == {200}
        assert select.select(opened, [], [], 0) == ([], [], [])


def test_worker_slow_clients_get_408_and_idle_ones_stay_open(impatient, body):
    base, process = impatient
    with ExitStack() as stack:
        opened = open_slow_clients(stack, base, body)
        refused = [until_closed(sock) for sock in opened[:80]]
        assert {answer.split(b"\r\n")[0] for answer in refused} == {b"HTTP/1.1 408 REQUEST TIMEOUT"}
        error = json.loads(refused[0].partition(b"\r\n\r\n")[2])
        assert error["code"] == "request_timeout"
        assert f"X-Request-Id: {error['request_id']}".encode() in refused[0]
        assert b"nosniff" in refused[0]
        # The idle connections stayed open.
        opened[-1].sendall(HEAD % len(body) + body)
        assert opened[-1].recv(100).startswith(b"HTTP/1.1 200")
    assert memory(process) < 120e6


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (HEAD % 100, b"1"),
        (HEAD % 100_000, b"1"),
        (FILE % 100_000, b"1"),
        (CHUNKED, b"1\r\n1\r\n"),
        (CHUNKED, b""),
        (CHUNKED + b"5\r\nab", b""),
        (CHUNKED_FILE, b"1\r\n1\r\n"),
        (EXPECTING % 9, b""),
        (EXPECTING % 100_000, b"1"),
    ],
    ids=[
        *("small", "large", "file", "chunked", "chunked nothing", "half a chunk", "chunked file"),
        *("expected nothing", "expected large"),
    ],
)
def test_worker_incomplete_body_returns_408(impatient, head, piece):
    base, _ = impatient
    began = time.monotonic()
    with connected(base) as sock:
        sock.sendall(head)
        sock.settimeout(0.1)
        answer = b""
        while not answer.endswith(b'"errors":[]}'):
            assert time.monotonic() < began + 60
            # The service has closed the connection, but the client can still read the response.
            with suppress(TimeoutError, ConnectionError):
                sock.sendall(piece)
            with suppress(TimeoutError):
                answer += sock.recv(65536)
    assert time.monotonic() > began + PATIENCE - 0.2
    assert answer.startswith(CONTINUE) == (b"Expect" in head)
    head, _, error = answer.removeprefix(CONTINUE).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert json.loads(error)["code"] == "request_timeout"


def test_worker_slow_uploads_do_not_delay_predictions(patient, body):
    with ExitStack() as stack:
        for _ in range(16):
            sock = stack.enter_context(connected(patient))
            sock.sendall(FILE % 10**6 + b"x")
        assert {post(patient, body)[0] for _ in range(20)} == {200}


def test_worker_unread_responses_are_dropped(example, body):
    lines = (",".join(example) + "\n").encode()
    row = (",".join(map(str, example.values())) + "\n").encode()
    arguments = (*GUNICORN, "--workers=1", "--threads=2")
    with (
        running(*arguments, SLIPWAY_CLIENT_SECONDS=str(PATIENCE)) as (base, process),
        connected(base, 4096) as silent,
        connected(base, 4096) as trickling,
    ):
        began = time.monotonic()
        upload = FILE % (len(lines) + len(row) * N_ROWS) + lines + row * N_ROWS
        # Two clients that do not receive their responses occupy both threads.
        for sock in (silent, trickling):
            threading.Thread(target=sock.sendall, args=(upload,), daemon=True).start()
        while time.monotonic() < began + 2 * PATIENCE:
            trickling.recv(20)
            # A wait for a thread would last three times PATIENCE.
            assert post(base, body, timeout=2.5 * PATIENCE)[0] == 200
            assert memory(process) < 400e6
            time.sleep(0.02)
        # The worker drops each after three times PATIENCE, which frees a thread.
        assert post(base, lines + row, "/predict_file", "text/csv", timeout=30)[0] == 200
        assert time.monotonic() < began + 3 * PATIENCE + 25
        assert b"# rows=" not in receive_available(silent)


def receive_available(sock):
    answer = b""
    try:
        while more := sock.recv(2**20):
            answer += more
    except ConnectionResetError:
        pass
    return answer


def test_worker_too_many_connections_closes_longest_idle_one(body):
    with (
        running(*GUNICORN, "--workers=1", "--worker-connections=10") as (base, _),
        ExitStack() as stack,
    ):
        opened = []
        for _ in range(10):
            opened.append(stack.enter_context(connected(base)))
            opened[-1].sendall(HEAD % len(body) + body)
            assert opened[-1].recv(65536).startswith(b"HTTP/1.1 200")
        # After another request on the first connection, the second has been idle for longest.
        opened[0].sendall(HEAD % len(body) + body)
        assert opened[0].recv(65536).startswith(b"HTTP/1.1 200")
        for n_more in (1, 2):
            more = stack.enter_context(connected(base))
            more.sendall(HEAD % len(body) + body)
            assert more.recv(65536).startswith(b"HTTP/1.1 200")
            assert opened[n_more].recv(1) == b""
        for sock in (opened[0], *opened[3:]):
            sock.sendall(HEAD % len(body) + body)
            assert sock.recv(65536).startswith(b"HTTP/1.1 200")


def test_worker_all_connections_busy_next_one_waits(body):
    arguments = (*GUNICORN, "--workers=1", "--worker-connections=10")
    with (
        running(*arguments, SLIPWAY_CLIENT_SECONDS=str(PATIENCE)) as (base, _),
        ExitStack() as stack,
    ):
        for _ in range(10):
            stack.enter_context(connected(base)).sendall(HEAD % len(body) + body[:-1])
        began = time.monotonic()
        assert post(base, body, timeout=40)[0] == 200
        assert time.monotonic() < began + PATIENCE + 20


@pytest.mark.parametrize("pause", [0.0, 0.05], ids=["at once", "slowly"])
def test_worker_endless_rejected_upload_is_cut_off(impatient, body, pause):
    base, process = impatient
    began, sent, block = time.monotonic(), 0, b"x" * (2**20 if not pause else 10)
    with connected(base) as sock:
        sock.sendall(HEAD % 10**12)
        assert sock.recv(65536).startswith(b"HTTP/1.1 413")
        try:
            while time.monotonic() < began + 60:
                sock.sendall(block)
                sent += len(block)
                time.sleep(pause)
        except OSError:
            pass
    # 32 MiB plus the buffers of both ends; without the limit, gigabytes.
    assert sent < 64 * 2**20
    # A thread reads for PATIENCE, then the loop for two seconds and until its next tick.
    assert time.monotonic() < began + PATIENCE + 20
    assert memory(process) < 150e6
    assert post(base, body)[0] == 200


def test_worker_rejected_upload_client_reads_error(impatient):
    base, _ = impatient
    status, error = post(base, b" " * 20 * 2**20)
    assert (status, json.loads(error)["code"]) == (413, "too_large")
    assert psutil.pid_exists(impatient[1].pid)


class ReceiverSocket:
    """A client's socket that receives a given number of bytes of each piece."""

    def __init__(self, *counts):
        self.counts = list(counts)

    def fileno(self):
        return 99

    def send(self, _out):
        count = self.counts.pop(0)
        if not count:
            raise BlockingIOError
        return count


def test_worker_slow_receiver_has_minimum_rate():
    sender = object.__new__(Sender)
    sender.epoll = SimpleNamespace(modify=lambda *_: None)
    second = MIN_BYTES_PER_SECOND
    client = Client(ReceiverSocket(100, 0, 1, 5 * second, 10**5), None, None, {})
    out, sender.now = bytes(10**6), 1000.0
    sender.send(client, out, True)
    assert client.deadline == 1000 + SEND_TIMEOUT
    # Zero bytes or one do not extend the deadline.
    for passed in (5, 10):
        sender.now = 1000.0 + passed
        sender.send(client, client.unsent, True)
        assert client.deadline == pytest.approx(1000 + SEND_TIMEOUT, abs=0.001)
    # The bytes of one second extend the deadline by one second, up to SEND_TIMEOUT.
    sender.send(client, client.unsent, True)
    assert client.deadline == pytest.approx(1005 + SEND_TIMEOUT, abs=0.001)
    sender.send(client, client.unsent, True)
    assert client.deadline == 1010 + SEND_TIMEOUT
    assert len(client.unsent) == 10**6 - 100 - 1 - 5 * second - 10**5
