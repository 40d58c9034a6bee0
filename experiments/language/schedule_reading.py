"""When an experiment starts, grows and ends: `starts`, `ramp`, `freeze` and `ends` of a file."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from experiments.errors import Severity
from experiments.language.amounts import Amount, format_duration, format_percent
from experiments.language.freeze_reading import freezes_are_times
from experiments.language.instants import INSTANT_EXAMPLE, format_instant, instant_type
from experiments.language.reading import (
    Item,
    Key,
    Record,
    ValueType,
    list_type,
    read_record,
    record_schema,
)
from experiments.language.types import (
    MAX_DURATION,
    choice_type,
    duration_type,
    flag_type,
    integer_type,
    percent_type,
)
from experiments.spec import MANUAL, Advance, Ends, Mode, RampStep

MAX_STEPS: Final = 50
SHORTEST_RUN: Final = timedelta(hours=1)

STEP_KEYS: Final = (
    Key(
        "traffic",
        percent_type(above=True),
        "Share of the audience that takes part.",
        "25%",
        required=True,
    ),
    Key("hold", duration_type(), "Least time in this step before the next.", "24h", default="0s"),
    Key(
        "min_units",
        integer_type(least=1, most=1_000_000_000),
        "Units of each arm exposed in this step before the next.",
        500,
        default="none asked for",
    ),
    Key(
        "advance",
        choice_type([a.value for a in Advance], what="condition"),
        "What the evidence must say before the next step: `unharmed` (no acting guardrail is in "
        "breach, error or without data) or `proven` (every acting guardrail has passed).",
        "proven",
        default="unharmed",
    ),
    Key(
        "approval",
        flag_type(),
        "Whether a person must approve the next step.",
        True,
        default="false",
    ),
)

ENDS_KEYS: Final = (
    Key(
        "after",
        duration_type(least=SHORTEST_RUN),
        "From the start to the last new exposure; either this or `at`.",
        "14d",
    ),
    Key(
        "at",
        instant_type(),
        "Instant of the last new exposure, with its zone; it needs `starts` as an instant.",
        "2026-12-15T00:00Z",
    ),
    Key(
        "observe_for",
        duration_type(),
        "How long exposed units are watched after that, guardrails included.",
        "14d",
        default="until the longest window of the file has closed",
    ),
)


def ends_type() -> ValueType:
    """Return the type of `ends`; read as a ``Record``."""
    schema = record_schema(ENDS_KEYS)
    schema["oneOf"] = [{"required": ["after"]}, {"required": ["at"]}]
    return ValueType(
        lambda node, place: read_record(node, place, ENDS_KEYS, later={}, what="`ends`"), schema
    )


def ramp_type() -> ValueType:
    """Return the type of the ramp; read as ``Item`` of ``Record``."""
    step = ValueType(
        lambda node, place: read_record(
            node, place, STEP_KEYS, later={}, what="a step", also=("hold: 24h",)
        ),
        record_schema(STEP_KEYS),
    )
    return list_type(step, what="steps", least=1, most=MAX_STEPS)


def run_length(record: Record) -> timedelta | None:
    """Return the time from start to last new exposure.

    ``None`` where the file does not say it, or says what a problem was told of.
    """
    ends: Record | None = record.get("ends")
    if ends is None:
        return None
    after: timedelta | None = ends.get("after")
    if after is not None:
        return after
    starts, at = record.get("starts"), ends.get("at")
    if not isinstance(starts, datetime) or at is None:
        return None
    return at - starts if SHORTEST_RUN <= at - starts <= MAX_DURATION else None


def _ends_once(record: Record) -> None:
    ends: Record | None = record.get("ends")
    if ends is None:
        return
    if ends.written("after") and ends.written("at"):
        ends.problem("at", "is given beside `after`", "keep one of them")
    elif not ends.written("after") and not ends.written("at"):
        if not ends.meant & {"after", "at"}:
            ends.place.problem(
                ends.node.at,
                "says not when",
                f"add `after: 14d`, or `at: {INSTANT_EXAMPLE}` beside `starts`",
            )
    elif ends.has("at"):
        _ends_after_it_starts(record, ends, ends.get("at"))


def _ends_after_it_starts(record: Record, ends: Record, at: datetime) -> None:
    starts: datetime | str | None = record.get("starts")
    if not isinstance(starts, datetime):
        if starts is None and (record.written("starts") or "starts" in record.meant):
            return
        ends.problem(
            "at",
            "needs `starts` as a date and time" + (f", not `{MANUAL}`" if starts == MANUAL else ""),
            f"add `starts: {INSTANT_EXAMPLE}`, or say how long instead: `after: 14d`"
            if starts is None
            else "say how long instead: `after: 14d`",
        )
    elif at - starts < SHORTEST_RUN:
        ends.problem(
            "at",
            f"must be at least {format_duration(SHORTEST_RUN)} after the start, "
            f"{format_instant(starts)}",
            "swap the two" if at < starts else "end later",
        )
    elif at - starts > MAX_DURATION:
        ends.problem(
            "at", f"is more than {format_duration(MAX_DURATION)} after the start", "end earlier"
        )


def _ramp_rises(record: Record) -> None:
    steps: Sequence[Item] = record.get("ramp", ())
    before: Amount | None = None
    for step in steps:
        traffic: Amount | None = step.value.get("traffic")
        if traffic is not None and before is not None and traffic.percent <= before.percent:
            step.value.problem(
                "traffic",
                f"{format_percent(traffic.percent)} is not more than the "
                f"{format_percent(before.percent)} of the step before",
                "raise it, or remove the step",
            )
        before = traffic if traffic is not None else before


def _ramp_steps_wait(record: Record) -> None:
    steps: Sequence[Item] = record.get("ramp", ())
    for step in steps[:-1]:
        # values that could not be read were told already
        waits = any(step.value.written(key) for key in ("hold", "min_units"))
        approved = step.value.written("approval") and step.value.get("approval") is not False
        if not waits and not approved:
            step.place.problem(
                step.at,
                "nothing keeps the ramp in this step",
                "add `hold:`, `min_units:` or `approval: true`",
            )
    for step in steps[-1:]:
        for key in ("hold", "min_units", "advance", "approval"):
            if step.value.has(key) and step.value.get(key) is not False:
                step.value.problem(
                    key,
                    "has no effect: no step follows",
                    "remove it",
                    severity=Severity.WARNING,
                )


def _ramp_fits_the_run(record: Record) -> None:
    ends: Record | None = record.get("ends")
    steps: Sequence[Item] = record.get("ramp", ())
    run = run_length(record)
    if ends is None or run is None:
        return
    held = sum((step.value.get("hold", timedelta(0)) for step in steps[:-1]), timedelta(0))
    if held > run:
        ends.problem(
            "after" if ends.has("after") else "at",
            f"{format_duration(run)} is over before the ramp, which holds "
            f"{format_duration(held)} in all",
            "end later or hold shorter",
        )
    every: timedelta | None = record.get("check_every")
    if every is not None and every > run:
        record.problem(
            "check_every",
            f"{format_duration(every)} is longer than the run of {format_duration(run)}",
            "check more often",
        )


def _shadow_has_no_ramp(record: Record) -> None:
    """In shadow mode nothing acts, the ramp included: its later steps never come."""
    steps: Sequence[Item] = record.get("ramp", ())
    if record.get("mode") != Mode.SHADOW or len(steps) < 2:  # noqa: PLR2004 - one follows
        return
    traffic: Amount | None = steps[0].value.get("traffic")
    if traffic is not None:
        record.problem(
            "ramp",
            f"stands still in shadow mode: traffic stays {format_percent(traffic.percent)}",
            "write the one step that is wanted while it only watches",
            severity=Severity.WARNING,
        )


def _freezes_meet_the_run(record: Record) -> None:
    """A span before the start or after the end holds nothing; one over all of it holds all."""
    starts, run = record.get("starts"), run_length(record)
    if not isinstance(starts, datetime) or run is None:
        return
    ends = starts + run
    for item in record.get("freeze", ()):
        start, stop = item.value.get("from"), item.value.get("to")
        if start is None or stop is None or start >= stop:
            continue
        if stop <= starts or start >= ends:
            item.place.problem(
                item.at,
                "has no effect: it lies outside of the run, "
                f"{format_instant(starts)} to {format_instant(ends)}",
                "remove it, or check the dates",
                severity=Severity.WARNING,
            )
        elif start <= starts and stop >= ends and len(record.get("ramp", ())) > 1:
            item.place.problem(
                item.at,
                "covers the whole run: the ramp would never advance",
                "make it shorter, or leave the ramp out",
            )


SCHEDULE_RULES: tuple[Callable[[Record], None], ...] = (
    _ends_once,
    _ramp_rises,
    _ramp_steps_wait,
    _ramp_fits_the_run,
    _shadow_has_no_ramp,
    freezes_are_times,
    _freezes_meet_the_run,
)


def build_ends(record: Record) -> Ends:
    """Return the end of a file without problems."""
    ends: Record = record.get("ends")
    return Ends(run_length(record) or timedelta(0), ends.get("observe_for"), ends.get("at"))


def build_step(record: Record) -> RampStep:
    """Return a step of the ramp of a file without problems."""
    return RampStep(
        traffic=record.get("traffic").share,
        hold=record.get("hold", timedelta(0)),
        min_units=record.get("min_units", 0),
        approval=record.get("approval", False),
        advance=Advance(record.get("advance", Advance.UNHARMED)),
    )
