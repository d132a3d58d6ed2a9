"""Templates of a project that override those of the package."""

import shutil

import pytest
from conftest import ROOT

from slipway.core.settings import Settings
from slipway.web import create_app
from slipway.web.app import TEMPLATES


@pytest.fixture
def project(tmp_path):
    """Return a folder with a model only."""
    for file in ROOT.glob("model.*"):
        shutil.copy(file, tmp_path)
    return tmp_path


def form_page(project):
    response = create_app(project, Settings(model=project / "model.pkl")).test_client().get("/")
    assert response.status_code == 200
    return response.text


def test_introduction_of_flights_is_on_first_page(client):
    assert "336,776 flights" in client.get("/").text


def test_introduction_of_flights_other_model_is_absent(tmp_path, project):
    manifest = project / "model.json"
    manifest.write_text(manifest.read_text().replace('"name": "flights"', '"name": "churn"'))
    shutil.copytree(ROOT / "templates", project / "templates")
    assert "336,776 flights" not in form_page(project)


def test_form_without_project_templates_is_from_package(project):
    page = form_page(project)
    assert "336,776 flights" not in page
    assert 'action="' in page


@pytest.mark.parametrize("name", sorted(path.name for path in TEMPLATES.glob("*.html")))
def test_template_of_project_overrides_package(project, name):
    (project / "templates").mkdir()
    text = f"{{% extends 'slipway/{name}' %}}" if name != "base.html" else "own base"
    (project / "templates" / name).write_text(f"{text}<!-- overridden -->")
    app = create_app(project, Settings(model=project / "model.pkl"))
    _, file, _ = app.jinja_loader.get_source(app.jinja_env, name)
    assert file == str(project / "templates" / name)


def test_template_of_project_extends_overridden_template(project):
    (project / "templates").mkdir()
    (project / "templates" / "base.html").write_text(
        "{% extends 'slipway/base.html' %}{% block main %}<p>ours</p>{{ super() }}{% endblock %}"
    )
    page = form_page(project)
    assert "<nav" in page
    assert 'action="' in page


def test_static_files_are_from_package(project):
    client = create_app(project, Settings(model=project / "model.pkl")).test_client()
    assert client.get("/static/slipway.css").status_code == 200
