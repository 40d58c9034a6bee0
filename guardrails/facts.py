"""What a decision must know of a run, its guardrails and their failures. Pure values."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from guardrails.outcome import Code, Finding, Outcome
from guardrails.rules.failures import Consequence, Policies, Then
from guardrails.schedule import Frozen

Pair = tuple[str, str]
"""(guardrail, treatment)."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a decision must know of a guardrail.

    Attributes:
        id: Name within the experiment.
        action: ``rollback``, ``hold``, ``alert`` or ``stop`` (rules outside statistics).
        dry_run: Whether it never acts.
        rule: What it follows: of several breaches a regression is the reason before a limit,
            that before a catastrophe, and that before a rule outside statistics.
        policies: What follows from its failures.
    """

    id: str
    action: str
    dry_run: bool
    rule: str = "regression"
    policies: Policies = field(default_factory=Policies)


def holds_the_ramp(rule: Rule) -> bool:
    """Return whether the ramp waits for a guardrail."""
    return rule.action != "alert" and not rule.dry_run


def about(rule: Rule, finding: Finding) -> Rule:
    """Return a guardrail as it may act on one finding: some ask for less than it may do."""
    asked = finding.detail.get("action")
    return rule if asked is None or asked == rule.action else replace(rule, action=str(asked))


def is_blind(finding: Finding) -> bool:
    """Return whether a finding means that the engine could not see."""
    return finding.outcome in {Outcome.NO_DATA, Outcome.ERROR}


@dataclass(frozen=True, slots=True)
class Spell:
    """One failure that lasts, of one guardrail and treatment.

    Attributes:
        guardrail: Which.
        treatment: Arm judged.
        source: What cannot be seen: a source that others share, else the guardrail's id.
        code: Of the newest check of the spell.
        since: Instant of its first check.
        checks: Checks in a row so far.
        consequence: What follows from it.
        waits: Whether the ramp stands still for it.
    """

    guardrail: str
    treatment: str
    source: str
    code: Code
    since: datetime
    checks: int
    consequence: Consequence
    waits: bool

    def told(self) -> bool:
        """Return whether people are to be told by now."""
        return self.checks >= self.consequence.alert_after

    def late(self, at: datetime, *, since: datetime | None = None) -> bool:
        """Return whether the deadline has passed.

        Args:
            at: The current instant.
            since: Time before it does not count: the experiment was not running.
        """
        deadline = self.consequence.page_after
        begun = self.since if since is None else max(self.since, since)
        return deadline is not None and self.checks > 1 and at - begun >= deadline

    def freezes(self, at: datetime) -> bool:
        """Return whether it lasts so long that the step of the ramp is to begin anew."""
        return self.waits and self.late(at)


def waits_for(rule: Rule, consequence: Consequence) -> bool:
    """Return whether the ramp stands still for a failure of a guardrail."""
    return holds_the_ramp(rule) and consequence.then is not Then.ALERT


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the ramp.

    Attributes:
        hold: Least time in the step.
        min_units: Units exposed per arm since the step began.
        proven: Whether every acting guardrail must pass before the step is left.
        approval: Whether a person must allow the step to be left.
    """

    hold: timedelta
    min_units: int = 0
    proven: bool = False
    approval: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an experiment stands when a check decides.

    Attributes:
        state: ``running``, ``paused`` or ``observing``.
        live: Treatments that are not rolled back.
        acting: Whether the engine may act (live mode, not suspended).
        rules: Guardrails by id.
        steps: The ramp; empty means full traffic from the start.
        step: Index of the current step.
        step_since: When it began.
        step_units: Units first exposed since then, of control and the live treatments.
        told: (guardrail, treatment) pairs already told of a breach they do not act on.
        key: Key of the experiment, for words.
        approved: Index of the step that a person allowed to be left, -1 for none.
        frozen: Why the ramp stands still now, ``None`` when it does not.
        shadow: Whether the file says ``mode: shadow``: the reason why the engine may not act.
        spells: Failures that last, by (guardrail, treatment).
        ended: Spells of blindness that ended with this check.
        running_since: When it was last started or continued, where that was after ``since`` of a
            spell: a deadline counts from then. ``None`` where nobody asked.
    """

    state: str
    live: frozenset[str]
    acting: bool
    rules: Mapping[str, Rule]
    ends_at: datetime
    observe_until: datetime
    steps: tuple[Step, ...] = ()
    step: int = 0
    step_since: datetime | None = None
    step_units: Mapping[str, int] | None = None
    told: frozenset[tuple[str, str]] = frozenset()
    key: str = ""
    approved: int = -1
    frozen: Frozen | None = None
    shadow: bool = False
    spells: Mapping[Pair, Spell] = field(default_factory=dict[Pair, Spell])
    ended: tuple[Spell, ...] = ()
    running_since: datetime | None = None
