"""Tests of deploy/box.sh under load, with a real nginx, real services and a fake Docker."""

from __future__ import annotations

import fcntl
import http.client
import http.server
import json
import shutil
import signal
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from clients import JSON, asked, port_of
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from nginx_box import Box
from small_versions import save_version
from swapping import Versions, clients, get_json, until

from slipway.monitoring.smoke import smoke

pytestmark = [pytest.mark.slow, pytest.mark.proxy]


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """A machine with its proxy and without a deployed image."""
    machine = Box(tmp_path_factory.mktemp("box"))
    with machine.proxy():
        yield machine
    machine.clear()


@pytest.fixture(scope="module")
def versions(box: Box, tmp_path_factory: pytest.TempPathFactory) -> tuple[Versions, dict[str, str]]:
    """Images with different predictions, so that each prediction identifies its image."""
    folder, versions, names = tmp_path_factory.mktemp("versions"), Versions(), {}
    for number, name in enumerate("abcd"):
        path = save_version(folder / name, number / 4)
        names[name] = versions.add(path)
        box.publish(f"slipway:{name}", SLIPWAY_MODEL=str(path))
    return versions, names


@pytest.fixture
def serving(box: Box, versions: tuple[Versions, dict[str, str]]) -> Box:
    """The machine with one of the images serving."""
    if not box.live():
        box.run("deploy", "slipway:a")
    return box


def version_of(box: Box) -> str:
    return str(get_json(box.base, "/version")["model_version"])


class Download(threading.Thread):
    """A client that reads the response to a large file slowly, during a deployment."""

    def __init__(self, base: str, rows: int = 800_000) -> None:
        super().__init__()
        self.rows, self.resume, self.started = rows, threading.Event(), threading.Event()
        self._base, self.end = base, ""

    def run(self) -> None:
        body = b"age,place\n" + b"35,hill\n" * self.rows
        connection = http.client.HTTPConnection("127.0.0.1", port_of(self._base), timeout=120)
        connection.connect()
        # Large socket buffers would take the whole response at once.
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.request("POST", "/predict_file?counts=true", body, {"Content-Type": "text/csv"})
        answer = connection.getresponse()
        answer.read(1000)
        self.started.set()
        # The service drops clients that read nothing for half a minute, so read a little.
        for _ in range(600):
            if self.resume.wait(0.5):
                break
            answer.read(16 * 1024)
        self.end = answer.read().decode().splitlines()[-1]


def test_deploy_and_rollback_under_load_lose_no_request(box, versions):
    answers, names = versions
    box.run("deploy", "slipway:a")
    download = Download(box.base)
    with clients(box.base) as responses:
        until(lambda: len(responses) > 50, 60)
        download.start()
        assert download.started.wait(120)
        deploying = box.start("deploy", "slipway:b")
        until(lambda: get_json(box.base, "/version")["model_version"] == names["b"], 120)
        assert deploying.poll() is None, "the old container did not wait for the download"
        download.resume.set()
        assert deploying.wait(120) == 0
        (box.docker / "away").touch()
        began = time.monotonic()
        box.run("rollback")
        assert time.monotonic() - began < 60
        (box.docker / "away").unlink()
    download.join()
    answers.assert_correct(responses)
    assert {response.version for response in responses} == {names["a"], names["b"]}
    assert responses[0].version == responses[-1].version == names["a"]
    assert download.end.startswith(f"# rows={download.rows} failed=0")
    assert not any(container.get("killed") for container in box.containers().values())
    assert box.deployed() == ["slipway:a"]
    assert len(box.live()) == 1


def test_rollback_without_earlier_deployment_reports_it_and_changes_nothing(serving):
    box = serving
    (box.state / "deployed").write_text(
        (box.state / "deployed").read_text().splitlines()[-1] + "\n"
    )
    before = box.containers()
    assert "FAILED: nothing was deployed before" in box.run("rollback", status=1)
    assert box.containers() == before


FAULTY_IMAGES = {
    "crashes at once": ({"SLIPWAY_MODEL": "nothing.pkl"}, "slipway cannot serve"),
    "never ready": ({"app": "spoiled:never_ready"}, "not ready after 2 s"),
    "knows nothing": ({"app": "spoiled:ready_alone"}, "WRONG  prediction"),
    "wrong behind a proxy": ({"app": "spoiled:through_a_proxy"}, "status 500, expected 200"),
}


def test_deploy_faulty_imagekeeps_the_old_one_serving(serving, versions):
    version, before, journal = version_of(serving), serving.containers(), serving.deployed()
    with clients(serving.base) as responses:
        for what, (image, message) in FAULTY_IMAGES.items():
            serving.publish(f"slipway:{what}", **image)
            wait = "2" if what == "never ready" else "60"
            output = serving.run("deploy", f"slipway:{what}", status=1, SLIPWAY_BOX_READY=wait)
            assert message in output, what
            assert "serves, as before" in output, what
            assert "the last lines of the new container's log:" in output, what
            # A crashing worker never boots, and another may need more than two seconds.
            assert "Booting worker" in output or what in ("crashes at once", "never ready")
        assert "cannot be pulled" in serving.run("deploy", "slipway:nowhere", status=1)
    versions[0].assert_correct(responses)
    assert {response.version for response in responses} == {version}
    live = f"slipway-{serving.live()[0].removeprefix('live-')}"
    assert serving.containers() == {live: before[live]}
    assert serving.deployed() == journal


def wait_for(path: Path) -> str:
    """Return a Python expression that waits two minutes at most until a file exists."""
    return f"any(pathlib.Path({str(path)!r}).exists() or time.sleep(0.05) for _ in range(2400))"


def test_deploy_failing_after_the_switch_is_rolled_back(serving, versions, tmp_path):
    answers, names = versions
    before, journal = version_of(serving), serving.deployed()
    # The smoke test fails only at the public address.
    script, switched = tmp_path / "smoke.py", tmp_path / "seen"
    fault = (
        f"if '{serving.port['8000']}' in sys.argv[-1]:\n    {wait_for(switched)}\n    sys.exit(1)\n"
    )
    script.write_text(f"import pathlib, sys, time\n{fault}")
    with clients(serving.base) as responses:
        process = serving.start("deploy", "slipway:d", SLIPWAY_BOX_SMOKE=str(script))
        until(lambda: responses[-1].version == names["d"], 120)
        switched.touch()
        output = process.communicate(timeout=120)[0]
        assert process.returncode == 1, output
        until(lambda: responses[-1].version == before, 60)
    assert "serves, as before" in output
    answers.assert_correct(responses)
    assert {response.version for response in responses} == {before, names["d"]}
    assert (version_of(serving), serving.deployed()) == (before, journal)
    assert len(serving.live()) == len(serving.containers()) == 1


def test_deploy_terminated_before_the_switch_keeps_the_old_one_serving(serving, versions):
    version = version_of(serving)
    serving.publish("slipway:slow", app="spoiled:never_ready")
    process = serving.start("deploy", "slipway:slow")
    until(lambda: _starting(serving), 120)
    process.send_signal(signal.SIGTERM)
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 1
    assert "serves, as before" in output
    assert len(serving.live()) == len(serving.containers()) == 1
    assert version_of(serving) == version


def _starting(box: Box) -> bool:
    """Return whether the script waits for a container."""
    return box.calls()[-1][0] == "inspect"


def test_concurrent_deploys_run_one_after_the_other(serving, versions, tmp_path):
    answers, names = versions
    # The smoke test of the first waits for the second.
    script, second_started = tmp_path / "smoke.py", tmp_path / "come"
    script.write_text(f"import pathlib, time\n{wait_for(second_started)}\n")
    with clients(serving.base) as responses:
        first = serving.start("deploy", "slipway:c", SLIPWAY_BOX_SMOKE=str(script))
        until(lambda: ["pull", "--quiet", "slipway:c"] in serving.calls(), 120)
        second = serving.start("deploy", "slipway:d")
        assert "another deploy is at work" in second.stdout.readline()
        second_started.touch()
        output = second.communicate(timeout=120)[0]
        assert (first.wait(120), second.returncode) == (0, 0), output
        assert first.communicate()[0].count("serves") == 1
    answers.assert_correct(responses)
    assert responses[-1].version == names["d"]
    assert serving.deployed()[-2:] == ["slipway:c", "slipway:d"]


def test_deploy_lock_timeout_is_an_error(serving):
    with (serving.state / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        output = serving.run("deploy", "slipway:a", status=1, SLIPWAY_BOX_LOCK="0.1")
    assert "the other deploy is still at work" in output


def test_prune_keeps_the_served_imageand_two_before_for_rollbacks(serving):
    serving.publish("other/thing:1", ours=False)
    shutil.copy(
        serving.docker / "registry" / "other_thing:1.json", serving.docker / "images" / "other.json"
    )
    # Other tests cover the smoke test.
    quick = {"SLIPWAY_BOX_SMOKE": "/dev/null"}
    for name in "bcd":
        serving.run("deploy", f"slipway:{name}", **quick)
    assert serving.deployed() == ["slipway:b", "slipway:c", "slipway:d"]
    assert serving.images() == {*serving.deployed(), "other/thing:1"}
    serving.run("rollback", **quick)
    assert serving.deployed() == ["slipway:b", "slipway:c"]
    # The script pulls a removed image again.
    serving.run("rollback", "slipway:a", **quick)
    # The journal forgets the later images, and has no older ones.
    assert serving.deployed() == ["slipway:a"]
    assert "FAILED: nothing was deployed before" in serving.run("rollback", status=1)


def test_revoke_only_affects_the_served_image(serving):
    quick = {"SLIPWAY_BOX_SMOKE": "/dev/null"}
    for name in "bc":
        serving.run("deploy", f"slipway:{name}", **quick)
    journal, live = serving.deployed(), serving.live()
    assert "slipway:b serves no more; nothing to do" in serving.run("revoke", "slipway:b")
    assert (serving.deployed(), serving.live()) == (journal, live)
    serving.run("revoke", "slipway:c", **quick)
    assert serving.deployed() == journal[:-1]


def test_container_runs_with_restricted_privileges(serving):
    call = [call for call in serving.calls() if call[0] == "run"][-1]
    words = " ".join(call)
    for wanted in (
        *("--read-only", "--cap-drop ALL", "--security-opt no-new-privileges", "--memory 512m"),
        *("--user 10001:10001", "--restart unless-stopped", "--log-opt max-size=10m"),
        *("--publish 127.0.0.1:", f"--env-file {serving.env}", "--label slipway.revision="),
    ):
        assert wanted in words
    assert call[-1].startswith("sha256:"), "a tag could have moved meanwhile"


def test_status_and_logs_describe_the_served_container(serving):
    port = serving.live()[0].removeprefix("live-")
    output = serving.run("status")
    assert f"serves: slipway-{port}" in output
    assert '{"status":"ready"}' in output
    # The address for Prometheus in docs/operate.md.
    status, _, metrics = asked(f"http://127.0.0.1:{serving.port['8000']}", "GET", "/metrics")
    assert (status, metrics[:6]) == (200, b"# HELP")
    assert serving.deployed()[-1] in output
    assert f"Listening at: http://127.0.0.1:{port}" in serving.run("logs", "--tail", "20")


def test_unknown_arguments_print_the_usage(serving):
    for words in ([], ["deploy"], ["destroy", "it"]):
        assert "rollback [IMAGE]" in serving.run(*words, status=2)


def test_deploy_same_imagefinishes_a_response_longer_than_the_drain(serving):
    journal = serving.deployed()
    download = Download(serving.base)
    download.start()
    assert download.started.wait(120)
    old = f"slipway-{serving.live()[0].removeprefix('live-')}"
    deploying = serving.start("deploy", journal[-1], SLIPWAY_BOX_DRAIN="0")
    until(lambda: ["stop", "-t", "30", old] in serving.calls()[-1:], 120)
    download.resume.set()
    output = deploying.communicate(timeout=120)[0]
    download.join()
    assert "still answering after 0 s" in output
    assert download.end.startswith(f"# rows={download.rows} failed=0")
    assert serving.containers()[old]["killed"] is False
    assert serving.deployed() == journal


def test_deploy_terminated_during_the_drain_reports_that_the_new_one_serves(serving, versions):
    serving.publish("slipway:other", SLIPWAY_MODEL="model.pkl")
    download = Download(serving.base)
    download.start()
    assert download.started.wait(120)
    deploying = serving.start("deploy", "slipway:other", SLIPWAY_BOX_DRAIN="60")
    until(lambda: serving.deployed()[-1] == "slipway:other", 120)
    live = serving.live()
    deploying.send_signal(signal.SIGTERM)
    output = deploying.communicate(timeout=120)[0]
    download.resume.set()
    download.join()
    assert deploying.returncode == 1
    new = live[0].replace("live-", "slipway-")
    assert output.splitlines()[-1].endswith(f" ended early, but {new} serves all the same")
    assert "as before" not in output
    assert download.end.startswith(f"# rows={download.rows} failed=0")
    assert serving.live() == live
    assert get_json(serving.base, "/readyz")["status"] == "ready"


def test_deploy_imagemissing_after_the_pull_is_an_error(serving):
    serving.publish("slipway:moved")
    path = serving.docker / "registry" / "slipway:moved.json"
    path.write_text(path.read_text().replace('"slipway:moved"', '"slipway:another"'))
    before = serving.containers()
    output = serving.run("deploy", "slipway:moved", status=1)
    assert "FAILED: slipway:moved is not here after the pull" in output
    assert serving.containers() == before


class Echo(http.server.BaseHTTPRequestHandler):
    """Return the received headers for GET, and store the bodies of POST."""

    protocol_version = "HTTP/1.1"
    bodies: list[bytes] = []

    def do_GET(self) -> None:
        body = json.dumps(dict(self.headers)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        # Close the connection without a response.
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_given: Any) -> None:
        pass


@pytest.fixture(scope="module")
def echoing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """A proxy before two servers that return the received headers."""
    box = Box(tmp_path_factory.mktemp("echoing"))
    servers = [
        http.server.ThreadingHTTPServer(("127.0.0.1", int(box.port[name])), Echo)
        for name in ("8001", "8002")
    ]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    with box.proxy():
        yield box
    for server in servers:
        server.shutdown()
        server.server_close()


def test_proxy_appends_the_client_address_to_forwarded_headers(echoing):
    forged = {"X_Forwarded_For": "6.6.6.6", "X_Forwarded_Proto": "https", "Host": "late.example"}
    status, headers, body = asked(echoing.base, "GET", "/livez", **forged)
    received = json.loads(body)
    assert status == 200
    assert received["X-Forwarded-For"] == "6.6.6.6, 127.0.0.1"
    assert received["X-Forwarded-Proto"] == "http"
    assert received["Host"] == "late.example"
    assert "X-Slipway-Container" not in headers


def test_proxy_does_not_retry_a_post(echoing):
    Echo.bodies.clear()
    status, headers, body = asked(echoing.base, "POST", "/predict", b"{}", Content_Type=JSON)
    assert (status, json.loads(body)["code"]) == (502, "unavailable")
    assert headers["Retry-After"] == "5"
    assert Echo.bodies == [b"{}"]


def test_proxy_too_large_body_returns_413_in_the_service_format(echoing):
    for path, length in {"/predict": 18 * 2**20, "/predict_file": 2**31}.items():
        connection = http.client.HTTPConnection("127.0.0.1", port_of(echoing.base), timeout=60)
        connection.putrequest("POST", path)
        connection.putheader("Content-Length", str(length))
        connection.endheaders()
        answer = connection.getresponse()
        content = json.loads(answer.read())
        connection.close()
        assert (answer.status, content["code"]) == (413, "too_large")
        assert set(content) == {"code", "message", "request_id", "errors"}


def test_proxy_fifth_concurrent_file_returns_503(echoing):
    begins = b"POST /predict_file HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n"
    connections = []
    for _ in range(4):
        connection = socket.create_connection(("127.0.0.1", port_of(echoing.base)), timeout=60)
        connection.sendall(begins + b"Expect: 100-continue\r\n\r\n")
        # The proxy sends 100 Continue only after it has counted the file.
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connections.append(connection)
    status, headers, body = asked(echoing.base, "POST", "/predict_file", b"a")
    assert (status, json.loads(body)["code"], headers["Retry-After"]) == (503, "unavailable", "5")
    assert asked(echoing.base, "GET", "/livez")[0] == 200
    # Deployments use these ports, which have no limit; here the server closes the connection.
    for door in ("8000", "8011", "8012"):
        base = f"http://127.0.0.1:{echoing.port[door]}"
        assert asked(base, "POST", "/predict_file", b"a")[0] == 502
    for connection in connections:
        connection.close()


def test_proxy_metrics_from_another_address_return_403(echoing):
    assert asked(echoing.base, "GET", "/metrics")[0] == 200
    connection = http.client.HTTPConnection(
        "127.0.0.1", port_of(echoing.base), timeout=60, source_address=("127.0.0.2", 0)
    )
    connection.request("GET", "/metrics")
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["code"]) == (403, "forbidden")
    connection.close()


def test_proxy_without_service_returns_502_as_json(tmp_path):
    box = Box(tmp_path / "box")
    with box.proxy():
        status, headers, body = asked(box.base, "POST", "/predict", b"{}", Content_Type=JSON)
    assert (status, headers["Content-Type"]) == (502, "application/json")
    assert json.loads(body)["code"] == "unavailable"


def certificate(folder: Path) -> Path:
    """Write a certificate for localhost, with its key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    path.write_bytes(
        signed.public_bytes(Encoding.PEM)
        + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    return path


def test_deploy_with_https_trusted_hosts_and_prefix_passes_the_smoke_test(tmp_path, monkeypatch):
    box, pem = Box(tmp_path / "box"), certificate(tmp_path)
    # As the comment at the top of deploy/nginx/slipway.conf describes.
    http_port = box.port["80"]
    (box.folder / "https.conf").write_text(
        f"listen {box.port['443']} ssl; ssl_certificate {pem}; ssl_certificate_key {pem};\n"
        f"if ($server_port = {http_port}) {{ return 301 https://$host$request_uri; }}"
    )
    box.env.write_text("SCRIPT_NAME=/late\nSLIPWAY_TRUSTED_HOSTS=localhost,late.example.org\n")
    box.publish("slipway:shipped")
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    commit = json.loads((box.docker / "registry" / "slipway:shipped.json").read_text())["revision"]
    try:
        with box.proxy():
            box.run("deploy", "slipway:shipped")
            secure = f"https://localhost:{box.port['443']}/late"
            table, passed = smoke(secure, image=commit[:12], wait=5)
            assert passed, table
            assert "6 headers present" in table
            table, passed = smoke(f"http://localhost:{box.port['80']}/late", wait=5)
            assert not passed
            assert "redirects to https://localhost/late/livez" in table
            assert "status 400" in smoke(secure, host="evil.example", wait=5)[0]
    finally:
        box.clear()
