"""Every classifier and regressor of scikit-learn, saved, loaded and compared in four ways."""

import pytest
from estimators_page import CLASSES, PAGE, fitted, render_page, try_to_save
from own_models import Served, assert_same_predictions, serve


@pytest.fixture(scope="module")
def results():
    return {}


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_estimator_predicts_as_the_model_or_is_rejected_with_a_reason(tmp_path, results, name):
    model, X, _ = fitted(name)
    results[name] = try_to_save(name, tmp_path)
    if results[name].manifest is None:
        assert len(results[name].reason.split()) > 4
        assert not (tmp_path / "model.pkl").exists()
    else:
        assert_same_predictions(Served(model, serve(tmp_path / "model.pkl")), X.head(8))


def test_page_of_estimators_matches_the_results_of_save(results, tmp_path):
    for name in sorted(CLASSES):
        if name not in results:
            results[name] = try_to_save(name, tmp_path)
    ordered = {name: results[name] for name in sorted(CLASSES)}
    assert PAGE.read_text() == render_page(ordered), (
        "run PYTHONPATH=. python tests/helpers/estimators_page.py"
    )
