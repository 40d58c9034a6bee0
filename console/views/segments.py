"""What the page of an experiment says of its segments: where the effect differs. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from console.views import words
from console.views.lines import KpiText
from guardrails.views import ExperimentView, SegmentsView, SegmentView
from metrics.segments import MOST_LEVELS, Part
from metrics.stats.segments import SegmentOutcome
from metrics.wording import gettext as _
from metrics.wording import marked, ngettext, wording


@dataclass(frozen=True, slots=True)
class SegmentLine:
    """One level of one attribute: values of both arms, and the effect pulled to the common one.

    ``measured`` is the effect as it was measured; ``differs`` whether it is said to differ from
    the rest of its attribute.
    """

    attribute: str
    level: str
    units: str
    control: str
    value: str
    effect: str
    measured: str
    tone: str
    outcome: str
    differs: bool


@dataclass(frozen=True, slots=True)
class SegmentTable:
    """One KPI of one treatment, by all levels of all attributes."""

    kpi: str
    title: str
    treatment: str
    window: str
    differ: int
    lines: tuple[SegmentLine, ...]


@dataclass(frozen=True, slots=True)
class SegmentsPart:
    """Where the effect differs; ``headline`` says it, ``notes`` what is promised and left out."""

    headline: str
    tone: str
    at: str
    differing: tuple[str, ...]
    tables: tuple[SegmentTable, ...]
    notes: tuple[str, ...]


UNDECLARED: Final = marked(
    "This experiment declares no segments: add `segments: [country, platform]` to its file, the "
    "attributes by which the effect is to be looked at, and raise its `seed`: they are kept from a "
    "unit's first exposure on. Nothing else is kept of units, and nothing is guessed."
)
COUNTING: Final = marked(
    "By {attributes}: being counted beside the checks; it appears here in about a minute."
)
NOT_COUNTED: Final = marked(
    "By {attributes}: not counted yet when this was written; a report made a minute later has them."
)
NOT_STARTED: Final = marked("By {attributes}: nothing yet, nobody was exposed.")
NO_UNITS: Final = marked("By {attributes}: not enough yet, no window has closed.")
PROMISES: Final[Mapping[bool, str]] = {
    True: marked(
        "Of the segments that are said to differ at most {rate} are so by chance, in expectation, "
        "over all that is named here and however often it is looked at. Each is compared with all "
        "other units of its attribute. They act on nothing."
    ),
    False: marked(
        "Of the segments that are said to differ at most {rate} are so by chance, in expectation, "
        "over all that is named here, read once at the planned end. Each is compared with all "
        "other units of its attribute. They act on nothing."
    ),
}
SHRUNKEN: Final = marked(
    "Effects are relative to control, and pulled towards the attribute's common effect by as much "
    "as chance explains; what was measured stands beside them. Each KPI is shown over the window "
    "of its row above."
)
OUTCOMES: Final[Mapping[str, str]] = {
    SegmentOutcome.DIFFERENT: marked("differs from the rest"),
    SegmentOutcome.NOT_SHOWN: marked("not shown to differ"),
    SegmentOutcome.NOT_ENOUGH_DATA: marked("not enough units to say"),
    Part.UNKNOWN: marked("not compared"),
}


def segments_part(
    view: ExperimentView, texts: Mapping[str, KpiText], *, written: bool = False
) -> SegmentsPart:
    """Return what is said of an experiment's segments.

    Args:
        view: The experiment.
        texts: How KPIs are shown, by key.
        written: Whether it is written once and stays as it is: a page is there again.
    """
    told = view.segments
    if told is None:
        return _without(_(UNDECLARED))
    attributes = words.joined(told.declared)
    if told.failure:
        return _without(_("Segments could not be counted: {reason}", reason=told.failure), "warn")
    if view.started_at is None:
        return _without(_(NOT_STARTED, attributes=attributes))
    if told.at is None:
        return _without(_(NOT_COUNTED if written else COUNTING, attributes=attributes))
    if not told.found:
        return _without(_(NO_UNITS, attributes=attributes), at=words.instant(told.at))
    tables = _tables(told, texts)
    differing = tuple(_differing(s, _title(s, texts)) for s in told.found if _differs(s))
    asked = sum(s.outcome in {"different", "not_shown"} for s in told.found)
    return SegmentsPart(
        headline=_headline(len(differing), asked),
        tone="warn" if differing else "quiet",
        at=words.instant(told.at),
        differing=differing,
        tables=tables,
        notes=(
            _(PROMISES[told.repeated], rate=words.share(told.rate)),
            _(SHRUNKEN),
            *_left_out(told),
        ),
    )


def _without(headline: str, tone: str = "quiet", at: str = "") -> SegmentsPart:
    return SegmentsPart(headline, tone, at, (), (), ())


def _headline(differing: int, asked: int) -> str:
    if not asked:
        return _("Not enough units in any segment yet.")
    segments = ngettext("{n} segment", "{n} segments", asked)
    if not differing:
        return _("Of {segments} none is shown to differ from the rest.", segments=segments)
    count = wording().grouped(differing)
    return _("{count} of {segments} differ from the rest.", count=count, segments=segments)


def _differs(segment: SegmentView) -> bool:
    return segment.outcome == SegmentOutcome.DIFFERENT


def _level(segment: SegmentView) -> str:
    if segment.part == Part.OTHER:
        return _("all others")
    return _("not known") if segment.part == Part.UNKNOWN else segment.level


def _title(segment: SegmentView, texts: Mapping[str, KpiText]) -> str:
    text = texts.get(segment.kpi)
    return segment.title if text is None else text.title


def _differing(segment: SegmentView, title: str) -> str:
    return _(
        "{kpi} of {treatment} where {attribute} is {level}: {effect}",
        kpi=title,
        treatment=segment.treatment,
        attribute=segment.attribute,
        level=_level(segment),
        effect=_effect(segment.shrunken),
    )


def _tables(told: SegmentsView, texts: Mapping[str, KpiText]) -> tuple[SegmentTable, ...]:
    by: dict[tuple[str, str], list[SegmentView]] = {}
    for segment in told.found:
        by.setdefault((segment.kpi, segment.treatment), []).append(segment)
    tables = [
        SegmentTable(
            kpi=kpi,
            title=_title(some[0], texts),
            treatment=treatment,
            window=words.duration(some[0].window),
            differ=sum(map(_differs, some)),
            lines=tuple(_line(each, texts.get(kpi)) for each in some),
        )
        for (kpi, treatment), some in by.items()
    ]
    return tuple(sorted(tables, key=lambda table: not table.differ))


def _line(segment: SegmentView, text: KpiText | None) -> SegmentLine:
    unit = "" if text is None else text.unit
    tone = "quiet"
    effect = segment.shrunken
    if effect is not None and _differs(segment) and segment.better != "either":
        tone = "worse" if (effect < 0) == (segment.better == "higher") else "better"
    return SegmentLine(
        attribute=segment.attribute,
        level=_level(segment),
        units=" / ".join(wording().grouped(n) for n in segment.units),
        control=words.value(segment.control, unit),
        value=words.value(segment.value, unit),
        effect=_effect(effect),
        measured=_effect(segment.effect),
        tone=tone,
        outcome=_(OUTCOMES[segment.outcome]),
        differs=_differs(segment),
    )


def _effect(effect: float | None) -> str:
    return "" if effect is None else words.signed(effect)


def _left_out(told: SegmentsView) -> list[str]:
    """Return what the tables do not tell apart, or do not know."""
    said: list[str] = []
    for attribute in told.attributes:
        if attribute.values > MOST_LEVELS:
            said.append(
                _(
                    "{attribute} has {count} values: the {most} largest are told apart.",
                    attribute=attribute.name,
                    count=wording().grouped(attribute.values),
                    most=MOST_LEVELS,
                )
            )
        unknown = sum(units for part, _name, units in attribute.levels if part == Part.UNKNOWN)
        if unknown:
            said.append(
                _(
                    "{units} whose first exposure did not say their {attribute}: shown, and "
                    "compared with nothing.",
                    units=words.units(unknown),
                    attribute=attribute.name,
                )
            )
    return said
