"""Computing a decision again: from what was kept of it, and from the log of events."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace

import msgspec
from sqlmodel import Session

from experiments.database import ControlPlane
from experiments.errors import SpecError
from guardrails.conclude import Inputs, conclude
from guardrails.evidence import PROCEDURE, inputs_of, measured_sha256
from guardrails.evidence_rows import (
    Kept,
    NotReplayableError,
    Reference,
    evaluation_of,
    findings_of,
    load_history,
    load_kept,
    load_parts,
    reference,
    transitions_of,
)
from guardrails.loaded import Loaded
from guardrails.outcome import Finding, WindowState
from guardrails.replay import (
    Case,
    Changed,
    Replayed,
    Verdict,
    broken_seals,
    changed_cells,
    changed_conclusion,
    gone_since,
    named_parts,
    over_window,
    parsed,
    same_schedule,
)
from guardrails.shelf import Shelf
from metrics.cells import Snapshot
from metrics.store import AsOf, EventsGoneError, MetricStore
from metrics.upkeep import gone_before
from metrics.wording import ENGLISH, speaking
from metrics.wording import gettext as _

States = dict[tuple[str, str, int], dict[str, WindowState]]
"""Schedules of looks by (guardrail, treatment, attempt) and window."""

_UNREADABLE = (KeyError, TypeError, ValueError, IndexError, AttributeError, msgspec.MsgspecError)
"""What reading an account raises that somebody changed."""


@dataclass(slots=True)
class _Found:
    """What a replay has found so far."""

    changed: list[Changed] = field(default_factory=list[Changed])
    broken: bool = False
    gone: list[str] = field(default_factory=list[str])
    notes: list[str] = field(default_factory=list[str])
    cells: int = 0
    findings: int = 0
    looks: int = 0
    recomputed: str | None = None

    def note(self, words: str) -> None:
        """Add a note, once."""
        if words not in self.notes:
            self.notes.append(words)


class Replayer:
    """Computes decisions again. Changes nothing, and may be asked from any thread.

    Args:
        control: The control plane.
        store: The metric store.
        shelf: Revisions.
        version: Of Turnback, now.
    """

    def __init__(
        self, control: ControlPlane, store: MetricStore, shelf: Shelf, *, version: str
    ) -> None:
        self._control = control
        self._store = store
        self._shelf = shelf
        self._version = version

    @speaking(ENGLISH)  # words are compared with those that were recorded
    def replay(self, asked: str, *, from_start: bool = False) -> Replayed:
        """Compute a decision again, and say what is not equal.

        Args:
            asked: Id of a transition, a finding or a check.
            from_start: Compute every kept check before it again too, and so every look, instead
                of going on from the schedule of looks that was kept before it.

        Raises:
            InvalidRequestError: It is no id.
            UnknownDecisionError: Nothing has this id.
            NotReplayableError: It was no check's decision, or nothing was kept of the check.
        """
        which = reference(asked)
        with self._control.reading() as session:
            kept = load_kept(session, evaluation_of(session, which))
            history = load_history(session, kept) if from_start else (kept,)
            cases = [self._case(session, each) for each in history]
            loaded = self._loaded(session, cases)
        found, states = _Found(), States() if from_start else None
        frames = [self._asked(c, of) for c, of in zip(cases, loaded, strict=True)]
        answers = self._counted([frame for frame in frames if frame is not None])
        with closing(answers):
            for case, of, frame in zip(cases, loaded, frames, strict=True):
                before = len(found.changed)
                counted = next(answers) if frame is not None else None
                self._one(case, of, counted, found, states)
                if case is not cases[-1]:
                    earlier = found.changed[before:]
                    found.changed[before:] = [
                        replace(c, where=f"{case.name}: {c.where}") for c in earlier
                    ]
        return self._told(which, cases[-1], kept, found, from_start=from_start)

    def _case(self, session: Session, kept: Kept) -> Case:
        account = parsed(kept.body)
        if account is None:
            raise NotReplayableError(
                f"what c{kept.evaluation} kept is no account any more: its text was changed",
                hint="restore the control plane from a backup",
            )
        rows = findings_of(session, kept.evaluation)
        with suppress(*_UNREADABLE):
            parts = load_parts(session, kept.experiment, named_parts(account))
            return Case(
                name=f"c{kept.evaluation}",
                body=kept.body,
                sealed=kept.sha256,
                check=kept.check,
                account=account,
                parts=parts,
                findings=[row.model_dump() for row in rows],
                transitions=transitions_of(session, kept.evaluation),
            )
        raise NotReplayableError(
            f"what c{kept.evaluation} kept cannot be read: its text was changed",
            hint="restore the control plane from a backup",
        )

    def _loaded(self, session: Session, cases: Sequence[Case]) -> list[Loaded]:
        """Return the revision of every check, each read once."""
        known: dict[tuple[int, str], Loaded] = {}
        found: list[Loaded] = []
        for case in cases:
            config = case.account["config"]
            number, queries = int(config["revision"]), dict[str, str](config["queries"])
            key = number, str(sorted(queries.items()))
            if key not in known:
                name = str(case.check["experiment"])
                try:
                    known[key] = self._shelf.as_of(session, name, number, queries=queries)
                except SpecError as error:
                    raise NotReplayableError(
                        f"this version cannot read revision {number} of {name} any more: {error}",
                        hint=f"replay it with version {case.account['engine']}",
                    ) from error
            found.append(known[key])
        return found

    def _asked(self, case: Case, loaded: Loaded) -> AsOf | None:
        """Return what the check asked the store; ``None`` where nothing was answered."""
        with suppress(*_UNREADABLE):
            inputs = inputs_of(case.account, case.parts)
            if inputs.snapshot is None:
                return None
            frame = loaded.frame(inputs.record, inputs.phases)
            return AsOf(frame, inputs.at, int(case.account["check"]["watermark"]))
        return None

    def _counted(self, asked: Sequence[AsOf]) -> Generator[Snapshot | str]:
        """Yield every answer in order, or why it cannot be given."""
        at = 0
        while at < len(asked):
            with closing(self._store.replay(asked[at:])) as answers:
                try:
                    for answer in answers:
                        yield answer
                        at += 1
                except EventsGoneError as error:
                    gone = str(error)
                else:
                    return
            yield gone
            at += 1

    def _one(
        self,
        case: Case,
        loaded: Loaded,
        counted: Snapshot | str | None,
        found: _Found,
        states: States | None,
    ) -> None:
        """Compare one check with what was kept of it."""
        broken = list(broken_seals(case, loaded))
        found.changed += broken
        found.broken |= bool(broken)
        try:
            inputs = inputs_of(case.account, case.parts)
        except _UNREADABLE:
            found.changed.append(Changed(f"what {case.name} kept", "readable", "not readable"))
            found.broken = True
            return
        exact, same = case.account["engine"] == self._version, _same_procedure(case, found)
        if states is not None and same:
            inputs = _chained(inputs, states, found, exact=exact)
        snapshot = self._seen(case, loaded, inputs, counted, found)
        if snapshot is None and inputs.snapshot is not None:
            return
        findings, decision = conclude(loaded, replace(inputs, snapshot=snapshot))
        found.recomputed = decision.words
        if not same:
            return
        found.changed += changed_conclusion(case, findings, decision, exact=exact)
        found.findings += len(findings)
        found.looks += sum(window.is_look for f in findings for window in f.windows)
        if states is not None:
            _go_on(states, inputs, findings)

    def _seen(
        self,
        case: Case,
        loaded: Loaded,
        inputs: Inputs,
        counted: Snapshot | str | None,
        found: _Found,
    ) -> Snapshot | None:
        """Return the cells to conclude from: counted again, or as kept where events left."""
        kept = inputs.snapshot
        if inputs.answers:
            found.note(
                _("what Prometheus answered is no part of the log: it is taken as it was kept")
            )
        if inputs.alerts:
            found.note(
                _("what Alertmanager told is no part of the log: it is taken as it was kept")
            )
        if kept is None:
            found.note(
                _(
                    "the store could not be read then ({error}): nothing was counted",
                    error=inputs.failure,
                )
            )
            return None
        gone = gone_since(self._store.erasures(), at=inputs.at, watermark=kept.watermark)
        whole = bool(case.account["snapshot"]["whole"])
        if counted is None or isinstance(counted, str):
            found.gone += [words for words in gone if words not in found.gone]
            found.note(str(counted))
            return self._from_kept(kept if whole else None, found)
        record = inputs.record
        if gone_before(self._store.erasures(), record.started_at, kept.watermark) is not None:
            found.note(_("older events have left the log: of them, the totals carried over count"))
        reach = case.account["config"]["measured"] == measured_sha256(loaded)
        found.cells += len(case.account["snapshot"]["cells"])
        changed = list(changed_cells(case.account, kept, counted, reach=reach))
        found.changed += changed
        if not reach:
            found.note(_("the catalogue shows other KPIs by now: units reached are taken as kept"))
            counted = replace(counted, reach=kept.reach, conflicted=kept.conflicted)
        if changed and gone:
            found.gone += [words for words in gone if words not in found.gone]
            return self._from_kept(kept, found) if whole else counted
        return counted

    @staticmethod
    def _from_kept(kept: Snapshot | None, found: _Found) -> Snapshot | None:
        if kept is None:
            found.note(_("the counts themselves were not kept with it, only their hash"))
        else:
            found.note(_("the decision was computed from the counts that were kept with it"))
        return kept

    def _told(
        self, which: Reference, case: Case, kept: Kept, found: _Found, *, from_start: bool
    ) -> Replayed:
        verdict = Verdict.EQUAL
        if found.gone and not found.broken:
            verdict = Verdict.GONE
        elif found.changed:
            verdict = Verdict.DIFFERENT
        return Replayed(
            id=str(which),
            check=case.name,
            experiment=kept.experiment,
            at=kept.at,
            watermark=int(kept.check["watermark"]),
            revision=int(case.account["config"]["revision"]),
            verdict=verdict,
            engine=str(case.account["engine"]),
            replayed_with=self._version,
            exact=case.account["engine"] == self._version,
            decision=str(kept.check["decision"]),
            recomputed=found.recomputed,
            cells=found.cells,
            findings=found.findings,
            looks=found.looks if from_start else None,
            differences=tuple(found.changed),
            gone=tuple(found.gone),
            notes=tuple(found.notes),
        )


def _same_procedure(case: Case, found: _Found) -> bool:
    """Tell whether a check decided by the procedure of today; where not, say so once."""
    then = case.account["procedure"]
    if then != PROCEDURE:
        told = (str(then), str(PROCEDURE))
        changed = Changed("procedure of deciding", *told)
        if changed not in found.changed:
            found.changed.append(changed)
        found.note(
            _(
                "{check} was decided by procedure {then} of deciding, this version has {now}: its "
                "counts are compared, its evidence and boundaries are not",
                check=case.name,
                then=told[0],
                now=told[1],
            )
        )
    return then == PROCEDURE


def _chained(inputs: Inputs, states: States, found: _Found, *, exact: bool) -> Inputs:
    """Return inputs whose schedules of looks are those computed again from the first look."""
    monitors = dict(inputs.monitors)
    for key, monitor in monitors.items():
        mine: Mapping[str, WindowState] = states.get(key, {})
        chained = dict(monitor.states)
        for window, kept in monitor.states.items():
            again, where = mine.get(window), f"{key[0]} of {key[1]}{over_window(window)}"
            if not kept.looks:
                continue
            if again is None or not again.looks:
                found.note(
                    _(
                        "{where}: an earlier version made its first looks; taken as kept",
                        where=where,
                    )
                )
                continue
            if not same_schedule(kept, again, exact=exact):
                told = (f"{s.looks} looks, alpha spent {s.spent!r}" for s in (kept, again))
                found.changed.append(Changed(f"{where}: looks so far", *told))
            chained[window] = replace(again, crossed=kept.crossed)
        monitors[key] = replace(monitor, states=chained)
    for key in [key for key in states if key not in monitors]:
        del states[key]  # its guardrail was given another meaning: the schedule began anew
    return replace(inputs, monitors=monitors)


def _go_on(states: States, inputs: Inputs, findings: Sequence[Finding]) -> None:
    for finding in findings:
        attempt = inputs.treatments[finding.treatment].attempt
        key = finding.guardrail, finding.treatment, attempt
        states[key] = {**states.get(key, {}), **finding.states}
