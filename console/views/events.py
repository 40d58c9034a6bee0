"""What the page of events says: what comes in, what is refused, are the data sound. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from console.quoted import said
from console.views import words
from experiments.lifecycle import OVER, State
from guardrails.outcome import Outcome
from guardrails.rules import WATCH_RULES
from guardrails.views import ExperimentView
from metrics.counting import EventCounts
from metrics.counting import Received as Came
from metrics.events import Rejection
from metrics.wording import gettext as _
from metrics.wording import ngettext

PAGE = 50
"""Refused events on one page."""

_SHOWN = 2_000


@dataclass(frozen=True, slots=True)
class Received:
    """What the service knows of its intake.

    Attributes:
        counts: Since it was started.
        stored: Events that are durable: the number of the newest.
        waiting: Events that wait to be written.
        room: Events that may wait.
        exposures_waiting: First exposures that wait.
        evaluated: First exposures that evaluations made since the start.
        doubts: What accepted events feed nothing, in words, and how many; the most first.
        refusing: Why nothing can be written, in words; empty where it can.
    """

    counts: EventCounts
    stored: int
    waiting: int
    room: int
    exposures_waiting: int
    evaluated: int = 0
    doubts: Sequence[tuple[str, int]] = ()
    refusing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CodeRow:
    """How many events are in quarantine for one reason."""

    code: str
    count: int
    count_words: str
    chosen: bool


@dataclass(frozen=True, slots=True)
class NameRow:
    """How many events of one name came since the start; an empty name is none that can be read."""

    name: str
    server: int
    client: int
    refused: int
    last_at: datetime | None
    words: tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class Sample:
    """One refused event; ``event`` is as it was sent, at most so much of it as is shown."""

    number: int
    code: str
    id: str
    field: str
    reason: str
    event: str
    trusted: bool


@dataclass(frozen=True, slots=True)
class Quality:
    """What is amiss with the data of one experiment."""

    experiment: str
    title: str
    found: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EventsPage:
    """The page of events and quarantine; ``next`` is the number the next page begins before."""

    headline: str
    tone: str
    facts: tuple[tuple[str, str], ...]
    names: tuple[NameRow, ...]
    doubts: tuple[str, ...]
    attention: tuple[str, ...]
    codes: tuple[CodeRow, ...]
    code: str
    samples: tuple[Sample, ...]
    next: int | None
    quality: tuple[Quality, ...]
    commands: tuple[tuple[str, str], ...]


def events_page(
    received: Received,
    codes: Mapping[str, int],
    samples: Sequence[Rejection],
    views: Sequence[ExperimentView],
    *,
    code: str,
) -> EventsPage:
    """Return the page of events.

    Args:
        received: What came in.
        codes: Events in quarantine by reason.
        samples: The newest of them, one more than a page holds where there are more.
        views: Every experiment.
        code: The reason that was asked for, empty for all.
    """
    held, shown = sum(codes.values()), samples[:PAGE]
    quality = tuple(q for v in views if (q := _quality(v)).found)
    return EventsPage(
        headline=_headline(received, held, quality),
        tone=_tone(received, amiss=bool(held or quality)),
        facts=_facts(received),
        names=tuple(_name_row(*each) for each in sorted(received.counts.by_name.copy().items())),
        doubts=tuple(_doubt(*each) for each in received.doubts),
        attention=tuple(map(said, received.refusing)),
        codes=tuple(CodeRow(name, n, f"{n:,}", name == code) for name, n in codes.items()),
        code=code,
        samples=tuple(map(_sample, shown)),
        next=shown[-1].number if len(samples) > PAGE else None,
        quality=quality,
        commands=_commands(code or next(iter(codes), "")),
    )


def _tone(received: Received, *, amiss: bool) -> str:
    if received.refusing:
        return "bad"
    if amiss or received.doubts:
        return "warn"
    return "good" if received.stored else "quiet"


def _headline(received: Received, held: int, quality: Sequence[Quality]) -> str:
    if received.refusing:
        return _("Events cannot be written.")
    if held:
        return ngettext(
            "{n} event is in quarantine: it counts nowhere.",
            "{n} events are in quarantine: they count nowhere.",
            held,
        )
    if quality:
        return ngettext(
            "Every event counts, but the data of {n} experiment need a look.",
            "Every event counts, but the data of {n} experiments need a look.",
            len(quality),
        )
    if received.doubts:
        return _("Every event was kept, but some feed nothing as they are.")
    if not received.stored:
        return _("No event has come yet.")
    return _("Every event that was received counts.")


def _name_row(name: str, came: Came) -> NameRow:
    last = words.instant(came.last_at) if came.last_at is not None else _("unknown")
    counts = (f"{came.server:,}", f"{came.client:,}", f"{came.refused:,}")
    return NameRow(name, came.server, came.client, came.refused, came.last_at, (*counts, last))


def _doubt(words: str, count: int) -> str:
    return ngettext("{n} event: {words}", "{n} events: {words}", count, words=words)


def _facts(received: Received) -> tuple[tuple[str, str], ...]:
    counts = received.counts
    return (
        (_("Stored in all"), f"{received.stored:,}"),
        (_("Accepted since the start"), f"{counts.accepted:,}"),
        (_("Sent again, counted once"), f"{counts.duplicate:,}"),
        (_("Refused into quarantine"), f"{counts.quarantined:,}"),
        (_("Requests refused whole"), f"{counts.refused:,}"),
        (
            _("Waiting to be written"),
            _("{n} of {room}", n=f"{received.waiting:,}", room=f"{received.room:,}"),
        ),
        (_("First exposures by evaluations"), f"{received.evaluated:,}"),
        (_("First exposures waiting"), f"{received.exposures_waiting:,}"),
    )


def _sample(kept: Rejection) -> Sample:
    text = kept.event if len(kept.event) <= _SHOWN else kept.event[: _SHOWN - 1] + "…"
    return Sample(
        number=kept.number,
        code=kept.code,
        id=kept.id or "",
        field=kept.field,
        reason=said(kept.reason),
        event=text,
        trusted=kept.trusted,
    )


def _quality(view: ExperimentView) -> Quality:
    found: list[str] = []
    if State(view.state) not in OVER:
        if view.conflicted:
            found.append(
                ngettext(
                    "{n} unit was seen in two variants and counts in none.",
                    "{n} units were seen in two variants and count in none.",
                    view.conflicted,
                )
            )
        found += [
            _("{what} of {variant}: {words}", what=g.title, variant=g.treatment, words=g.words)
            for g in view.guardrails
            if (g.rule in WATCH_RULES and g.outcome is Outcome.BREACH)
            or g.outcome in {Outcome.NO_DATA, Outcome.ERROR}
        ]
        found += [d.words for d in view.denominators]
    return Quality(view.key, view.title, tuple(found))


def _commands(code: str) -> tuple[tuple[str, str], ...]:
    chosen = code or "CODE"
    return (
        (
            _("All of one reason, once what refused them has changed here"),
            f"turnback quarantine --resubmit-code {chosen}",
        ),
        (_("One event by its number"), "turnback quarantine --resubmit NUMBER"),
        (_("One that nobody will send: remove it"), "turnback quarantine --dismiss NUMBER"),
        (_("What applications send, field by field"), "turnback events"),
    )
