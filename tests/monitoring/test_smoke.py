"""Test the smoke test: it passes a correct service and reports each fault of a broken one."""

from __future__ import annotations

import ast
import http.server
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from conftest import GUNICORN, ROOT, free_port, running
from flask import Flask
from task_models import TASKS, write_model

from slipway.core.settings import Settings
from slipway.models.manifest import GoldenRow
from slipway.models.predictor import Predictor
from slipway.monitoring.smoke import smoke
from slipway.web import create_app

CHECKS = ("health", "version", "prediction", "file", "document", "headers", "errors")
SCRIPT = ROOT / "slipway" / "monitoring" / "smoke.py"


def results(table: str) -> dict[str, str]:
    """Return the result of each check in the table."""
    lines = [line.split(maxsplit=2) for line in table.splitlines()[1:-1]]
    return {name: f"{passed} {result}" for passed, name, result in lines}


def run_script(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the file as on a machine without any package."""
    return subprocess.run(
        [sys.executable, "-I", "-S", str(SCRIPT), *arguments],
        capture_output=True,
        text=True,
        cwd="/",
        env={"PATH": "/usr/bin:/bin", **environ},
        check=False,
    )


def test_smoke_correct_service_passes_all_checks(service, manifest):
    table, passed = smoke(service, version=manifest.version)
    assert passed, table
    assert tuple(results(table)) == CHECKS
    assert results(table)["health"] == "ok alive, ready"
    assert manifest.version in results(table)["version"]
    assert results(table)["prediction"] == f"ok {manifest.golden[0].answer:.6g} as the golden row"
    assert results(table)["errors"] == "ok 400, 404, 405 as JSON"
    assert table.splitlines()[-1].startswith("7 of 7 passed, ")


def test_smoke_script_without_packages_passes(service):
    done = run_script(service)
    assert (done.returncode, done.stderr) == (0, "")
    assert "7 of 7 passed" in done.stdout


@pytest.mark.parametrize("option", ["-I", "-P"])
def test_smoke_script_called_by_path_passes(service, option):
    done = subprocess.run(
        [sys.executable, option, "deploy/smoke.py", service],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_smoke_script_is_valid_python_3_9_without_imports_of_packages():
    tree = ast.parse(SCRIPT.read_text(), feature_version=(3, 9))
    named = {
        n.name.partition(".")[0]
        for i in ast.walk(tree)
        if isinstance(i, ast.Import)
        for n in i.names
    }
    named |= {
        (i.module or "").partition(".")[0] for i in ast.walk(tree) if isinstance(i, ast.ImportFrom)
    }
    assert named <= sys.stdlib_module_names


@pytest.mark.slow
def test_smoke_prefix_and_commit_of_the_api_app_pass():
    arguments = [word.replace("app:app", "flask_api:app") for word in GUNICORN]
    commit = "0123456789abcdef" * 2 + "01234567"
    with running(*arguments, prefix="/late", SCRIPT_NAME="/late", SLIPWAY_REVISION=commit) as (
        base,
        _,
    ):
        table, passed = smoke(f"{base}/", image=commit[:7])
        assert passed, table
        assert f"commit {commit}" in results(table)["version"]
        assert smoke(base, image=f"registry/slipway:{commit}")[1]
        table, passed = smoke(base, image="fedcba9876543210")
        assert not passed
        assert results(table)["version"].startswith("WRONG commit is 0123")
        # Six digits can match several commits.
        assert not smoke(base, image=commit[:6])[1]


def test_flask_smoke_prints_the_table_and_exits_with_status(app, service):
    run = app.test_cli_runner().invoke
    done = run(args=["smoke", service])
    assert done.exit_code == 0
    assert "7 of 7 passed" in done.output
    done = run(args=["smoke", service, "--version", "20200101T000000Z-00000000"])
    assert done.exit_code == 1
    assert "6 of 7 passed" in done.output
    assert run(args=["smoke"]).exit_code == 2


def test_smoke_closed_port_reports_connection_refused():
    url = f"http://127.0.0.1:{free_port()}"
    done = run_script(url, "--wait", "0.2")
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        url,
        "  WRONG  address     no answer: Connection refused",
        done.stdout.splitlines()[-1],
    ]
    assert done.stdout.splitlines()[-1].startswith("0 of 1 passed")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("no-address",), 1, "the URL must begin with http:// or https://"),
        (("http://nothing.invalid",), 1, "no answer: "),
        ((), 2, "usage:"),
        (("http://127.0.0.1:1", "--wait", "long"), 2, "usage:"),
    ],
)
def test_smoke_invalid_arguments_exit_at_once(arguments, status, message):
    began = time.monotonic()
    done = run_script(*arguments)
    assert done.returncode == status
    assert message in done.stdout + done.stderr
    assert time.monotonic() - began < 30, "waited for a service that cannot start"


# Function that changes the status, the headers and the body of a response.
Change = Callable[[int, dict[str, str], bytes], tuple[int, dict[str, str], bytes]]


class Broken(http.server.BaseHTTPRequestHandler):
    """A service whose responses are changed on their way, and that can be asleep."""

    protocol_version = "HTTP/1.1"
    app: Flask
    change: dict[str, Change] = {}
    asleep = 0

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        response = self.app.test_client().open(
            self.path, method=self.command, data=body, headers=list(self.headers.items())
        )
        changed = response.status_code, dict(response.headers), response.data
        if Broken.asleep:
            Broken.asleep -= 1
            changed = 503, {}, b"<html>nothing here yet</html>"
        elif self.path in self.change:
            changed = self.change[self.path](*changed)
        self.send_response(changed[0])
        for name, value in changed[1].items():
            if name.lower() != "content-length":
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(changed[2])))
        self.end_headers()
        self.wfile.write(changed[2])

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_given: Any) -> None:
        pass


@pytest.fixture(scope="module")
def broken(app: Flask) -> Iterator[str]:
    Broken.app = app
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Broken)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def status(code: int) -> Change:
    return lambda _status, headers, body: (code, headers, body)


def without(name: str) -> Change:
    return lambda s, headers, body: (s, {k: v for k, v in headers.items() if k != name}, body)


def body(text: bytes) -> Change:
    return lambda s, headers, _body: (s, headers, text)


def replaced(old: bytes, new: bytes) -> Change:
    def change(s: int, headers: dict[str, str], text: bytes) -> tuple[int, dict[str, str], bytes]:
        assert old in text, "the response lacks the text to change"
        return s, headers, text.replace(old, new)

    return change


def changed_json(**changes: object) -> Change:
    return lambda s, headers, text: (s, headers, json.dumps(json.loads(text) | changes).encode())


def cut(s: int, headers: dict[str, str], text: bytes) -> tuple[int, dict[str, str], bytes]:
    return s, headers, text[: text.rindex(b"# rows")]


FAULTS: dict[str, tuple[str, Change, str, str]] = {
    "no process": ("/livez", status(500), "health", "status 500, expected 200"),
    "another service": ("/livez", body(b'{"status":"ok"}'), "health", "'ok', expected 'alive'"),
    "not ready": ("/readyz", status(503), "health", "status 503, expected 200"),
    "odd readiness": (
        "/readyz",
        changed_json(status="so so"),
        "health",
        "/readyz returned 'so so'",
    ),
    "no version": ("/version", body(b"{}"), "version", "KeyError('model_version')"),
    "no JSON": ("/version", body(b"<html>hello"), "version", "not a JSON object: '<html>hello'"),
    "a list": ("/version", body(b"[]"), "version", "not a JSON object"),
    "moved": ("/version", status(301), "version", "status 301, expected 200"),
    "no metadata": ("/metadata", status(404), "prediction", "status 404"),
    "empty metadata": (
        "/metadata",
        body(b"{}"),
        "prediction",
        "has neither a golden row nor a signature",
    ),
    "wrong answer": (
        "/predict",
        changed_json(probability=0.5),
        "prediction",
        "0.5 where the golden row",
    ),
    "not a number": (
        "/predict",
        changed_json(probability="high"),
        "prediction",
        "high is not a finite",
    ),
    "infinite": (
        "/predict",
        changed_json(probability=float("inf")),
        "prediction",
        "inf is not a finite",
    ),
    "no answer": ("/predict", changed_json(probability=None), "prediction", "None is not a finite"),
    "wrong row": (
        "/predict_file?counts=true",
        replaced(b"0.7049", b"0.6049"),
        "file",
        "where the golden row",
    ),
    "cut file": ("/predict_file?counts=true", cut, "file", "incomplete file"),
    "failed row": (
        "/predict_file?counts=true",
        replaced(b"failed=0", b"failed=1"),
        "file",
        "failed row",
    ),
    "no file": ("/predict_file?counts=true", status(502), "file", "status 502"),
    "other document": (
        "/apispec_1.json",
        changed_json(paths={"/": {}}),
        "document",
        "lacks /predict",
    ),
    "other page": ("/apidocs/", body(b"<html>"), "document", "is not Swagger UI"),
    "no nosniff": (
        "/livez",
        without("X-Content-Type-Options"),
        "headers",
        "None, expected 'nosniff'",
    ),
    "framed": ("/livez", without("X-Frame-Options"), "headers", "None, expected 'DENY'"),
    "no policy": ("/livez", without("Content-Security-Policy"), "headers", "missing or allows"),
    "no id": ("/livez", without("X-Request-Id"), "headers", "X-Request-Id is None"),
    "html error": ("/no/such/address", body(b"<h1>404"), "errors", "not a JSON object: '<h1>404'"),
    "other error": ("/no/such/address", body(b"{}"), "errors", "the 404 lacks code, errors"),
    "friendly": ("/no/such/address", status(200), "errors", "status 200, expected 404"),
    "traceback": (
        "/no/such/address",
        changed_json(message="Traceback (most"),
        "errors",
        "a traceback",
    ),
}


@pytest.mark.parametrize(("path", "change", "check", "message"), FAULTS.values(), ids=FAULTS)
def test_smoke_fault_is_reported_and_all_checks_run(
    broken, monkeypatch, path, change, check, message
):
    monkeypatch.setattr(Broken, "change", {path: change})
    # Retries of the prediction check sleep for seconds.
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    table, passed = smoke(broken, wait=0)
    assert not passed
    assert tuple(results(table)) == CHECKS
    assert results(table)[check].startswith("WRONG")
    assert message in results(table)[check]


@pytest.mark.parametrize("name", TASKS)
def test_smoke_every_task_passes(broken, monkeypatch, tmp_path, name):
    settings = Settings(model=write_model(name, tmp_path))
    monkeypatch.setattr(Broken, "app", create_app(ROOT, settings))
    table, passed = smoke(broken, wait=0)
    assert passed, table
    assert "as the golden row" in results(table)["file"]


def test_smoke_prediction_other_than_golden_row_fails(broken, monkeypatch, settings):
    app = create_app(ROOT, settings)
    manifest = app.extensions["slipway"].model.manifest
    wrong = GoldenRow(manifest.golden[0].record, manifest.golden[0].answer / 2)
    spoiled = msgspec.structs.replace(manifest, golden=(wrong,))
    app.extensions["slipway"].model = Predictor(
        spoiled, "scorecard", spoiled.scorecard.compile_answers()
    )
    monkeypatch.setattr(Broken, "app", app)
    table, passed = smoke(broken, wait=0)
    assert not passed
    failures = [name for name, result in results(table).items() if result.startswith("WRONG")]
    assert failures == ["health", "prediction", "file"]


def test_smoke_without_golden_row_sends_the_examples(broken, monkeypatch):
    monkeypatch.setattr(Broken, "change", {"/metadata": changed_json(golden=None)})
    table, passed = smoke(broken, wait=0)
    assert passed, table
    assert "/metadata has no golden row" in results(table)["prediction"]


def test_smoke_during_a_swap_retries(broken, monkeypatch):
    requests = []

    def change_first_two(*response: Any) -> Any:
        requests.append(response)
        change = changed_json(version="20200101T000000Z-00000000")
        return change(*response) if len(requests) < 3 else response

    monkeypatch.setattr(Broken, "change", {"/metadata": change_first_two})
    table, passed = smoke(broken, wait=0)
    assert passed, table
    assert len(requests) == 3


def test_smoke_sleeping_service_is_awaited(broken, monkeypatch):
    monkeypatch.setattr(Broken, "asleep", 2)
    assert smoke(broken, wait=30)[1]
    assert Broken.asleep == 0
    monkeypatch.setattr(Broken, "asleep", 10**6)
    table, passed = smoke(broken, wait=0.1)
    assert not passed
    assert "status 503, expected 200: '<html>nothing here yet" in results(table)["health"]


def test_smoke_closed_port_is_awaited(broken):
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-I", str(SCRIPT), f"http://127.0.0.1:{port}", "--wait", "30"],
        stdout=subprocess.PIPE,
        text=True,
    )
    # The first attempt must find the port closed.
    time.sleep(0.5)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Broken)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    output = process.communicate(timeout=60)[0]
    server.shutdown()
    server.server_close()
    assert process.returncode == 0, output


def test_smoke_control_characters_are_replaced(broken, monkeypatch):
    monkeypatch.setattr(Broken, "change", {"/version": changed_json(model_version="\x1b[2J")})
    table, _ = smoke(broken, wait=0)
    assert "\x1b" not in table


def test_smoke_redirect_names_its_target(broken, monkeypatch):
    def moved(*_given: object) -> tuple[int, dict[str, str], bytes]:
        return 301, {"Location": "https://late.example.org/livez"}, b""

    monkeypatch.setattr(Broken, "change", {"/livez": moved})
    table, _ = smoke(broken, wait=0)
    assert "redirects to https://late.example.org/livez" in results(table)["health"]
