"""The engine: what can be asked of running experiments, from any thread."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from threading import RLock

from experiments.database import ControlPlane
from experiments.errors import Problem
from experiments.repository import load_experiment, served_facts
from guardrails.alerts import Inbox
from guardrails.apply import apply_file
from guardrails.applying import Applying
from guardrails.asked import Asked
from guardrails.channel_views import (
    ChannelTest,
    ChannelView,
    Letter,
    channel_views,
    send_letter,
    try_channel,
)
from guardrails.channels import Channel
from guardrails.channels.log import LogChannel
from guardrails.clock import Clock
from guardrails.engine_acting import Acting
from guardrails.engine_reading import nothing_own
from guardrails.meanings import adopt_meanings
from guardrails.meanwhile import compare_and_set
from guardrails.outbox import deliver_due
from guardrails.questions import Answers
from guardrails.rehearsal import Draft, Load, Rehearsed, rehearse
from guardrails.ring import STARTED, Ring
from guardrails.segment_desk import SegmentDesk
from guardrails.served import ServedConfig, compile_all
from guardrails.settings import EngineHook, EngineSettings
from guardrails.shelf import Shelf
from guardrails.suspension import SuspensionView, change, follow_setting, newest, tell
from guardrails.validation import drafted, refuse_unknown_queries, unknown_channels
from guardrails.views import ApplyView, CheckReport
from metrics.catalogue import Catalogue, load_catalogue
from metrics.store import MetricStore

__all__ = ["Engine", "ServedConfig"]

logger = logging.getLogger("turnback.engine")


class Engine(Acting):
    """Applies files, runs checks, turns treatments back and says why.

    One object per store. Several engines on one control plane do no harm: every tick has an
    identity in the database and every write is compare-and-set.

    Args:
        control: The control plane, tables created.
        store: The metric store.
        clock: Where now comes from.
        flush: Called before every run of checks so that buffered events are counted.
        settings: What may be told from outside.
        catalogue: KPIs known beside those of a file; the shipped ones by default.
        hooks: Receive measurements.
        deliver_inline: Whether messages are sent by whoever caused them, and segments counted by
            whoever asks. A service says no and calls ``deliver`` from a job of its own.
    """

    def __init__(
        self,
        *,
        control: ControlPlane,
        store: MetricStore,
        clock: Clock,
        flush: Callable[[], None] = lambda: None,
        settings: EngineSettings | None = None,
        catalogue: Catalogue | None = None,
        hooks: Sequence[EngineHook] = (),
        deliver_inline: bool = True,
    ) -> None:
        self._control = control
        self._store = store
        self._clock = clock
        self._flush = flush
        self.settings = settings or EngineSettings()
        self._catalogue = catalogue or load_catalogue()
        self._hooks = tuple(hooks)
        self._channels: Mapping[str, Channel] = {"log": LogChannel(), **self.settings.channels}
        self.notices = ()
        self.own_notices = nothing_own
        self._lock = RLock()
        self._delivering = RLock()
        self._deliver_inline = deliver_inline
        self._shelf = Shelf(
            control,
            self._catalogue,
            show_core=self.settings.show_core,
            queries=self.settings.queries,
        )
        self.inbox = Inbox(control, self._shelf, clock, self._lock)
        self._ring = Ring(control, store, self._shelf, self.settings, self._follow)
        control.create()
        with control.transaction() as session:
            adopt_meanings(session, self._shelf.load)
        self._desk = SegmentDesk(self.count_segments, clock.now, later=not deliver_inline)
        self._facts: object = None
        self._served = ServedConfig("", {})
        self._announce: Callable[[], None] = _nobody
        self._refresh()

    @property
    def catalogue(self) -> Catalogue:
        """KPIs known beside those of a file."""
        return self._catalogue

    @property
    def channels(self) -> Mapping[str, Channel]:
        """Where messages go, by name; the log is always there."""
        return self._channels

    def channel_list(self) -> tuple[ChannelView, ...]:
        """Return every channel, and how its messages fare."""
        with self._control.reading() as session:
            files = [loaded.spec.experiment for loaded in self._shelf.not_over(session)]
        named = dict.fromkeys(name for each in files for name in each.notify)
        return channel_views(self._control, self._channels, now=self._clock.now(), named=named)

    def try_channel(self, name: str) -> ChannelTest:
        """Send one test message through a channel, at once and once.

        Raises:
            UnknownChannelError: There is no such channel.
        """
        return try_channel(self._channels, name, now=self._clock.now())

    def send_letter(self, name: str, letter: Letter) -> ChannelTest:
        """Send a digest through a channel, at once and once.

        Raises:
            UnknownChannelError: There is no such channel.
            ConflictError: It takes alerts alone.
        """
        return send_letter(self._channels, name, letter, now=self._clock.now())

    def serving(self) -> ServedConfig:
        """Return what applications are answered from; never blocks."""
        return self._served

    def on_served(self, told: Callable[[], None]) -> None:
        """Call ``told`` whenever another configuration is served; it must not block."""
        self._announce = told

    def apply(self, text: str, *, source: str, actor: str, dry_run: bool = False) -> ApplyView:
        """Validate a file and make it the experiment's newest revision, starting it when new.

        With ``starts`` in the future, or ``manual``, a new file makes a draft.

        Args:
            text: The file.
            source: Its name, kept with the revision.
            actor: Who applies it.
            dry_run: Say what would happen, and what would be refused, and change nothing.

        Raises:
            SpecError: The file has problems; nothing changed.
            ConflictError: It does not fit what is running; nothing changed.
        """
        if dry_run:
            (rehearsed,) = self.rehearse({source: text}, actor=actor)
            return rehearsed.applied
        loaded = self._shelf.parse(text, source=source)
        refuse_unknown_queries(loaded, self.settings, self._catalogue, source=source)
        if loaded.spec.experiment.force:
            self._flush()  # what was exposed must be known: overrides never move a unit
        with self._lock:
            with compare_and_set(), self._control.transaction() as session:
                asked = self._applying(source, actor, self._shelf.loader(session))
                before = load_experiment(session, loaded.key)
                view = apply_file(session, loaded, before=before, asked=asked)
            self._follow()
        self._tell()
        warnings = (*view.warnings, *unknown_channels(loaded, self._channels, source=source))
        return replace(view, warnings=warnings)

    def _applying(self, source: str, actor: str, load: Load) -> Applying:
        return Applying(
            source=source,
            actor=actor,
            now=self._clock.now(),
            holdout=self.settings.holdout,
            load=load,
            exposed=self._exposed,
            keep=partial(self._shelf.keep, source=source),
            moved=self._shelf.moved,
        )

    def _exposed(self, key: str, seed: int, among: Iterable[str]) -> frozenset[str]:
        known = self._store.exposed_units(key, seed)
        return frozenset(unit for unit in among if self._store.stored_as(unit) in known)

    def validate(self, text: str, *, source: str) -> tuple[Problem, ...]:
        """Return every problem of a file here and now, warnings included; nothing changes.

        Beside the file's own problems: what this service has not, and what applying it would
        refuse.
        """
        (rehearsed,) = self.rehearse({source: text}, actor="validate")
        return rehearsed.problems

    def rehearse(self, files: Mapping[str, str], *, actor: str) -> tuple[Rehearsed, ...]:
        """Return what applying files one after another would do; nothing changes.

        Args:
            files: Their texts by their names, in the order in which they would be applied.
            actor: Who asks.
        """
        drafts = [self._draft(source, text) for source, text in files.items()]
        if any(draft.forces for draft in drafts):
            self._flush()
        with self._lock, compare_and_set(), self._control.transaction(keep=False) as session:
            return rehearse(
                session,
                drafts,
                asked=lambda source, load: self._applying(source, actor, load),
                load=self._shelf.loader(session),
            )

    def _draft(self, source: str, text: str) -> Draft:
        return drafted(
            text,
            source=source,
            settings=self.settings,
            channels=self._channels,
            shelf=self._shelf,
            catalogue=self._catalogue,
        )

    def run_due(self, *, now: datetime | None = None) -> tuple[CheckReport, ...]:
        """Start every draft and run every check that is due; late checks collapse to the newest."""
        self._refresh()
        self._flush()
        at = now or self._clock.now()
        answers: Answers = {}
        reports = tuple(
            r for key in self._ring.due(at) if (r := self._run_one(key, at, answers)) is not None
        )
        for report in reports:
            if report.result != STARTED:
                for hook in self._hooks:
                    hook.on_check(report)
        # without a check, too: one that died after its commit has left a message to be told
        self._tell()
        return reports

    def _run_one(self, key: str, now: datetime, answers: Answers) -> CheckReport | None:
        heard = self._ring.ask(key, now, answers)  # a slow Prometheus must delay no person
        with self._lock:
            return self._ring.guarded(key, now, heard)

    def suspend(self, *, on: bool = True, reason: str, actor: str) -> SuspensionView:
        """Act on nothing from now on, or (``on`` false) act again; watching goes on.

        Raises:
            ConflictError: It is so already, or the setting suspends it.
        """
        asked = Asked(actor=actor, reason=reason, at=self._clock.now())
        by_setting = self.settings.suspended
        with self._lock, self._control.transaction() as session:
            change(session, asked, suspend=on, by_setting=by_setting)
            tell(session, channels=tuple(self._channels))
        logger.warning("%s %s the engine: %s", actor, "suspends" if on else "wakes", reason)
        self._tell()
        return self.suspension()

    def begin(self) -> None:
        """Keep whether the service was started suspended; called once, when it starts."""
        with self._lock, self._control.transaction() as session:
            before = newest(session)
            follow_setting(session, by_setting=self.settings.suspended, now=self._clock.now())
            if newest(session) != before:
                tell(session, channels=tuple(self._channels))

    def deliver(self) -> int:
        """Try every message that is due once; return how many were delivered."""
        with self._delivering:
            return deliver_due(
                self._control,
                self._channels,
                now=self._clock.now,
                report=self.told,
                public_url=self.settings.public_url,
            )

    def close(self) -> None:
        """Release the control plane; the store belongs to whoever opened it."""
        self._desk.close()
        self._control.close()

    def told(self, channel: str, result: str) -> None:
        """Hear that a delivery was tried: ``delivered``, ``retry`` or ``given_up``."""
        for hook in self._hooks:
            hook.on_notification(channel, result)

    def _tell(self) -> None:
        if self._deliver_inline:
            self.deliver()

    def _follow(self) -> None:
        """Serve what is stored now; if that fails, the next run of checks tries again."""
        try:
            self._refresh()
        except Exception:
            # what was committed stays committed; serving catches up at the next ring
            logger.exception("the served configuration could not be made anew")

    def _refresh(self) -> None:
        """Serve what is stored, whoever stored it (another engine on the same database too)."""
        with self._lock, self._control.reading() as session:
            facts = served_facts(session)
            if facts == self._facts:
                return
            self._served = compile_all(self._shelf.standings(session), self._served.experiments)
            self._facts = facts
        self._announce()


def _nobody() -> None:
    """Tell nobody: nobody asked yet."""
