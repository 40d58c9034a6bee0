"""What a scenario says, and how it ended. Plain values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from experiments.language.amounts import Amount
from experiments.language.source import Mark
from guardrails.scenarios.quantities import Range
from guardrails.spec_file import SpecFile

TOP = Mark(1, 1)
"""Where a file begins."""

START = datetime(2026, 3, 2, tzinfo=UTC)
"""Hour 0 of a scenario that does not say when it starts: a Monday."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How units behave with regard to one KPI.

    Attributes:
        amount: The KPI's value: a number, or a percent; with a sign it changes what was planted
            before; ``None``: nothing is sent at all.
        among: Share of the units that send anything, 0-1; ``None`` where it is not said.
        after: Time from the exposure to the event; ``None`` where it is not said.
    """

    amount: Amount | float | None
    among: float | None = None
    after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Effect:
    """A planted difference.

    Attributes:
        of: Variants concerned.
        since: From which first exposure on, since the start.
        until: Up to which, ``None`` for good.
        where: Attributes a unit must have.
        behaviour: What is planted, by KPI.
    """

    of: frozenset[str]
    since: timedelta
    until: timedelta | None
    where: Mapping[str, str]
    behaviour: Mapping[str, Behaviour]


@dataclass(frozen=True, slots=True)
class Act:
    """Something that happens: its name in the file, its value, where it stands, and its words."""

    name: str
    value: Any
    at: Mark
    told: str = ""


@dataclass(frozen=True, slots=True)
class Expectation:
    """Something that must be so: its name in the file, its value, and where it stands."""

    name: str
    value: Any
    at: Mark


@dataclass(frozen=True, slots=True)
class Step:
    """One entry of the timeline.

    Attributes:
        at: Since the start.
        acts: What happens, in the order of the file.
        refused: What the refusal of the acts must say, ``None`` where they must succeed.
        expects: What must be so after that.
        mark: Where it stands.
    """

    at: timedelta
    acts: tuple[Act, ...] = ()
    refused: str | None = None
    expects: tuple[Expectation, ...] = ()
    mark: Mark = TOP


@dataclass(frozen=True, slots=True)
class Service:
    """How the service of a scenario is set up.

    Attributes:
        suspended: Whether it is started suspended.
        holdout: Share of all units that take part in nothing, 0-1.
        grace: Time after a rollback before its verification begins.
    """

    suspended: bool = False
    holdout: float = 0.0
    grace: timedelta = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario without errors.

    Attributes:
        file: Its name.
        title: The trap, in a sentence.
        about: More about it, may be empty.
        spec: The experiment.
        beside: Other experiments, applied before it.
        seed: Of everything random.
        starts: Instant of hour 0, aware UTC.
        traffic: Units an hour at the start.
        attributes: Shares of the values of a unit's attributes.
        people: How units behave where nothing is planted, by KPI.
        effects: What is planted, later ones on top of earlier ones.
        queries: Queries of Prometheus; true for those asked per variant.
        service: How the service is set up.
        timeline: What happens and what must be so, by time.
        lasts: When the scenario is over.
        expects: What must be so then.
        not_yet: Why it must fail for now, ``None`` where it must hold.
        heavy: Whether it takes long.
    """

    file: str
    title: str
    about: str
    spec: SpecFile
    beside: tuple[SpecFile, ...]
    seed: int
    starts: datetime
    traffic: float
    attributes: Mapping[str, Mapping[str, float]]
    people: Mapping[str, Behaviour]
    effects: tuple[Effect, ...]
    queries: Mapping[str, bool]
    service: Service
    timeline: tuple[Step, ...]
    lasts: timedelta
    expects: tuple[Expectation, ...]
    not_yet: str | None = None
    heavy: bool = False

    @property
    def key(self) -> str:
        """Key of the experiment."""
        return self.spec.experiment.key


@dataclass(frozen=True, slots=True)
class Turned:
    """An expected rollback: of whom, when, by what, and words of its reason."""

    variant: str
    between: tuple[timedelta, timedelta] | None = None
    by: str | None = None
    because: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Told:
    """Expected messages of one kind: how many, about whom, with which words."""

    kind: str
    count: Range
    about: str | None = None
    text: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sent:
    """Events that somebody sends by hand.

    Attributes:
        event: Name.
        count: How many units send one.
        units: ``new``, or the variant whose units they name.
        fields: Of the event.
        trusted: Whether with a secret key.
    """

    event: str
    count: int
    units: str
    fields: Mapping[str, Any]
    trusted: bool


@dataclass(frozen=True, slots=True)
class PostedAlert:
    """An alert that Alertmanager posts.

    Attributes:
        name: Its label ``alertname``.
        variant: Treatment it is about, ``None`` for none.
        labels: Its other labels.
        status: ``firing`` or ``resolved``.
        summary: What it says of itself.
    """

    name: str
    variant: str | None
    labels: Mapping[str, Any]
    status: str
    summary: str


@dataclass(frozen=True, slots=True)
class Lost:
    """What is lost on the way, as shares: of whom, exposures and other events."""

    of: str | None = None
    exposures: float = 0.0
    events: float = 0.0


@dataclass(frozen=True, slots=True)
class Longer:
    """How much later than so far the last unit enters, and why."""

    by: timedelta
    because: str


@dataclass(frozen=True, slots=True)
class Failure:
    """Something that is not as expected.

    Attributes:
        where: ``file:line:column``.
        after: Time since the start of the scenario.
        what: What of it: the name of the expectation.
        expected: In words.
        was: In words.
    """

    where: str
    after: timedelta
    what: str
    expected: str
    was: str


@dataclass(frozen=True, slots=True)
class ScenarioResult:
    """How a scenario ended.

    Attributes:
        file: Its name.
        title: The trap.
        passed: Whether everything was as expected, or, with ``not_yet``, something was not.
        failures: Everything that was not as expected.
        not_yet: Why it is expected to fail for now.
        simulated: Length of the timeline.
        checks: Ticks that were run.
        units: Units exposed.
        expectations: How many were looked at.
        replayed: Decisions computed again from the log.
        story: What happened, a line each.
        seconds: Wall time.
    """

    file: str
    title: str
    passed: bool
    failures: tuple[Failure, ...]
    not_yet: str | None
    simulated: timedelta
    checks: int
    units: int
    expectations: int
    replayed: int
    story: tuple[str, ...] = field(default_factory=tuple[str, ...])
    seconds: float = 0.0
