"""The KPI catalogue: what each KPI means, as data.

``catalogue.yaml`` beside this module ships the twelve core KPIs and the extra ones. A KPI says
which events it counts or sums per unit (its *measures*), and how a unit's numerator and
denominator follow from those totals (its *formulas*, `metrics.formula`). Every measure is a sum
over events, so a unit's value never depends on the order in which events arrive.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

BUILT_IN = Path(__file__).with_name("catalogue.yaml")
PER_UNIT_CAP = 20
"""One unit contributes at most this many events of each name to a KPI: the earliest ones."""


class CatalogueError(ValueError):
    """A KPI or event is not described correctly.

    Attributes:
        path: Where, for instance ``kpis.save_rate.windows``.
        message: What is wrong, what was given and what to do.
        more: What else is wrong with the same description.
    """

    def __init__(self, path: str, message: str, *, more: "tuple[CatalogueError, ...]" = ()) -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path = path
        self.message = message
        self.more = more

    @property
    def every(self) -> "tuple[CatalogueError, ...]":
        """This and all the others."""
        return (self, *self.more)


class Kind(StrEnum):
    """How a KPI summarises units."""

    PROPORTION = "proportion"
    MEAN = "mean"
    RATIO = "ratio"


class Better(StrEnum):
    """Which direction is an improvement."""

    HIGHER = "higher"
    LOWER = "lower"
    EITHER = "either"


class Trust(StrEnum):
    """Whose events feed a KPI: those sent with a secret key, or any."""

    SERVER = "server"
    ANY = "any"


class FieldType(StrEnum):
    """Type of an event's field; numbers are kept as integers of 1e-6, integers as they are."""

    NUMBER = "number"
    TEXT = "text"
    BOOLEAN = "boolean"
    INTEGER = "integer"


class Test(StrEnum):
    """How a condition looks at a field. A missing field passes only ABSENT and OTHER_THAN_UNIT."""

    __test__ = False  # the name is the domain's, pytest must not collect it

    IS = "is"  # equals one of the values
    ABOVE = "above"  # a number greater than the value
    PRESENT = "present"
    ABSENT = "absent"
    OTHER_THAN_UNIT = "other_than_unit"  # not the id of the unit itself


@dataclass(frozen=True, slots=True)
class Window:
    """How long after first exposure a unit is watched, and the share of the alpha it gets.

    Attributes:
        length: From a unit's first exposure.
        weight: Share of the guardrail's level; the weights of a KPI sum to 1.
    """

    length: timedelta
    weight: float


@dataclass(frozen=True, slots=True)
class Condition:
    """One requirement on an event's field; ``values`` are text, booleans or integers of 1e-6."""

    field: str
    test: Test
    values: tuple[str | bool | int, ...] = ()


@dataclass(frozen=True, slots=True)
class Measure:
    """A sum over a unit's events in a window: of 1 (a count) or of a number field.

    Attributes:
        name: Used by the formulas.
        event: Name of the events.
        where: All must hold.
        field: Number field to add up, ``None`` to count. Events without it do not match.
        cap: Largest contribution of one event, 1e-6.
        cap_window: The largest contribution is the window's length in hours instead.
        before_close: Only events at least this long before the window closes.
        after: Name of another measure: only events later than the first one it counts.
    """

    name: str
    event: str
    where: tuple[Condition, ...] = ()
    field: str | None = None
    cap: int | None = None
    cap_window: bool = False
    before_close: timedelta | None = None
    after: str | None = None


@dataclass(frozen=True, slots=True)
class KpiDefinition:
    """What a KPI means.

    Attributes:
        key: Its name in spec files.
        title: English title.
        title_zh: Chinese title.
        kind: How it summarises units.
        better: Which direction is an improvement.
        windows: Ascending; their weights sum to 1.
        trust: Whose events feed it.
        words: The definition in words.
        unit: What its value is counted in, for display: ``share``, ``seconds``, ``hours``,
            ``score``, ``currency``, ``per hour`` or ``count``.
        measures: Sums over a unit's events.
        value: Formula of the numerator.
        over: Formula of the denominator; ``None``: every unit counts 1. A unit whose
            denominator is 0 has no value.
        per: Field (for instance ``case_id``) by which measures are first added up; events
            without it are one case of their own.
        each: Numbers formed per case and added over a unit's cases: (name, formula).
        core: Whether it is one of the twelve core KPIs.
    """

    key: str
    title: str
    title_zh: str
    kind: Kind
    better: Better
    windows: tuple[Window, ...]
    trust: Trust
    words: str
    unit: str
    measures: tuple[Measure, ...]
    value: str
    over: str | None = None
    per: str | None = None
    each: tuple[tuple[str, str], ...] = ()
    core: bool = False


@dataclass(frozen=True, slots=True)
class Catalogue:
    """KPIs by key, and the field types of the events they are made of."""

    kpis: Mapping[str, KpiDefinition]
    events: Mapping[str, Mapping[str, FieldType]]

    def get(self, key: str) -> KpiDefinition:
        """Return one KPI.

        Raises:
            CatalogueError: There is none of that name; names the nearest one.
        """
        from metrics.catalogue_file import nearest  # noqa: PLC0415 - it imports this module

        if key not in self.kpis:
            raise CatalogueError("", f"unknown KPI {key!r}{nearest(key, self.kpis)}")
        return self.kpis[key]

    def __iter__(self) -> Iterator[KpiDefinition]:
        return iter(self.kpis.values())

    def __len__(self) -> int:
        return len(self.kpis)

    def __contains__(self, key: object) -> bool:
        return key in self.kpis

    def keys(self) -> tuple[str, ...]:
        """Return the keys in the order of the file."""
        return tuple(self.kpis)

    @property
    def core(self) -> tuple[KpiDefinition, ...]:
        """The core KPIs, in the order of the file."""
        return tuple(kpi for kpi in self if kpi.core)

    def including(self, kpis: Mapping[str, KpiDefinition]) -> "Catalogue":
        """Return this catalogue with further KPIs; one of the same key replaces."""
        return Catalogue(MappingProxyType({**self.kpis, **kpis}), self.events)


def load_catalogue(source: str | Path | None = None) -> Catalogue:
    """Read a catalogue.

    Args:
        source: YAML text, a path, or ``None`` for the built-in one (read once).

    Raises:
        CatalogueError: Says where and what is wrong.
    """
    if source is None:
        return _built_in()
    from metrics.catalogue_file import parse_catalogue  # noqa: PLC0415 - it imports this module

    text = source.read_text(encoding="utf-8") if isinstance(source, Path) else source
    return parse_catalogue(text)


def parse_kpi(key: str, given: Mapping[str, object]) -> KpiDefinition:
    """Return a KPI described in a spec file with the keys of ``catalogue.yaml``.

    Raises:
        CatalogueError: Says where and what is wrong.
    """
    from metrics.catalogue_file import kpi_of  # noqa: PLC0415 - it imports this module

    return kpi_of(key, given, path=f"kpis.{key}")


@lru_cache(maxsize=1)
def _built_in() -> Catalogue:
    return load_catalogue(BUILT_IN)
