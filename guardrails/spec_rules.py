"""Rules of a spec file that need both the experiment and its guardrails and KPIs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from experiments.amounts import Amount, format_duration, format_percent
from experiments.errors import Severity
from experiments.reading import Record
from experiments.source import ListNode, MappingNode, ScalarNode
from guardrails.kpis import KpiBook
from guardrails.rules import RULES, Guardrail, Regression
from guardrails.spec_keys import FEWER_CANCELLATIONS, NO_GUARDRAILS
from metrics.catalogue import Better, KpiDefinition

_WAY_OUT: Final = "cancel_success_rate"
_DEFAULT_LAG: Final = timedelta(minutes=5)


@dataclass(slots=True)
class Acknowledgements:
    """Warnings that refuse a file until it says that they were read.

    Attributes:
        record: The file.
        raised: Words of the warnings that came up.
    """

    record: Record
    raised: set[str] = field(default_factory=set[str])

    def tell(self, key: str, word: str, message: str, hint: str) -> None:
        """Tell such a warning: an error unless its word is acknowledged."""
        self.raised.add(word)
        known = any(item.value == word for item in self.record.get("acknowledge", ()))
        if known:
            self.record.problem(key, message, hint, severity=Severity.WARNING)
        else:
            self.record.problem(
                key, message, f"{hint}, or say `acknowledge: [{word}]` if you accept that"
            )

    def tell_needless(self) -> None:
        """Warn of words that acknowledge nothing."""
        for item in self.record.get("acknowledge", ()):
            if item.value not in self.raised:
                item.place.problem(
                    item.at,
                    f"there is nothing to acknowledge as `{item.value}`",
                    "remove it",
                    severity=Severity.WARNING,
                )


def read_guardrails(record: Record, kpis: KpiBook) -> tuple[Guardrail, ...]:
    """Return the guardrails of a file that have no problems; tell those of the others."""
    guardrails: list[Guardrail] = []
    lines: dict[str, int] = {}
    for item in record.get("guardrails", ()):
        entry: Record = item.value
        guardrail = RULES[entry.get("rule", Regression.rule)].read(entry, kpis)
        name: str | None = entry.get("id", entry.get("kpi"))
        if name is None:
            continue
        if name in lines:
            key, hint = ("id", "rename one") if entry.has("id") else ("kpi", "give it an `id:`")
            entry.problem(key, f"the guardrail of line {lines[name]} is called `{name}` too", hint)
        lines.setdefault(name, item.at.line)
        if guardrail is not None:
            guardrails.append(guardrail)
            _windows_close_in_time(record, entry, guardrail)
    return tuple(guardrails)


def _windows_close_in_time(record: Record, entry: Record, guardrail: Guardrail) -> None:
    """A guardrail whose shortest window ends after the experiment would never say anything."""
    ends: Record | None = record.get("ends")
    if ends is None or not ends.has("after") or not ends.has("observe_for"):
        return
    watched: timedelta = ends.get("after") + ends.get("observe_for")
    shortest = guardrail.windows[0].length
    if shortest + record.get("lag", _DEFAULT_LAG) >= watched:
        entry.problem(
            "windows" if entry.has("windows") else "kpi",
            f"its shortest window, {format_duration(shortest)}, does not close within the "
            f"{format_duration(watched)} of the experiment",
            "end later, observe for longer, or give it a shorter one under `windows:`",
        )


def check_protection(
    record: Record, guardrails: Sequence[Guardrail], acknowledgements: Acknowledgements
) -> None:
    """Say so when nobody's harm would be seen, or nobody would be turned back."""
    node = record.node.get("guardrails")
    if node is None and "guardrails" in record.meant:
        return
    if node is None or (isinstance(node, ListNode) and not node.items):
        acknowledgements.tell(
            "guardrails",
            NO_GUARDRAILS,
            "nothing protects the people in this experiment",
            "add guardrails",
        )
    elif guardrails and not any(guardrail.acts for guardrail in guardrails):
        record.problem(
            "guardrails",
            "none of them can turn a variant back",
            "leave out `action` and `dry_run` of one, unless that is meant",
            severity=Severity.WARNING,
        )


def check_kpis(record: Record, kpis: KpiBook, acknowledgements: Acknowledgements) -> None:
    """Check goal and watched KPIs, and what the goal asks of the guardrails."""
    for item in record.get("watch", ()):
        kpis.get(item.value, item.at, item.place)
    goal: Record | None = record.get("goal")
    kpi = kpis.find(goal) if goal is not None else None
    if goal is None or kpi is None:
        return
    expect: Amount | None = goal.get("expect")
    if expect is not None:
        _goal_is_an_improvement(goal, kpi, expect)
    if _means_fewer_cancellations(kpi, expect) and not _way_out_is_guarded(record):
        acknowledgements.tell(
            "goal",
            FEWER_CANCELLATIONS,
            "fewer cancellations are no success if people who want to cancel cannot",
            f"add a guardrail on `{_WAY_OUT}` or `repeat_complaint_rate`",
        )


def _goal_is_an_improvement(goal: Record, kpi: KpiDefinition, expect: Amount) -> None:
    worse = {Better.HIGHER: expect.percent < 0, Better.LOWER: expect.percent > 0}
    if worse.get(kpi.better, False):
        better = format_percent(-expect.percent).removesuffix("%")
        sign = "" if better.startswith("-") else "+"
        goal.problem(
            "expect",
            f"hopes for harm: for `{kpi.key}` {kpi.better.value} is better",
            f"write {sign}{better}{'pp' if expect.absolute else '%'}",
        )
    if expect.absolute and kpi.unit != "share":
        goal.problem(
            "expect",
            f"percentage points are for shares, and `{kpi.key}` is no share ({kpi.unit})",
            "write it with %",
        )


def _means_fewer_cancellations(kpi: KpiDefinition, expect: Amount | None) -> bool:
    if kpi.key == "cancellation_rate":
        return expect is None or expect.percent < 0
    return kpi.key == "save_rate"


def _way_out_is_guarded(record: Record) -> bool:
    """Whether a guardrail says that people who want out get out; faulty ones count, too."""
    node = record.node.get("guardrails")
    for item in node.items if isinstance(node, ListNode) else ():
        if not isinstance(item, MappingNode):
            continue
        kpi, dry_run = item.get("kpi"), item.get("dry_run")
        tried_only = isinstance(dry_run, ScalarNode) and dry_run.value is True
        if isinstance(kpi, ScalarNode) and not tried_only:  # noqa: SIM102 - two separate questions
            if kpi.text == _WAY_OUT or "complaint" in kpi.text:
                return True
    return False


def named_kpis(
    record: Record, kpis: KpiBook, guardrails: Sequence[Guardrail]
) -> Mapping[str, KpiDefinition]:
    """Return every KPI that the file names, in order: goal, guardrails, watched, own ones."""
    goal: Record | None = record.get("goal")
    names: list[str] = [goal.get("kpi")] if goal is not None else []
    names += [guardrail.kpi for guardrail in guardrails]
    names += [item.value for item in record.get("watch", ())]
    names += list(kpis.own)
    return {name: kpis.own.get(name) or kpis.catalogue.get(name) for name in names}
