"""Search for the legal requests that cost a worker the most, by kind and with a seed."""

from __future__ import annotations

import json
import random
import re
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Example = Mapping[str, object]
Make = Callable[[random.Random, Example], bytes]

_JSON, _FORM, _CSV = "application/json", "application/x-www-form-urlencoded", "text/csv"
# Pages name their request, and offer another example each time.
_VARIES = re.compile(
    rb'(Date: |Content-Length: |X-Request-Id: |"request_id":"|Request <code>|"/\?example=)[^\r"<]*'
)
# What a loop collects; longer bodies go to a thread.
SMALL, LARGE = 64 * 1024, 512 * 1024


@dataclass(frozen=True)
class Worst:
    """The most costly request that was found of a kind.

    Attributes
    ----------
    kind : str
    sent : bytes
        One connection's bytes; the last request closes it.
    received : bytes
        What the service answers, without what varies.
    seconds : float
        From the first byte to the last, alone.
    """

    kind: str
    sent: bytes
    received: bytes
    seconds: float


def search(port: int, example: Example, kind: str, count: int, seed: int = 0) -> Worst:
    """Try requests of a kind, and return the one that took longest.

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
    return max(tried, key=lambda each: each.seconds)


def exchange(port: int, sent: bytes) -> bytes:
    """Send bytes over a connection of their own, and return all that comes back."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
        sock.sendall(sent)
        pieces = []
        while piece := sock.recv(1 << 20):
            pieces.append(piece)
    return b"".join(pieces)


def comparable(received: bytes) -> bytes:
    """Leave out what differs between two responses to one request."""
    return _VARIES.sub(rb"\1", received)


def _post(path: str, kind: str, body: bytes, *, chunked: bool = False) -> bytes:
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: {kind}\r\n"
    return f"{head}{framing}\r\n\r\n".encode() + body


def _name(chance: random.Random, example: Example) -> str:
    """Return a name of a field, right or nearly right."""
    name = chance.choice(list(example))
    at, spoil = chance.randrange(len(name)), chance.randrange(4)
    if spoil == 0:
        return f"{name}{chance.randrange(2000)}"
    if spoil == 1:
        return name[:at] + chance.choice("abcxyz_") + name[at + 1 :]
    return name[:at] + name[at + 1 :] if spoil == 2 else name


def _value(chance: random.Random, example: Example) -> object:
    """Return a value, right or of another kind."""
    values: list[object] = [0, -1, 1e308, None, True, "", "x" * chance.choice([1, 50, 250]), [], {}]
    return chance.choice([*values, *example.values()])


def _fields(chance: random.Random, example: Example, count: int) -> dict[str, object]:
    record = dict(example) if chance.random() < 0.5 else {}
    return record | {_name(chance, example): _value(chance, example) for _ in range(count)}


def _record(chance: random.Random, example: Example) -> bytes:
    """Make one record of many fields, or of few."""
    record = _fields(chance, example, chance.choice([1, 20, 300, 1900]))
    return _post("/predict", _JSON, json.dumps(record).encode()[: SMALL - 1])


def _array(limit: int) -> Make:
    def make(chance: random.Random, example: Example) -> bytes:
        """Make an array of as many records as fit."""
        width = chance.choice([0, 1, 3, 20])
        some = [_fields(chance, example, width) for _ in range(20)]
        if chance.random() < 0.2:
            some = [chance.choice([{}, [], 0, "", None])] * 20  # type: ignore[list-item]
        texts = [json.dumps(each, separators=(",", ":")) for each in some]
        count = limit // (sum(map(len, texts)) // len(texts) + 1)
        records = ",".join(texts[n % 20] for n in range(max(1, min(count, 10_000))))
        return _post(
            chance.choice(["/predict", "/predict?explain=true"]), _JSON, f"[{records}]".encode()
        )

    return make


def _form(chance: random.Random, example: Example) -> bytes:
    """Make a form of many fields."""
    count = chance.choice([1, 100, 950])
    pairs = (f"{_name(chance, example)}{n}=x" for n in range(count))
    return _post(chance.choice(["/", "/predict"]), _FORM, "&".join(pairs).encode()[: SMALL - 1])


def _file(chance: random.Random, example: Example) -> bytes:
    """Make a file of right rows, wrong ones, or hardly any."""
    names = list(example)
    right = ",".join(str(example[name]) for name in names)
    wrong = ",".join(str(_value(chance, example)).replace(",", ";") for _ in names)
    row = chance.choice([right, wrong, "x", "", ",", '"' + "x" * 300 + '"'])
    header = ",".join(names) if chance.random() < 0.7 else "x"
    lines = (row + "\n") * (LARGE // 4 // (len(row) + 1))
    return _post("/predict_file", _CSV, f"{header}\n{lines}".encode())


def _chunks(chance: random.Random, example: Example) -> bytes:
    """Make a body of small chunks, perhaps with extensions and trailers."""
    body = json.dumps([dict(example)] * chance.choice([1, 50])).encode()
    size, extension = chance.choice([1, 7, 500]), chance.choice([b"", b";x=y", b";" + b"x" * 500])
    pieces = [
        b"%x%b\r\n%b\r\n" % (len(piece), extension, piece)
        for piece in (body[at : at + size] for at in range(0, len(body), size))
    ]
    trailers = b"A: b\r\n" * chance.choice([0, 50])
    return _post("/predict", _JSON, b"".join(pieces) + b"0\r\n" + trailers + b"\r\n", chunked=True)


def _head(chance: random.Random, _example: Example) -> bytes:
    """Make a request that is nothing but its target and headers."""
    path = chance.choice(["/", "/model", "/nothing", "/?example=1", "/apispec_1.json", "/metadata"])
    target = path + chance.choice(["", "?" + "a=b&" * 900, "?" + "%20" * 1200])
    value = chance.choice(["a/b;q=0.5,", "text/html,", "a=b;", '"a",', "a-b,", "1,"])
    names = ("Accept", "Accept-Language", "Cookie", "If-None-Match", "Range", "X-Forwarded-For")
    headers = "".join(
        f"{name}: {(value * 2000)[:8000]}\r\n"
        for name in chance.sample(names, chance.choice([0, 1]))
    )
    return f"GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{headers}\r\n".encode()


def _pipelined(chance: random.Random, example: Example) -> bytes:
    """Make many requests in one."""
    path = chance.choice(["/livez", "/version", "/metadata", "/nothing", "/"])
    request = f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    last = _post("/predict", _JSON, json.dumps(dict(example)).encode())
    return request * chance.choice([10, 100, 300]) + last


KINDS: dict[str, Make] = {
    "one record": _record,
    "array up to 64 KiB": _array(SMALL - 2000),
    "array up to 512 KiB": _array(LARGE),
    "form": _form,
    "file": _file,
    "small chunks": _chunks,
    "long head": _head,
    "pipelined": _pipelined,
}
