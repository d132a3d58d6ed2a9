"""Services that follow a registry, and clients that check predictions by version."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from clients import JSON, PAUSE, asked, port_of
from small_versions import BODIES

from slipway.core.settings import Settings
from slipway.serving.service import PredictionService

POLL = 1.0
CLOSED = "closed before an answer"


class Told(NamedTuple):
    """A response that a client received."""

    status: int | str
    body: int
    version: str
    probability: float
    began: float
    seconds: float


class Versions:
    """Versions of a test, with the prediction of each for every body."""

    def __init__(self) -> None:
        self._answers: dict[str, list[float]] = {}

    def add(self, path: Path) -> str:
        live = PredictionService(Settings(path))
        answers = [json.loads(live.predict_json(body)[1])["probability"] for body in BODIES]
        self._answers[live.version] = answers
        return live.version

    def require_right(self, told: list[Told], *, may_close: bool = False) -> None:
        """Assert that no request failed and each prediction is that of its ``model_version``.

        With ``may_close``, ignore closed connections, because a worker was killed.
        """
        assert told
        if may_close:
            told = [response for response in told if response.status != CLOSED]
        assert {response.status for response in told} == {200}
        wrong = [t for t in told if self._answers[t.version][t.body] != t.probability]
        assert not wrong


def _send_requests(base: str, first: int, told: list[Told], stop: threading.Event) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port_of(base), timeout=60)
    number, ended = first, time.perf_counter()
    while not stop.is_set():
        number = (number + 1) % len(BODIES)
        began = time.perf_counter()
        try:
            connection.request("POST", "/predict", BODIES[number], {"Content-Type": JSON})
            answer = connection.getresponse()
            content, status = json.loads(answer.read()), answer.status
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            paused, ended = began - ended > PAUSE, began
            if isinstance(error, ConnectionError) and paused:
                continue
            closed = isinstance(error, ConnectionResetError | BrokenPipeError)
            told.append(Told(CLOSED if closed else repr(error), number, "", 0.0, began, 0.0))
            continue
        ended = time.perf_counter()
        version, probability = content.get("model_version", ""), content.get("probability", 0.0)
        told.append(Told(status, number, version, probability, began, ended - began))
        time.sleep(0.002)
    connection.close()


@contextmanager
def clients(base: str, count: int = 4) -> Iterator[list[Told]]:
    """Run clients over keep-alive connections until the block ends; yield their responses."""
    told: list[Told] = []
    stop = threading.Event()
    threads = [
        threading.Thread(target=_send_requests, args=(base, first, told, stop))
        for first in range(count)
    ]
    for thread in threads:
        thread.start()
    try:
        yield told
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def got(base: str, path: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(asked(base, "GET", path, timeout=20)[2])
    return content


def until(true: Callable[[], bool], seconds: float) -> float:
    """Wait until a condition is true; return the seconds that it took."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        if true():
            return time.monotonic() - began
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s")


def all_serve(base: str, version: str, count: int = 4) -> bool:
    rows = got(base, "/version")["workers"]
    return [row["version"] for row in rows] == [version] * count


def status(base: str) -> str:
    content = got(base, "/readyz")
    return f"{content['status']} {content.get('reason', '')}".strip()
