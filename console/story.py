"""What the demo shows: a live picture in a terminal, plain lines elsewhere, or nothing."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self

import msgspec
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from console.demo import START, TREATMENT, Hour, Run
from console.driver import Answer
from guardrails.spec_file import SpecFile
from guardrails.words import duration
from metrics.catalogue import KpiDefinition, load_catalogue
from metrics.simulate import LATE_HARM_HOUR, OUTAGE_HOUR, SILENCE_HOUR, Scenario

PLANTED: Mapping[Scenario, str] = {
    Scenario.SATISFACTION_DROP: "the new flow lowers satisfaction by 5%, agents get 40% faster",
    Scenario.HARMLESS: "the new flow does no harm, agents get 40% faster",
    Scenario.TOLERATED: "the new flow lowers satisfaction by 1.5%: half of what is tolerated",
    Scenario.OUTAGE: f"from hour {OUTAGE_HOUR} nobody in the new flow can cancel, silently",
    Scenario.LATE_HARM: f"from hour {LATE_HARM_HOUR} the new flow lowers satisfaction by 10%",
    Scenario.NO_DATA: f"from hour {SILENCE_HOUR} no events arrive any more",
}

_BAR = 16
_WIDE = 124
_LONGEST = 100
_STYLES = {"breach": "bold red", "error": "red", "no_data": "magenta", "pass": "green"}


@dataclass
class Silent:
    """Shows nothing: for ``--json``."""

    wants_view: bool = False

    def begin(self, scenario: Scenario, seed: int, spec: SpecFile, url: str) -> None:
        """Show nothing."""

    def hour(self, hour: Hour) -> None:
        """Show nothing."""

    def end(self, run: Run, verdict: str) -> None:
        """Show nothing."""


@dataclass
class Plain:
    """One line per simulated half-day and per event: for pipes, logs and ``--no-view``."""

    console: Console
    wants_view: bool = False

    def begin(self, scenario: Scenario, seed: int, spec: SpecFile, url: str) -> None:
        """Say what is run."""
        _tell(self.console, f"{spec.experiment.title}: {scenario.value}, seed {seed}, {url}")
        _tell(self.console, f"planted: {PLANTED[scenario]}")

    def hour(self, hour: Hour) -> None:
        """Say how far it is."""
        for transition in hour.transitions:
            _tell(self.console, _transition_line(transition))
        if (hour.index + 1) % 12 == 0:
            so_far = f"{hour.evaluated:,} evaluations, {hour.sent:,} events"
            _tell(self.console, f"{_clock(hour.now)}  {so_far}")

    def end(self, run: Run, verdict: str) -> None:
        """Say how it ended."""
        _summary(self.console, run, verdict)


@dataclass
class Picture:
    """The live view: traffic, KPIs, evidence against its boundary, and what happened."""

    console: Console
    wants_view: bool = True
    kpis: Sequence[KpiDefinition] = field(default_factory=lambda: load_catalogue().core)
    lines: list[str] = field(default_factory=list[str])
    head: str = ""
    planted: str = ""
    hypothesis: str = ""
    _live: Live | None = None

    def __enter__(self) -> Self:
        self._live = Live(console=self.console, auto_refresh=False, vertical_overflow="visible")
        self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, trace)
            self._live = None

    def begin(self, scenario: Scenario, seed: int, spec: SpecFile, url: str) -> None:
        """Remember what is run."""
        self.head = f"{spec.experiment.title} · {scenario.value} · seed {seed} · {url}"
        self.planted = f"planted: {PLANTED[scenario]}"
        self.hypothesis = spec.experiment.hypothesis

    def hour(self, hour: Hour) -> None:
        """Draw the picture of one simulated hour."""
        self.lines += [_transition_line(t) for t in hour.transitions]
        if self._live is not None and hour.view is not None:
            self._live.update(self.draw(hour, hour.view), refresh=True)

    def end(self, run: Run, verdict: str) -> None:
        """Leave the last picture and say how it ended."""
        self.__exit__(None, None, None)
        _summary(self.console, run, verdict)

    def draw(self, hour: Hour, view: Mapping[str, Any]) -> RenderableType:
        """Return the whole picture."""
        wide = self.console.width >= _WIDE
        half = (len(self.kpis) + 1) // 2 if wide else len(self.kpis)
        return Group(
            Text(self.head, style="bold"),
            Text(self.hypothesis, style="italic"),
            Text(self.planted, style="dim"),
            _beside([_traffic(hour, view), _guardrails(view)], wide=wide),
            _panel(
                _beside(
                    [_kpis(part, view) for part in (self.kpis[:half], self.kpis[half:]) if part],
                    wide=wide,
                ),
                "twelve KPIs",
            ),
            _panel(Text("\n".join(self.lines[-4:]) or "nothing so far"), "what happened"),
        )


def _clock(now: datetime) -> str:
    hours = int((now - START).total_seconds() // 3600)
    return f"{now:%a %d %b %H:%M}  (day {hours // 24 + 1}, hour {hours})"


def _panel(content: RenderableType, title: str) -> Panel:
    return Panel(content, title=title, title_align="left", border_style="dim")


def _beside(parts: Sequence[RenderableType], *, wide: bool) -> RenderableType:
    """Put parts side by side where the terminal is wide enough, else under each other."""
    if not wide:
        return Group(*parts)
    table = Table.grid(expand=True)
    for _ in parts:
        table.add_column()
    table.add_row(*parts)
    return table


def _traffic(hour: Hour, view: Mapping[str, Any]) -> Panel:
    table = Table.grid(padding=(0, 2))
    table.add_row("time", _clock(hour.now))
    table.add_row("so far", f"{hour.evaluated:,} evaluations, {hour.sent:,} events")
    for variant in view["variants"]:
        state = variant["state"].replace("_", " ")
        style = "bold red" if state == "rolled back" else ""
        words = f"{variant['exposed']:,} exposed, {state}"
        table.add_row(variant["name"], Text(words, style=style))
    for (variant, reason), count in sorted(hour.served.items()):
        table.add_row("clients get", f"{variant} ({reason}) {count}")
    return _panel(table, "traffic")


def _bar(evidence: float) -> Text:
    """Draw evidence on its way to the boundary, which is the right end."""
    filled = min(_BAR, round(evidence * _BAR))
    style = "red" if evidence >= 1 else "yellow" if evidence > 0.5 else "green"  # noqa: PLR2004 - half way
    bar = Text("█" * filled, style=style)
    bar.append("░" * (_BAR - filled) + "│", style="dim")
    return bar.append(f" {evidence:4.0%}", style=style)


def _guardrails(view: Mapping[str, Any]) -> Panel:
    table = Table.grid(padding=(0, 1))
    for _ in range(4):
        table.add_column(no_wrap=True)
    for guardrail in view["guardrails"]:
        outcome = str(guardrail["outcome"] or "not yet")
        sign = "-" if guardrail["side"] == "drop" else "+"
        size = (guardrail["margin"] or 0.0) * 100
        limit = f"{sign}{size:g}{'pp' if guardrail['absolute'] else '%'}"
        table.add_row(
            guardrail["guardrail"],
            limit,
            _bar(guardrail["evidence"] or 0.0),
            Text(outcome.replace("_", " "), style=_STYLES.get(outcome, "")),
        )
    return _panel(table, "evidence of harm against its boundary")


def _kpis(definitions: Sequence[KpiDefinition], view: Mapping[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("", no_wrap=True)
    for column in ("control", TREATMENT, ""):
        table.add_column(column, justify="right", no_wrap=True)
    for definition in definitions:
        window, *values = _kpi_row(definition, view["kpis"])
        table.add_row(f"{definition.title}, {window}", *values)
    return table


def _kpi_row(
    definition: KpiDefinition, values: Sequence[Mapping[str, Any]]
) -> tuple[str, str, str, str]:
    """Return the longest window in which both arms have a value."""
    known = {
        (msgspec.convert(v["window"], timedelta), v["variant"]): v
        for v in values
        if v["kpi"] == definition.key and v["value"] is not None
    }
    for window in reversed(definition.windows):
        control = known.get((window.length, "control"))
        treatment = known.get((window.length, TREATMENT))
        if control is not None and treatment is not None:
            return (
                duration(window.length),
                _value(definition.unit, control["value"]),
                _value(definition.unit, treatment["value"]),
                _lift(definition.unit, treatment),
            )
    return (duration(definition.windows[0].length), "", "", "later")


def _lift(unit: str, treatment: Mapping[str, Any]) -> str:
    """Return the lift as a percentage; in the KPI's unit where control is not positive."""
    if treatment["effect"] is not None:
        return f"{treatment['effect']:+.1%}"
    apart = treatment.get("difference")
    if apart is None:
        return ""
    return f"{'+' if apart >= 0 else '-'}{_value(unit, abs(apart))}"


def _value(unit: str, value: float) -> str:
    return f"{value:.1%}" if unit == "share" else f"{value:,.2f}"


def _transition_line(transition: Mapping[str, Any]) -> str:
    at = _clock(datetime.fromisoformat(transition["at"]))
    who = transition["variant"] or transition["experiment"]
    after = str(transition["after"]).replace("_", " ")
    return f"{at}  {who}: {after}. {transition['reason']}"


def _answer(answer: Answer | None) -> str:
    if answer is None:
        return "nothing"
    flow = msgspec.json.encode(answer.value).decode()
    return f"{answer.variant} ({answer.reason}) {flow}"


def _summary(console: Console, run: Run, verdict: str) -> None:
    """Say how it ended: the rollback, its reason, its verification, what a client gets."""
    lines: list[str] = [""]
    back = run.rollback
    if back is not None:
        at = _clock(datetime.fromisoformat(back["at"]))
        lines += [f"{back['variant']} was turned back at {at}", back["reason"]]
        lines += [_verified(r) for r in run.view["rollbacks"]]
        lines += [f"one client before: {_answer(run.before)}"]
        lines += [f"the same after:    {_answer(run.after)}"]
    else:
        lines += ["nothing was turned back"]
        lines += [f"  {g['limit']}: {g['words']}" for g in run.view["guardrails"]]
    if run.no_data:
        lines += [f"no data, and said so: {', '.join(sorted(run.no_data))}"]
    lines += [f"NOT AS IT SHOULD BE: {verdict}" if verdict else "this is how it should end"]
    for line in lines:
        _tell(console, line)


def _tell(console: Console, line: str) -> None:
    """Print a line, a long one in several of at most ``_LONGEST`` columns, the rest indented."""
    indent = " " * (len(line) - len(line.lstrip()) + 4)
    parts = textwrap.wrap(
        line, _LONGEST, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    for part in parts or [""]:
        console.print(Text(part), soft_wrap=True)


def _verified(rollback: Mapping[str, Any]) -> str:
    words = {
        None: "not verified yet",
        True: "verified: its exposures fell away",
        False: "NOT EFFECTIVE: it is still being shown",
    }[rollback["effective"]]
    if rollback["rate_before"] is None or rollback["rate_after"] is None:
        return words
    return f"{words} (from {rollback['rate_before']:,.0f} to {rollback['rate_after']:,.0f} an hour)"
