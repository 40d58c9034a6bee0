"""Reports as Markdown: for a pull request, a wiki, a chat. What people wrote is text."""

import re
from collections.abc import Iterable, Sequence

from console.i18n import instant
from console.reports.experiment import Judged, Report
from console.views.segments import SegmentsPart
from metrics.wording import gettext as _

_MEANT = re.compile(r"([\\`*_{}\[\]<>#|~!])")
_LOOKS = 6
"""Newest looks of a guardrail that stand in the place of its chart."""


def plain(text: str) -> str:
    """Return a text of anybody's in which nothing is markup, on one line."""
    return _MEANT.sub(r"\\\1", " ".join(text.split())).replace("&", "&amp;").replace("\\<", "&lt;")


def table(head: Sequence[str], right: Iterable[int], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of texts that are markup already.

    Args:
        head: Its headings.
        right: Positions of columns of numbers.
        rows: Its cells.
    """
    numbers = set(right)
    rule = ["---:" if i in numbers else "---" for i in range(len(head))]
    lines = [f"| {' | '.join(cells)} |" for cells in (head, rule, *rows)]
    return "\n".join(lines)


def markdown_of(report: Report, *, version: str) -> str:
    """Return the report of one experiment as Markdown."""
    blocks = [
        f"# {plain(report.title)}",
        plain(_("{state}; as of {at}", state=report.state, at=report.at_words))
        + f" · `{report.key}`",
        f"*{plain(report.simulated)}*" if report.simulated else "",
        f"**{plain(report.verdict)}**",
        *map(plain, filter(None, (report.advice, *report.rollbacks))),
        *(f"**{plain(question)}**\n\n{_bullets(said)}" for question, said in report.opening),
        _bullets(report.attention),
        *_section(_("Why this is advised"), _bullets(report.reasons)),
        *_section(_("KPIs"), *_kpis(report)),
        *_section(_("Guardrails and their evidence"), *map(_guardrail, report.guardrails)),
        *_section(_("Quality of the data"), _bullets(report.quality)),
        *_section(_("Segments that differ"), *_segments(report.segments)),
        *_section(_("Variants"), _variants(report)),
        *_section(
            _("What happened"),
            "\n".join(
                f"- {t.at_words}: {plain(t.what)}. {plain(t.reason)} ({plain(t.actor)})"
                for t in report.transitions
            ),
        ),
        *_section(_("The experiment"), _named(report.facts)),
        *_section(_("Method"), *report.method),
        *_section(_("How to read it"), _named(report.reading)),
        "---",
        plain(
            _(
                "Made by Turnback {version} from the check of {at}.",
                version=version,
                at=report.at_words,
            )
        ),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _section(title: str, *blocks: str) -> list[str]:
    there = [block for block in blocks if block]
    return [f"## {title}", *there] if there else []


def _bullets(said: Iterable[str]) -> str:
    return "\n".join(f"- {plain(each)}" for each in said)


def _named(said: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"- **{plain(name)}**: {plain(text)}" for name, text in said)


def _kpis(report: Report) -> list[str]:
    several = len(report.variants) > 2  # noqa: PLR2004 - control and one
    head = [_("KPI"), _("Window"), _("Control"), _("Treatment"), _("Effect"), _("Interval")]
    rows = [
        [
            plain(row.title)
            + (f" ({plain(row.treatment)})" if several else "")
            + (f" ({_('goal')})" if row.goal else "")
            + (f" ({_('watched')})" if row.watched else ""),
            *(row.window, row.control, row.value, row.effect, row.interval, row.units),
        ]
        for row in report.kpis
    ]
    blocks = [table([*head, _("Units")], (2, 3, 5, 6), rows)] if rows else []
    blocks.append(
        _bullets(f"{row.title}, {row.window}: {row.note}" for row in report.kpis if row.note)
    )
    if report.missing:
        kpis = plain(", ".join(report.missing))
        blocks.append(_("Not enough yet, no value of every variant: {kpis}.", kpis=kpis))
    return blocks


def _guardrail(judged: Judged) -> str:
    line = judged.line
    said = f"{line.outcome_words}: {judged.words}"
    blocks = [f"### {plain(line.limit)} ({plain(line.treatment)})", plain(said), plain(line.words)]
    blocks += [plain(caption) for caption in judged.captions.values()]
    if len(judged.shown.points) > 1:
        rows = [
            [instant(at), f"{evidence:.0%}", _signed(effect), _between(low, high)]
            for at, evidence, effect, low, high in judged.shown.points[-_LOOKS:]
        ]
        head = [_("Look"), _("Evidence"), _("Effect"), _("Interval")]
        blocks.append(table(head, (1, 2, 3), rows))
    return "\n\n".join(block for block in blocks if block)


def _signed(effect: float | None) -> str:
    return "" if effect is None else f"{100 * effect:+.1f}%"


def _between(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{_signed(low)} … {_signed(high)}"


def _segments(part: SegmentsPart) -> list[str]:
    head = [_("Segment"), _("Units"), _("Control"), _("Treatment"), _("Effect"), _("Measured")]
    said = part.headline + (f" {_('As of {at}.', at=part.at)}" if part.at else "")
    blocks = [said if "`" in said else plain(said), _bullets(part.differing)]
    for each in part.tables:
        title = _(
            "{kpi} of {treatment}, within {window}",
            kpi=each.title,
            treatment=each.treatment,
            window=each.window,
        )
        rows = [
            [
                plain(f"{line.attribute}: {line.level}"),
                *(line.units, line.control, line.value, line.effect, line.measured, line.outcome),
            ]
            for line in each.lines
        ]
        columns = [*head, _("Against the rest")]
        blocks += [f"**{plain(title)}**", table(columns, (1, 2, 3, 4, 5), rows)]
    return [*blocks, *map(plain, part.notes)]


def _variants(report: Report) -> str:
    head = [_("Variant"), _("State"), _("Planned share"), _("Units met"), _("Its units get")]
    rows = [
        [plain(v.name), v.state_words, v.weight_words, v.exposed_words, plain(v.gets)]
        for v in report.variants
    ]
    return table(head, (2, 3), rows)
