"""What Prometheus reads."""

from prometheus_client.parser import text_string_to_metric_families as parsed

import slipway
from slipway.monitoring.prometheus import ModelMetrics
from slipway.serving.rollout.worker_status import WorkerStatus


def samples(text):
    """Give each value by its name and its labels, sorted by their names."""
    found = [sample for family in parsed(text) for sample in family.samples]
    return {(s.name, *(v for _, v in sorted(s.labels.items()))): s.value for s in found}


def test_metrics_of_a_served_file_tell_that_it_is_ready_and_its_version(client, manifest):
    answer = client.get("/metrics")
    assert (answer.status_code, answer.content_type) == (
        200,
        "text/plain; version=0.0.4; charset=utf-8",
    )
    found = samples(answer.text)
    assert found["slipway_ready",] == 1
    assert found["slipway_degraded", ""] == 0
    assert found["slipway_pinned",] == 0
    (served,) = [key for key in found if key[0] == "slipway_model_info"]
    assert served[1:3] == (slipway.__version__, manifest.version)


def test_metrics_count_by_worker_and_give_the_reason():
    rows = [WorkerStatus(7, "a", "", swaps=2), WorkerStatus(8, "b", "", refused=1, polls_failed=3)]
    found = samples(ModelMetrics(None, 'b is refused: "x"\nline', "a", rows).text().decode())
    assert found["slipway_degraded", 'b is refused: "x"\nline'] == 1
    assert found["slipway_pinned",] == 1
    assert found["slipway_model_swaps_total", "7"] == 2
    assert found["slipway_model_refused_total", "8"] == 1
    assert found["slipway_model_polls_failed_total", "8"] == 3
    assert found["slipway_model_info", slipway.__version__, "b", "8"] == 1


def test_metrics_of_a_model_that_answers_wrongly_say_so():
    assert samples(ModelMetrics("golden row 0", "", "", []).text().decode())["slipway_ready",] == 0
