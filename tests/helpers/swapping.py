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


class Response(NamedTuple):
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

    def assert_correct(self, responses: list[Response], *, may_close: bool = False) -> None:
        """Assert that no request failed and each prediction is that of its ``model_version``.

        With ``may_close``, ignore closed connections, because a worker was killed.
        """
        assert responses
        if may_close:
            responses = [response for response in responses if response.status != CLOSED]
        assert {response.status for response in responses} == {200}
        wrong_responses = [
            response
            for response in responses
            if self._answers[response.version][response.body] != response.probability
        ]
        assert not wrong_responses


def _send_requests(base: str, first: int, responses: list[Response], stop: threading.Event) -> None:
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
            responses.append(
                Response(CLOSED if closed else repr(error), number, "", 0.0, began, 0.0)
            )
            continue
        ended = time.perf_counter()
        version, probability = content.get("model_version", ""), content.get("probability", 0.0)
        responses.append(Response(status, number, version, probability, began, ended - began))
        time.sleep(0.002)
    connection.close()


@contextmanager
def clients(base: str, count: int = 4) -> Iterator[list[Response]]:
    """Run clients over keep-alive connections until the block ends; yield their responses."""
    responses: list[Response] = []
    stop = threading.Event()
    threads = [
        threading.Thread(target=_send_requests, args=(base, first, responses, stop))
        for first in range(count)
    ]
    for thread in threads:
        thread.start()
    try:
        yield responses
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def get_json(base: str, path: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(asked(base, "GET", path, timeout=20)[2])
    return content


def until(condition: Callable[[], bool], seconds: float) -> float:
    """Wait until a condition is true; return the seconds that it took."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        if condition():
            return time.monotonic() - began
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s")


def all_serve(base: str, version: str, count: int = 4) -> bool:
    rows = get_json(base, "/version")["workers"]
    return [row["version"] for row in rows] == [version] * count


def status(base: str) -> str:
    content = get_json(base, "/readyz")
    return f"{content['status']} {content.get('reason', '')}".strip()
