"""Whether experiments see what they need: exposures, events with the right key, and checks."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from console.doctor.findings import Finding, good, warning, wrong
from console.doctor.settings import spec_findings
from experiments.errors import SpecError
from experiments.language.amounts import format_duration
from guardrails.inspecting import BlindFact, ControlFacts, RunFacts
from guardrails.spec_file import ServerNames, SpecFile, load_spec
from guardrails.words import command, instant
from metrics.catalogue import Catalogue, Kind, KpiDefinition, Trust
from metrics.stores.inspecting import EventCount, StoreFacts

PATIENCE: Final = timedelta(hours=1)
"""So long a new experiment may be without units and events."""

_ENOUGH: Final = 100
"""Units without a single value of a KPI are no accident any more."""

_SENDS = "docs/events.md says what an application sends, and `turnback quarantine` what was refused"
_EXPOSES = "do clients evaluate its flag, or send exposures? docs/clients.md has examples"


def examine_views(
    views: Sequence[Mapping[str, Any]],
    now: datetime | None,
    public: Mapping[str, Sequence[str]] | None = None,
) -> list[Finding]:
    """Return what is amiss with the experiments of a running service, as its API shows them.

    Args:
        views: Of all experiments.
        now: The current instant; ``None`` for a demo, whose clock is moved by hand.
        public: Events by KPI that came with a client key alone and do not count for it.
    """
    running = [view for view in views if view["state"] in {"running", "observing"}]
    findings = [found for view in running for found in _of_view(view, now, public or {})]
    if not findings:
        unmet = [v["key"] for v in running if not any(each["exposed"] for each in v["variants"])]
        words = f"{len(running)} running or observed, all see what they need"
        if unmet:
            words = (
                f"{len(running)} running or observed; of {', '.join(unmet)} nobody was counted yet"
            )
        findings = [good("experiments", words if running else "none is running")]
    return findings


def public_of(
    kpis: Sequence[Mapping[str, Any]], received: Sequence[Mapping[str, Any]]
) -> Mapping[str, Sequence[str]]:
    """Return by KPI which of its events came with a client key alone and do not count for it.

    Args:
        kpis: As the service lists them.
        received: Events by name and kind of key, as the service counted them.
    """
    alone = {each["name"] for each in received if each["client"] and not each["server"]}
    found = {
        kpi["key"]: sorted(alone & set(kpi["events"]))
        for kpi in kpis
        if kpi["trust"] == Trust.SERVER.value
    }
    return {key: events for key, events in found.items() if events}


def _of_view(
    view: Mapping[str, Any], now: datetime | None, public: Mapping[str, Sequence[str]]
) -> Iterable[Finding]:
    key = view["key"]
    untrusted = sorted(public.keys() & {guardrail["kpi"] for guardrail in view["guardrails"]})
    for kpi in untrusted:
        yield _public_key(key, kpi, public[kpi])
    exposed = sum(variant["exposed"] for variant in view["variants"])
    started = _instant(view["started_at"])
    last = _instant(view["last_check_at"])
    at = max((known for known in (now, last) if known is not None), default=None)
    waited = at is not None and started is not None and at - started >= PATIENCE
    if view["state"] == "running" and not exposed and waited and started is not None:
        yield _no_exposures(key, started)
        return
    every = msgspec.convert(view["check_every"], timedelta)
    if last is not None and now is not None and now - last > 3 * every + timedelta(minutes=5):
        due = f"one is due every {format_duration(every)}"
        words = f"{key}: the newest check was {instant(last)}, and {due}"
        yield wrong("experiments", "checks_late", words, "see the service's log and /readyz")
    blind = [g for g in view["guardrails"] if g["outcome"] in {"no_data", "error"}]
    yield from _blind(key, ((g["treatment"], g["words"], g["guardrail"]) for g in blind))
    silent = _without_values(view) if not blind else ()
    for kpi in silent:
        if kpi in untrusted:
            continue
        words = f"{key}: not one unit has a value of {kpi}, though windows have closed"
        yield wrong("events", "events_missing", words, _SENDS)


def _without_values(view: Mapping[str, Any]) -> Sequence[str]:
    """Return guarded KPIs of which units have entered and none has a value."""
    guarded = {guardrail["kpi"] for guardrail in view["guardrails"]}
    units: dict[str, list[int]] = {}
    for kpi in view["kpis"]:
        if kpi["kpi"] in guarded:
            seen = units.setdefault(kpi["kpi"], [0, 0])
            seen[0] += kpi["entered"]
            seen[1] += kpi["units"]
    return [name for name, (entered, having) in units.items() if entered >= _ENOUGH and not having]


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _no_exposures(key: str, started: datetime) -> Finding:
    words = f"{key} runs since {instant(started)}, and no unit ever entered it"
    return wrong("experiments", "no_exposures", words, _EXPOSES)


def examine_runs(
    control: ControlFacts,
    store: StoreFacts | None,
    catalogue: Catalogue,
    names: ServerNames,
) -> list[Finding]:
    """Return what is amiss with the experiments of a service that does not run, from its files."""
    findings: list[Finding] = []
    for run in control.runs:
        file = f"{run.key} ({run.source})" if run.source else run.key
        findings += spec_findings(run.text, file, catalogue, names)
        findings += _of_run(run)
        spec = _spec(run.text, catalogue)
        if spec is not None and store is not None and run.state == "running":
            findings += _of_events(run, spec, store)
    if not findings:
        count = sum(run.state != "draft" for run in control.runs)
        words = f"{count} when the service ended, none was blind" if count else "none was running"
        findings = [good("experiments", words)]
    return findings


def _spec(text: str, catalogue: Catalogue) -> SpecFile | None:
    try:
        return load_spec(text, catalogue=catalogue)
    except SpecError:
        return None


def _of_run(run: RunFacts) -> Iterable[Finding]:
    yield from _blind(run.key, ((b.treatment, _since(b), b.guardrail) for b in run.blind))


def _since(blind: BlindFact) -> str:
    return blind.words + ("" if blind.since is None else f", since {instant(blind.since)}")


def _blind(key: str, found: Iterable[tuple[str, str, str]]) -> Iterable[Finding]:
    """Yield once for all guardrails of a treatment that are blind for the same reason.

    Args:
        key: Of the experiment.
        found: (treatment, reason, guardrail) of each that is blind.
    """
    together: dict[tuple[str, str], list[str]] = {}
    for treatment, why, guardrail in found:
        together.setdefault((treatment, why), []).append(guardrail)
    for (treatment, why), guardrails in together.items():
        words = f"{key}: {', '.join(guardrails)} of {treatment}: {why}"
        yield wrong("experiments", "blind", words, _SENDS)


def _of_events(run: RunFacts, spec: SpecFile, store: StoreFacts) -> Iterable[Finding]:
    """Yield which events of an experiment's guardrails never came, or came with a public key."""
    came = {each.name: each for each in store.lately}
    until = max((at for at in (store.received_at, run.last_check_at) if at), default=None)
    if until is None or until - run.started_at < PATIENCE:
        return
    if "exposure" not in came:
        yield _no_exposures(run.key, run.started_at)
        return
    guarded = {g.kpi for g in spec.guardrails if g.kpi is not None}
    for name in sorted(guarded & set(spec.kpis)):
        yield from _of_kpi(run.key, spec.kpis[name], came)


def _of_kpi(key: str, kpi: KpiDefinition, came: Mapping[str, EventCount]) -> Iterable[Finding]:
    wanted = {measure.event for measure in kpi.measures}
    if not wanted & set(came):
        # of a rare thing, such as a failure, none is good news
        if kpi.kind is Kind.RATIO:
            events = ", ".join(f"`{name}`" for name in sorted(wanted))
            words = f"{key}: of what {kpi.key} is counted from ({events}) nothing came in a day"
            yield wrong("events", "events_missing", words, _SENDS)
        return
    public = [n for n in sorted(wanted & set(came)) if came[n].untrusted and not came[n].trusted]
    if kpi.trust is Trust.SERVER and public:
        yield _public_key(key, kpi.key, public)


def _public_key(key: str, kpi: str, events: Sequence[str]) -> Finding:
    """Return that events came and count nothing: not that they are missing."""
    named = ", ".join(f"`{name}`" for name in events)
    return wrong(
        "events",
        "public_key",
        f"{key}: {named} came with a client key alone, and {kpi} counts none of those: "
        "anybody holds that key",
        "send them from a server, with an ingest key (`turnback keys create NAME --scope ingest`)",
    )


def few_refused(store: StoreFacts) -> Iterable[Finding]:
    """Yield what share of the last day's events was refused, where that is much."""
    refused = sum(store.quarantined.values())
    taken = sum(each.trusted + each.untrusted for each in store.lately)
    if refused * 100 > taken + refused:
        most = next(iter(store.quarantined))
        words = f"{refused:,} of {taken + refused:,} events of a day were refused, most: {most}"
        yield warning("events", "events_refused", words, "`turnback quarantine` says why")


def examine_suspension(told: Mapping[str, Any]) -> Iterable[Finding]:
    """Yield that the engine turns nobody back, where it is suspended.

    Args:
        told: What the service answers at ``/api/v1/suspension``.
    """
    if told["suspended"]:
        off = command("suspend", "--off")
        yield wrong("engine", "suspended", told["words"], f"when whoever did it agrees: {off}")


def examine_received(told: Mapping[str, Any]) -> Iterable[Finding]:
    """Yield what a running service refused since its start, and what it took in vain.

    Args:
        told: What the service answers at ``/api/v1/received``.
    """
    rows: Sequence[Mapping[str, Any]] = told["received"]
    refused = sum(each.get("refused", 0) for each in rows)
    taken = sum(each["server"] + each["client"] for each in rows)
    if refused * 100 > taken + refused:
        most = max(rows, key=lambda each: each.get("refused", 0))["name"] or "no name"
        words = (
            f"{refused:,} of {taken + refused:,} events were refused since the service was "
            f"started, most: {most}"
        )
        yield warning("events", "events_refused", words, "`turnback quarantine` says why")
    for each in told.get("warnings", ()):
        plural = "event" if each["count"] == 1 else "events"
        words = f"{each['count']:,} {plural}: {each['words']}"
        yield warning("events", "events_doubtful", words, "docs/events.md lists what to send")
