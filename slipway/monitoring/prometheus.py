"""Metrics of a service in the Prometheus text format."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from slipway.core.version import __version__
from slipway.serving.rollout.worker_status import WorkerStatus

# The text format, which every version of Prometheus reads.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_COUNTER_HELP = {
    "swaps": "Versions that a worker has loaded to replace another.",
    "refused": "Versions that were rejected.",
    "polls_failed": "Polls of the registry that failed.",
}


class ModelMetrics(Collector):
    """Metrics of the served model.

    Parameters
    ----------
    not_ready : str or None
        Why the model is not ready; empty or None if it is.
    problem : str
        Why the served version may not be the current one; empty if it is.
    pinned : str
        The version that the machine is pinned to; empty if it is not pinned.
    workers : sequence of WorkerStatus
    """

    def __init__(
        self, not_ready: str | None, problem: str, pinned: str, workers: Sequence[WorkerStatus]
    ) -> None:
        self._flags = {
            "slipway_ready": ("Whether the model reproduces its golden rows.", not not_ready),
            "slipway_pinned": ("Whether this machine is pinned to a version.", bool(pinned)),
        }
        self._problem, self._workers = problem, workers

    def collect(self) -> Iterator[Metric]:
        """Yield each metric; called by prometheus_client."""
        for name, (meaning, flag) in self._flags.items():
            yield GaugeMetricFamily(name, meaning, value=flag)
        meaning = "Whether the served version may not be the current one, and why."
        degraded = GaugeMetricFamily("slipway_degraded", meaning, labels=["reason"])
        degraded.add_metric([self._problem], bool(self._problem))
        yield degraded
        meaning = "The version that a worker serves."
        labels = ["worker", "version", "slipway"]
        served = GaugeMetricFamily("slipway_model_info", meaning, labels=labels)
        for worker in self._workers:
            served.add_metric([str(worker.pid), worker.version, __version__], 1)
        yield served
        yield from self._counters()

    def _counters(self) -> Iterator[Metric]:
        for field, meaning in _COUNTER_HELP.items():
            counter = CounterMetricFamily(f"slipway_model_{field}", meaning, labels=["worker"])
            for worker in self._workers:
                counter.add_metric([str(worker.pid)], getattr(worker, field))
            yield counter

    def text(self) -> bytes:
        """Return all metrics in the text format."""
        registry = CollectorRegistry()
        registry.register(self)
        return generate_latest(registry)
