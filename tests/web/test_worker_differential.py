"""The loop worker and Gunicorn's gthread: the same bytes for valid, odd and broken requests."""

import random
import re
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from clients import memory
from conftest import running

from slipway.web.headers import SECURITY_HEADERS

ECHO = '''
import hashlib

LEFT_OUT = ("wsgi.", "gunicorn.", "slipway.", "REMOTE_PORT", "SERVER_PORT")


def app(environ, start_response):
    """Return the request as the server parsed it."""
    read = environ["wsgi.input"].read()
    seen = sorted((k, str(v)) for k, v in environ.items() if not k.startswith(LEFT_OUT))
    seen += [environ["wsgi.url_scheme"], len(read), hashlib.sha256(read).hexdigest()]
    body = repr(seen).encode()
    length = [] if environ["QUERY_STRING"] == "stream" else [("Content-Length", str(len(body)))]
    start_response("200 OK", [("Content-Type", "text/plain"), ("Connection", "x"), *length])
    return [body]
'''

METHODS = [
    b"GET",
    b"POST",
    b"HEAD",
    b"OPTIONS",
    b"PUT",
    b"CONNECT",
    b"get",
    b"G",
    b"PO ST",
    b"P\0T",
]
TARGETS = [
    *(b"/", b"/predict", b"/predict_file", b"/a%2Fb%00%ff", b"//evil/x", b"/x?y=1&z", b"/x?stream"),
    *(b"/x#y", b"*", b"evil:80", b"http://evil/x?y", b"http://[x", b"x", b"", b"/\xe9", b"/a b"),
    *(b"/" + b"a" * 4200, b"/x?" + b"y" * 3000, b"/..//./x;p", b"/\x7f", b"/\t", b"?q", b"///"),
]
VERSIONS = [b"HTTP/1.1"] * 6 + [
    *(
        b"HTTP/1.0",
        b"HTTP/0.9",
        b"HTTP/2.0",
        b"HTTP/1.2",
        b"http/1.1",
        b"HTTP/1.1 ",
        b"HTTP/11",
        b"",
    ),
]
N_CASES = 2000
N_PIPELINES = 150
LENGTHS = [
    *(b"Content-Length: 3", b"Content-Length: 0", b"content-length:3", b"Content-Length: +3"),
    *(b"Content-Length: 3, 3", b"Content-Length: -1", b"Content-Length: 0x3", b"Content-Length:"),
    *(b"Content-Length: 3\r\nContent-Length: 3", b"Content-Length: 3\r\nContent-Length: 4"),
    *(b"Content-Length: \xb2", b"Content-Length: 99999999999", b"Content-Length : 3"),
    *(b"Content_Length: 3", b"Content-Length: 03", b"Content-Length: 70000", b"Content-Length: 3 "),
    *(b"Transfer-Encoding: chunked", b"Transfer-Encoding: Chunked", b"Transfer-Encoding: gzip"),
    *(b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked\r\nContent-Length: 3"),
    *(b"Transfer-Encoding: \x0bchunked", b"Transfer-Encoding: chunked, chunked"),
    *(b"Transfer_Encoding: chunked", b"Transfer-Encoding:chunked\r\nTransfer-Encoding: x"),
]
HEADERS = [
    *(b"Host: a", b"Host: a\r\nHost: b", b"Host:", b"host: evil", b"Host: a b", b"Accept: */*"),
    *(
        b"Connection: close",
        b"Connection: keep-alive",
        b"Connection: Upgrade, close",
        b"Upgrade: x",
    ),
    *(
        b"Connection: CLOSE",
        b"Connection: close\r\nConnection: keep-alive",
        b"Expect: 100-continue",
    ),
    *(b"Expect: tea", b"SCRIPT_NAME: /x", b"Script-Name: /x", b"PATH_INFO: /x", b"Path-Info: /x"),
    *(b"X-Forwarded-Proto: https", b"X-Forwarded-Proto: http", b"X-Forwarded-Ssl: on"),
    *(b"X-Forwarded-For: 1.2.3.4", b"X-Forwarded-Host: evil", b"X-Forwarded-Prefix: /x"),
    *(b"X-Forwarded-Proto: https\r\nX-Forwarded-Proto: http", b"X_Forwarded_Proto: https"),
    *(b"Content-Type: application/json", b"Content-Type: a\r\nContent-Type: b", b"Cookie: a=b"),
    *(b"Cookie: a\r\nCookie: b", b"A: b\r\n c", b"A: b\r\n\tc", b" A: b", b"A : b", b"A\0: b"),
    *(b"A: \0", b"A: b\x7f", b"A: \xe9", b"A: b\nC: d", b"A: b\rC: d", b"A", b": b", b"A:b:c"),
    *(b"A" * 200 + b": b", b"A: " + b"b" * 8300, b"(A): b", b"A\xe9: b", b"A: \t b \t", b"A:"),
    *(
        b"\r\n".join(b"A%d: b" % i for i in range(105)),
        b"Referer: x",
        b"Proxy: evil",
        b"TE: trailers",
    ),
    *(b"Http-Host: evil", b"Remote-Addr: 9.9.9.9", b"Trailer: A", b"Keep-Alive: timeout=9"),
]
BODIES = [
    *(
        b"",
        b"abc",
        b"ab",
        b"abcd",
        b"abcGET /second HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\r\n",
        b"x" * 70000,
    ),
    *(b"3\r\nabc\r\n0\r\n\r\n", b"3\r\nabc\r\n0\r\nA: b\r\n\r\n", b"3;x=y\r\nabc\r\n0\r\n\r\n"),
    *(
        b"g\r\nabc\r\n0\r\n\r\n",
        b"3\nabc\n0\n\n",
        b"-1\r\n\r\n",
        b"3\r\nabcd\r\n0\r\n\r\n",
        b"3\r\nab",
    ),
]
WHOLE = [
    *(
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /\r\n",
        b"GET / HTTP/1.1\n\n",
        b"\r\n\r\n",
        b"\r\n",
    ),
    *(b"\x16\x03\x01\x02\x00\x01\x00", b"\0" * 30, b"GET / HTTP/1.1\r\n" * 3 + b"\r\n", b"\n"),
    *(b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n" * 5, b"A" * 20000),
    *(b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nGET / HTTP/1.1\r\n\r\n", b"GET  / HTTP/1.1\r\n\r\n"),
    *(b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 4000, b"GET / HTTP/1.1\r\nA: " + b"b" * 20000),
]


def draw_request(chance):
    """Draw a request of mostly valid parts."""
    method = chance.choice(METHODS) if chance.random() < 0.2 else chance.choice([b"GET", b"POST"])
    target = chance.choice(TARGETS) if chance.random() < 0.4 else b"/predict"
    version = chance.choice(VERSIONS)
    headers = [b"Host: a"] if chance.random() < 0.8 else []
    headers += chance.sample(HEADERS, chance.choice([0, 0, 1, 1, 2, 3]))
    body = b""
    if chance.random() < 0.7:
        headers += [chance.choice(LENGTHS)]
        body = chance.choice(BODIES)
    if chance.random() < 0.3:
        headers += [b"Content-Length: %d" % len(body)]
    chance.shuffle(headers)
    return b"\r\n".join([b" ".join([method, target, version]), *headers, b"", b""]) + body


def spoil(chance, data):
    """Remove or insert bytes."""
    at = chance.randrange(len(data) + 1)
    some = chance.choice([b"\r", b"\n", b"\0", b" ", b":", b"\r\n", b"\xff", b"\t", b""])
    return data[:at] + some + data[at + chance.choice([0, 0, 1, 3]) :]


def draw_case(chance):
    data = chance.choice(WHOLE) if chance.random() < 0.05 else draw_request(chance)
    if chance.random() < 0.2:
        data += draw_request(chance)
    return spoil(chance, data) if chance.random() < 0.25 else data


def draw_pipelined(chance):
    """Draw many requests for one connection, of which one may be invalid."""
    requests = [
        b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % n for n in range(chance.choice([0, 9, 300]))
    ]
    requests += [chance.choice(RIGHT) for _ in range(chance.randrange(1, 40))]
    # Usually the last one, because an invalid request closes the connection.
    at = chance.choice([len(requests)] * 3 + [chance.randrange(len(requests) + 1)])
    requests.insert(at, draw_case(chance))
    return b"".join(requests)


# Requests for the loop, and for a thread because of their method, framing or length.
RIGHT = [
    b"GET /loop HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /x?stream HTTP/1.1\r\nHost: a\r\n\r\n",
    b"HEAD /head HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde",
    b"POST /long HTTP/1.1\r\nHost: a\r\nContent-Length: 70000\r\n\r\n" + b"x" * 70000,
    b"POST /parts HTTP/1.1\r\nHost: a\r\nContent-Length: 3000\r\n\r\n" + b"," * 3000,
    b"POST /chunks HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n",
    b"POST /trailer HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nA: b\r\n\r\n",
    b"PUT /put HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    b"GET /old HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
]


def exchange(port, data, cut):
    """Send bytes, in two pieces at ``cut``, and return the response.

    Also return whether the server reset the connection. gthread closes it with unread requests,
    and the kernel then drops unsent responses.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=40) as sock:
        answer, reset = b"", False
        # A server may wait for its client to read.
        sender = threading.Thread(target=_send, args=(sock, data, cut))
        sender.start()
        try:
            while more := sock.recv(65536):
                answer += more
        except ConnectionResetError:
            reset = True
        sender.join()
    return answer, reset


def _send(sock, data, cut):
    with suppress(OSError):
        sock.sendall(data[:cut])
        if cut < len(data):
            time.sleep(0.003)
            sock.sendall(data[cut:])
        sock.shutdown(socket.SHUT_WR)


def normalize(answer):
    """Remove the dates and the texts of Gunicorn's errors.

    The texts depend on the positions at which Gunicorn's reads of 8 KiB end.
    """
    return re.sub(rb"\r\nDate: [^\r]*|Content-Length: \d+\r\n\r\n<html>[^\0]*?</html>", b"", answer)


def remove_security_headers(answer):
    """Remove the security headers from the loop's error responses, and assert their number."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in SECURITY_HEADERS).encode()
    answer, count = re.subn(
        re.escape(lines) + rb"X-Request-Id: [0-9a-f]{32}\r\n(?=.*<html>)", b"", answer, flags=re.S
    )
    assert count == answer.count(b"<html>")
    # The loop returns 404 instead of 500 for a path outside SCRIPT_NAME.
    return re.sub(rb"HTTP/1.1 404 NOT FOUND\r\n.*", OUTSIDE, answer, flags=re.S)


OUTSIDE = b"HTTP/1.1 500 Bad Request\r\nConnection: close\r\nContent-Type: text/html\r\n\n"


# Attempts for a case whose responses differ.
TRIES = 3
REFUSAL = rb"HTTP/1.1 4\d\d [^\r]*\r\nConnection: close\r\n.*"


def is_rejected_earlier(gthread, loop):
    """Return whether the loop only rejected a request earlier than gthread."""
    before = re.sub(REFUSAL + rb"\Z", b"", gthread, flags=re.S)
    return re.fullmatch(re.escape(before) + REFUSAL, loop, re.S)


def is_prefix(gthread, loop):
    """Return whether the loop's responses begin with the complete ones of gthread."""
    return loop.startswith(gthread[: gthread.rfind(b"HTTP/1.1 ")])


def is_difference(data, cut, gthread_answer, loop_answer, reset):
    """Return whether the responses differ in an unexpected way."""
    return (
        gthread_answer != loop_answer
        and not (cut < len(data) and is_rejected_earlier(gthread_answer, loop_answer))
        and not (reset and is_prefix(gthread_answer, loop_answer))
    )


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    """Yield the ports of gthread and the loop with an echo application, and the loop's process."""
    folder = tmp_path_factory.mktemp("echo")
    (folder / "echo.py").write_text(ECHO)
    arguments = [sys.executable, "-m", "gunicorn", "echo:app", "--bind=127.0.0.1:{port}"]
    arguments += ["--pythonpath", str(folder), "--log-level=critical", "--workers=1"]
    with (
        running(*arguments, "--worker-class=gthread", "--threads=8") as (gthread, _),
        running(*arguments, "--worker-class=slipway.web.worker.LoopWorker", "--threads=8") as (
            loop,
            process,
        ),
    ):
        yield [int(base.rpartition(":")[2]) for base in (gthread, loop)], process


def compare(servers, cases, cuts):
    """Send each case to both servers, assert equal responses and return them."""
    gthread, loop = servers

    def exchange_both(data, cut):
        gthread_answer, reset = exchange(gthread, data, cut)
        loop_answer, _ = exchange(loop, data, cut)
        return normalize(gthread_answer), normalize(remove_security_headers(loop_answer)), reset

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(exchange_both, cases, cuts))
    # On a busy machine, a server that closes early can lose responses. A real difference repeats
    # in every attempt.
    differ = [
        (data[-300:], cut, gthread_answer[-600:], loop_answer[-600:])
        for data, cut, (gthread_answer, loop_answer, reset) in zip(
            cases, cuts, answers, strict=True
        )
        if is_difference(data, cut, gthread_answer, loop_answer, reset)
        and all(is_difference(data, cut, *exchange_both(data, cut)) for _ in range(TRIES))
    ]
    assert not differ, f"{len(differ)}: {differ[:2]}"
    return [loop_answer for _, loop_answer, _ in answers]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_worker_any_request_returns_bytes_of_gthread(servers, seed):
    chance = random.Random(seed)
    cases = [draw_case(chance) for _ in range(N_CASES)]
    # Every fourth case arrives in two pieces.
    cuts = [
        chance.randrange(len(data) + 1) if i % 4 == 0 else len(data) for i, data in enumerate(cases)
    ]

    answers = compare(servers[0], cases, cuts)
    # Many cases must be valid, and many invalid.
    assert sum(answer.startswith(b"HTTP/1.1 200") for answer in answers) > len(cases) // 20
    assert sum(answer.startswith(b"HTTP/1.1 4") for answer in answers) > len(cases) // 20


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_worker_pipelined_requests_return_bytes_of_gthread(servers, seed):
    ports, process = servers
    chance = random.Random(seed)
    cases = [draw_pipelined(chance) for _ in range(N_PIPELINES)]
    cuts = [chance.randrange(len(data)) for data in cases]
    before = memory(process)
    answers = compare(ports, cases, cuts)
    assert sum(answer.count(b"HTTP/1.1 200") for answer in answers) > 20 * len(cases)
    # Four connections at a time, with up to 144 KiB each.
    assert memory(process) < before + 20e6
