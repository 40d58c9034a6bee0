"""What control's KPIs look like, and how we know: given, measured, or assumed. Pure values.

A plan needs, per KPI and window, control's value, the spread of one unit's value and the share
of units that have one. Each number says where it comes from; nothing is made up where nobody
knows it.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

from experiments.errors import TurnbackError
from experiments.language.amounts import parse_amount, parse_duration
from guardrails.simulate_units import SCORES
from metrics.catalogue import Kind, KpiDefinition
from metrics.catalogue_file import nearest
from metrics.cells import Cell, Sums
from metrics.stats.comparison import MIN_UNITS
from metrics.stats.contrasts import denominator_cv, linearised_spread
from metrics.stats.moments import arm

TYPICAL: Final = Path(__file__).with_name("typical.yaml")


class Source(StrEnum):
    """How a number is known."""

    ASSUMED = "assumed"  # typical values shipped with the KPIs
    GIVEN = "given"  # said by whoever asked
    MEASURED = "measured"  # by the running service


class BaselineError(TurnbackError):
    """A baseline makes no sense."""

    code = "baseline"
    status = 422


@dataclass(frozen=True, slots=True)
class Number:
    """A number and how it is known."""

    value: float
    source: Source


@dataclass(frozen=True, slots=True)
class Baseline:
    """Control's KPI over one window, as far as it is known.

    Attributes:
        value: Of the KPI, in its own unit.
        sd: Standard deviation of one unit's value (of a ratio: of the linearised value); not
            needed for a proportion.
        answering: Share of the units whose window has closed that have a value, above 0.
        skewness: Of one unit's value; not needed for a proportion.
        denominator_cv: Standard deviation of a unit's denominator over its mean; ratios only.
        words: Where the assumed numbers come from, may be empty.
    """

    value: Number | None = None
    sd: Number | None = None
    answering: Number | None = None
    skewness: Number | None = None
    denominator_cv: Number | None = None
    words: str = ""

    def over(self, other: "Baseline") -> "Baseline":
        """Return these numbers, and the other's where one is missing here."""
        names = ("value", "sd", "answering", "skewness", "denominator_cv")
        known = {name: getattr(self, name) or getattr(other, name) for name in names}
        return Baseline(**known, words=self.words or other.words)

    def missing(self, kind: Kind) -> str | None:
        """Return the first number a plan needs and nobody knows."""
        if self.value is None:
            return "value"
        if kind is not Kind.PROPORTION and self.sd is None:
            return "sd"
        return None

    @property
    def sources(self) -> tuple[Source, ...]:
        """How its main numbers are known, each once, the least sure first."""
        main = (self.value, self.sd, self.answering)
        return tuple(s for s in Source if any(n is not None and n.source is s for n in main))


Baselines = Mapping[tuple[str, timedelta | None], Baseline]
"""By KPI and window; ``None`` for every window that has no own."""


def baseline_with(numbers: Mapping[str, float | None], source: Source) -> Baseline:
    """Return a baseline of numbers by name; those that are not finite are left out."""
    known: dict[str, Any] = {
        name: Number(float(value), source)
        for name, value in numbers.items()
        if value is not None and math.isfinite(value)
    }
    return Baseline(**known)


def measured_baseline(kind: Kind, entered: int, sums: Sums) -> Baseline | None:
    """Return what a running service knows of control's KPI over one window.

    ``None`` below 100 units with a value: no plan rests on so few.

    Args:
        kind: Of the KPI.
        entered: Units whose window has closed.
        sums: Of those with a value.
    """
    if sums.n < MIN_UNITS or sums.x <= 0:
        return None
    found: dict[str, float] = {"value": sums.y / sums.x, "answering": sums.n / entered}
    if kind is not Kind.PROPORTION:
        cell = Cell("", 0, 0, entered, sums)
        one = arm([cell], sums, cohorts=1, phases=1, ratio=kind is Kind.RATIO)
        sd, skewness = linearised_spread(one)
        found |= {"sd": float(sd[0, 0]), "skewness": float(skewness[0, 0])}
        if kind is Kind.RATIO:
            found["denominator_cv"] = float(denominator_cv(one)[0]) * math.sqrt(sums.n)
    return baseline_with(found, Source.MEASURED)


_FIELDS: Final = ("sd", "answering", "skewness", "denominator_cv")
_WRITE: Final = (
    "write --baseline satisfaction=4.2,sd=1,answering=30% or cancellation_rate=12%; "
    "@1h after the KPI for one window"
)


def parse_baselines(texts: Iterable[str], kpis: Mapping[str, KpiDefinition]) -> Baselines:
    """Return what ``--baseline`` options say.

    Args:
        texts: ``KPI[@WINDOW]=VALUE[,sd=X][,answering=P][,skewness=X][,denominator_cv=X]``.
        kpis: Those of the spec file.

    Raises:
        BaselineError: Says which text is wrong, and what to write.
    """
    found: dict[tuple[str, timedelta | None], Baseline] = {}
    for text in texts:
        key, baseline = _parsed(text, kpis)
        found[key] = baseline.over(found.get(key, Baseline()))
    return found


def _parsed(
    text: str, kpis: Mapping[str, KpiDefinition]
) -> tuple[tuple[str, timedelta | None], Baseline]:
    name, equals, rest = text.partition("=")
    kpi, at, length = name.strip().partition("@")
    if not equals:
        raise BaselineError(f"{text!r} says no value", hint=_WRITE)
    if kpi not in kpis:
        raise BaselineError(f"{text!r}: the file has no KPI {kpi!r}{nearest(kpi, kpis)}")
    window = parse_duration(length) if at else None
    lengths = [w.length for w in kpis[kpi].windows]
    if at and not window:
        raise BaselineError(f"{text!r}: {length!r} is no length of a window", hint=_WRITE)
    first, *others = rest.split(",")
    given: dict[str, float] = {"value": _amount(text, first)}
    for part in others:
        field, _, written = part.partition("=")
        if field.strip() not in _FIELDS:
            if part.strip().isdigit():  # 4,2
                raise BaselineError(
                    f"{text!r}: a comma separates the numbers of a KPI",
                    hint="write a decimal point: 4.2",
                )
            raise BaselineError(
                f"{text!r}: unknown number {field.strip()!r}{nearest(field.strip(), _FIELDS)}"
            )
        given[field.strip()] = _amount(text, written)
    _check(text, kpis[kpi], given, known=not at or window in lengths)
    return (kpi, window), baseline_with(given, Source.GIVEN)


def _amount(text: str, written: str) -> float:
    amount = parse_amount(written)
    if amount is not None and not amount.absolute:
        return amount.share
    try:
        value = float(written)
    except ValueError:
        value = float("nan")
    if not abs(value) < float("inf"):
        raise BaselineError(f"{text!r}: {written.strip()!r} is no number", hint=_WRITE)
    return value


def _check(text: str, kpi: KpiDefinition, given: Mapping[str, float], *, known: bool) -> None:
    value, sd, answering = given["value"], given.get("sd", 1.0), given.get("answering", 1.0)
    wrong = ""
    if kpi.kind is Kind.PROPORTION and not 0.0 < value < 1.0:
        wrong = f"{kpi.key} is a share: it must be above 0% and below 100%"
    elif kpi.kind is Kind.PROPORTION and "sd" in given:
        wrong = f"{kpi.key} is a share: its spread follows from its value; leave sd out"
    elif _rates(kpi) and not SCORES[0] <= value <= SCORES[-1]:
        wrong = f"{kpi.key} is a mean of scores from {SCORES[0]} to {SCORES[-1]}"
    elif kpi.unit == "share" and not 0.0 <= value <= 1.0:
        wrong = f"{kpi.key} is a share: it must be from 0% to 100%"
    elif not sd > 0.0:
        wrong = "sd must be above 0"
    elif not 0.0 < answering <= 1.0:
        wrong = "answering is a share above 0% and at most 100%"
    elif given.get("denominator_cv", 0.0) < 0.0:
        wrong = "denominator_cv must not be below 0"
    elif not known:
        wrong = f"{kpi.key} has no window of that length"
    if wrong:
        raise BaselineError(f"{text!r}: {wrong}", hint=_WRITE)


def _rates(kpi: KpiDefinition) -> bool:
    """Return whether a KPI is the mean of scores as ratings give them; a file's own may differ."""
    rated = (m.event == "satisfaction_rated" for m in kpi.measures)
    return kpi.unit == "score" and all(rated)


@lru_cache(maxsize=1)
def typical_baselines() -> Baselines:
    """Return the typical values that are shipped; every number is an assumption."""
    body: Mapping[str, Any] = YAML(typ="safe").load(TYPICAL.read_text(encoding="utf-8"))
    found: dict[tuple[str, timedelta | None], Baseline] = {}
    for kpi, entry in body.items():
        common = {k: entry[k] for k in ("skewness", "denominator_cv") if k in entry}
        for length, numbers in entry["windows"].items():
            known = baseline_with({**numbers, **common}, Source.ASSUMED)
            found[kpi, parse_duration(length)] = replace(known, words=entry["source"])
    return found


def baseline_of(kpi: KpiDefinition, window: timedelta, sources: Sequence[Baselines]) -> Baseline:
    """Return what is known of a KPI over a window.

    Each number is taken from the first source that has it. A window nobody speaks of takes the
    numbers of the KPI's nearest one, since most of them hardly change with it.

    Args:
        kpi: Definition.
        window: Length.
        sources: The surest first.
    """
    found = Baseline()
    for known in sources:
        exact = known.get((kpi.key, window), Baseline())
        found = found.over(exact).over(known.get((kpi.key, None), Baseline()))
    for known in sources:
        lengths = [length for key, length in known if key == kpi.key and length is not None]
        if lengths:
            near = min(lengths, key=lambda length: abs(length - window))
            found = found.over(known[kpi.key, near])
    if kpi.kind is not Kind.RATIO and found.denominator_cv is not None:
        found = replace(found, denominator_cv=None)
    return found
