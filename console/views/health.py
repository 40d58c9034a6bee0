"""What the health page says: does the engine see, act and tell; what is it made of. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from console.quoted import said
from console.views import phrases, words
from guardrails.channel_views import ChannelView
from guardrails.health_reading import Blind, ExperimentSight, UntoldMessage
from metrics.wording import gettext as _
from metrics.wording import ngettext

LATE = 2
"""Checks after which an experiment counts as unwatched."""


@dataclass(frozen=True, slots=True)
class Vitals:
    """What the service knows of itself.

    Attributes:
        now: The engine's clock.
        started_at: When the process began, by the clock of the wall.
        wall: The clock of the wall.
        pid: Of the process that holds the store.
        demo: Whether time is moved by hand.
        checks_on: Whether checks run by themselves.
        suspended: Why nothing is acted on, in words; empty where the engine acts.
        config: What is wrong with files, in words; empty where all are in force.
        store_bytes: Of the metric store's files.
        control_bytes: Of the control plane's.
        free_bytes: Left on the disk.
        events: Stored.
        waiting: Events that wait to be written.
        room: Events that may wait.
        streams: Clients that are told of changes, ``None`` where nobody counts.
        versions: Name and version of what it is made of.
        notices: What a person should look at in the whole service.
        retain: How long events are kept.
    """

    now: datetime
    started_at: datetime
    wall: datetime
    pid: int
    demo: bool
    checks_on: bool
    suspended: str
    config: tuple[str, ...]
    store_bytes: int
    control_bytes: int
    free_bytes: int
    events: int
    waiting: int
    room: int
    versions: tuple[tuple[str, str], ...]
    notices: tuple[str, ...]
    retain: timedelta


@dataclass(frozen=True, slots=True)
class Light:
    """One thing that should be well: ``tone`` says whether it is."""

    name: str
    words: str
    tone: str


@dataclass(frozen=True, slots=True)
class SightRow:
    """How well one experiment was seen."""

    experiment: str
    state: str
    last: str
    checks: str
    missed: str
    unchecked: str
    blind: tuple[str, ...]
    tone: str


@dataclass(frozen=True, slots=True)
class ChannelRow:
    """How the messages of one channel fare."""

    name: str
    type: str
    where: str
    delivered: str
    waiting: str
    given_up: str
    error: str
    tone: str


@dataclass(frozen=True, slots=True)
class UntoldRow:
    """A message that waits or was given up."""

    at: datetime
    at_words: str
    experiment: str
    title: str
    channel: str
    stands: str
    error: str
    tone: str


@dataclass(frozen=True, slots=True)
class HealthPage:
    """The health page."""

    headline: str
    tone: str
    lights: tuple[Light, ...]
    attention: tuple[str, ...]
    sights: tuple[SightRow, ...]
    channels: tuple[ChannelRow, ...]
    untold: tuple[UntoldRow, ...]
    facts: tuple[tuple[str, str], ...]
    versions: tuple[tuple[str, str], ...]


def health_page(
    vitals: Vitals,
    sights: Sequence[ExperimentSight],
    channels: Sequence[ChannelView],
    untold: Sequence[UntoldMessage],
) -> HealthPage:
    """Return the health page.

    Args:
        vitals: What the service knows of itself.
        sights: How well every experiment was seen.
        channels: Every channel.
        untold: Messages that wait or were given up, newest first.
    """
    rows = tuple(_sight(s, vitals) for s in sights)
    lights = _lights(vitals, rows, channels)
    worst = {light.tone for light in lights}
    tone = next((t for t in ("bad", "warn") if t in worst), "good")
    amiss = sum(light.tone in {"bad", "warn"} for light in lights)
    return HealthPage(
        headline=_("The engine watches, acts and tells.")
        if not amiss
        else ngettext("{n} thing needs a look.", "{n} things need a look.", amiss),
        tone=tone,
        lights=lights,
        attention=tuple(map(said, (*vitals.config, *vitals.notices))),
        sights=rows,
        channels=tuple(map(_channel, channels)),
        untold=tuple(_untold(u, vitals.now) for u in untold),
        facts=_facts(vitals),
        versions=vitals.versions,
    )


def _lights(
    vitals: Vitals, rows: Sequence[SightRow], channels: Sequence[ChannelView]
) -> tuple[Light, ...]:
    late = [r.experiment for r in rows if r.tone == "bad"]
    blind = [r.experiment for r in rows if r.tone == "warn"]
    waiting = sum(c.failing for c in channels)
    given_up = sum(c.given_up for c in channels)
    checks = _("Every experiment is checked on time.")
    if late:
        checks = _("Not checked on time: {names}.", names=words.joined(tuple(late)))
    elif blind:
        checks = _("Cannot judge everything: {names}.", names=words.joined(tuple(blind)))
    told = _told(waiting, given_up)
    return (
        Light(_("Checks"), checks, "bad" if late else "warn" if blind else "good"),
        Light(
            _("Acting"),
            vitals.suspended or _("Proven harm is turned back by itself."),
            "warn" if vitals.suspended else "good",
        ),
        Light(
            _("Files"),
            _("Every file is in force.") if not vitals.config else _("A file is not in force."),
            "warn" if vitals.config else "good",
        ),
        Light(_("Messages"), told, "bad" if given_up else "warn" if waiting else "good"),
        Light(_("Intake"), _intake(vitals), "warn" if vitals.waiting * 2 > vitals.room else "good"),
    )


def _told(waiting: int, given_up: int) -> str:
    if given_up:
        return ngettext(
            "{n} message was given up within a day.",
            "{n} messages were given up within a day.",
            given_up,
        )
    if waiting:
        return ngettext(
            "{n} message waits after a failure.", "{n} messages wait after a failure.", waiting
        )
    return _("Every message was delivered.")


def _intake(vitals: Vitals) -> str:
    return _(
        "{n} of {room} events wait to be written.",
        n=f"{vitals.waiting:,}",
        room=f"{vitals.room:,}",
    )


def _sight(sight: ExperimentSight, vitals: Vitals) -> SightRow:
    last = sight.last_check_at
    by_itself = vitals.checks_on and not vitals.demo
    late = (
        sight.checked
        and by_itself
        and last is not None
        and vitals.now - last > LATE * sight.check_every
    )
    blind = tuple(map(_blind_words, sight.blind))
    now_blind = any(b.since is not None for b in sight.blind)
    return SightRow(
        experiment=sight.key,
        state=words.state_words(sight.state),
        last=words.instant(last) if last is not None else _("never"),
        checks=f"{sight.checks:,}",
        missed=f"{sight.missed + sight.failed:,}",
        unchecked=phrases.rough(sight.unchecked) if sight.unchecked else _("none"),
        blind=blind,
        tone="bad" if late else "warn" if now_blind else "quiet",
    )


def _blind_words(blind: Blind) -> str:
    names = {"guardrail": blind.guardrail, "variant": blind.treatment}
    length = phrases.rough(blind.length)
    if blind.since is not None:
        return _("{guardrail} of {variant}: {length}, still", length=length, **names)
    return _("{guardrail} of {variant}: {length}", length=length, **names)


def _channel(channel: ChannelView) -> ChannelRow:
    bad = bool(channel.given_up) or channel.type == "missing"
    delivered = channel.delivered_at
    return ChannelRow(
        name=channel.name,
        type=channel.type,
        where=said(channel.where),
        delivered=_("never") if delivered is None else words.instant(delivered),
        waiting=f"{channel.waiting:,}",
        given_up=f"{channel.given_up:,}",
        error=said(channel.error or ""),
        tone="bad" if bad else "warn" if channel.failing else "quiet",
    )


def _untold(message: UntoldMessage, now: datetime) -> UntoldRow:
    if message.given_up_at is not None:
        stands = _("given up on {at}", at=words.instant(message.given_up_at))
    elif message.attempts:
        tries = ngettext("{n} try failed", "{n} tries failed", message.attempts)
        wait = phrases.rough(max(timedelta(0), message.due_at - now))
        stands = _("{tries}, the next in {wait}", tries=tries, wait=wait)
    else:
        stands = _("waits for its turn")
    return UntoldRow(
        at=message.created_at,
        at_words=words.instant(message.created_at),
        experiment=message.experiment,
        title=said(message.title),
        channel=message.channel,
        stands=stands,
        error=said(message.error),
        tone="bad" if message.given_up_at is not None else "warn",
    )


def _facts(vitals: Vitals) -> tuple[tuple[str, str], ...]:
    return (
        (_("Running since"), words.instant(vitals.started_at)),
        (_("Holds the store"), _("this process, {pid}", pid=str(vitals.pid))),
        (_("The engine's clock"), words.instant(vitals.now)),
        (_("Metric store"), phrases.size_of(vitals.store_bytes)),
        (_("Events stored"), f"{vitals.events:,}"),
        (_("Events are kept"), words.duration(vitals.retain)),
        (_("Control plane"), phrases.size_of(vitals.control_bytes)),
        (_("Free on the disk"), phrases.size_of(vitals.free_bytes)),
    )
