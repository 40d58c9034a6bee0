"""Prometheus: states are read when scraped, events of the engine are counted as they happen."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate
from threading import Lock

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from experiments.lifecycle import OVER, State
from guardrails.build import build_version
from guardrails.outbox_rows import Tally
from guardrails.outcome import Outcome
from guardrails.views import CheckReport, ExperimentView, GuardrailView, KpiView

STATES = tuple(state.value for state in State)
ENDED = frozenset(state.value for state in OVER)
KEEP_ENDED = timedelta(hours=24)
"""An ended experiment's state and rollbacks stay this long, so that alerts on them can fire."""

CHECK_RESULTS = ("ok", "error", "taken")
CHECK_SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
DELIVERIES = ("delivered", "retry", "given_up")
NAN = float("nan")


@dataclass(frozen=True, slots=True)
class Intake:
    """How events fare: read when scraped.

    Attributes:
        accepted: Events made durable so far.
        duplicate: Events that were there already.
        quarantined: Events refused and kept.
        refused: Requests refused as a whole.
        waiting: Events that wait to be written.
        exposures_waiting: First exposures that wait to be written.
        exposures_failed: Failed writes of exposures; they are tried again.
        evaluations: Evaluations answered.
    """

    accepted: int
    duplicate: int
    quarantined: int
    refused: int
    waiting: int
    exposures_waiting: int
    exposures_failed: int
    evaluations: int


class EngineMetrics(Collector):
    """Counts checks and notifications as the engine reports them: an `EngineHook`.

    Args:
        channels: Names of the channels, so that their series exist from the start.
    """

    def __init__(self, channels: Iterable[str] = ("log",)) -> None:
        self._lock = Lock()
        self._checks: Counter[str] = Counter(dict.fromkeys(CHECK_RESULTS, 0))
        self._told: Counter[tuple[str, str]] = Counter(
            {(c, result): 0 for c in channels for result in DELIVERIES}
        )
        self._buckets = [0] * (len(CHECK_SECONDS) + 1)
        self._seconds = 0.0
        self._rang = NAN
        self._missed = 0

    def rang(self, at: datetime) -> None:
        """Note that the engine has looked at what is due, whatever it found."""
        with self._lock:
            self._rang = at.timestamp()

    def on_check(self, report: CheckReport) -> None:
        """Count one check."""
        with self._lock:
            self._checks[report.result] += 1
            self._buckets[bisect_left(CHECK_SECONDS, report.seconds)] += 1
            self._seconds += report.seconds
            self._missed += report.missed

    def on_notification(self, channel: str, result: str) -> None:
        """Count one try to deliver."""
        with self._lock:
            self._told[channel, result] += 1

    def describe(self) -> Iterable[Metric]:
        """Name nothing in advance."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield what was counted so far."""
        with self._lock:
            checks, told = dict(self._checks), dict(self._told)
            cumulative = list(accumulate(self._buckets))
            seconds, missed, rang = self._seconds, self._missed, self._rang
        yield _gauge(
            "turnback_last_ring_timestamp_seconds",
            "Newest instant at which the engine looked at what is due; NaN before the first.",
            rang,
        )
        total = CounterMetricFamily("turnback_checks", "Checks run, by result.", labels=["result"])
        for result, count in checks.items():
            total.add_metric([result], count)
        yield total
        yield _counter("turnback_checks_missed", "Checks that were due while nothing ran.", missed)
        edges = [*(str(edge) for edge in CHECK_SECONDS), "+Inf"]
        yield HistogramMetricFamily(
            "turnback_check_duration_seconds",
            "Duration of one check of one experiment.",
            buckets=list(zip(edges, cumulative, strict=True)),
            sum_value=seconds,
        )
        tries = CounterMetricFamily(
            "turnback_notifications",
            "Tries to deliver a message, by channel and result.",
            labels=["channel", "result"],
        )
        for labels, count in told.items():
            tries.add_metric(list(labels), count)
        yield tries


class StateCollector(Collector):
    """Turns the engine's view objects into series whenever it is scraped.

    Undefined numbers are ``NaN``, never 0. Labels name experiments, variants, KPIs and
    guardrails, never units. Series of an ended experiment disappear: those of its traffic,
    KPIs and guardrails at once, its state and rollbacks after a day.

    Args:
        experiments: Returns every experiment.
        intake: Returns how events fare.
        now: The clock.
        suspended: Returns whether the engine acts on nothing.
        config_valid: Whether the newest file sent and the whole followed folder are good.
        messages: Returns how the messages of every channel fare.
    """

    def __init__(
        self,
        *,
        experiments: Callable[[], tuple[ExperimentView, ...]],
        intake: Callable[[], Intake],
        now: Callable[[], datetime],
        suspended: Callable[[], bool],
        config_valid: Callable[[], bool],
        messages: Callable[[], Mapping[str, Tally]] = dict,
    ) -> None:
        self._experiments = experiments
        self._intake = intake
        self._now = now
        self._suspended = suspended
        self._config_valid = config_valid
        self._messages = messages

    def describe(self) -> Iterable[Metric]:
        """Name nothing in advance: registration must not read the engine."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield every series as it stands now."""
        now = self._now()
        views = [v for v in self._experiments() if not _forgotten(v, now)]
        live = [v for v in views if v.state not in ENDED]
        yield from _states(views)
        yield from _traffic(live)
        yield from _kpis(live)
        yield from _guardrails(live)
        yield from _blind(live, now)
        yield from _rollbacks(views)
        yield _gauge(
            "turnback_clock_behind_seconds",
            "How far the clock is behind the newest check: it was set back; 0 while it is not.",
            max([0.0, *((v.last_check_at - now).total_seconds() for v in live if v.last_check_at)]),
        )
        yield from _messages(self._messages())
        yield from self._service()

    def _service(self) -> Iterator[Metric]:
        intake = self._intake()
        events = CounterMetricFamily(
            "turnback_events",
            "Events received, by result; refused counts whole requests.",
            labels=["result"],
        )
        for result in ("accepted", "duplicate", "quarantined", "refused"):
            events.add_metric([result], getattr(intake, result))
        yield events
        yield _counter("turnback_evaluations", "Flags evaluated over HTTP.", intake.evaluations)
        yield _gauge(
            "turnback_ingest_queue_events", "Events waiting to be written.", intake.waiting
        )
        yield _gauge(
            "turnback_exposure_buffer_events",
            "First exposures waiting to be written.",
            intake.exposures_waiting,
        )
        yield _counter(
            "turnback_exposure_write_failures",
            "Failed writes of first exposures; they are tried again.",
            intake.exposures_failed,
        )
        yield _gauge(
            "turnback_config_valid",
            "1 when the newest spec file sent and the followed folder are good and in force.",
            self._config_valid(),
        )
        yield _gauge("turnback_suspended", "1 while the engine acts on nothing.", self._suspended())
        yield InfoMetricFamily(
            "turnback_build", "Version of the service.", value={"version": build_version()}
        )


def _messages(tallies: Mapping[str, Tally]) -> Iterator[Metric]:
    waiting = GaugeMetricFamily(
        "turnback_notifications_waiting",
        "Messages of a channel that are neither delivered nor given up.",
        labels=["channel"],
    )
    given_up = GaugeMetricFamily(
        "turnback_notifications_given_up",
        "Messages of a channel given up within a day.",
        labels=["channel"],
    )
    for channel, tally in tallies.items():
        waiting.add_metric([channel], tally.waiting)
        given_up.add_metric([channel], tally.given_up)
    yield waiting
    yield given_up


def exposition(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """Return every series as Prometheus' text, or OpenMetrics where asked for, and its type."""
    encode, media_type = choose_encoder(accept)
    return encode(registry), media_type


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)


def _counter(name: str, text: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(name, text, value=value)


def _forgotten(view: ExperimentView, now: datetime) -> bool:
    if view.state not in ENDED:
        return False
    ended = max((t.at for t in view.transitions), default=view.started_at)
    return ended is not None and now - ended >= KEEP_ENDED


def _states(views: list[ExperimentView]) -> Iterator[Metric]:
    state = GaugeMetricFamily(
        "turnback_experiment_state",
        "1 for the state an experiment is in.",
        labels=["experiment", "state"],
    )
    checked = GaugeMetricFamily(
        "turnback_last_check_timestamp_seconds",
        "Instant of the newest check; NaN before the first.",
        labels=["experiment"],
    )
    every = GaugeMetricFamily(
        "turnback_check_interval_seconds", "Time between two checks.", labels=["experiment"]
    )
    for view in views:
        for name in dict.fromkeys((*STATES, view.state)):
            state.add_metric([view.key, name], float(view.state == name))
        at = view.last_check_at
        if view.state not in ENDED:
            checked.add_metric([view.key], NAN if at is None else at.timestamp())
            every.add_metric([view.key], view.check_every.total_seconds())
    yield state
    yield checked
    yield every


def _traffic(views: list[ExperimentView]) -> Iterator[Metric]:
    labels = ["experiment", "variant"]
    share = GaugeMetricFamily(
        "turnback_variant_share_ratio",
        "Share of all units that a variant is served to now.",
        labels=labels,
    )
    exposures = CounterMetricFamily(
        "turnback_exposures", "Units first exposed to a variant so far.", labels=labels
    )
    for view in views:
        for variant in view.variants:
            share.add_metric([view.key, variant.name], variant.share)
            exposures.add_metric([view.key, variant.name], variant.exposed)
    yield share
    yield exposures


def _kpis(views: list[ExperimentView]) -> Iterator[Metric]:
    labels = ["experiment", "variant", "kpi"]
    value = GaugeMetricFamily(
        "turnback_kpi_value",
        "KPI of a variant over its shortest window; NaN without data.",
        labels=labels,
    )
    units = GaugeMetricFamily(
        "turnback_kpi_units", "Units with a value over that window.", labels=labels
    )
    for view in views:
        for (variant, kpi), shown in _shortest(view.kpis).items():
            value.add_metric([view.key, variant, kpi], NAN if shown.value is None else shown.value)
            units.add_metric([view.key, variant, kpi], shown.units)
    yield value
    yield units


def _shortest(kpis: Iterable[KpiView]) -> dict[tuple[str, str], KpiView]:
    """Return the shortest window of every variant and KPI: the one that says something first."""
    found: dict[tuple[str, str], KpiView] = {}
    for kpi in kpis:
        held = found.get((kpi.variant, kpi.kpi))
        if held is None or kpi.window < held.window:
            found[kpi.variant, kpi.kpi] = kpi
    return found


def _guardrails(views: list[ExperimentView]) -> Iterator[Metric]:
    labels = ["experiment", "variant", "guardrail"]
    outcome = GaugeMetricFamily(
        "turnback_guardrail_outcome",
        "1 for the outcome of the newest check.",
        labels=[*labels, "outcome"],
    )
    evidence = GaugeMetricFamily(
        "turnback_guardrail_evidence_ratio",
        "Evidence of harm against what is needed; 1 or more is a breach, NaN before a check.",
        labels=labels,
    )
    for view in views:
        for guardrail in view.guardrails:
            names = [view.key, guardrail.treatment, guardrail.guardrail]
            for name in Outcome:
                outcome.add_metric([*names, name.value], float(guardrail.outcome is name))
            evidence.add_metric(names, _evidence(guardrail))
    yield outcome
    yield evidence


def _blind(views: list[ExperimentView], now: datetime) -> Iterator[Metric]:
    family = GaugeMetricFamily(
        "turnback_guardrail_blind_seconds",
        "How long the engine has not seen a guardrail of any treatment; 0 while it does.",
        labels=["experiment", "guardrail"],
    )
    for view in views:
        longest: dict[str, float] = {}
        for guardrail in view.guardrails:
            since = guardrail.blind_since
            seconds = 0.0 if since is None else max(0.0, (now - since).total_seconds())
            longest[guardrail.guardrail] = max(seconds, longest.get(guardrail.guardrail, 0.0))
        for name, seconds in longest.items():
            family.add_metric([view.key, name], seconds)
    yield family


def _evidence(guardrail: GuardrailView) -> float:
    return NAN if guardrail.outcome is None else guardrail.evidence


def _rollbacks(views: list[ExperimentView]) -> Iterator[Metric]:
    labels = ["experiment", "variant"]
    total = CounterMetricFamily(
        "turnback_rollbacks", "Times a treatment was turned back.", labels=labels
    )
    effective = GaugeMetricFamily(
        "turnback_rollback_effective",
        "1 when clients follow the newest rollback, 0 when not, NaN until it is verified.",
        labels=labels,
    )
    for view in views:
        counts = {v.name: 0 for v in view.variants if v.state != "control"}
        for transition in view.transitions:
            if transition.after == "rolled_back" and transition.variant is not None:
                counts[transition.variant] = counts.get(transition.variant, 0) + 1
        for variant, count in counts.items():
            total.add_metric([view.key, variant], count)
        for rollback in view.rollbacks:
            known = NAN if rollback.effective is None else float(rollback.effective)
            effective.add_metric([view.key, rollback.variant], known)
    yield total
    yield effective
