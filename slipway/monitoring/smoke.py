"""Check a deployed service from outside: it is there, it is the right one, and it answers right.

All is in this one file, which needs nothing but Python 3.9, so that it can be run where Slipway is
not installed: ``python3 -I slipway/monitoring/smoke.py https://late.example.org``.
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
    # What it was sent.
    "X-Request-Id": "slipway-smoke",
}
# What a proxy answers while there is nothing behind it yet.
WAKING = (502, 503, 504)
SHORTEST_COMMIT = 7


class CheckFailed(Exception):
    """Something is not as it should be; the message says what."""


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: Message
    body: bytes

    def json(self) -> dict[str, Any]:
        """Read the body, which must be one JSON object."""
        try:
            found = json.loads(self.body)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise CheckFailed(f"no JSON object, but {_excerpt(self.body)}")
        return found


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """Leave redirects alone: a POST would become a GET on the way."""

    def redirect_request(self, *_given: Any) -> None:
        """Give nothing to be asked in its place."""


class Service:
    """A service that is asked by its address.

    Parameters
    ----------
    url : str
        With its path prefix, if it has one.
    host : str
        A ``Host`` to send in place of the one in the address.
    """

    def __init__(self, url: str, host: str = "") -> None:
        self.url = url.rstrip("/")
        self._host = {"Host": host.encode("idna").decode()} if host else {}
        handlers: list[urllib.request.BaseHandler] = [NoRedirect()]
        if urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1"):
            # The proxy that the environment names has another loopback.
            handlers.append(urllib.request.ProxyHandler({}))
        self._opener = urllib.request.build_opener(*handlers)

    def ask(self, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """Send one request; the names of headers have underscores for hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.url + path, body, {**named, **self._host})  # noqa: S310 - smoke() lets http and https pass
        try:
            with self._opener.open(request, timeout=20) as answer:
                return Answer(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.headers, error.read())
        except http.client.HTTPException as error:
            raise CheckFailed(f"the answer is broken: {error!r}") from None

    def get(self, path: str, *, due: int = 200) -> Answer:
        """Ask for an address, which must answer with a status."""
        return _require(self.ask(path), due)

    def post(self, path: str, body: bytes, kind: str, *, due: int = 200) -> Answer:
        """Send a body, which must be answered with a status."""
        return _require(self.ask(path, body, Content_Type=kind), due)


class Check(NamedTuple):
    """One thing that was looked at, and what was found."""

    what: str
    right: bool
    found: str


class SmokeTest:
    """The checks of one service; each gives what it found, or raises ``CheckFailed``.

    Parameters
    ----------
    service : Service
    version, image : str
        The model version and the git commit that must answer; any, where empty.
    """

    def __init__(self, service: Service, version: str = "", image: str = "") -> None:
        self._service = service
        self._version, self._image = version, image
        self._metadata: dict[str, Any] = {}

    def run(self) -> list[Check]:
        """Look at everything; what is wrong with one thing keeps no other from being looked at."""
        looks = (
            *(self.health, self.version, self.prediction, self.file),
            *(self.document, self.headers, self.errors),
        )
        return [_check(look) for look in looks]

    def health(self) -> str:
        """Look whether the process runs, and its model reproduces the golden rows."""
        _require_equal("/livez", self._service.get("/livez").json()["status"], "alive")
        ready = self._service.get("/readyz").json()
        if ready["status"] not in ("ready", "degraded"):
            raise CheckFailed(f"/readyz says {ready['status']!r}")
        return ": ".join(["alive, " + ready["status"], *filter(None, [ready.get("reason")])])

    def version(self) -> str:
        """Look whether model and code are those that were asked for."""
        told = self._service.get("/version").json()
        model, commit = told["model_version"], told.get("revision", "")
        if self._version:
            _require_equal("the model version", model, self._version)
        if self._image and not _same_commit(self._image, commit):
            raise CheckFailed(
                f"the code is of commit {commit or '(none told)'}, not of {self._image}"
            )
        return f"model {model}, Slipway {told['slipway']}" + (
            f", commit {commit}" if commit else ""
        )

    def prediction(self) -> str:
        """Look whether a record is answered as the pipeline did, by the version that is told."""
        for seconds in (0, 1, 1, 1, 1):
            # While another version takes its place, workers differ for a second or two.
            time.sleep(seconds)
            self._metadata = self._service.get("/metadata").json()
            body = json.dumps(self._record()).encode()
            told = self._service.post("/predict", body, JSON).json()
            if told["model_version"] == self._metadata["version"]:
                break
        else:
            _require_equal("its version", told["model_version"], self._metadata["version"])
        numbers: dict[str, Any] = told
        name = "value" if self._is_regression() else self._measure()
        if self._classes():
            numbers = told.get({"score": "scores"}.get(name, "probabilities"), {})
        names = self._classes() or [name]
        given = [numbers[each] for each in names] if name else []
        return self._compare(given, told.get("label"))

    def file(self) -> str:
        """Look whether a CSV file is answered row by row, to its end."""
        record, text = self._record(), io.StringIO()
        csv.writer(text).writerows([list(record), [_cell(value) for value in record.values()]])
        answer = self._service.post(
            "/predict_file?counts=true", text.getvalue().encode(), "text/csv"
        )
        given_back = answer.body.decode()
        rows, _, end = given_back.rpartition("# rows=")
        if not end.startswith("1 failed=0 "):
            last = (given_back.splitlines() or [""])[-1]
            raise CheckFailed(
                f"the file is not whole, or not answered: it ends with {_excerpt(last)}"
            )
        # A label can hold a line break.
        (row,) = csv.DictReader(io.StringIO(rows, newline=""))
        measure, label = self._measure(), _added("prediction", record)
        names = [f"{measure}_{each}" for each in self._classes()] or [measure]
        names = ["prediction"] if self._is_regression() else names if measure else []
        answers = [float(row[_added(name, record)]) for name in names]
        given = None if self._is_regression() else row[label]
        return f"1 row of CSV, {self._compare(answers, given)}"

    def document(self) -> str:
        """Look whether the API document and its page are there."""
        document = self._service.get("/apispec_1.json").json()
        missing = {"/predict", "/predict_file"} - set(document["paths"])
        if missing:
            raise CheckFailed(f"the document does not know {', '.join(sorted(missing))}")
        if b"swagger-ui" not in self._service.get("/apidocs/").body:
            raise CheckFailed("/apidocs/ is not the page of the document")
        return f"OpenAPI {document['openapi']}, {len(document['paths'])} addresses, /apidocs/"

    def headers(self) -> str:
        """Look whether the headers that protect browsers arrive, and the request's own id."""
        found = self._service.ask("/livez", X_Request_Id=HEADERS["X-Request-Id"]).headers
        for name, due in HEADERS.items():
            _require_equal(name, found.get(name), due)
        if "frame-ancestors 'none'" not in (found.get("Content-Security-Policy") or ""):
            raise CheckFailed("Content-Security-Policy is missing, or another")
        if not self._service.url.startswith("https:"):
            return f"{len(HEADERS) + 1} as they should be"
        if not found.get("Strict-Transport-Security"):
            raise CheckFailed(
                "no Strict-Transport-Security: the service was not told that this is https"
            )
        return f"{len(HEADERS) + 2} as they should be"

    def errors(self) -> str:
        """Look whether what cannot be answered is refused as JSON, with nothing given away."""
        refused = {
            400: self._service.post("/predict", b"{", JSON, due=400),
            404: self._service.get("/no/such/address", due=404),
            405: self._service.get("/predict", due=405),
        }
        for status, answer in refused.items():
            missing = {"code", "message", "request_id", "errors"} - set(answer.json())
            if missing:
                raise CheckFailed(f"the {status} has no {', '.join(sorted(missing))}")
            if b"Traceback" in answer.body:
                raise CheckFailed(f"the {status} shows a traceback")
        return f"{', '.join(map(str, refused))} as JSON"

    def _record(self) -> dict[str, Any]:
        """Give the golden row's record, or the examples of a service that tells no golden row."""
        golden = self._metadata.get("golden")
        if golden:
            return dict(golden["record"])
        features = self._metadata.get("signature", {}).get("features", [])
        if not features:
            raise CheckFailed("/metadata does not tell what the model takes")
        return {each["name"]: each["example"] for each in features}

    def _is_regression(self) -> bool:
        return bool(self._metadata["task"] == "regression")

    def _classes(self) -> list[str]:
        """Give the classes of a model that has more than two."""
        several = self._metadata["task"] == "multiclass"
        return list(self._metadata["signature"]["target"]["classes"]) if several else []

    def _measure(self) -> str:
        """Name the number beside the label; empty where the model has labels only."""
        measure = self._metadata.get("signature", {}).get("target", {}).get("measure")
        return {"decision": "score", "label": ""}.get(measure, "probability")

    def _compare(self, told: list[Any], label: Any) -> str:
        """Hold the numbers of an answer, and its label, against the golden row's."""
        if not all(isinstance(each, (int, float)) and math.isfinite(each) for each in told):
            raise CheckFailed(f"{_numbers(told)} is no answer")
        golden = self._metadata.get("golden")
        text = _numbers(told) or repr(label)
        if not golden:
            return f"{text}; the service tells no golden row to compare it with"
        due = golden["answer"] if isinstance(golden["answer"], list) else [golden["answer"]]
        if told and (len(due) != len(told) or not all(map(_close, told, due))):
            raise CheckFailed(f"{text} where the golden row has {_numbers(due)}")
        known = golden.get("label")
        # With a threshold, the label is the owner's; in a file, a formula has an apostrophe.
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
        Where it is, with its path prefix.
    version, image : str
        The model version and the git commit that must answer; any, where empty.
    host : str
        A ``Host`` to send in place of the one in ``url``.
    wait : float
        Seconds that it may take to wake up.

    Returns
    -------
    str
        What was found, as a table.
    bool
        Whether all of it is right.
    """
    began = time.monotonic()
    try:
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise CheckFailed("it must begin with http:// or https://")
        service = Service(url, host)
        _wait(service, wait)
        checks = SmokeTest(service, version, image).run()
    except CheckFailed as wrong:
        checks = [Check("address", False, str(wrong))]
    n_right = sum(check.right for check in checks)
    lines = [f"  {'ok   ' if c.right else 'WRONG'}  {c.what:<10}  {c.found}" for c in checks]
    end = f"{n_right} of {len(checks)} right, {time.monotonic() - began:.1f} s"
    return "\n".join(map(_safe, [url, *lines, end])), n_right == len(checks)


def _wait(service: Service, seconds: float) -> None:
    """Wait while nobody listens, or a proxy has nothing behind it; raise if nobody ever does."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            # What the service says to this is looked at later.
            problem = "" if service.ask("/readyz").status in WAKING else None
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


def _check(look: Callable[[], str]) -> Check:
    try:
        return Check(look.__name__, True, look())
    except CheckFailed as wrong:
        return Check(look.__name__, False, str(wrong))
    except OSError as error:
        return Check(look.__name__, False, _reason(error))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return Check(look.__name__, False, f"the answer is not understood: {error!r}")


def _require(answer: Answer, due: int) -> Answer:
    """Require a status."""
    if answer.status == due:
        return answer
    to = answer.headers.get("Location")
    told = f"it leads to {to}" if to else _excerpt(answer.body)
    raise CheckFailed(f"status {answer.status} where {due} is due: {told}")


def _require_equal(what: str, found: object, due: object) -> None:
    if found != due:
        raise CheckFailed(f"{what} is {found!r} where {due!r} is due")


def _same_commit(one: str, other: str) -> bool:
    """Whether two git commits are the same; either may be shortened, and the first a tag."""
    one = one.rpartition(":")[2]
    shortest = min(len(one), len(other))
    return shortest >= SHORTEST_COMMIT and one[:shortest] == other[:shortest]


def _close(told: float, due: float) -> bool:
    return math.isclose(told, due, rel_tol=1e-9, abs_tol=1e-9)


def _added(name: str, record: dict[str, Any]) -> str:
    """Name an added column as ``slipway.serving.batch.output_columns`` does, which is not here."""
    return _added(f"{name}_", record) if name in record else name


def _cell(value: object) -> str:
    """Write a value as a CSV file has it."""
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _numbers(told: list[Any]) -> str:
    return ", ".join(f"{each:.6g}" if isinstance(each, float) else str(each) for each in told)


def _reason(error: OSError) -> str:
    """Say why nothing came back."""
    cause = getattr(error, "reason", error)
    return f"no answer: {getattr(cause, 'strerror', None) or cause}"


def _excerpt(body: bytes | str) -> str:
    """Give the first words of a body that is not what it should be."""
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
    return repr(text[:80])


def _safe(line: str) -> str:
    """Keep what came from outside from moving the cursor."""
    return "".join(c if c.isprintable() else "\ufffd" for c in line)[:500]


def main() -> int:
    """Run from the command line; give the exit status."""
    parser = argparse.ArgumentParser(description="Check a deployed Slipway service from outside.")
    parser.add_argument("url", help="where it is, with its path prefix")
    parser.add_argument("--version", default="", help="the model version that must answer")
    parser.add_argument("--image", default="", metavar="SHA", help="the commit that must answer")
    parser.add_argument("--host", default="", help="a Host to send in place of the address's own")
    parser.add_argument(
        "--wait", type=float, default=60.0, metavar="SECONDS", help="how long it may wake up (60)"
    )
    table, right = smoke(**vars(parser.parse_args()))
    print(table)
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
