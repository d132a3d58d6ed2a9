"""Every classifier and regressor of scikit-learn, saved, loaded and compared in four ways."""

import pytest
from estimators_page import CLASSES, PAGE, fitted, page, tried
from own_models import Served, hold, serve


@pytest.fixture(scope="module")
def results():
    return {}


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_estimator_predicts_as_the_model_or_is_rejected_with_a_reason(tmp_path, results, name):
    model, X, _ = fitted(name)
    results[name] = tried(name, tmp_path)
    if results[name].manifest is None:
        assert len(results[name].reason.split()) > 4
        assert not (tmp_path / "model.pkl").exists()
    else:
        hold(Served(model, serve(tmp_path / "model.pkl")), X.head(8))


def test_page_of_estimators_matches_the_results_of_save(results, tmp_path):
    for name in sorted(CLASSES):
        if name not in results:
            results[name] = tried(name, tmp_path)
    ordered = {name: results[name] for name in sorted(CLASSES)}
    assert PAGE.read_text() == page(ordered), (
        "run PYTHONPATH=. python tests/helpers/estimators_page.py"
    )
