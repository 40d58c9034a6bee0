"""``backtest``: an event file through the engine, and the timeline in words."""

import logging
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from console.commands.specs import catalogue_and_warnings, read_text
from console.output import CommandError, ExitCode, print_json, say, warn
from console.progress import working
from console.tables import add, show, table
from experiments.database import ControlPlane
from guardrails.backtest import BacktestResult, backtest
from guardrails.files import CONTROL, STORE
from guardrails.views import GuardrailView
from guardrails.words import duration
from metrics.catalogue import FieldType, load_catalogue
from metrics.events import Event, EventLimits, Rejection, parse_event
from metrics.importers.files import EventFileError, read_events
from metrics.plant import Plant, PlantError
from metrics.store import StoreError
from metrics.stores import open_store

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_FAR = datetime(9000, 1, 1, tzinfo=UTC)
_SHOWN = 5
_LONGEST = timedelta(days=3_650)
_COLUMNS = ("guardrail", "window", "units", "effect", "interval", "evidence", "outcome")


def run(
    spec: Path,
    events: Path,
    *,
    every: str,
    seed: int | None,
    plant: str | None,
    data: Path | None,
    as_json: bool,
    catalogue: Path | None = None,
) -> None:
    """Replay a file of events and print the timeline and the final table, or one object."""
    interval = _interval(every)
    planted = _plant(plant)
    text = read_text(spec)
    known, _ = catalogue_and_warnings(catalogue)
    with working(f"reading {events.name}", as_json=as_json):
        recorded, rejected = load_events(events, known.events)
    stores = _kept(data) if data is not None else {}
    logging.getLogger("turnback").addHandler(logging.NullHandler())  # the timeline tells it
    try:
        with working("playing it through the engine", as_json=as_json):
            result = backtest(
                text,
                recorded,
                every=interval,
                seed=seed,
                plant=planted,
                source=str(spec),
                catalogue=known,
                **stores,
            )
    except StoreError as error:
        raise CommandError(str(error), code="store") from error
    if as_json:
        print_json({**_plain(result), "rejected": len(rejected)})
        return
    for rejection in rejected[:_SHOWN]:
        warn(f"event {rejection.index}: {rejection.reason}")
    if rejected:
        warn(f"{len(rejected):,} events of {events} were left out")
    _show(result)


def load_events(
    path: Path, schema: Mapping[str, Mapping[str, FieldType]] | None = None
) -> tuple[tuple[Event, ...], tuple[Rejection, ...]]:
    """Return the good events of a file, and why the others are none; of any age.

    Args:
        path: The file.
        schema: Field types of events; those of the built-in catalogue by default.

    Raises:
        CommandError: The file cannot be read at all.
    """
    limits = EventLimits(
        clock_skew=timedelta(0),
        retention=timedelta(days=3_000_000),
        schema=load_catalogue().events if schema is None else schema,
    )
    good: list[Event] = []
    bad: list[Rejection] = []
    try:
        for index, raw in enumerate(read_events(path)):
            at = raw.get("happened_at")
            wire = {**raw, "happened_at": at.isoformat()} if isinstance(at, datetime) else raw
            # an export says which events a public client key sent, as `turnback load` reads it
            trusted = raw.get("trusted", True) is True
            event = parse_event(wire, index=index, now=_FAR, limits=limits, trusted=trusted)
            if isinstance(event, Event):
                good.append(event)
            else:
                bad.append(event)
    except EventFileError as error:
        raise CommandError(str(error), code="event_file") from error
    return tuple(good), tuple(bad)


def _interval(text: str) -> timedelta:
    found = re.fullmatch(r"([0-9]{1,9})\s*([smhd])", text.strip())
    length = timedelta(**{_UNITS[found[2]]: int(found[1])}) if found else timedelta(0)
    if not timedelta(0) < length <= _LONGEST:
        raise CommandError(
            f"--every: {text!r} is no length of time between 1s and {_LONGEST.days}d",
            hint="write it like 1d, 6h or 30m",
            code="usage",
            exit_code=ExitCode.USAGE,
        )
    return length


def _plant(text: str | None) -> Plant | None:
    try:
        return None if text is None else Plant.parse(text)
    except PlantError as error:
        raise CommandError(f"--plant: {error}", code="usage", exit_code=ExitCode.USAGE) from error


def _kept(data: Path) -> dict[str, Any]:
    if data.exists() and any(data.iterdir()):
        raise CommandError(
            f"{data} is not empty", hint="give a new folder with --data", code="not_empty"
        )
    data.mkdir(parents=True, exist_ok=True)
    return {
        "store": open_store(data / STORE),
        "control": ControlPlane(f"sqlite:///{data / CONTROL}"),
    }


def _plain(result: BacktestResult) -> dict[str, Any]:
    names = [name for name in BacktestResult.__dataclass_fields__ if name != "view"]
    body = {name: getattr(result, name) for name in names}
    return {**body, "guardrails": [_numbers(g) for g in result.view.guardrails]}


def _numbers(guardrail: GuardrailView) -> Mapping[str, Any]:
    return {
        "guardrail": guardrail.guardrail,
        "treatment": guardrail.treatment,
        "limit": guardrail.limit,
        "outcome": guardrail.outcome,
        "evidence": guardrail.evidence,
        "words": guardrail.words,
        "windows": guardrail.windows,
    }


def _show(result: BacktestResult) -> None:
    banner = f"*** {result.planted}: what follows is not what happened ***"
    if result.planted:
        say(banner)
    say(
        f"{result.experiment}, seed {result.seed}: {result.events:,} events, "
        f"a check every {duration(result.every)}"
    )
    for moment in result.timeline:
        say(f"{moment.at:%Y-%m-%d %H:%M}  {moment.what.replace('_', ' ')}: {moment.words}")
    say()
    rows = table(*_COLUMNS, whole=("window", "units"), drop=("units",))
    for guardrail in result.view.guardrails:
        for w in guardrail.windows:
            add(
                rows,
                f"{guardrail.guardrail} ({guardrail.treatment})",
                duration(w.window),
                f"{w.units[0]:,} / {w.units[1]:,}",
                _percent(w.effect),
                f"{_percent(w.effect_low)} to {_percent(w.effect_high)}",
                f"{w.evidence:.0%}",
                w.outcome.value.replace("_", " "),
            )
    show(rows)
    say()
    if result.rolled_back and result.at is not None:
        say(f"{result.variant} was turned back on {result.at:%Y-%m-%d %H:%M} for {result.kpi}")
    else:
        say("nothing was turned back")
    if result.planted:
        say(banner)


def _percent(share: float) -> str:
    return "?" if math.isnan(share) else f"{share:+.1%}"
