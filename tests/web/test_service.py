"""The service's own addresses, the two WSGI entry points and the commands that start them."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import msgspec
import pytest
from conftest import ROOT, running
from flask import Flask

import slipway
from slipway.core.errors import ModelError
from slipway.core.settings import Settings
from slipway.models.manifest import GoldenRow
from slipway.models.predictor import Predictor
from slipway.web import create_app


def test_livez_returns_alive(client):
    response = client.get("/livez")
    assert (response.status_code, response.json) == (200, {"status": "alive"})


def test_version_returns_model_and_slipway(client, manifest):
    expected = {"model_version": manifest.version, "slipway": slipway.__version__}
    assert client.get("/version").json == expected


def test_metadata_returns_model_description(client, manifest):
    described = client.get("/metadata").json
    assert described["engine"] == "scorecard"
    assert described["version"] == manifest.version
    assert [f["name"] for f in described["signature"]["features"]] == list(manifest.signature.names)
    assert described["evaluations"]["holdout"]["scores"]["model"]["roc_auc"] > 0.72
    assert described["training"]["rows_read"] == 336_776
    assert set(described["libraries"]) >= {"python", "scikit-learn", "numpy"}


def test_readyz_golden_row_not_reproduced_returns_503(settings):
    app = create_app(ROOT, settings)
    client = app.test_client()
    assert (client.get("/readyz").status_code, client.get("/readyz").json) == (
        200,
        {"status": "ready"},
    )
    service = app.extensions["slipway"]
    first = service.model.manifest.golden[0]
    changed_row = GoldenRow(first.record, first.answer / 2)
    changed_manifest = msgspec.structs.replace(service.model.manifest, golden=(changed_row,))
    service.model = Predictor(
        changed_manifest, "scorecard", changed_manifest.scorecard.compile_answers()
    )
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json["status"] == "not ready"
    assert "golden row 1" in response.json["reason"]
    assert client.get("/livez").status_code == 200


@pytest.mark.parametrize("path", ["/livez", "/version", "/metadata", "/readyz", "/apispec_1.json"])
def test_every_response_has_security_headers(client, path):
    headers = client.get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Request-Id"]
    assert "Strict-Transport-Security" not in headers


def test_https_response_has_strict_transport_security(client):
    headers = client.get("/livez", base_url="https://localhost").headers
    assert "max-age" in headers["Strict-Transport-Security"]


def test_app_without_model_starts_only_under_flask_command(tmp_path, monkeypatch):
    settings = Settings(model=tmp_path / "model.pkl")
    with pytest.raises(ModelError):
        create_app(ROOT, settings)
    monkeypatch.setenv("FLASK_RUN_FROM_CLI", "true")
    client = create_app(ROOT, settings).test_client()
    for path in ("/readyz", "/version", "/metadata"):
        response = client.get(path)
        assert (response.status_code, response.json["code"]) == (503, "model_unavailable")
    assert client.post("/predict", json={}).status_code == 503
    assert client.get("/livez").status_code == 200


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SLIPWAY_ENGINE", "magic"),
        ("SLIPWAY_MAX_RECORDS", "0"),
        ("SLIPWAY_MAX_JSON_BYTES", "-1"),
        ("SLIPWAY_MAX_FILE_BYTES", "1e9"),
    ],
)
def test_settings_invalid_value_error_names_variable(name, value):
    with pytest.raises(ValueError, match=name):
        Settings.from_environ(ROOT, {name: value})


def test_settings_are_read_from_environment():
    settings = Settings.from_environ(
        ROOT, {"SLIPWAY_MODEL": "other.pkl", "SLIPWAY_ENGINE": "pickle", "SLIPWAY_MAX_RECORDS": "5"}
    )
    expected = Settings(ROOT / "other.pkl", "pickle", max_records=5, cache=ROOT / ".cache/models")
    assert settings == expected


def test_flask_api_has_api_without_pages():
    code = "from flask_api import app; print(sorted(r.rule for r in app.url_map.iter_rules()))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "'/predict'" in done.stdout
    assert "'/apidocs/'" in done.stdout
    assert "'/model'" not in done.stdout
    from app import app

    assert isinstance(app, Flask)
    assert "/model" in {rule.rule for rule in app.url_map.iter_rules()}


START_COMMANDS = {
    "honcho start web": ["-m", "honcho", "start", "web"],
    "gunicorn app:app": ["-m", "gunicorn", "--workers=4", "--bind", "127.0.0.1:{port}", "app:app"],
    "gunicorn flask_api:app": ["-m", "gunicorn", "--bind", "127.0.0.1:{port}", "flask_api:app"],
    "python app.py": ["app.py"],
    "python flask_api.py": ["flask_api.py"],
    "flask run": ["-m", "flask", "run", "--port", "{port}"],
}


@pytest.mark.slow
@pytest.mark.parametrize("arguments", START_COMMANDS.values(), ids=START_COMMANDS)
def test_start_command_serves_prediction_and_stops(arguments, example, manifest):
    path = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    with running(sys.executable, *arguments, stop=signal.SIGINT, PATH=path) as (base, _):
        request = urllib.request.Request(
            f"{base}/predict", json.dumps(example).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            assert json.load(response)["model_version"] == manifest.version
        with urllib.request.urlopen(f"{base}/apidocs/", timeout=60) as response:
            assert b"swagger-ui" in response.read()


def test_service_forged_script_name_is_ignored(service):
    request = urllib.request.Request(f"{service}/livez", headers={"SCRIPT_NAME": "/x"})
    with urllib.request.urlopen(request, timeout=60) as response:
        assert response.status == 200


def test_service_under_prefix_has_prefixed_links(prefixed):
    page = urllib.request.urlopen(f"{prefixed}/apidocs/", timeout=60).read().decode()
    assert 'data-document="/late/apispec_1.json"' in page
    form = urllib.request.urlopen(f"{prefixed}/", timeout=60).read().decode()
    assert 'href="/late/' in form
    assert 'href="/model' not in form
    document = json.load(urllib.request.urlopen(f"{prefixed}/apispec_1.json", timeout=60))
    assert document["servers"] == [{"url": "."}]
