"""The smoke test: it passes a service that is right, and finds what is wrong with any other."""

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
SCRIPT = ROOT / "slipway" / "smoke.py"


def found(table: str) -> dict[str, str]:
    """What is in the table: by check, what was found."""
    lines = [line.split(maxsplit=2) for line in table.splitlines()[1:-1]]
    return {what: f"{right} {told}" for right, what, told in lines}


def alone(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the file as on a machine that has Python alone: no package, no folder of ours."""
    return subprocess.run(
        [sys.executable, "-I", "-S", str(SCRIPT), *words],
        capture_output=True,
        text=True,
        cwd="/",
        env={"PATH": "/usr/bin:/bin", **environ},
        check=False,
    )


def test_smoke_of_a_right_service_finds_everything_right(service, manifest):
    table, right = smoke(service, version=manifest.version)
    assert right, table
    assert tuple(found(table)) == CHECKS
    assert found(table)["health"] == "ok alive, ready"
    assert manifest.version in found(table)["version"]
    assert found(table)["prediction"] == f"ok {manifest.golden[0].answer:.6g} as the golden row"
    assert found(table)["errors"] == "ok 400, 404, 405 as JSON"
    assert table.splitlines()[-1].startswith("7 of 7 right, ")


def test_smoke_alone_needs_no_package(service):
    done = alone(service)
    assert (done.returncode, done.stderr) == (0, "")
    assert "7 of 7 right" in done.stdout


@pytest.mark.parametrize("option", ["-I", "-P"])
def test_smoke_as_workflows_and_scripts_call_it(service, option):
    done = subprocess.run(
        [sys.executable, option, "deploy/smoke.py", service],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_smoke_is_written_for_python_3_9():
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
def test_smoke_of_the_api_alone_under_a_prefix_with_its_commit():
    words = [word.replace("app:app", "flask_api:app") for word in GUNICORN]
    commit = "0123456789abcdef" * 2 + "01234567"
    with running(*words, prefix="/late", SCRIPT_NAME="/late", SLIPWAY_REVISION=commit) as (base, _):
        table, right = smoke(f"{base}/", image=commit[:7])
        assert right, table
        assert f"commit {commit}" in found(table)["version"]
        assert smoke(base, image=f"registry/slipway:{commit}")[1]
        table, right = smoke(base, image="fedcba9876543210")
        assert not right
        assert found(table)["version"].startswith("WRONG the code is of commit 0123")
        # Six digits could be those of many.
        assert not smoke(base, image=commit[:6])[1]


def test_flask_smoke_says_the_same_and_ends_with_a_status(app, service):
    run = app.test_cli_runner().invoke
    done = run(args=["smoke", service])
    assert done.exit_code == 0
    assert "7 of 7 right" in done.output
    done = run(args=["smoke", service, "--version", "20200101T000000Z-00000000"])
    assert done.exit_code == 1
    assert "6 of 7 right" in done.output
    assert run(args=["smoke"]).exit_code == 2


def test_nobody_listening_is_told_in_one_line_with_a_status():
    url = f"http://127.0.0.1:{free_port()}"
    done = alone(url, "--wait", "0.2")
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        url,
        "  WRONG  address     no answer: Connection refused",
        done.stdout.splitlines()[-1],
    ]
    assert done.stdout.splitlines()[-1].startswith("0 of 1 right")


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("no-address",), 1, "it must begin with http:// or https://"),
        (("http://nothing.invalid",), 1, "no answer: "),
        ((), 2, "usage:"),
        (("http://127.0.0.1:1", "--wait", "long"), 2, "usage:"),
    ],
)
def test_wrong_words_end_at_once_with_a_status(words, status, said):
    began = time.monotonic()
    done = alone(*words)
    assert done.returncode == status
    assert said in done.stdout + done.stderr
    assert time.monotonic() - began < 30, "it waited for what never comes"


# What a service that is right gave, with something changed.
Change = Callable[[int, dict[str, str], bytes], tuple[int, dict[str, str], bytes]]


class Broken(http.server.BaseHTTPRequestHandler):
    """A service whose answers are changed on their way, and that can be asleep."""

    protocol_version = "HTTP/1.1"
    app: Flask
    change: dict[str, Change] = {}
    asleep = 0

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        made = self.app.test_client().open(
            self.path, method=self.command, data=body, headers=list(self.headers.items())
        )
        told = made.status_code, dict(made.headers), made.data
        if Broken.asleep:
            Broken.asleep -= 1
            told = 503, {}, b"<html>nothing here yet</html>"
        elif self.path in self.change:
            told = self.change[self.path](*told)
        self.send_response(told[0])
        for name, value in told[1].items():
            if name.lower() != "content-length":
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(told[2])))
        self.end_headers()
        self.wfile.write(told[2])

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


def status(due: int) -> Change:
    return lambda _status, headers, body: (due, headers, body)


def without(name: str) -> Change:
    return lambda s, headers, body: (s, {k: v for k, v in headers.items() if k != name}, body)


def body(text: bytes) -> Change:
    return lambda s, headers, _body: (s, headers, text)


def replaced(old: bytes, new: bytes) -> Change:
    def change(s: int, headers: dict[str, str], text: bytes) -> tuple[int, dict[str, str], bytes]:
        assert old in text, "the service no longer says what is to be changed"
        return s, headers, text.replace(old, new)

    return change


def told(**changes: object) -> Change:
    return lambda s, headers, text: (s, headers, json.dumps(json.loads(text) | changes).encode())


def cut(s: int, headers: dict[str, str], text: bytes) -> tuple[int, dict[str, str], bytes]:
    return s, headers, text[: text.rindex(b"# rows")]


FAULTS: dict[str, tuple[str, Change, str, str]] = {
    "no process": ("/livez", status(500), "health", "status 500 where 200 is due"),
    "another service": ("/livez", body(b'{"status":"ok"}'), "health", "'ok' where 'alive' is due"),
    "not ready": ("/readyz", status(503), "health", "status 503 where 200 is due"),
    "odd readiness": ("/readyz", told(status="so so"), "health", "/readyz says 'so so'"),
    "no version": ("/version", body(b"{}"), "version", "KeyError('model_version')"),
    "no JSON": ("/version", body(b"<html>hello"), "version", "no JSON object, but '<html>hello'"),
    "a list": ("/version", body(b"[]"), "version", "no JSON object"),
    "moved": ("/version", status(301), "version", "status 301 where 200 is due"),
    "no metadata": ("/metadata", status(404), "prediction", "status 404"),
    "empty metadata": (
        "/metadata",
        body(b"{}"),
        "prediction",
        "does not tell what the model takes",
    ),
    "wrong answer": ("/predict", told(probability=0.5), "prediction", "0.5 where the golden row"),
    "not a number": ("/predict", told(probability="high"), "prediction", "high is no answer"),
    "infinite": ("/predict", told(probability=float("inf")), "prediction", "inf is no answer"),
    "no answer": ("/predict", told(probability=None), "prediction", "None is no answer"),
    "wrong row": (
        "/predict_file?counts=true",
        replaced(b"0.7049", b"0.6049"),
        "file",
        "where the golden row",
    ),
    "cut file": ("/predict_file?counts=true", cut, "file", "the file is not whole"),
    "failed row": (
        "/predict_file?counts=true",
        replaced(b"failed=0", b"failed=1"),
        "file",
        "not answered",
    ),
    "no file": ("/predict_file?counts=true", status(502), "file", "status 502"),
    "other document": (
        "/apispec_1.json",
        told(paths={"/": {}}),
        "document",
        "does not know /predict",
    ),
    "other page": ("/apidocs/", body(b"<html>"), "document", "is not the page of the document"),
    "no nosniff": ("/livez", without("X-Content-Type-Options"), "headers", "None where 'nosniff'"),
    "framed": ("/livez", without("X-Frame-Options"), "headers", "None where 'DENY' is due"),
    "no policy": ("/livez", without("Content-Security-Policy"), "headers", "missing, or another"),
    "no id": ("/livez", without("X-Request-Id"), "headers", "X-Request-Id is None"),
    "html error": ("/no/such/address", body(b"<h1>404"), "errors", "no JSON object, but '<h1>404'"),
    "other error": ("/no/such/address", body(b"{}"), "errors", "the 404 has no code, errors"),
    "friendly": ("/no/such/address", status(200), "errors", "status 200 where 404 is due"),
    "traceback": ("/no/such/address", told(message="Traceback (most"), "errors", "a traceback"),
}


@pytest.mark.parametrize(("path", "change", "check", "said"), FAULTS.values(), ids=FAULTS)
def test_smoke_finds_the_fault_and_looks_at_all_else(
    broken, monkeypatch, path, change, check, said
):
    monkeypatch.setattr(Broken, "change", {path: change})
    # What may take its time is not waited for here.
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    table, right = smoke(broken, wait=0)
    assert not right
    assert tuple(found(table)) == CHECKS
    assert found(table)[check].startswith("WRONG")
    assert said in found(table)[check]


@pytest.mark.parametrize("name", TASKS)
def test_smoke_of_every_task_finds_everything_right(broken, monkeypatch, tmp_path, name):
    settings = Settings(model=write_model(name, tmp_path))
    monkeypatch.setattr(Broken, "app", create_app(ROOT, settings))
    table, right = smoke(broken, wait=0)
    assert right, table
    assert "as the golden row" in found(table)["file"]


def test_smoke_of_a_model_that_answers_otherwise_than_its_golden_row(broken, monkeypatch, settings):
    app = create_app(ROOT, settings)
    manifest = app.extensions["slipway"].model.manifest
    wrong = GoldenRow(manifest.golden[0].record, manifest.golden[0].answer / 2)
    spoiled = msgspec.structs.replace(manifest, golden=(wrong,))
    app.extensions["slipway"].model = Predictor(
        spoiled, "scorecard", spoiled.scorecard.compile_answers()
    )
    monkeypatch.setattr(Broken, "app", app)
    table, right = smoke(broken, wait=0)
    assert not right
    wrong = [what for what, said in found(table).items() if said.startswith("WRONG")]
    assert wrong == ["health", "prediction", "file"]


def test_smoke_without_a_golden_row_asks_the_examples_and_says_so(broken, monkeypatch):
    monkeypatch.setattr(Broken, "change", {"/metadata": told(golden=None)})
    table, right = smoke(broken, wait=0)
    assert right, table
    assert "the service tells no golden row" in found(table)["prediction"]


def test_smoke_during_a_swap_asks_again(broken, monkeypatch):
    asked = []

    def first_another(*given: Any) -> Any:
        asked.append(given)
        return told(version="20200101T000000Z-00000000")(*given) if len(asked) < 3 else given

    monkeypatch.setattr(Broken, "change", {"/metadata": first_another})
    table, right = smoke(broken, wait=0)
    assert right, table
    assert len(asked) == 3


def test_smoke_waits_for_a_service_that_wakes_up(broken, monkeypatch):
    monkeypatch.setattr(Broken, "asleep", 2)
    assert smoke(broken, wait=30)[1]
    assert Broken.asleep == 0
    monkeypatch.setattr(Broken, "asleep", 10**6)
    table, right = smoke(broken, wait=0.1)
    assert not right
    assert "status 503 where 200 is due: '<html>nothing here yet" in found(table)["health"]


def test_smoke_waits_for_a_service_that_does_not_listen_yet(broken):
    port = free_port()
    asking = subprocess.Popen(
        [sys.executable, "-I", str(SCRIPT), f"http://127.0.0.1:{port}", "--wait", "30"],
        stdout=subprocess.PIPE,
        text=True,
    )
    # It has to find nobody first.
    time.sleep(0.5)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Broken)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    output = asking.communicate(timeout=60)[0]
    server.shutdown()
    server.server_close()
    assert asking.returncode == 0, output


def test_smoke_keeps_what_it_was_told_from_moving_the_cursor(broken, monkeypatch):
    monkeypatch.setattr(Broken, "change", {"/version": told(model_version="\x1b[2J")})
    table, _ = smoke(broken, wait=0)
    assert "\x1b" not in table


def test_smoke_of_an_address_that_leads_elsewhere_names_it(broken, monkeypatch):
    def moved(*_given: object) -> tuple[int, dict[str, str], bytes]:
        return 301, {"Location": "https://late.example.org/livez"}, b""

    monkeypatch.setattr(Broken, "change", {"/livez": moved})
    table, _ = smoke(broken, wait=0)
    assert "it leads to https://late.example.org/livez" in found(table)["health"]
