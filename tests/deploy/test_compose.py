"""Tests of the text of Dockerfile, .dockerignore and compose.yaml; test_image.py runs them."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

COMPOSED = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES = COMPOSED["services"]
OWN_SERVICES = ("web", "registry")
# Defaults for local use only; nothing reachable from outside accepts them.
LOCAL_SECRETS = {"local", "${POSTGRES_PASSWORD:-slipway}"}


def test_dockerfile_passes_hadolint():
    linter = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    assert linter
    done = subprocess.run(
        [linter, "Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_dockerignore_allows_only_listed_files():
    first, *others = [
        line
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if not line.startswith("#")
    ]
    assert first == "*"
    named = {line.removeprefix("!") for line in others if line.startswith("!")}
    assert named == {
        "**/*.py",
        "model.*",
        "requirements.txt",
        "requirements-train.txt",
        "flights",
        "slipway",
        "slipway.toml",
        "templates",
    }


def test_compose_has_the_expected_services():
    assert set(SERVICES) == {*OWN_SERVICES, "s3", "postgres", "prometheus"}


@pytest.mark.parametrize("name", SERVICES)
def test_compose_ports_listen_on_loopback_only(name):
    for port in SERVICES[name].get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\$\{[A-Z0-9_]*PORT:-\d+\}:\d+", port)


@pytest.mark.parametrize("name", [name for name in SERVICES if name not in OWN_SERVICES])
def test_compose_foreign_image_has_a_pinned_version_and_health_check(name):
    assert re.fullmatch(r"[\w/]+:v?\d+\.\d+(\.\d+)?", SERVICES[name]["image"])
    assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"


@pytest.mark.parametrize("name", OWN_SERVICES)
def test_compose_own_service_has_no_privileges_and_a_read_only_root(name):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["tmpfs"] == "/tmp"


def test_compose_services_wait_for_their_dependencies():
    needs = {name: service.get("depends_on", {}) for name, service in SERVICES.items()}
    assert needs["registry"] == {"s3": {"condition": "service_healthy"}}
    assert needs["web"] == {"registry": {"condition": "service_completed_successfully"}}
    assert needs["prometheus"] == {"web": {"condition": "service_healthy"}}
    # The image has the health check of the service; the registry service ends on its own.
    assert "healthcheck" not in SERVICES["web"]
    assert SERVICES["registry"]["healthcheck"] == {"disable": True}


def test_compose_stop_grace_period_exceeds_the_graceful_timeout():
    settings = (ROOT / "slipway" / "web" / "gunicorn_settings.py").read_text()
    (graceful,) = re.findall(r"^graceful_timeout = (\d+)$", settings, re.MULTILINE)
    assert int(SERVICES["web"]["stop_grace_period"].removesuffix("s")) > int(graceful)


def test_compose_secrets_are_local_defaults():
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if re.search("KEY|SECRET|PASSWORD|TOKEN", name):
                assert value in LOCAL_SECRETS


def test_compose_volumes_are_all_used():
    used = {volume for service in SERVICES.values() for volume in service.get("volumes", [])}
    places = {volume.partition(":")[0] for volume in used}
    assert {place for place in places if not place.startswith("./")} == set(COMPOSED["volumes"])
    for place in places:
        assert not place.startswith("./") or (ROOT / place).is_file()


def test_compose_s3_server_has_the_version_of_the_tests():
    pins = (ROOT / "requirements-dev.txt").read_text()
    (version,) = re.findall(r"^moto==(\S+)", pins, re.MULTILINE)
    assert SERVICES["s3"]["image"] == f"motoserver/moto:{version}"


def test_compose_prometheus_scrapes_the_port_of_the_service():
    settings = yaml.safe_load((ROOT / "deploy/compose/prometheus.yml").read_text())
    (job,) = settings["scrape_configs"]
    (target,) = job["static_configs"][0]["targets"]
    name, _, port = target.partition(":")
    assert SERVICES[name]["ports"][0].endswith(f":{port}")
    assert job["metrics_path"] == "/metrics"
