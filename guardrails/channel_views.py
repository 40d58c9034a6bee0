"""Channels as they are shown: what each is, how its messages fare, and whether a test arrives."""

import difflib
import secrets
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from experiments.database import ControlPlane
from experiments.errors import ConflictError, TurnbackError
from guardrails.channels import (
    Channel,
    DeliveryError,
    Message,
    Repeating,
    type_of,
    where_of,
)
from guardrails.channels.texts import one_line
from guardrails.outbox_rows import DAY, Lost, Tally, lost_messages, tallies
from guardrails.words import instant
from metrics.wording import gettext as _
from metrics.wording import ngettext, recorded

LATE: Final = timedelta(minutes=1)
"""How long messages may fail before a person should look at it."""

_REMEMBERED: Final = 1.0


class UnknownChannelError(TurnbackError):
    """No channel has this name."""

    code = "unknown_channel"
    status = 404


@dataclass(frozen=True, slots=True)
class ChannelView:
    """One channel.

    Attributes:
        name: As spec files name it in ``notify``.
        type: ``webhook``, ``slack`` and so on; ``missing`` where files or messages name a channel
            that the settings have not.
        where: Where it leads, without what is secret of it.
        waiting: Messages that are neither delivered nor given up.
        failing: Of these, those that failed at least once.
        given_up: Messages given up within a day.
        delivered_at: When the newest delivery was.
        error: The newest error of those that fail or were given up.
    """

    name: str
    type: str
    where: str
    waiting: int
    failing: int
    given_up: int
    delivered_at: datetime | None
    error: str | None


@dataclass(frozen=True, slots=True)
class ChannelTest:
    """What became of one message sent at once: a test, or a digest.

    Attributes:
        channel: Name of the channel.
        type: Of the channel.
        delivered: Whether the receiver took it.
        words: What happened: ``delivered in 0.1 s``, or what the receiver said.
        hint: What to do where it was not taken.
        key: Of the message, to know it again.
    """

    channel: str
    type: str
    delivered: bool
    words: str
    hint: str
    key: str


def channel_views(
    control: ControlPlane,
    channels: Mapping[str, Channel],
    *,
    now: datetime,
    named: Iterable[str] = (),
) -> tuple[ChannelView, ...]:
    """Return every channel, those that only messages or files (``named``) name last."""
    found = counted(control, now=now, known=channels)
    told = [n for n, t in found.items() if t.waiting or t.given_up]
    gone = [name for name in dict.fromkeys((*told, *named)) if name not in channels]
    return tuple(
        _view(name, channels.get(name), found.get(name, Tally())) for name in (*channels, *gone)
    )


def _view(name: str, channel: Channel | None, tally: Tally) -> ChannelView:
    return ChannelView(
        name=name,
        type="missing" if channel is None else type_of(channel),
        where="" if channel is None else where_of(channel),
        waiting=tally.waiting,
        failing=tally.failing,
        given_up=tally.given_up,
        delivered_at=tally.delivered_at,
        error=tally.error,
    )


def counted(control: ControlPlane, *, now: datetime, known: Iterable[str] = ()) -> dict[str, Tally]:
    """Return how the messages fare of every channel that ever had one, and of those known."""
    with control.reading() as session:
        return {name: Tally() for name in known} | tallies(session, given_up_since=now - DAY)


def try_channel(channels: Mapping[str, Channel], name: str, *, now: datetime) -> ChannelTest:
    """Send one test message through a channel, at once and once.

    Raises:
        UnknownChannelError: There is no such channel.
    """
    channel = _known(channels, name)
    message = Message(
        key=f"test:{name}/{secrets.token_hex(6)}",
        kind="test",
        experiment="",
        variant=None,
        at=now,
        title="Turnback: a test message",
        text=f"Somebody tried the channel {name}. Nothing happened, and nothing has to be done.",
        evidence=None,
    )
    return _sent(name, channel, message)


@dataclass(frozen=True, slots=True)
class Letter:
    """What a person wants to be read by all who read a channel.

    Attributes:
        key: The same for every delivery of one letter.
        title: One line.
        text: All of it.
    """

    key: str
    title: str
    text: str


def send_letter(
    channels: Mapping[str, Channel], name: str, letter: Letter, *, now: datetime
) -> ChannelTest:
    """Send a digest through a channel, at once and once.

    Raises:
        UnknownChannelError: There is no such channel.
        ConflictError: It takes alerts alone.
    """
    channel = _known(channels, name)
    if isinstance(channel, Repeating):
        raise ConflictError(
            f"{one_line(name, 80)} is an Alertmanager: a digest is no alert",
            hint="send it through a webhook, Slack or mail",
            path="name",
        )
    message = Message(letter.key, "digest", "", None, now, letter.title, letter.text, None)
    return _sent(name, channel, message)


def _known(channels: Mapping[str, Channel], name: str) -> Channel:
    channel = channels.get(name)
    if channel is None:
        near = difflib.get_close_matches(name[:100], channels, n=1)
        known = f"did you mean {near[0]}? " if near else ""
        raise UnknownChannelError(
            f"there is no channel {one_line(name, 80)!r}",
            hint=f"{known}the channels are {', '.join(channels)}; TURNBACK_CHANNELS names them",
            path="name",
        )
    return channel


def _sent(name: str, channel: Channel, message: Message) -> ChannelTest:
    """Send a message at once and once, and return what became of it."""
    begun = time.monotonic()
    words, hint = "", ""
    try:
        channel.send(message)
    except DeliveryError as error:
        words, hint = str(error), error.hint
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what the test found
        words, hint = f"a defect: {type(error).__name__}", "the service's log says more"
    seconds = time.monotonic() - begun
    return ChannelTest(
        channel=name,
        type=type_of(channel),
        delivered=not words,
        words=words or f"delivered in {max(seconds, 0.01):.2f} s",
        hint=hint,
        key=message.key,
    )


class Untold:
    """What could not be told lately: what waits too long, and what was given up.

    Args:
        control: The control plane.
        now: The clock.
        channels: The channels there are; what was for others concerns one experiment alone.
    """

    def __init__(
        self, control: ControlPlane, now: Callable[[], datetime], channels: Collection[str]
    ) -> None:
        self._control = control
        self._now = now
        self._channels = channels
        self._asked: float | None = None
        self._found: Mapping[str, Tally] = {}
        self._lost: Sequence[Lost] = ()

    def attention(self) -> tuple[str, ...]:
        """Return it in words; all experiments shown at once ask the database once."""
        self._look()
        now, found = self._now(), self._found.items()
        return tuple(
            words
            for name, each in found
            if name in self._channels
            for words in _words(name, each, now)
        )

    def nowhere(self, key: str | None = None) -> tuple[str, ...]:
        """Return what was for channels that are not there: of one experiment, or of all."""
        self._look()
        mine = [each for each in self._lost if key is None or each.experiment == key]
        names = dict.fromkeys(each.channel for each in mine)
        return tuple(_nowhere(name, [e for e in mine if e.channel == name]) for name in names)

    def _look(self) -> None:
        asked = time.monotonic()
        if self._asked is not None and asked - self._asked < _REMEMBERED:
            return
        self._found = counted(self._control, now=self._now())
        with self._control.reading() as session:
            since = self._now() - DAY
            self._lost = lost_messages(session, since=since, known=self._channels)
        self._asked = asked


def _nowhere(name: str, lost: Sequence[Lost]) -> str:
    return ngettext(
        "{name}: this service has no such channel: {n} message was not told (the newest at "
        "{at}); name it in TURNBACK_CHANNELS (docs/operations.md)",
        "{name}: this service has no such channel: {n} messages were not told (the newest at "
        "{at}); name it in TURNBACK_CHANNELS (docs/operations.md)",
        sum(each.count for each in lost),
        name=name,
        at=instant(max(each.newest_at for each in lost)),
    )


def _words(name: str, tally: Tally, now: datetime) -> list[str]:
    words: list[str] = []
    test = f"`turnback channels test {name}`"
    if tally.given_up:
        said = ngettext(
            "{n} message to {name} could not be told and was given up within a day",
            "{n} messages to {name} could not be told and were given up within a day",
            tally.given_up,
            name=name,
        )
        words.append(_tried(said, tally.error, test))
    late = tally.oldest_at is not None and now - tally.oldest_at >= LATE
    if tally.failing and late and tally.oldest_at is not None:
        said = ngettext(
            "{n} message to {name} waits since {at}",
            "{n} messages to {name} wait since {at}",
            tally.waiting,
            name=name,
            at=instant(tally.oldest_at),
        )
        words.append(_tried(said, tally.error, test))
    return words


def _tried(said: str, error: str | None, test: str) -> str:
    """Return what is not told, with what the receiver said, and how to try again."""
    if error:
        why = recorded(one_line(error)) or one_line(error)
        return _("{said} ({error}); {command} tries it", said=said, error=why, command=test)
    return _("{said}; {command} tries it", said=said, command=test)
