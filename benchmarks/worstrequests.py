"""Search for the valid requests that take a worker longest, by kind and with a seed."""

from __future__ import annotations

import json
import random
import re
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Example = Mapping[str, object]
MakeRequest = Callable[[random.Random, Example], bytes]

_JSON, _FORM, _CSV = "application/json", "application/x-www-form-urlencoded", "text/csv"
# Parts that differ between two responses: a page has a request ID and a random example.
_VARIES = re.compile(
    rb'(Date: |Content-Length: |X-Request-Id: |"request_id":"|Request <code>|"/\?example=)[^\r"<]*'
)
# The largest bodies that the event loop reads; threads read longer ones.
SMALL, LARGE = 64 * 1024, 512 * 1024


@dataclass(frozen=True)
class Worst:
    """The slowest request of a kind.

    Attributes
    ----------
    kind : str
    sent : bytes
        Bytes of one connection; the last request closes it.
    received : bytes
        The response without its variable parts.
    seconds : float
        From the first byte sent to the last received, without other clients.
    """

    kind: str
    sent: bytes
    received: bytes
    seconds: float


def search(port: int, example: Example, kind: str, count: int, seed: int = 0) -> Worst:
    """Try requests of a kind and return the slowest.

    Parameters
    ----------
    port : int
    example : mapping
        A valid record.
    kind : str
        One of ``KINDS``.
    count : int
        Requests to try.
    seed : int

    Returns
    -------
    Worst
    """
    tried = []
    for number in range(count):
        sent = KINDS[kind](random.Random(f"{kind} {seed} {number}"), example)
        times = []
        for _ in range(2):
            began = time.perf_counter()
            received = exchange(port, sent)
            times.append(time.perf_counter() - began)
        tried.append(Worst(kind, sent, comparable(received), min(times)))
    return max(tried, key=lambda request: request.seconds)


def exchange(port: int, sent: bytes) -> bytes:
    """Send bytes over a new connection; return everything that it receives."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
        sock.sendall(sent)
        pieces = []
        while piece := sock.recv(1 << 20):
            pieces.append(piece)
    return b"".join(pieces)


def comparable(received: bytes) -> bytes:
    """Remove the parts that differ between two responses to one request."""
    return _VARIES.sub(rb"\1", received)


def _post(path: str, kind: str, body: bytes, *, chunked: bool = False) -> bytes:
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: {kind}\r\n"
    return f"{head}{framing}\r\n\r\n".encode() + body


def _random_name(rng: random.Random, example: Example) -> str:
    """Return the name of a field, possibly misspelled."""
    name = rng.choice(list(example))
    position, change = rng.randrange(len(name)), rng.randrange(4)
    if change == 0:
        return f"{name}{rng.randrange(2000)}"
    if change == 1:
        return name[:position] + rng.choice("abcxyz_") + name[position + 1 :]
    return name[:position] + name[position + 1 :] if change == 2 else name


def _random_value(rng: random.Random, example: Example) -> object:
    """Return a value, valid or of another type."""
    values: list[object] = [0, -1, 1e308, None, True, "", "x" * rng.choice([1, 50, 250]), [], {}]
    return rng.choice([*values, *example.values()])


def _random_fields(rng: random.Random, example: Example, count: int) -> dict[str, object]:
    record = dict(example) if rng.random() < 0.5 else {}
    return record | {_random_name(rng, example): _random_value(rng, example) for _ in range(count)}


def _make_record(rng: random.Random, example: Example) -> bytes:
    """Build one record of many or few fields."""
    record = _random_fields(rng, example, rng.choice([1, 20, 300, 1900]))
    return _post("/predict", _JSON, json.dumps(record).encode()[: SMALL - 1])


def _array_maker(limit: int) -> MakeRequest:
    def make(rng: random.Random, example: Example) -> bytes:
        """Build an array of as many records as the limit allows."""
        width = rng.choice([0, 1, 3, 20])
        sample = [_random_fields(rng, example, width) for _ in range(20)]
        if rng.random() < 0.2:
            sample = [rng.choice([{}, [], 0, "", None])] * 20  # type: ignore[list-item]
        texts = [json.dumps(record, separators=(",", ":")) for record in sample]
        count = limit // (sum(map(len, texts)) // len(texts) + 1)
        records = ",".join(texts[n % 20] for n in range(max(1, min(count, 10_000))))
        return _post(
            rng.choice(["/predict", "/predict?explain=true"]), _JSON, f"[{records}]".encode()
        )

    return make


def _make_form(rng: random.Random, example: Example) -> bytes:
    """Build a form of many fields."""
    count = rng.choice([1, 100, 950])
    pairs = (f"{_random_name(rng, example)}{n}=x" for n in range(count))
    return _post(rng.choice(["/", "/predict"]), _FORM, "&".join(pairs).encode()[: SMALL - 1])


def _make_file(rng: random.Random, example: Example) -> bytes:
    """Build a file of valid, invalid or nearly empty rows."""
    names = list(example)
    right = ",".join(str(example[name]) for name in names)
    wrong = ",".join(str(_random_value(rng, example)).replace(",", ";") for _ in names)
    row = rng.choice([right, wrong, "x", "", ",", '"' + "x" * 300 + '"'])
    header = ",".join(names) if rng.random() < 0.7 else "x"
    lines = (row + "\n") * (LARGE // 4 // (len(row) + 1))
    return _post("/predict_file", _CSV, f"{header}\n{lines}".encode())


def _make_chunks(rng: random.Random, example: Example) -> bytes:
    """Build a body of small chunks, possibly with extensions and trailers."""
    body = json.dumps([dict(example)] * rng.choice([1, 50])).encode()
    size, extension = rng.choice([1, 7, 500]), rng.choice([b"", b";x=y", b";" + b"x" * 500])
    pieces = [
        b"%x%b\r\n%b\r\n" % (len(piece), extension, piece)
        for piece in (body[position : position + size] for position in range(0, len(body), size))
    ]
    trailers = b"A: b\r\n" * rng.choice([0, 50])
    return _post("/predict", _JSON, b"".join(pieces) + b"0\r\n" + trailers + b"\r\n", chunked=True)


def _make_head(rng: random.Random, _example: Example) -> bytes:
    """Build a request without a body, with a long target or headers."""
    path = rng.choice(["/", "/model", "/nothing", "/?example=1", "/apispec_1.json", "/metadata"])
    target = path + rng.choice(["", "?" + "a=b&" * 900, "?" + "%20" * 1200])
    value = rng.choice(["a/b;q=0.5,", "text/html,", "a=b;", '"a",', "a-b,", "1,"])
    names = ("Accept", "Accept-Language", "Cookie", "If-None-Match", "Range", "X-Forwarded-For")
    headers = "".join(
        f"{name}: {(value * 2000)[:8000]}\r\n" for name in rng.sample(names, rng.choice([0, 1]))
    )
    return f"GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{headers}\r\n".encode()


def _make_pipelined(rng: random.Random, example: Example) -> bytes:
    """Build many pipelined requests."""
    path = rng.choice(["/livez", "/version", "/metadata", "/nothing", "/"])
    request = f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    last = _post("/predict", _JSON, json.dumps(dict(example)).encode())
    return request * rng.choice([10, 100, 300]) + last


KINDS: dict[str, MakeRequest] = {
    "one record": _make_record,
    "array up to 64 KiB": _array_maker(SMALL - 2000),
    "array up to 512 KiB": _array_maker(LARGE),
    "form": _make_form,
    "file": _make_file,
    "small chunks": _make_chunks,
    "long head": _make_head,
    "pipelined": _make_pipelined,
}
