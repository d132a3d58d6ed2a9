"""The loop worker as a process: slow clients, stops, restarts, overload, log and hooks."""

import http.client
import json
import os
import signal
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress

import psutil
import pytest
from conftest import GUNICORN, running

pytestmark = pytest.mark.slow
PATIENCE = 2
HEAD = (
    b"POST /predict HTTP/1.1\r\nHost: a\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
)


def port_of(base):
    return int(base.rpartition(":")[2])


def connected(base):
    return socket.create_connection(("127.0.0.1", port_of(base)), timeout=20)


def until_closed(sock):
    answer = b""
    while more := sock.recv(65536):
        answer += more
    return answer


def post(base, body, path="/predict", kind="application/json", timeout=5):
    connection = http.client.HTTPConnection("127.0.0.1", port_of(base), timeout=timeout)
    try:
        connection.request("POST", path, body, {"Content-Type": kind})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def workers(process):
    """The running workers of a master."""
    children = psutil.Process(process.pid).children()
    return [each for each in children if each.status() != psutil.STATUS_ZOMBIE]


@contextmanager
def loaded(base, body, n_clients=4):
    """Clients that keep their connections as long as they are told to; gives what they got."""
    stop, statuses = threading.Event(), []

    def client():
        connection = http.client.HTTPConnection("127.0.0.1", port_of(base), timeout=10)
        while not stop.is_set():
            try:
                connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                answer.read()
                statuses.append(answer.status)
            except (OSError, http.client.HTTPException) as error:
                statuses.append(repr(error))
                connection.close()
        connection.close()

    threads = [threading.Thread(target=client) for _ in range(n_clients)]
    for thread in threads:
        thread.start()
    try:
        yield statuses
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.fixture(scope="module")
def body(manifest):
    features = manifest.signature.features
    return json.dumps({feature.name: feature.example for feature in features}).encode()


@pytest.fixture(scope="module")
def impatient():
    """One worker that gives its clients two seconds."""
    with running(*GUNICORN, "--workers=1", SLIPWAY_CLIENT_SECONDS=str(PATIENCE)) as (base, process):
        yield base, process


def test_worker_slow_clients_wait_and_others_are_served(impatient, body):
    base, process = impatient
    with ExitStack() as stack:
        opened = [stack.enter_context(connected(base)) for _ in range(16 + 64 + 200)]
        for sock in opened[:16]:
            sock.sendall(HEAD % len(body) + body[:10])
        for sock in opened[16:80]:
            sock.sendall(b"POST /predict HT")
        assert {post(base, body, timeout=1)[0] for _ in range(50)} == {200}
        refused = [until_closed(sock) for sock in opened[:80]]
        assert {answer.split(b"\r\n")[0] for answer in refused} == {b"HTTP/1.1 408 REQUEST TIMEOUT"}
        told = json.loads(refused[0].partition(b"\r\n\r\n")[2])
        assert told["code"] == "request_timeout"
        assert f"X-Request-Id: {told['request_id']}".encode() in refused[0]
        assert b"nosniff" in refused[0]
        # Those that are idle were left alone.
        opened[-1].sendall(HEAD % len(body) + body)
        assert opened[-1].recv(100).startswith(b"HTTP/1.1 200")
    assert psutil.Process(process.pid).children()[0].memory_info().rss < 120e6


@pytest.mark.parametrize(
    "head",
    [
        HEAD % 100,
        HEAD % 100_000,
        HEAD.replace(b"/predict", b"/predict_file").replace(b"application/json", b"text/csv")
        % 100_000,
        HEAD.replace(b"Content-Length: %d", b"Transfer-Encoding: chunked"),
        HEAD.replace(b"Content-Length: %d", b"Content-Length: 9\r\nExpect: 100-continue"),
    ],
    ids=["small", "large", "file", "chunked", "expected"],
)
def test_worker_body_of_single_bytes_is_given_up(impatient, head):
    base, _ = impatient
    began = time.monotonic()
    with connected(base) as sock:
        sock.sendall(head)
        sock.settimeout(0.1)
        answer = b""
        while not answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n"):
            assert time.monotonic() < began + 20
            try:
                sock.sendall(b"1" if b"chunked" not in head else b"1\r\n1\r\n")
                answer += sock.recv(65536)
            except TimeoutError:
                continue
    if b"chunked" not in head and b"Expect" not in head:
        assert answer.startswith(b"HTTP/1.1 408")


def test_worker_slow_uploads_leave_single_predictions_alone(impatient, body):
    base, _ = impatient
    with ExitStack() as stack:
        for _ in range(16):
            sock = stack.enter_context(connected(base))
            sock.sendall(HEAD.replace(b"/predict", b"/predict_file") % 10**6 + b"x")
        assert {post(base, body, timeout=1)[0] for _ in range(20)} == {200}


@pytest.mark.parametrize("twice", [False, True], ids=["once", "twice"])
def test_worker_term_finishes_what_is_in_flight(body, twice):
    with running(*GUNICORN, "--workers=2") as (base, process), ExitStack() as stack:
        idle, half = (stack.enter_context(connected(base)) for _ in range(2))
        idle.sendall(HEAD % len(body) + body)
        assert idle.recv(100).startswith(b"HTTP/1.1 200")
        half.sendall(HEAD % len(body) + body[:-1])
        time.sleep(0.3)
        everyone = [process.pid, *(each.pid for each in workers(process))]
        began = time.monotonic()
        for _ in range(1 + twice):
            for pid in everyone if twice else everyone[:1]:
                # One that has nothing to finish is gone at once.
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
            time.sleep(0.2)
        half.sendall(body[-1:])
        answer = until_closed(half)
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"Connection: close" in answer
        assert process.wait(22) == 0
        assert time.monotonic() < began + 5


def test_worker_killed_is_replaced(body):
    with running(*GUNICORN, "--workers=2") as (base, process):
        while len(workers(process)) < 2:
            time.sleep(0.05)
        first = workers(process)[0]
        with loaded(base, body) as statuses:
            time.sleep(0.3)
            first.kill()
            deadline = time.monotonic() + 2
            while len(workers(process)) < 2 or first in workers(process):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            statuses.clear()
            time.sleep(0.5)
        assert set(statuses) == {200}


def test_worker_hup_loses_no_request(body):
    with running(*GUNICORN, "--workers=2") as (base, process), loaded(base, body) as statuses:
        time.sleep(0.5)
        process.send_signal(signal.SIGHUP)
        time.sleep(3.5)
    assert set(statuses) == {200}


def test_worker_max_requests_loses_no_request(body):
    words = ["--workers=2", "--max-requests=300", "--max-requests-jitter=200"]
    with running(*GUNICORN, *words) as (base, process):
        first = {each.pid for each in workers(process)}
        with loaded(base, body) as statuses:
            time.sleep(4)
        assert not first & {each.pid for each in workers(process)}
    assert set(statuses) == {200}


SLOW = """
import time

def app(environ, start_response):
    if environ["PATH_INFO"] == "/predict":
        time.sleep(0.02)
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""


def test_worker_overload_is_refused_and_livez_answers(tmp_path):
    (tmp_path / "slow.py").write_text(SLOW)
    words = [sys.executable, "-m", "gunicorn", "slow:app", "--bind=127.0.0.1:{port}"]
    with running(*words, "--pythonpath", str(tmp_path), "--workers=1") as (base, _):
        with loaded(base, b"{}", n_clients=150) as statuses:
            time.sleep(2)
            connection = http.client.HTTPConnection("127.0.0.1", port_of(base), timeout=1)
            connection.request("GET", "/livez")
            assert connection.getresponse().read() == b"ok"
            time.sleep(1)
        assert set(statuses) == {200, 503}
        assert {post(base, b"{}")[0] for _ in range(5)} == {200}


HOOKS = """
def pre_request(worker, req):
    print("pre", req.method, req.path, flush=True)

def post_request(worker, req, environ, resp):
    print("post", resp.status, resp.sent, flush=True)
"""


def test_worker_log_and_hooks_see_each_request_once(tmp_path, body, capfd):
    config = tmp_path / "conf.py"
    config.write_text(f"import sys\nsys.path.insert(0, {os.getcwd()!r})\n" + HOOKS)
    log = tmp_path / "access.log"
    words = [f"--config={config}", "--worker-class=slipway.worker.LoopWorker", "--workers=1"]
    with running(*GUNICORN, *words, f"--access-logfile={log}") as (base, _):
        assert post(base, body)[0] == 200
        assert post(base, b"{}")[0] == 422
        assert post(base, b"x", path="/predict_file", kind="text/csv")[0] == 422
    lines = [line.split('"')[1:3] for line in log.read_text().splitlines()]
    told = [line.split() for line in capfd.readouterr().out.splitlines()]
    told = [words for words in told if words[-1:] != ["/livez"]]
    assert [words[:3] for words in told if words[0] == "pre"] == [
        *[["pre", "POST", "/predict"]] * 2,
        ["pre", "POST", "/predict_file"],
    ]
    assert [words[1] for words in told if words[0] == "post"][-3:] == ["200", "422", "422"]
    asked = [first for first, _ in lines if "livez" not in first]
    assert asked == ["POST /predict HTTP/1.1"] * 2 + ["POST /predict_file HTTP/1.1"]


def test_worker_forged_headers_change_nothing(impatient, body):
    base, _ = impatient
    answers = set()
    for name in (
        "SCRIPT_NAME",
        "PATH_INFO",
        "Script-Name",
        "X-Forwarded-Host",
        "X-Forwarded-Prefix",
    ):
        request = http.client.HTTPConnection("127.0.0.1", port_of(base), timeout=5)
        request.request(
            "POST", "/predict", body, {"Content-Type": "application/json", name: "/evil"}
        )
        answers.add(request.getresponse().read())
        request.close()
    assert answers == {post(base, body)[1]}


def test_worker_many_clients_at_once_get_their_own_answers(impatient, body):
    base, _ = impatient
    record = json.loads(body)

    def own(number):
        asked = [record] * (number % 40 + 1)
        status, answer = post(base, json.dumps(asked).encode())
        return status, len(json.loads(answer)) == len(asked)

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(own, range(200))) == {(200, True)}
