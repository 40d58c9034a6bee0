"""What follows from the findings of one check. Pure: no clock, no database.

Order over one check (first wins): what a person did > latch > breach > limit > data quality
(hold) > ``min_units`` and ``hold`` of the ramp step > proof, where the step wants it > freeze >
approval > advance. A rollback never waits for a step, and nothing but a proven breach rolls back.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from guardrails.facts import Rule, Spell, Standing, Step, about, holds_the_ramp, is_blind
from guardrails.outcome import Code, Finding, Outcome
from guardrails.rules.failures import ENDING, Then
from guardrails.schedule import Frozen
from guardrails.words import command, duration, instant
from metrics.wording import gettext as _

__all__ = [
    "Decision",
    "Hold",
    "Rule",
    "Standing",
    "Step",
    "decide",
    "events_stopped",
    "frozen_words",
    "query_failed",
    "waiting",
]


@dataclass(frozen=True, slots=True)
class Decision:
    """What one check does.

    Attributes:
        rollbacks: One finding per treatment to be turned back.
        tell: Breaches that are told but not acted upon (alert, dry run, shadow, suspended).
        advance: Whether the ramp moves one step on.
        become: New state of the experiment, ``None`` to stay.
        stop: The breach that stops the whole experiment, if one does.
        ask: Whether the ramp waits for a person's approval and for nothing else.
        words: One line for the record.
        overdue: The failure whose deadline gives everybody control, if one does.
        anew: Whether the step of the ramp begins anew: it was not watched for too long.
        spells: Failures that last, for telling.
        ended: Spells of blindness that ended, for telling.
        open: At the end, what was neither proven harmful nor safe: control is kept.
        advice: What is advised where the run is over (``guardrails.advice``), as JSON.
        ship: Treatment that everybody gets from now on (``auto_ship``), ``None`` for control.
    """

    rollbacks: tuple[Finding, ...] = ()
    tell: tuple[Finding, ...] = ()
    advance: bool = False
    become: str | None = None
    stop: Finding | None = None
    ask: bool = False
    words: str = "nothing to do"
    overdue: Spell | None = None
    anew: bool = False
    spells: tuple[Spell, ...] = ()
    ended: tuple[Spell, ...] = ()
    open: tuple[Finding, ...] = ()
    advice: Mapping[str, Any] | None = None
    ship: str | None = None


def decide(findings: Sequence[Finding], standing: Standing, *, now: datetime) -> Decision:
    """Return what follows from the findings of one check.

    Findings about treatments that are not live are ignored: the latch is closed. Of several
    breaches of one treatment the one with the strongest evidence is its reason, a regression
    before any other rule.
    """
    live = [f for f in findings if f.treatment in standing.live]
    breaches = [f for f in live if f.outcome is Outcome.BREACH]
    rollbacks = _strongest([f for f in breaches if _may(f, "rollback", standing)], standing.rules)
    gone = {f.treatment for f in rollbacks}
    stop = next((f for f in breaches if _may(f, "stop", standing)), None)
    overdue = _overdue(standing, gone, now) if stop is None else None
    become = _next_state(standing, overdue, now) if stop is None else "stopped"
    remaining = [f for f in live if f.treatment not in gone]
    froze = next((spell for spell in standing.ended if spell.freezes(now)), None)
    anew = froze is not None and standing.state == "running"
    hold = waiting(remaining, standing, now=now)
    if froze is not None and anew:
        hold = hold or Hold(_anew_words(froze, now))
    moves = not rollbacks and become is None
    advance = hold is None and moves
    return Decision(
        rollbacks=rollbacks,
        tell=_to_tell([f for f in breaches if f.treatment not in gone], standing),
        advance=advance,
        become=become,
        stop=stop,
        ask=hold is not None and hold.asks and moves,
        words=_words(rollbacks, become, hold.words if hold else None, advance=advance, stop=stop),
        overdue=overdue,
        anew=anew,
        spells=tuple(s for pair, s in standing.spells.items() if pair[1] not in gone),
        ended=standing.ended,
        open=unproven(remaining, standing.rules) if become == "finished" else (),
    )


def _overdue(standing: Standing, gone: set[str], now: datetime) -> Spell | None:
    """Return the failure that gives everybody control: ``stop`` before ``pause``, oldest first."""
    if standing.state != "running" or not standing.acting:
        return None
    due = [
        spell
        for spell in standing.spells.values()
        if spell.consequence.then in ENDING
        and spell.waits
        and spell.treatment not in gone
        and spell.late(now, since=standing.running_since)
    ]
    return min(due, key=lambda s: (s.consequence.then is not Then.STOP, s.since), default=None)


def _anew_words(spell: Spell, now: datetime) -> str:
    return _(
        "{guardrail} of {variant} could not be judged for {length}, so the step begins anew",
        guardrail=spell.guardrail,
        variant=spell.treatment,
        length=duration(now - spell.since),
    )


def _may(finding: Finding, action: str, standing: Standing) -> bool:
    """Return whether a breach does what it is meant to: while nobody is exposed, none stops."""
    rule = about(standing.rules[finding.guardrail], finding)
    if action == "stop" and standing.state == "observing":
        return False
    return standing.acting and rule.action == action and not rule.dry_run


def _to_tell(breaches: Sequence[Finding], standing: Standing) -> tuple[Finding, ...]:
    """Return the breaches that nothing is done about and nobody was told of.

    One that all treatments share (a query of the whole service) is told once.
    """
    known = {g for g, _ in standing.told}
    found: list[Finding] = []
    for finding in breaches:
        if any(_may(finding, action, standing) for action in ("rollback", "stop")):
            continue
        shared = bool(finding.detail.get("shared"))
        told = finding.guardrail in known if shared else _pair(finding) in standing.told
        if not told:
            found.append(finding)
            known |= {finding.guardrail}
    return tuple(found)


def _pair(finding: Finding) -> tuple[str, str]:
    return finding.guardrail, finding.treatment


def _strongest(breaches: Sequence[Finding], rules: Mapping[str, Rule]) -> tuple[Finding, ...]:
    best: dict[str, Finding] = {}
    for finding in breaches:
        held = best.get(finding.treatment)
        if held is None or _rank(finding, rules) > _rank(held, rules):
            best[finding.treatment] = finding
    return tuple(best.values())


_FIRST_REASONS = ("catastrophe", "limit", "regression")


def _rank(finding: Finding, rules: Mapping[str, Rule]) -> tuple[int, float]:
    rule = rules[finding.guardrail].rule
    known = _FIRST_REASONS.index(rule) + 1 if rule in _FIRST_REASONS else 0
    return known, finding.evidence


def _next_state(standing: Standing, overdue: Spell | None, now: datetime) -> str | None:
    if overdue is not None and overdue.consequence.then is Then.STOP:
        return "stopped"
    if standing.state in {"running", "paused"} and now >= standing.ends_at:
        return "observing"
    if standing.state == "observing" and now >= standing.observe_until:
        return "finished"
    return "paused" if overdue is not None else None


@dataclass(frozen=True, slots=True)
class Hold:
    """Why the ramp does not advance: ``asks`` when only a person's approval is missing."""

    words: str
    asks: bool = False


def waiting(findings: Sequence[Finding], standing: Standing, *, now: datetime) -> Hold | None:
    """Return why the ramp may not advance, ``None`` when it may.

    Args:
        findings: Findings of the treatments that are live.
        standing: Where the experiment stands.
        now: The current instant.
    """
    if (still := _stands_still(standing)) is not None:
        return Hold(still)
    step = standing.steps[standing.step]
    words = (
        _objection(findings, standing, now)
        or _unripe(step, standing, now)
        or (_unproven(findings, standing.rules) if step.proven else None)
        or (frozen_words(standing.frozen) if standing.frozen is not None else None)
    )
    if words is not None:
        return Hold(words)
    if step.approval and standing.approved != standing.step:
        asked = command("approve", standing.key)
        return Hold(_("waits for approval: {command}", command=asked), asks=True)
    return None


def _stands_still(standing: Standing) -> str | None:
    """Return why no step would be left whatever the findings and the step say."""
    if standing.state != "running":
        return _("the experiment is {state}", state=_(standing.state))
    if standing.step + 1 >= len(standing.steps):
        return _("the ramp is at its last step")
    if not standing.live:
        return _("every treatment is turned back")
    if not standing.acting:
        if standing.shadow:
            return _("the ramp stands still in shadow mode")
        return _("the ramp stands still while the engine is suspended")
    return None


def _unripe(step: Step, standing: Standing, now: datetime) -> str | None:
    """Return what of the step's hold and units is missing."""
    if standing.step_since is not None and now - standing.step_since < step.hold:
        until = standing.step_since + step.hold
        return _(
            "the step's hold of {length} is not over before {at}",
            length=duration(step.hold),
            at=instant(until),
        )
    fewest = min((standing.step_units or {}).values(), default=0)
    if fewest < step.min_units:
        return _(
            "{inside} of {number} units per arm are in",
            inside=f"{fewest:,}",
            number=f"{step.min_units:,}",
        )
    return None


def frozen_words(frozen: Frozen) -> str:
    """Return that the ramp stands still, until when and why."""
    said = _("frozen")
    if frozen.until is not None:
        said = _("frozen until {at}", at=instant(frozen.until))
    return _("{said} ({why})", said=said, why=frozen.why) if frozen.why else said


def _objection(findings: Sequence[Finding], standing: Standing, now: datetime) -> str | None:
    for finding in findings:
        rule = about(standing.rules[finding.guardrail], finding)
        spell = standing.spells.get(_pair(finding))
        if not holds_the_ramp(rule) or (is_blind(finding) and not _waits(rule, finding)):
            continue
        named = {"guardrail": finding.guardrail, "variant": finding.treatment}
        if spell is not None and is_blind(finding) and spell.freezes(now):
            return _(
                "{guardrail} of {variant} is {outcome} since {at}: the ramp is frozen",
                outcome=_(finding.outcome.value),
                at=instant(spell.since),
                **named,
            )
        if finding.outcome in {Outcome.BREACH, Outcome.ERROR, Outcome.NO_DATA}:
            return _(
                "{guardrail} of {variant} is {outcome}", outcome=_(finding.outcome.value), **named
            )
        if any(state.crossed for state in finding.states.values()):
            return _("{guardrail} of {variant} was breached before", **named)
    return None


def _waits(rule: Rule, blind: Finding) -> bool:
    asked = rule.policies
    found = asked.on_no_data if blind.outcome is Outcome.NO_DATA else asked.on_source_error
    return found.then is not Then.ALERT


def unproven(findings: Sequence[Finding], rules: Mapping[str, Rule]) -> tuple[Finding, ...]:
    """Return what compared a KPI and is neither proven harmful nor proven safe."""
    return tuple(
        f
        for f in findings
        if f.windows
        and f.outcome is Outcome.INCONCLUSIVE
        and f.guardrail in rules
        and holds_the_ramp(rules[f.guardrail])
    )


def _unproven(findings: Sequence[Finding], rules: Mapping[str, Rule]) -> str | None:
    for finding in findings:
        open_ = finding.outcome is not Outcome.PASS and finding.code is not Code.NO_ALERT
        if open_ and holds_the_ramp(rules[finding.guardrail]):
            return _(
                "{guardrail} of {variant} is not proven safe yet",
                guardrail=finding.guardrail,
                variant=finding.treatment,
            )
    return None


def _words(
    rollbacks: Sequence[Finding],
    become: str | None,
    blocked: str | None,
    *,
    advance: bool,
    stop: Finding | None,
) -> str:
    if stop is not None:
        return _("stop the experiment: {guardrail} is breached", guardrail=stop.guardrail)
    if rollbacks:
        return "; ".join(
            _(
                "turn back {variant}: {guardrail} is breached",
                variant=f.treatment,
                guardrail=f.guardrail,
            )
            for f in rollbacks
        )
    if become is not None:
        return _("the experiment becomes {state}", state=become)
    if advance:
        return _("the ramp advances one step")
    return _("hold: {why}", why=blocked) if blocked else _("nothing to do")


def events_stopped(
    exposed_since: Mapping[str, int],
    *,
    events: int,
    exposed: int,
    quiet_for: timedelta,
    settle: timedelta,
) -> bool:
    """Return whether events no longer arrive although units still enter.

    True when nothing came for longer than ``settle``, at least 100 units of each arm were
    exposed after the newest event of any arm and, at the rate so far, at least 20 events were
    due from them (their absence has then a probability below e**-20 for independent units).
    Before any event the first condition decides.

    Args:
        exposed_since: Units first exposed after the newest event, by variant.
        events: Events of exposed units so far.
        exposed: Units exposed so far.
        quiet_for: Time since the newest event, or since the start without any event.
        settle: How long silence is normal: twice the shortest window, plus the lag.
    """
    if quiet_for <= settle or not exposed_since:
        return False
    if min(exposed_since.values()) < 100:  # noqa: PLR2004 - the gate of units per arm
        return False
    return events == 0 or events / exposed * sum(exposed_since.values()) >= 20  # noqa: PLR2004


def query_failed(guardrail: str, kpi: str | None, treatment: str, message: str) -> Finding:
    """Return the finding of a check whose query failed."""
    return Finding(
        guardrail=guardrail,
        kpi=kpi,
        treatment=treatment,
        outcome=Outcome.ERROR,
        code=Code.QUERY_FAILED,
        detail={"message": message},
    )
