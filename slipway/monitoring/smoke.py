"""Check a deployed service from outside: its health, its version and its predictions.

This file needs only Python 3.9, so that it runs where Slipway is not installed:
``python3 -I slipway/monitoring/smoke.py https://late.example.org``.
"""

from __future__ import annotations

import argparse
import csv
import http.client
import io
import json
import math
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from email.message import Message
from typing import Any, NamedTuple
from urllib.parse import urlsplit

JSON = "application/json"
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    # The service returns the ID that the client sent.
    "X-Request-Id": "slipway-smoke",
}
# Statuses of a proxy while its service is starting.
WAKING = (502, 503, 504)
SHORTEST_COMMIT = 7


class CheckFailed(Exception):
    """A check failed; the message names the difference."""


class Answer(NamedTuple):
    """An HTTP response."""

    status: int
    headers: Message
    body: bytes

    def json(self) -> dict[str, Any]:
        """Return the body, which must be one JSON object."""
        try:
            result = json.loads(self.body)
        except ValueError:
            result = None
        if not isinstance(result, dict):
            raise CheckFailed(f"not a JSON object: {_excerpt(self.body)}")
        return result


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """Do not follow redirects, which turn a POST into a GET."""

    def redirect_request(self, *_args: Any) -> None:
        """Return no request to send instead."""


class Service:
    """A deployed service.

    Parameters
    ----------
    url : str
        Including the path prefix, if there is one.
    host : str
        The ``Host`` header to send instead of the host in ``url``.
    """

    def __init__(self, url: str, host: str = "") -> None:
        self.url = url.rstrip("/")
        self._host = {"Host": host.encode("idna").decode()} if host else {}
        handlers: list[urllib.request.BaseHandler] = [NoRedirect()]
        if urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1"):
            # A proxy from the environment cannot reach this machine's loopback.
            handlers.append(urllib.request.ProxyHandler({}))
        self._opener = urllib.request.build_opener(*handlers)

    def send(self, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """Send one request; underscores in header names become hyphens."""
        sent_headers = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.url + path, body, {**sent_headers, **self._host})  # noqa: S310 - smoke() accepts only http and https
        try:
            with self._opener.open(request, timeout=20) as answer:
                return Answer(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.headers, error.read())
        except http.client.HTTPException as error:
            raise CheckFailed(f"cannot read the response: {error!r}") from None

    def get(self, path: str, *, expected: int = 200) -> Answer:
        """Send a GET request, and require a status."""
        return _require_status(self.send(path), expected)

    def post(self, path: str, body: bytes, kind: str, *, expected: int = 200) -> Answer:
        """Send a POST request, and require a status."""
        return _require_status(self.send(path, body, Content_Type=kind), expected)


class Check(NamedTuple):
    """Result of one check."""

    name: str
    passed: bool
    result: str


class SmokeTest:
    """The checks of one service; each returns its result, or raises ``CheckFailed``.

    Parameters
    ----------
    service : Service
    version, image : str
        The expected model version and git commit; empty accepts any.
    """

    def __init__(self, service: Service, version: str = "", image: str = "") -> None:
        self._service = service
        self._version, self._image = version, image
        self._metadata: dict[str, Any] = {}

    def run(self) -> list[Check]:
        """Run all checks, even after a failed one."""
        checks = (
            *(self.health, self.version, self.prediction, self.file),
            *(self.document, self.headers, self.errors),
        )
        return [_run_check(check) for check in checks]

    def health(self) -> str:
        """Check that the process runs, and that its model reproduces the golden rows."""
        _require_equal("/livez", self._service.get("/livez").json()["status"], "alive")
        ready = self._service.get("/readyz").json()
        if ready["status"] not in ("ready", "degraded"):
            raise CheckFailed(f"/readyz returned {ready['status']!r}")
        return ": ".join(["alive, " + ready["status"], *filter(None, [ready.get("reason")])])

    def version(self) -> str:
        """Check the model version and the git commit."""
        answer = self._service.get("/version").json()
        model, commit = answer["model_version"], answer.get("revision", "")
        if self._version:
            _require_equal("the model version", model, self._version)
        if self._image and not _same_commit(self._image, commit):
            raise CheckFailed(f"commit is {commit or 'unknown'}, expected {self._image}")
        return f"model {model}, Slipway {answer['slipway']}" + (
            f", commit {commit}" if commit else ""
        )

    def prediction(self) -> str:
        """Check that /predict returns the pipeline's answer for the golden row."""
        prediction = self._predict()
        numbers: dict[str, Any] = prediction
        name = "value" if self._is_regression() else self._measure()
        if self._classes():
            numbers = prediction.get({"score": "scores"}.get(name, "probabilities"), {})
        names = self._classes() or [name]
        answers = [numbers[key] for key in names] if name else []
        return self._compare(answers, prediction.get("label"))

    def _predict(self) -> dict[str, Any]:
        """Return the prediction of the version that /metadata describes."""
        for seconds in (0, 1, 1, 1, 1):
            # During a swap, workers serve different versions for a second or two.
            time.sleep(seconds)
            self._metadata = self._service.get("/metadata").json()
            body = json.dumps(self._record()).encode()
            prediction = self._service.post("/predict", body, JSON).json()
            if prediction["model_version"] == self._metadata["version"]:
                return prediction
        versions = f"{prediction['model_version']!r}, expected {self._metadata['version']!r}"
        raise CheckFailed(f"model version of /predict is {versions}")

    def file(self) -> str:
        """Check that /predict_file returns the pipeline's answer, and a complete file."""
        record, text = self._record(), io.StringIO()
        csv.writer(text).writerows([list(record), [_to_cell(value) for value in record.values()]])
        answer = self._service.post(
            "/predict_file?counts=true", text.getvalue().encode(), "text/csv"
        )
        output = answer.body.decode()
        rows, _, end = output.rpartition("# rows=")
        if not end.startswith("1 failed=0 "):
            last = (output.splitlines() or [""])[-1]
            raise CheckFailed(f"incomplete file or failed row; last line: {_excerpt(last)}")
        # A label can hold a line break.
        (row,) = csv.DictReader(io.StringIO(rows, newline=""))
        measure, label = self._measure(), _added_name("prediction", record)
        names = [f"{measure}_{category}" for category in self._classes()] or [measure]
        names = ["prediction"] if self._is_regression() else names if measure else []
        answers = [float(row[_added_name(name, record)]) for name in names]
        label_cell = None if self._is_regression() else row[label]
        return f"1 row of CSV, {self._compare(answers, label_cell)}"

    def document(self) -> str:
        """Check the API document and its page."""
        document = self._service.get("/apispec_1.json").json()
        missing = {"/predict", "/predict_file"} - set(document["paths"])
        if missing:
            raise CheckFailed(f"the API document lacks {', '.join(sorted(missing))}")
        if b"swagger-ui" not in self._service.get("/apidocs/").body:
            raise CheckFailed("/apidocs/ is not Swagger UI")
        return f"OpenAPI {document['openapi']}, {len(document['paths'])} addresses, /apidocs/"

    def headers(self) -> str:
        """Check the security headers and the request ID."""
        result = self._service.send("/livez", X_Request_Id=HEADERS["X-Request-Id"]).headers
        for name, expected in HEADERS.items():
            _require_equal(name, result.get(name), expected)
        if "frame-ancestors 'none'" not in (result.get("Content-Security-Policy") or ""):
            raise CheckFailed("Content-Security-Policy is missing or allows framing")
        if not self._service.url.startswith("https:"):
            return f"{len(HEADERS) + 1} headers present"
        if not result.get("Strict-Transport-Security"):
            raise CheckFailed(
                "no Strict-Transport-Security: X-Forwarded-Proto is missing or not trusted"
            )
        return f"{len(HEADERS) + 2} headers present"

    def errors(self) -> str:
        """Check that errors are JSON and show no traceback."""
        rejected = {
            400: self._service.post("/predict", b"{", JSON, expected=400),
            404: self._service.get("/no/such/address", expected=404),
            405: self._service.get("/predict", expected=405),
        }
        for status, answer in rejected.items():
            missing = {"code", "message", "request_id", "errors"} - set(answer.json())
            if missing:
                raise CheckFailed(f"the body of the {status} lacks {', '.join(sorted(missing))}")
            if b"Traceback" in answer.body:
                raise CheckFailed(f"the body of the {status} shows a traceback")
        return f"{', '.join(map(str, rejected))} as JSON"

    def _record(self) -> dict[str, Any]:
        """Return the record of the golden row, or the example values if there is none."""
        golden = self._metadata.get("golden")
        if golden:
            return dict(golden["record"])
        features = self._metadata.get("signature", {}).get("features", [])
        if not features:
            raise CheckFailed("/metadata has neither a golden row nor a signature")
        return {feature["name"]: feature["example"] for feature in features}

    def _is_regression(self) -> bool:
        return bool(self._metadata["task"] == "regression")

    def _classes(self) -> list[str]:
        """Return the classes of a multiclass model; an empty list for other models."""
        is_multiclass = self._metadata["task"] == "multiclass"
        return list(self._metadata["signature"]["target"]["classes"]) if is_multiclass else []

    def _measure(self) -> str:
        """Return the name of the number beside the label; empty if the model has only labels."""
        measure = self._metadata.get("signature", {}).get("target", {}).get("measure")
        return {"decision": "score", "label": ""}.get(measure, "probability")

    def _compare(self, answers: list[Any], label: Any) -> str:
        """Compare the numbers and the label of a prediction with the golden row."""
        if not all(isinstance(n, (int, float)) and math.isfinite(n) for n in answers):
            raise CheckFailed(f"{_join_numbers(answers)} is not a finite number")
        golden = self._metadata.get("golden")
        text = _join_numbers(answers) or repr(label)
        if not golden:
            return f"{text}; not compared, since /metadata has no golden row"
        expected = golden["answer"] if isinstance(golden["answer"], list) else [golden["answer"]]
        if answers and (
            len(expected) != len(answers) or not all(map(_is_close, answers, expected))
        ):
            raise CheckFailed(f"{text} where the golden row has {_join_numbers(expected)}")
        known = golden.get("label")
        # A threshold changes the label; in a file, an apostrophe neutralizes a formula.
        if known and self._metadata.get("threshold") is None and label not in (known, f"'{known}"):
            raise CheckFailed(f"the label {label!r} where the golden row has {known!r}")
        return f"{text} as the golden row"


def smoke(
    url: str, *, version: str = "", image: str = "", host: str = "", wait: float = 60.0
) -> tuple[str, bool]:
    """Check a deployed service.

    Parameters
    ----------
    url : str
        Including the path prefix, if there is one.
    version, image : str
        The expected model version and git commit; empty accepts any.
    host : str
        The ``Host`` header to send instead of the host in ``url``.
    wait : float
        Seconds to wait for the service to start.

    Returns
    -------
    str
        The results as a table.
    bool
        Whether all checks passed.
    """
    started = time.monotonic()
    try:
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise CheckFailed("the URL must begin with http:// or https://")
        service = Service(url, host)
        _wait(service, wait)
        checks = SmokeTest(service, version, image).run()
    except CheckFailed as error:
        checks = [Check("address", False, str(error))]
    n_passed = sum(check.passed for check in checks)
    lines = [f"  {'ok   ' if c.passed else 'WRONG'}  {c.name:<10}  {c.result}" for c in checks]
    end = f"{n_passed} of {len(checks)} passed, {time.monotonic() - started:.1f} s"
    return "\n".join(map(_printable, [url, *lines, end])), n_passed == len(checks)


def _wait(service: Service, seconds: float) -> None:
    """Wait until the service answers.

    Raises
    ------
    CheckFailed
        The host name is unknown, or the service did not answer in time.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            # The health check inspects this answer later.
            problem = "" if service.send("/readyz").status in WAKING else None
        except OSError as error:
            problem = _reason(error)
            cause = getattr(error, "reason", error)
            if isinstance(cause, socket.gaierror) and cause.errno == socket.EAI_NONAME:
                raise CheckFailed(problem) from None
        left = deadline - time.monotonic()
        if problem is None or (left <= 0 and not problem):
            return
        if left <= 0:
            raise CheckFailed(problem)
        time.sleep(min(1.0, left))


def _run_check(check: Callable[[], str]) -> Check:
    try:
        return Check(check.__name__, True, check())
    except CheckFailed as error:
        return Check(check.__name__, False, str(error))
    except OSError as error:
        return Check(check.__name__, False, _reason(error))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return Check(check.__name__, False, f"unexpected response: {error!r}")


def _require_status(answer: Answer, expected: int) -> Answer:
    """Return a response that has the expected status."""
    if answer.status == expected:
        return answer
    location = answer.headers.get("Location")
    detail = f"redirects to {location}" if location else _excerpt(answer.body)
    raise CheckFailed(f"status {answer.status}, expected {expected}: {detail}")


def _require_equal(name: str, result: object, expected: object) -> None:
    if result != expected:
        raise CheckFailed(f"{name} is {result!r}, expected {expected!r}")


def _same_commit(one: str, other: str) -> bool:
    """Return whether two git commits are equal; either may be shortened, the first may be a tag."""
    one = one.rpartition(":")[2]
    shortest = min(len(one), len(other))
    return shortest >= SHORTEST_COMMIT and one[:shortest] == other[:shortest]


def _is_close(answer: float, expected: float) -> bool:
    return math.isclose(answer, expected, rel_tol=1e-9, abs_tol=1e-9)


def _added_name(name: str, record: dict[str, Any]) -> str:
    """Return the name of an added column, as in ``slipway.serving.batch.output_columns``."""
    return _added_name(f"{name}_", record) if name in record else name


def _to_cell(value: object) -> str:
    """Return a value as a CSV cell."""
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _join_numbers(numbers: list[Any]) -> str:
    return ", ".join(f"{n:.6g}" if isinstance(n, float) else str(n) for n in numbers)


def _reason(error: OSError) -> str:
    """Return why a request failed."""
    cause = getattr(error, "reason", error)
    return f"no answer: {getattr(cause, 'strerror', None) or cause}"


def _excerpt(body: bytes | str) -> str:
    """Return the beginning of a body, quoted."""
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
    return repr(text[:80])


def _printable(line: str) -> str:
    """Replace control characters, which could move the cursor, and cut long lines."""
    return "".join(c if c.isprintable() else "\ufffd" for c in line)[:500]


def main() -> int:
    """Run the checks from the command line; return the exit status."""
    parser = argparse.ArgumentParser(description="Check a deployed Slipway service from outside.")
    parser.add_argument("url", help="URL of the service, with its path prefix")
    parser.add_argument("--version", default="", help="expected model version")
    parser.add_argument("--image", default="", metavar="SHA", help="expected git commit")
    parser.add_argument("--host", default="", help="Host header to send instead of the URL's host")
    parser.add_argument(
        "--wait", type=float, default=60.0, metavar="SECONDS", help="time to start (default: 60)"
    )
    table, passed = smoke(**vars(parser.parse_args()))
    print(table)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
