"""How a service's model stands, in the form that Prometheus reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from slipway.core.version import __version__
from slipway.serving.rollout.worker_status import WorkerStatus

# The plain form, which every version of Prometheus reads.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_COUNTS = {
    "swaps": "Versions that a worker has taken in place of another.",
    "refused": "Versions that were refused.",
    "polls_failed": "Times that the registry could not be asked.",
}


class ModelMetrics(Collector):
    """What a service tells of its model.

    Parameters
    ----------
    not_ready, problem, pinned : str
        Why the model cannot serve, why another one serves than should, and the version that
        the machine was told to stay with; each empty where it is not so.
    rows : sequence of Row
        What the workers tell.
    """

    def __init__(
        self, not_ready: str | None, problem: str, pinned: str, rows: Sequence[WorkerStatus]
    ) -> None:
        self._flags = {
            "slipway_ready": ("Whether the model reproduces its golden rows.", not not_ready),
            "slipway_pinned": ("Whether this machine stays with one version.", bool(pinned)),
        }
        self._problem, self._rows = problem, rows

    def collect(self) -> Iterator[Metric]:
        """Give each metric; the library calls this."""
        for name, (meaning, holds) in self._flags.items():
            yield GaugeMetricFamily(name, meaning, value=holds)
        meaning = "Whether another version serves than should, and why."
        degraded = GaugeMetricFamily("slipway_degraded", meaning, labels=["reason"])
        degraded.add_metric([self._problem], bool(self._problem))
        yield degraded
        meaning = "The version that a worker serves."
        labels = ["worker", "version", "slipway"]
        served = GaugeMetricFamily("slipway_model_info", meaning, labels=labels)
        for row in self._rows:
            served.add_metric([str(row.pid), row.version, __version__], 1)
        yield served
        yield from self._counted()

    def _counted(self) -> Iterator[Metric]:
        for field, meaning in _COUNTS.items():
            counted = CounterMetricFamily(f"slipway_model_{field}", meaning, labels=["worker"])
            for row in self._rows:
                counted.add_metric([str(row.pid)], getattr(row, field))
            yield counted

    def text(self) -> bytes:
        """Write it all."""
        registry = CollectorRegistry()
        registry.register(self)
        return generate_latest(registry)
