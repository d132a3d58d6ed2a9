"""Loading of model versions, and rejected ones."""

import msgspec
import numpy as np
import pytest
from conftest import ROOT

from slipway.core.errors import ModelError
from slipway.models.manifest import GoldenRow, read_manifest, write_manifest
from slipway.models.predictor import load_predictor
from slipway.serving.loading import load_model
from slipway.training.packaging.columns import to_records


@pytest.fixture
def copy(tmp_path):
    """Return the path of a copy of the shipped model, which tests may change."""
    for name in ("model.pkl", "model.json"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    return tmp_path / "model.pkl"


def respell(copy, **changes):
    write_manifest(msgspec.structs.replace(read_manifest(copy), **changes), copy)


def test_engines_every_flight_agree(rows, manifest):
    """Compare the engines on the checked records of all 327,346 rows, to 1e-12."""
    records = to_records(rows.X, manifest.signature)
    assert len(records) == 327_346
    ours = load_predictor(ROOT / "model.pkl", "scorecard").score(records)
    theirs = load_predictor(ROOT / "model.pkl", "pickle").score(records)
    assert np.abs(np.array(ours) - np.array(theirs)).max() <= 1e-12


@pytest.mark.parametrize("engine", ["scorecard", "pickle"])
def test_load_shipped_model_uses_the_requested_engine(engine):
    model = load_predictor(ROOT / "model.pkl", engine)
    assert model.engine == engine
    assert model.replay() is None


def test_load_without_scorecard_uses_the_pickle(copy):
    respell(copy, scorecard=None)
    assert load_predictor(copy, "scorecard").engine == "pickle"


def test_load_edited_pickle_is_rejected_before_unpickling(copy):
    # Unpickling this would raise EOFError.
    copy.write_bytes(b"cos\nsystem\n")
    for engine in ("scorecard", "pickle"):
        with pytest.raises(ModelError, match="sha256 differs"):
            load_predictor(copy, engine)


def test_load_missing_pickle_is_rejected(copy):
    copy.unlink()
    with pytest.raises(ModelError, match=r"cannot read model\.pkl"):
        load_predictor(copy, "scorecard")


def test_load_missing_manifest_is_inferred_from_the_pickle(copy, manifest):
    copy.with_suffix(".json").unlink()
    with pytest.raises(ModelError, match=r"cannot read model\.json"):
        load_predictor(copy, "scorecard")
    model = load_model(copy, "scorecard")
    assert model.engine == "scorecard"
    assert model.manifest.signature.names == manifest.signature.names


@pytest.mark.parametrize("content", [b"", b"[]", b'{"name": 1}', b"\xff\xfe"])
def test_load_broken_manifest_is_rejected(copy, content):
    copy.with_suffix(".json").write_bytes(content)
    with pytest.raises(ModelError, match="is not a manifest"):
        load_predictor(copy, "scorecard")


def test_load_other_scikit_learn_version_names_the_fix(copy):
    respell(copy, libraries={"scikit-learn": "1.2.3"})
    with pytest.raises(ModelError, match=r"pip install scikit-learn==1\.2\.3"):
        load_predictor(copy, "pickle")
    # The scorecard engine does not load the pickle.
    assert load_predictor(copy, "scorecard").engine == "scorecard"


def test_load_wrong_golden_prediction_is_rejected(copy):
    first, *others = read_manifest(copy).golden
    wrong = GoldenRow(first.record, first.answer + 1e-9)
    respell(copy, golden=(wrong, *others))
    with pytest.raises(ModelError, match="golden row 1 gives"):
        load_predictor(copy, "scorecard")


def test_load_invalid_golden_row_is_rejected_with_its_field(copy):
    first = read_manifest(copy).golden[0]
    respell(copy, golden=(GoldenRow({**first.record, "seats": -1}, 0.5),))
    with pytest.raises(ModelError, match="golden row 1 is rejected: seats"):
        load_predictor(copy, "scorecard")


def test_golden_rows_contain_missing_values_and_unseen_categories(manifest):
    checked = [manifest.signature.check(row.record) for row in manifest.golden]
    assert not any(errors for _, errors, _ in checked)
    assert any(None in record for record, _, _ in checked)
    assert any(len(warnings) >= 3 for _, _, warnings in checked)
