"""Pipelined requests: responses in order, in bounded memory."""

import json
import threading
import time
from contextlib import ExitStack, contextmanager, suppress

import pytest
from clients import CHUNKED, HEAD, asked, connected, memory, post, until_closed, workers
from conftest import GUNICORN, running

pytest_plugins = ["served"]
pytestmark = pytest.mark.slow

FLOODS = {
    "on the loop": b"GET /version HTTP/1.1\r\nHost: a\r\n\r\n",
    "before all others": b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n",
    "in threads": b"HEAD /livez HTTP/1.1\r\nHost: a\r\n\r\n",
    "with bodies": HEAD % 2 + b"{}",
    "with chunks": CHUNKED + b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
}


class Flood:
    """Connections that send requests without waiting for responses."""

    def __init__(self):
        self.stop = threading.Event()
        self.answered = self.sent = 0
        self.lock = threading.Lock()

    def send(self, sock, request):
        many = request * (400_000 // len(request))
        while not self.stop.is_set():
            with suppress(TimeoutError, OSError):
                count = sock.send(many)
                many = many[count:] + many[:count]
                with self.lock:
                    self.sent += count

    def read(self, sock):
        while not self.stop.is_set():
            with suppress(TimeoutError, OSError):
                count = sock.recv(2**20).count(b"HTTP/1.1 ")
                with self.lock:
                    self.answered += count


@contextmanager
def open_flood(base, request, n_connections, *, read=True):
    """Send requests over several connections as fast as the service reads them."""
    flood = Flood()
    with ExitStack() as stack:
        socks = [stack.enter_context(connected(base)) for _ in range(n_connections)]
        threads = []
        for sock in socks:
            sock.settimeout(0.2)
            threads.append(threading.Thread(target=flood.send, args=(sock, request)))
            if read:
                threads.append(threading.Thread(target=flood.read, args=(sock,)))
        for thread in threads:
            thread.start()
        try:
            yield flood
        finally:
            flood.stop.set()
            for thread in threads:
                thread.join()


@pytest.fixture(scope="module")
def started():
    with running(*GUNICORN, "--log-level=critical") as (base, process):
        yield base, process


@pytest.mark.parametrize("read", [True, False], ids=["read", "not read"])
@pytest.mark.parametrize("request_", FLOODS.values(), ids=FLOODS)
def test_worker_pipelined_requests_keep_memory_flat(started, request_, read):
    base, process = started
    with open_flood(base, request_, 8, read=read) as flood:
        time.sleep(0.3)
        before, peak, ends = memory(process), 0, time.monotonic() + 2
        while time.monotonic() < ends:
            peak = max(peak, memory(process))
            # The worker still serves other clients.
            assert asked(base, "GET", "/livez")[0] == 200
    # 144 KiB for each connection, and the same again for responses.
    assert peak < before + 10e6
    assert flood.answered > 100 or not read
    # The clients block, because the kernel's buffers are full.
    assert read or flood.sent < 8 * 16e6


def cpu_seconds(process):
    times = workers(process)[0].cpu_times()
    return times.user + times.system


def test_worker_pipelined_request_costs_no_more_than_single_one():
    request = FLOODS["before all others"]
    with running(*GUNICORN, "--log-level=critical") as (base, process):
        with connected(base) as sock:
            began = cpu_seconds(process)
            for _ in range(3000):
                sock.sendall(request)
                assert sock.recv(65536).startswith(b"HTTP/1.1 200")
            alone = (cpu_seconds(process) - began) / 3000
        with open_flood(base, request, 4) as flood:
            began = cpu_seconds(process)
            time.sleep(4)
            spent, answered = cpu_seconds(process) - began, flood.answered
    # Each response used to copy all waiting bytes, which cost up to a hundred times as much.
    assert spent / answered < 2 * alone


def test_worker_pipelined_requests_of_all_kinds_are_served_in_order(impatient, body):
    base, process = impatient
    named = b"X-Request-Id: %d\r\n\r\n"
    sent = b""
    for n in range(2000):
        if n % 50 == 0:
            sent += CHUNKED[:-2] + named % n + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        elif n % 7 == 3:
            sent += HEAD[:-2] % len(body) + named % n + body
        else:
            sent += b"GET /livez HTTP/1.1\r\nHost: a\r\n" + named % n
    sent += b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + named % 2000
    with connected(base) as sock:
        sender = threading.Thread(target=sock.sendall, args=(sent,))
        sender.start()
        answer = until_closed(sock)
        sender.join()
    ids = [
        int(line.split()[1]) for line in answer.split(b"\r\n") if line.startswith(b"X-Request-Id")
    ]
    assert ids == list(range(2001))
    assert answer.count(b"HTTP/1.1 200 ") == 2001
    assert memory(process) < 120e6


def test_worker_connection_with_waiting_requests_is_not_evicted():
    count = 3000
    with running(*GUNICORN, "--worker-connections=1") as (base, _), connected(base) as sock:
        last = b"GET /version HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        sender = threading.Thread(target=sock.sendall, args=(FLOODS["on the loop"] * count + last,))
        sender.start()
        answer = sock.recv(100)
        with connected(base) as other:
            # The request waits until the first connection closes.
            other.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
            answer += until_closed(sock)
            assert other.recv(100).startswith(b"HTTP/1.1 200")
        sender.join()
    assert answer.count(b"HTTP/1.1 200") == count + 1


def test_worker_prediction_beside_pipelined_requests_is_correct(impatient, body):
    base, _ = impatient
    expected = json.loads(post(base, body)[1])
    with open_flood(base, FLOODS["with bodies"], 4):
        for _ in range(50):
            status, answer = post(base, body)
            assert (status, json.loads(answer)) == (200, expected)
