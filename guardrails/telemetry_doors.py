"""Prometheus: what comes in from others, and who listens; read when scraped."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from experiments.streaming import Streams

KINDS = ("ofrep", "growthbook")
"""Kinds of streams."""


class DoorCollector(Collector):
    """Alerts that Alertmanager posted, and streams that tell clients of changes.

    Args:
        alerts: Returns how many alerts became what.
        streams: Returns the streams by kind; none before the first request.
    """

    def __init__(
        self,
        alerts: Callable[[], Mapping[str, int]],
        streams: Callable[[], Mapping[str, Streams]],
    ) -> None:
        self._alerts = alerts
        self._streams = streams

    def describe(self) -> Iterable[Metric]:
        """Name nothing in advance."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield every series as it stands now."""
        alerts = CounterMetricFamily(
            "turnback_alerts",
            "Alerts posted by Alertmanager, by what became of them.",
            labels=["result"],
        )
        for result, count in self._alerts().items():
            alerts.add_metric([str(result)], count)
        yield alerts
        opened = GaugeMetricFamily(
            "turnback_streams_open", "Streams that are open, by kind.", labels=["kind"]
        )
        dropped = CounterMetricFamily(
            "turnback_streams_dropped",
            "Streams cut off because their clients did not read, by kind.",
            labels=["kind"],
        )
        streams = self._streams()
        for kind in KINDS:
            found = streams.get(kind)
            opened.add_metric([kind], 0 if found is None else found.open)
            dropped.add_metric([kind], 0 if found is None else found.dropped)
        yield opened
        yield dropped
