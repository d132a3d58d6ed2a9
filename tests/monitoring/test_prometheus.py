"""Test the metrics in the Prometheus text format."""

from prometheus_client.parser import text_string_to_metric_families as parsed

import slipway
from slipway.monitoring.prometheus import ModelMetrics
from slipway.serving.rollout.worker_status import WorkerStatus


def samples(text):
    """Return each value by its name and its labels, sorted by their names."""
    values = [sample for family in parsed(text) for sample in family.samples]
    return {(s.name, *(v for _, v in sorted(s.labels.items()))): s.value for s in values}


def test_metrics_served_file_reports_ready_and_version(client, manifest):
    response = client.get("/metrics")
    assert (response.status_code, response.content_type) == (
        200,
        "text/plain; version=0.0.4; charset=utf-8",
    )
    values = samples(response.text)
    assert values["slipway_ready",] == 1
    assert values["slipway_degraded", ""] == 0
    assert values["slipway_pinned",] == 0
    (served,) = [key for key in values if key[0] == "slipway_model_info"]
    assert served[1:3] == (slipway.__version__, manifest.version)


def test_metrics_workers_have_counters_and_degraded_has_reason():
    workers = [
        WorkerStatus(7, "a", "", swaps=2),
        WorkerStatus(8, "b", "", refused=1, polls_failed=3),
    ]
    values = samples(ModelMetrics(None, 'b is refused: "x"\nline', "a", workers).text().decode())
    assert values["slipway_degraded", 'b is refused: "x"\nline'] == 1
    assert values["slipway_pinned",] == 1
    assert values["slipway_model_swaps_total", "7"] == 2
    assert values["slipway_model_refused_total", "8"] == 1
    assert values["slipway_model_polls_failed_total", "8"] == 3
    assert values["slipway_model_info", slipway.__version__, "b", "8"] == 1


def test_metrics_failed_golden_row_reports_not_ready():
    assert samples(ModelMetrics("golden row 0", "", "", []).text().decode())["slipway_ready",] == 0
