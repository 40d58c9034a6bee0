"""When a run begins and ends, and when its ramp stands still. Pure: the instant is an argument."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from experiments.spec import ExperimentSpec, Freeze

_MOST_SPANS = 400
"""Freezes followed one after another before their end counts as unknown."""


@dataclass(frozen=True, slots=True)
class Span:
    """A run from its start to its last look.

    Attributes:
        starts_at: When it starts by itself, ``None`` when a person starts it or it has started.
        started_at: When it started; of a draft, the instant to reckon with.
        ends_at: Instant of the last new exposure.
        observe_until: Until when units are watched after that.
    """

    starts_at: datetime | None
    started_at: datetime
    ends_at: datetime
    observe_until: datetime


@dataclass(frozen=True, slots=True)
class Frozen:
    """Why the ramp stands still now: ``until`` is ``None`` where no end is in sight."""

    until: datetime | None
    why: str


def waits(spec: ExperimentSpec, now: datetime) -> bool:
    """Return whether a file that is applied ``now`` makes a draft: it starts later, or by hand."""
    return spec.starts is not None and not (
        isinstance(spec.starts, datetime) and spec.starts <= now
    )


def passed(spec: ExperimentSpec, now: datetime) -> datetime | None:
    """Return the start that a file names when that is over ``now``, ``None`` otherwise."""
    return spec.starts if isinstance(spec.starts, datetime) and spec.starts < now else None


def span_from(spec: ExperimentSpec, start: datetime, *, observed: timedelta) -> Span:
    """Return the times of a run that really starts at ``start``.

    Args:
        spec: The experiment.
        start: When it starts.
        observed: How long units are watched after the last exposure.
    """
    ends = spec.ends.at if spec.ends.at is not None else start + spec.ends.after
    return Span(None, start, ends, ends + observed)


def span_of_draft(
    spec: ExperimentSpec, now: datetime, *, observed: timedelta, by_hand: bool
) -> Span:
    """Return the times a draft has in view; they are fixed when it starts.

    Args:
        spec: The experiment.
        now: The current instant.
        observed: How long units are watched after the last exposure.
        by_hand: Whether a person starts it whatever the file says.
    """
    planned = spec.starts if isinstance(spec.starts, datetime) else None
    span = span_from(spec, planned or now, observed=observed)
    starts = None if by_hand else planned
    return Span(starts, span.started_at, span.ends_at, span.observe_until)


def too_late(spec: ExperimentSpec, start: datetime) -> bool:
    """Return whether the end that the file names is over before the run could start."""
    return spec.ends.at is not None and spec.ends.at <= start


def frozen(freezes: Sequence[Freeze], now: datetime) -> Frozen | None:
    """Return why, and until when, the ramp stands still; ``None`` when it does not.

    Freezes that follow each other without a gap count as one.
    """
    first = next((freeze for freeze in freezes if freeze.holds(now)), None)
    if first is None:
        return None
    until = now
    for _ in range(_MOST_SPANS):
        holding = next((freeze for freeze in freezes if freeze.holds(until)), None)
        if holding is None:
            return Frozen(until, first.why)
        until = max(_over(holding, until), until + timedelta(seconds=1))
    return Frozen(None, first.why)


def _over(freeze: Freeze, at: datetime) -> datetime:
    """Return the first instant after ``at`` at which this span, or this day, is over."""
    if freeze.start is not None and freeze.stop is not None:
        return freeze.stop
    zone = ZoneInfo(freeze.zone)
    tomorrow = at.astimezone(zone).date() + timedelta(days=1)
    return datetime.combine(tomorrow, time(), tzinfo=zone).astimezone(at.tzinfo)
