"""Tests of the Procfile on a dyno: workers, start time, memory and shutdown."""

import http.client
import json
import os
import re
import signal
import subprocess
import time
from contextlib import suppress

import pytest
from clients import JSON, asked, loaded, port_of, wait_for_workers
from conftest import GUNICORN, ROOT, free_port
from dynos import (
    ENVIRON,
    RAM,
    count_oom_kills,
    memory_limited_group,
    running_dyno,
    shared_memory_mb,
)

pytest_plugins = ["served"]

UNFLAGGED = GUNICORN[:-1]
FLAGGED = (*UNFLAGGED, "--workers=4")


def logged_workers(*words, **environ):
    """Start Gunicorn; return the logged number of workers and its source."""
    kept = {name: value for name, value in os.environ.items() if name not in ENVIRON}
    process = subprocess.Popen(
        [word.format(port=free_port()) for word in words],
        cwd=ROOT,
        env=kept | environ,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        for line in process.stderr:
            if match := re.search(r"workers: (\d+), by (.*)", line):
                return int(match[1]), match[2]
        raise AssertionError(f"Gunicorn ended with status {process.wait()}")
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "environ", "expected"),
    [
        (UNFLAGGED, {}, (4, "gunicorn.conf.py")),
        (UNFLAGGED, {"WEB_CONCURRENCY": "0"}, (4, "gunicorn.conf.py")),
        (UNFLAGGED, {"WEB_CONCURRENCY": "2"}, (2, "WEB_CONCURRENCY")),
        (
            UNFLAGGED,
            {"WEB_CONCURRENCY": "2", "GUNICORN_CMD_ARGS": "--workers=3"},
            (3, "GUNICORN_CMD_ARGS; WEB_CONCURRENCY=2 is not used"),
        ),
        (FLAGGED, {"WEB_CONCURRENCY": "4"}, (4, "--workers")),
        (FLAGGED, {"WEB_CONCURRENCY": "2"}, (4, "--workers; WEB_CONCURRENCY=2 is not used")),
        (FLAGGED, {"GUNICORN_CMD_ARGS": "--workers=3"}, (4, "--workers")),
    ],
)
def test_workers_number_comes_from_flag_then_environment_then_default(words, environ, expected):
    assert logged_workers(*words, **environ) == expected


def flights(manifest, count):
    """Return a CSV file that repeats the example row."""
    features = manifest.signature.features
    row = ",".join(str(feature.example) for feature in features)
    return "\n".join([",".join(manifest.signature.names), *[row] * count, ""]).encode()


@pytest.mark.slow
def test_dyno_under_load_stays_within_its_memory(body, tmp_path, manifest):
    began = time.monotonic()
    with memory_limited_group(RAM) as group, running_dyno(tmp_path, group) as dyno:
        # Heroku's limit; one or two seconds are usual.
        assert time.monotonic() - began < 60
        wait_for_workers(dyno.process, 4)
        assert "workers: 4, by --workers; WEB_CONCURRENCY=2 is not used" in dyno.log_text
        with loaded(dyno.base, body, n_clients=16) as answers:
            deadline = time.monotonic() + 240
            while len(answers) < 10_000:
                assert time.monotonic() < deadline, len(answers)
                time.sleep(0.1)
        assert {status for status, _, _ in answers} == {200}
        for path in ("/", "/model", "/metadata", "/apidocs/", "/apispec_1.json", "/readyz"):
            assert asked(dyno.base, "GET", path, timeout=20)[0] == 200
        assert shared_memory_mb(dyno.process_ids()) < 160
        # A worker imports polars with its first file.
        file = flights(manifest, 20_000)
        for _ in range(12):
            answer = asked(
                dyno.base, "POST", "/predict_file?counts=true", file, 60, Content_Type="text/csv"
            )
            assert b"# rows=20000 failed=0 " in answer[2][-100:]
        assert shared_memory_mb(dyno.process_ids()) < 400
        assert group is None or count_oom_kills(group) == 0


@pytest.mark.slow
def test_dyno_uses_and_logs_client_and_scheme_of_the_router(body, tmp_path):
    with running_dyno(tmp_path) as dyno:
        headers = {
            "Content-Type": JSON,
            "X-Forwarded-For": "6.6.6.6, 203.0.113.7",
            "X-Forwarded-Proto": "https",
            "X-Forwarded-Host": "evil.example",
            "X-Request-Id": "given-by-the-router",
            "SCRIPT_NAME": "/evil",
            "PATH_INFO": "/livez",
        }
        connection = http.client.HTTPConnection("127.0.0.1", port_of(dyno.base), timeout=20)
        connection.request("POST", "/predict", body, headers)
        answer = connection.getresponse()
        assert (answer.status, set(json.load(answer)) > {"probability"}) == (200, True)
        connection.close()
        assert answer.headers["X-Request-Id"] == "given-by-the-router"
        assert "max-age" in answer.headers["Strict-Transport-Security"]
        # The service logs a request after its response.
        line = dyno.wait_for_line("POST /predict")
    assert line.startswith("203.0.113.7 ")
    assert "evil" not in line
    # The router logs URLs, so that they must not contain values of a record.
    assert "GET /predict?" not in dyno.log_text


@pytest.mark.slow
def test_dyno_second_sigterm_still_finishes_files_and_predictions(body, tmp_path, manifest):
    file = flights(manifest, 300_000)
    with running_dyno(tmp_path) as dyno, loaded(dyno.base, body, n_clients=4) as answers:
        wait_for_workers(dyno.process, 4)
        connection = http.client.HTTPConnection("127.0.0.1", port_of(dyno.base), timeout=30)
        connection.request("POST", "/predict_file?counts=true", file, {"Content-Type": "text/csv"})
        answer = connection.getresponse()
        first_chunk = answer.read(1000)
        time.sleep(0.2)
        began, in_time = time.monotonic(), len(answers)
        for _ in range(2):
            for pid in dyno.process_ids():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
            time.sleep(0.1)
        rest = first_chunk + answer.read()
        connection.close()
        assert dyno.process.wait(30) == 0
        # Heroku kills a dyno after 30 s; Gunicorn stops waiting after 20 s.
        assert time.monotonic() - began < 20
    assert b"# rows=300000 failed=0 " in rest[-100:]
    assert in_time > 0
    statuses = [status for status, _, _ in answers]
    # The service refuses new connections and may close idle ones, but it finishes every accepted
    # request.
    assert not {status for status in statuses if isinstance(status, int)} - {200}
