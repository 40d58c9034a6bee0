"""Rules of a spec file that need both the experiment and its guardrails and KPIs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final

from experiments.errors import Severity
from experiments.language.amounts import Amount, format_duration, format_percent
from experiments.language.reading import Record, near
from experiments.language.schedule_reading import run_length
from experiments.language.source import ListNode, ScalarNode
from guardrails.language.entries import id_of, rule_of, text_of
from guardrails.language.kpis import KpiBook
from guardrails.language.sets import Chosen, chosen_entries, own_entries, written_nodes
from guardrails.language.spec_keys import FEWER_CANCELLATIONS, NO_GUARDRAILS
from guardrails.rules import RULES, Guardrail, PromQL, Regression, turns_back
from guardrails.rules.failures import check_policies
from guardrails.rules.promql import check_query
from metrics.catalogue import Better, KpiDefinition

_WAY_OUT: Final = "cancel_success_rate"
_DEFAULT_LAG: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class ServerNames:
    """What a service has, by the names that spec files use.

    Attributes:
        channels: Names for ``notify``.
        queries: PromQL by the names for ``query``.
    """

    channels: frozenset[str] = frozenset()
    queries: Mapping[str, str] = field(default_factory=dict[str, str])


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


def read_guardrails(record: Record, kpis: KpiBook) -> tuple[Chosen, ...]:
    """Return the entries that count, each with its guardrail where it has no problems.

    Problems of entries are told where they stand; those of a set's at the name of the set.
    """
    guardrails: list[Chosen] = []
    lines: dict[str, int] = {}
    for chosen in chosen_entries(record):
        entry = chosen.entry
        guardrail = RULES[rule_of(entry)].read(entry, kpis)
        name = guardrail.id if guardrail is not None else id_of(entry.node)
        if name is None:
            continue
        if name in lines:
            key = next((key for key in ("id", "kpi", "query", "name") if entry.has(key)), "rule")
            hint = "rename one" if key == "id" else "give it an `id:`"
            entry.problem(key, f"the guardrail of line {lines[name]} is called `{name}` too", hint)
        lines.setdefault(name, chosen.at.at.line)
        check_policies(entry)
        if guardrail is not None:
            guardrails.append(replace(chosen, guardrail=guardrail))
            _windows_close_in_time(record, entry, guardrail)
        if chosen.of is not None:
            _tell_of_set(chosen, name)
    return tuple(guardrails)


def _tell_of_set(chosen: Chosen, name: str) -> None:
    """Tell what is wrong with a set's entry in this file at the name of the set."""
    for problem in chosen.entry.place.report.problems:
        key = problem.path.removeprefix("kpi")
        chosen.at.place.problem(
            chosen.at.at,
            f"its guardrail `{name}`{f', `{key}`' if key else ''}: {problem.message}",
            f"replace it under `add`, or leave it out with `without: [{name}]`",
            severity=problem.severity,
        )
    chosen.entry.place.report.problems.clear()


LIST_CHANNELS: Final = "`turnback channels list` shows where each leads"
"""What to do about a channel that a service has not."""


def check_server(record: Record, server: ServerNames) -> None:
    """Tell of channels and named queries that the service has not."""
    for item in record.get("notify", ()):
        if item.value not in server.channels:
            hint = near(item.value, sorted(server.channels), otherwise="it has")
            hint = f"{hint or 'its settings name no channels'}; {LIST_CHANNELS}"
            item.place.problem(item.at, f"the service has no channel `{item.value}`", hint)
    for item in own_entries(record):
        if rule_of(item.value) == PromQL.rule:
            check_query(item.value, server.queries)


def _windows_close_in_time(record: Record, entry: Record, guardrail: Guardrail) -> None:
    """A guardrail whose shortest window ends after the experiment would never say anything."""
    ends: Record | None = record.get("ends")
    after = run_length(record)
    if ends is None or after is None or not ends.has("observe_for") or not guardrail.windows:
        return
    watched: timedelta = after + ends.get("observe_for")
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
    if node is None or (record.has("guardrails") and _chooses_nothing(record)):
        acknowledgements.tell(
            "guardrails",
            NO_GUARDRAILS,
            "nothing protects the people in this experiment",
            "add `guardrails: [{kpi: cancel_success_rate, max_drop: 3%}]` or the like",
        )
    elif (
        guardrails
        and not any(turns_back(guardrail) for guardrail in guardrails)
        and not record.place.report.failed  # one that could not be read may be the one
    ):
        record.problem(
            "guardrails",
            "none of them can turn a variant back",
            "leave out `action` and `dry_run` of one, unless that is meant",
            severity=Severity.WARNING,
        )


def check_auto_ship(record: Record, guardrails: Sequence[Guardrail]) -> None:
    """Refuse to ship by itself what no guardrail with a margin has watched."""
    if record.get("auto_ship") is not True or "guardrails" in record.meant:
        return
    if not any(isinstance(each, Regression) and not each.dry_run for each in guardrails):
        hint = "add `guardrails: [{kpi: cancel_success_rate, max_drop: 3%}]` or the like"
        record.problem("auto_ship", "no guardrail has a margin that must be kept", hint)


def _chooses_nothing(record: Record) -> bool:
    """Whether there is no entry, not even one with problems."""
    node, value = record.node.get("guardrails"), record.get("guardrails")
    if isinstance(value, Record):
        return bool(value.get("use")) and not written_nodes(record)
    return isinstance(node, ListNode) and not node.items


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
    for entry in written_nodes(record):
        kpi, dry_run = text_of(entry, "kpi"), entry.get("dry_run")
        tried_only = isinstance(dry_run, ScalarNode) and dry_run.value is True
        if kpi is not None and not tried_only and (kpi == _WAY_OUT or "complaint" in kpi):
            return True
    return False


def named_kpis(
    record: Record, kpis: KpiBook, guardrails: Sequence[Guardrail]
) -> Mapping[str, KpiDefinition]:
    """Return every KPI that the file names, in order: goal, guardrails, watched, own ones."""
    goal: Record | None = record.get("goal")
    names: list[str] = [goal.get("kpi")] if goal is not None else []
    names += [guardrail.kpi for guardrail in guardrails if guardrail.kpi is not None]
    names += [item.value for item in record.get("watch", ())]
    names += list(kpis.own)
    return {name: kpis.own.get(name) or kpis.catalogue.get(name) for name in names}
