"""The model: its golden rows by every way to send a record, and its files."""

import json

from conftest import ROOT

from slipway.cli.main import main
from slipway.serving.start_check import check_start


def test_golden_rows_by_json_array_form_and_file_give_the_predictions_of_the_pipeline(app):
    check_start(ROOT / "model.pkl")


def test_files_of_the_model_pass_the_release_check(monkeypatch):
    monkeypatch.chdir(ROOT)
    main(["model", "verify"], standalone_mode=False)


def test_request_of_the_readme_gets_its_response(client):
    blocks = (ROOT / "README.md").read_text(encoding="utf-8").split("```")
    request = next(block for block in blocks if "curl" in block)
    body = request[request.index("-d '") + 3 :].strip().strip("'")
    response = next(block for block in blocks if block.startswith("json\n"))
    answer = client.post("/predict", data=body, content_type="application/json")
    assert answer.status_code == 200
    assert answer.get_json() == json.loads(response.removeprefix("json\n"))


def test_unknown_field_is_rejected_by_name(client, example):
    answer = client.post("/predict", json={**example, "no such field": 1})
    assert answer.status_code == 422
    assert answer.get_json()["errors"][0]["field"] == "no such field"
