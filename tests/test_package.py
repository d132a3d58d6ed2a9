"""The package as a user gets it: built, installed, and used in an empty folder."""

import os
import pickle
import subprocess
import sys
import tarfile
import time
import venv
import zipfile

import pytest
import requests
from conftest import ROOT, free_port, wait_for

from slipway.core.version import __version__

pytest_plugins = ["churn_model"]


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """The folder of the sdist and the wheel."""
    folder = tmp_path_factory.mktemp("dist")
    source = folder / "source"
    files = subprocess.check_output(["git", "-c", "safe.directory=*", "ls-files", "-z"], cwd=ROOT)
    for name in files.decode().split("\0")[:-1]:
        if name.startswith(("slipway/", "pyproject.toml", "README.md", "LICENSE")):
            target = source / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    command = [f"{sys.prefix}/bin/uv", "build", "--quiet", "--out-dir", str(folder / "dist")]
    subprocess.run(command, cwd=source, check=True)
    return folder / "dist"


@pytest.fixture(scope="module")
def environment(dist, tmp_path_factory):
    """An environment with nothing but the wheel, and scikit-learn, which its user has."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--find-links", dist]
    began = time.monotonic()
    subprocess.run([*pip, f"slipway-ml=={__version__}"], check=True)
    print(f"installed in {time.monotonic() - began:.0f} s")
    installed = {path.name for path in folder.glob("lib/python*/site-packages/*")}
    assert not installed & {"sklearn", "pandas", "numpy", "scipy"}
    versions = (ROOT / "requirements-train.txt").read_text().splitlines()
    pins = [line.split()[0] for line in versions if line.startswith(("scikit-learn==", "pandas=="))]
    subprocess.run([*pip, *pins], check=True)
    return folder / "bin"


@pytest.fixture
def folder(tmp_path, own_pipeline, customers):
    X, y = customers
    (tmp_path / "fitted.pkl").write_bytes(pickle.dumps(own_pipeline))
    X.assign(churned=y).to_csv(tmp_path / "train.csv", index=False)
    return tmp_path


def clean_environ(folder, **settings):
    """An environment without this checkout."""
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("SLIPWAY_", "PYTHON"))}
    return kept | {"SLIPWAY_CACHE": str(folder / "cache")} | settings


@pytest.mark.slow
def test_wheel_and_sdist_hold_what_the_package_reads(dist):
    (wheel,) = dist.glob("slipway_ml-*.whl")
    (sdist,) = dist.glob("slipway_ml-*.tar.gz")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "slipway/serving/service.py",
        "slipway/web/gunicorn_settings.py",
        "slipway/web/specs/predict.yml",
        "slipway/web/static/slipway.css",
        "slipway/web/templates/flasgger/index.html",
        "slipway/reports/html/templates/report.css",
        "slipway/cli/project_template/deploy/aws/stack.yaml",
        "slipway/cli/project_template/dot_github/workflows/main.yaml",
        "slipway/cli/starter.ipynb",
    } <= names
    assert not any(name.startswith(("tests/", "flights/")) for name in names)
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert names - {n for n in names if ".dist-info/" in n} <= inside


@pytest.mark.slow
def test_wheel_serves_a_model_from_an_empty_folder(environment, folder, own_pipeline, customers):
    port = free_port()
    words = ["serve", "fitted.pkl", "--data=train.csv", "--target=churned", f"--port={port}"]
    process = subprocess.Popen(
        [environment / "slipway", *words], cwd=folder, env=clean_environ(folder)
    )
    base = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{base}/livez", process)
        record = customers[0].iloc[0].to_dict()
        answer = requests.post(f"{base}/predict", json=record, timeout=30).json()
        for page in ("/", "/file", "/model", "/apidocs/", "/static/slipway.css", "/metrics"):
            assert requests.get(base + page, timeout=30).status_code == 200
    finally:
        process.terminate()
        process.wait(60)
    expected = own_pipeline.predict_proba(customers[0].iloc[:1])[0, 1]
    assert answer["probability"] == pytest.approx(expected, abs=1e-12)


@pytest.mark.slow
def test_wheel_project_is_green_with_what_it_installs_itself(environment, dist, folder):
    words = ["new", "churn", "--model=fitted.pkl", "--data=train.csv", "--target=churned"]
    environ = clean_environ(folder, PIP_FIND_LINKS=str(dist))
    subprocess.run([environment / "slipway", *words], cwd=folder, env=environ, check=True)
    make = ["make", "test", f"PYTHON={sys.executable}"]
    done = subprocess.run(
        make, cwd=folder / "churn", env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout
    site = folder / "churn" / ".venv"
    assert not list(site.glob("lib/python*/site-packages/sklearn"))
    done = subprocess.run(
        [site / "bin" / "flask", "model", "verify"],
        cwd=folder / "churn",
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    update = subprocess.run(
        ["make", "update"], cwd=folder / "churn", env=environ, capture_output=True, check=True
    )
    assert b"nothing to update" in update.stdout
