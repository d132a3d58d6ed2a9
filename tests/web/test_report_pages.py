"""The report as a page and as a command, and the learning curve on the model page."""

import re
import shutil

import pytest
from conftest import ROOT
from reports import ParsedPage, ids, write_shipped
from versions import TABLE, run, with_terms

from slipway.cli import add_commands
from slipway.core.settings import Settings
from slipway.models.manifest import write_manifest
from slipway.reports.html import report_path
from slipway.web import create_app


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """Return the path and the manifest of the shipped model with a report."""
    return write_shipped(tmp_path_factory.mktemp("shipped"))


@pytest.fixture(scope="module")
def app(shipped):
    return add_commands(create_app(ROOT, Settings(model=shipped[0])))


def test_model_page_links_report_and_draws_learning_curve(app):
    client = app.test_client()
    page = ParsedPage(client.get("/model").text)
    assert "/model/report" in [attrs.get("href") for _, attrs in page.tags]
    assert {"learning", "learning-log-loss-title", "learning-roc-desc"} <= ids(page)
    assert "30,000 rows are enough" in page.text


def test_model_report_has_security_headers(app, shipped):
    response = app.test_client().get("/model/report")
    assert response.status_code == 200
    assert response.mimetype == "text/html"
    assert response.data == report_path(shipped[0]).read_bytes()
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]


def test_model_page_without_report_has_no_link(shipped, tmp_path):
    path, _ = shipped
    for name in ("model.pkl", "model.json"):
        shutil.copy(path.with_name(name), tmp_path / name)
    client = create_app(ROOT, Settings(model=tmp_path / "model.pkl")).test_client()
    assert "/model/report" not in client.get("/model").text
    assert client.get("/model/report").status_code == 404


def test_model_report_command_overwrites_report(app, shipped, tmp_path):
    path, manifest = shipped
    previous = with_terms(TABLE)
    write_manifest(previous, tmp_path / "model.pkl")
    report_path(path).unlink()
    done = run(app, "report")
    assert done.output == f"wrote report.html: {manifest.version}\n"
    alone = report_path(path).read_bytes()
    assert run(app, "report", path, "--previous", tmp_path / "model.pkl").exit_code == 0
    assert "Changes since the previous version" in report_path(path).read_text()
    assert "Changes since the previous version" not in alone.decode()


def test_model_report_command_without_manifest_fails(app, tmp_path):
    done = run(app, "report", tmp_path / "model.pkl")
    assert done.exit_code == 1
    assert "cannot read model.json" in done.output


def test_card_has_recommendation_of_learning_curve(app):
    done = run(app, "show")
    assert re.search(r"rows_recommended +30000", done.output)
    assert "LearningPoint" not in done.output
