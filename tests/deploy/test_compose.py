"""What the Dockerfile, its list of files and compose.yaml say; test_image.py runs them."""

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
OURS = ("web", "registry")
# Those of this machine alone, which open nothing that is reached from outside.
LOCAL_SECRETS = {"local", "${POSTGRES_PASSWORD:-slipway}"}


def test_dockerfile_has_nothing_that_hadolint_warns_of():
    linter = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    assert linter
    done = subprocess.run(
        [linter, "Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_builder_gets_only_what_is_named():
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


def test_composed_services_are_the_service_and_what_stands_around_it():
    assert set(SERVICES) == {*OURS, "s3", "postgres", "prometheus"}


@pytest.mark.parametrize("name", SERVICES)
def test_composed_ports_are_open_to_this_machine_alone(name):
    for port in SERVICES[name].get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\$\{[A-Z0-9_]*PORT:-\d+\}:\d+", port)


@pytest.mark.parametrize("name", [name for name in SERVICES if name not in OURS])
def test_composed_image_of_others_is_one_version_with_a_health_check(name):
    assert re.fullmatch(r"[\w/]+:v?\d+\.\d+(\.\d+)?", SERVICES[name]["image"])
    assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"


@pytest.mark.parametrize("name", OURS)
def test_composed_service_of_ours_has_no_rights_and_writes_to_memory_alone(name):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["tmpfs"] == "/tmp"


def test_composed_services_wait_for_what_they_need():
    needs = {name: service.get("depends_on", {}) for name, service in SERVICES.items()}
    assert needs["registry"] == {"s3": {"condition": "service_healthy"}}
    assert needs["web"] == {"registry": {"condition": "service_completed_successfully"}}
    assert needs["prometheus"] == {"web": {"condition": "service_healthy"}}
    # The image brings the health check of the service; the other one ends by itself.
    assert "healthcheck" not in SERVICES["web"]
    assert SERVICES["registry"]["healthcheck"] == {"disable": True}


def test_composed_service_may_finish_before_it_is_killed():
    settings = (ROOT / "slipway" / "web" / "gunicorn_settings.py").read_text()
    (graceful,) = re.findall(r"^graceful_timeout = (\d+)$", settings, re.MULTILINE)
    assert int(SERVICES["web"]["stop_grace_period"].removesuffix("s")) > int(graceful)


def test_composed_secrets_are_of_this_machine_alone():
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if re.search("KEY|SECRET|PASSWORD|TOKEN", name):
                assert value in LOCAL_SECRETS


def test_composed_volumes_are_those_that_services_use():
    used = {volume for service in SERVICES.values() for volume in service.get("volumes", [])}
    places = {volume.partition(":")[0] for volume in used}
    assert {place for place in places if not place.startswith("./")} == set(COMPOSED["volumes"])
    for place in places:
        assert not place.startswith("./") or (ROOT / place).is_file()


def test_s3_server_is_the_one_that_the_tests_ask():
    pins = (ROOT / "requirements-dev.txt").read_text()
    (version,) = re.findall(r"^moto==(\S+)", pins, re.MULTILINE)
    assert SERVICES["s3"]["image"] == f"motoserver/moto:{version}"


def test_prometheus_asks_the_service_at_its_port():
    settings = yaml.safe_load((ROOT / "deploy/compose/prometheus.yml").read_text())
    (job,) = settings["scrape_configs"]
    (target,) = job["static_configs"][0]["targets"]
    name, _, port = target.partition(":")
    assert SERVICES[name]["ports"][0].endswith(f":{port}")
    assert job["metrics_path"] == "/metrics"
