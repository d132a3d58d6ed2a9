"""Tests of the container image: built, and run alone and with the settings of compose.yaml."""

import json
import signal
import time
from contextlib import ExitStack

import pytest
import yaml
from clients import HEAD, clients_of, connected
from conftest import ROOT
from containers import answer, container, status
from image_builds import SECRET, SHA
from swapping import until

pytest_plugins = ["image_builds", "registry_servers"]
pytestmark = [pytest.mark.slow, pytest.mark.image]
SERVICES = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]


@pytest.fixture(scope="module")
def body(manifest):
    """A record as a JSON body."""
    features = manifest.signature.features
    return json.dumps({feature.name: feature.example for feature in features}).encode()


@pytest.fixture(scope="module")
def served(web_image):
    """A ready container of the web image."""
    with container(web_image) as running:
        print(f"ready after {running.wait_until_ready():.1f} s")
        yield running


def test_web_image_adds_less_than_sixty_megabytes_to_its_base(web_image):
    print(f"{web_image.megabytes:.1f} MB above the base")
    assert 20 < web_image.megabytes < 60


def test_web_image_contains_only_the_files_for_serving(web_image):
    names = {path.rpartition("/")[2] for path in web_image.files}
    assert {"app.py", "gunicorn.conf.py", "model.json", "model.covariance", "gunicorn"} <= names
    top_level = {path.split("/")[2] for path in web_image.files if path.startswith("/app/")}
    expected = {"app.py", "flask_api.py", "gunicorn.conf.py", "__pycache__"}
    expected |= {"model.pkl", "model.json", "model.covariance"}
    assert top_level == expected | {"flights", "slipway", "slipway.toml", "templates"}
    unwanted = {
        "sklearn",
        "pandas",
        "numpy",
        "pyarrow",
        "pip",
        "setuptools",
        "tests",
        ".git",
        ".env",
    }
    assert not names & unwanted
    assert not [name for name in names if name.endswith((".pem", ".csv", ".ipynb"))]


def test_image_has_no_secret_in_any_layer_or_its_environment(web_image):
    for path in (*web_image.layers, *web_image.archive.glob("*")):
        assert SECRET.encode() not in path.read_bytes()
    names = {line.partition("=")[0] for line in web_image.config["Env"]}
    assert names == {"PATH", "PORT", "SLIPWAY_CACHE"}
    assert "/run/secrets" not in web_image.files


def test_image_configuration_has_user_command_port_and_revision(web_image):
    config = web_image.config
    assert config["User"] == "10001"
    assert config["Cmd"] == ["gunicorn", "app:app"]
    assert not config["Entrypoint"]
    assert list(config["ExposedPorts"]) == ["8000/tcp"]
    assert "PORT=8000" in config["Env"]
    assert config["Labels"]["org.opencontainers.image.revision"] == SHA


def test_container_predictions_equal_those_of_the_model(served, body, live):
    assert json.loads(answer(f"{served.base}/readyz")) == {"status": "ready"}
    assert json.loads(answer(f"{served.base}/predict", body)) == json.loads(
        live.predict_json(body)[1]
    )
    sample = answer(f"{served.base}/sample.csv")
    lines = (
        answer(f"{served.base}/predict_file?counts=true", sample, "text/csv").decode().splitlines()
    )
    assert lines[-1].startswith(f"# rows={len(lines) - 2} failed=0")
    assert b"slipway_ready 1.0" in answer(f"{served.base}/metrics")


def test_container_serves_all_files_of_its_pages(served):
    for page in ("/", "/apidocs/", "/model"):
        text = answer(f"{served.base}{page}").decode()
        links = {part.split('"')[0] for part in text.replace('src="', 'href="').split('href="')[1:]}
        files = {link for link in links if link.rpartition(".")[2] in ("css", "js", "png", "svg")}
        assert files
        for link in files:
            assert answer(served.base + link)


def test_container_runs_four_unprivileged_workers_on_a_read_only_root(served):
    first = served.first
    assert status(first.pid, "NSpid") == [str(first.pid), "1"]
    assert first.cmdline()[-2:] == ["/opt/slipway/bin/gunicorn", "app:app"]
    for process in (first, *served.workers(4)):
        assert process.uids().real == process.gids().real == 10001
        assert status(process.pid, "CapEff") == ["0" * 16]
    connections = first.net_connections()
    listening = {socket.laddr for socket in connections if socket.status == "LISTEN"}
    assert listening == {("0.0.0.0", int(served.base.rpartition(":")[2]))}
    for place in ("/app", "/opt/slipway", "/etc", "/var/tmp"):
        failed = served.inside("touch", f"{place}/new", user="0")
        assert "Read-only file system" in failed.stderr
    assert served.inside("ls", "/dev/shm", "/tmp").returncode == 0


def test_health_check_fails_only_if_the_service_is_not_ready(web_image, served):
    kind, *words = web_image.config["Healthcheck"]["Test"]
    assert kind == "CMD"
    done = served.inside(*words)
    assert (done.returncode, done.stderr) == (0, "")
    assert served.inside("env", "PORT=9", *words).returncode == 1
    assert served.inside("env", "SCRIPT_NAME=/nowhere", *words).returncode == 1


def test_container_uses_the_given_port_workers_and_user(web_image):
    with container(web_image, user="54321", WEB_CONCURRENCY="2") as running:
        running.wait_until_ready()
        (worker, _) = running.workers(2)
        assert worker.uids().real == 54321


def test_container_stop_finishes_all_accepted_requests(web_image, body):
    with container(web_image) as running, ExitStack() as stack:
        running.wait_until_ready()
        clients = [stack.enter_context(connected(running.base)) for _ in range(20)]
        for client in clients:
            client.sendall(HEAD % len(body) + body[:-1])
        expected = {client.getsockname() for client in clients}
        until(lambda: expected <= clients_of(running.workers(4)), 60)
        running.first.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        for client in clients:
            client.sendall(body[-1:])
        assert all(client.recv(100).startswith(b"HTTP/1.1 200") for client in clients)
        assert running.process.wait(120) == 0


def environment(service, s3_server):
    """Return the environment of a service in compose.yaml, with the tests' S3 server."""
    environ = dict(SERVICES[service]["environment"])
    assert environ.pop("AWS_ENDPOINT_URL") == "http://s3:5000"
    return {**environ, "AWS_ENDPOINT_URL": s3_server}


def test_compose_services_push_the_model_to_a_registry_and_serve_it(
    web_image, s3_server, manifest, body
):
    words = [word.replace("$$", "$") for word in SERVICES["registry"]["command"]]
    # A second `docker compose up` keeps the version in production.
    for _ in range(2):
        with container(web_image, words, **environment("registry", s3_server)) as running:
            assert running.process.wait(120) == 0
    with container(web_image, **environment("web", s3_server)) as running:
        running.wait_until_ready()
        predicted = json.loads(answer(f"{running.base}/predict", body))
        assert predicted["model_version"] == manifest.version
        assert manifest.version in running.inside("ls", "/var/cache/slipway").stdout.split()
        history = running.inside("flask", "model", "history", "--registry=s3://models", "--json")
        assert [entry["who"] for entry in json.loads(history.stdout)] == ["compose"]
        # The service polls the registry again, in a subprocess.
        assert running.inside("flask", "model", "reload").stdout == "requested\n"
        deadline = time.monotonic() + 120
        while (ready := json.loads(answer(f"{running.base}/readyz"))) != {"status": "ready"}:
            assert time.monotonic() < deadline, ready
            time.sleep(0.1)


def test_web_image_with_pickle_engine_reports_the_missing_libraries(web_image, capfd):
    with container(web_image, SLIPWAY_ENGINE="pickle") as running:
        assert running.process.wait(120) == 3
    assert "slipway cannot serve" in capfd.readouterr().err


def test_full_image_with_pickle_engine_predicts(full_image, body, live):
    with container(full_image, SLIPWAY_ENGINE="pickle") as running:
        print(f"ready after {running.wait_until_ready():.1f} s")
        assert json.loads(answer(f"{running.base}/metadata"))["engine"] == "pickle"
        probability = json.loads(answer(f"{running.base}/predict", body))["probability"]
        checked = running.inside("flask", "model", "verify", "--pickle")
    expected = json.loads(live.predict_json(body)[1])["probability"]
    assert probability == pytest.approx(expected, abs=1e-12)
    assert checked.returncode == 0, checked.stderr
