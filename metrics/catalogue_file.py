"""Reads a catalogue: every problem says where it is and what to write instead, all at once."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from types import MappingProxyType

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from metrics.catalogue import (
    Better,
    Catalogue,
    CatalogueError,
    FieldType,
    Kind,
    KpiDefinition,
    Measure,
    Test,
    Trust,
)
from metrics.catalogue_parts import (
    NAME,
    Findings,
    Given,
    check_keys,
    choice_of,
    duration,
    mapping_of,
    measure_of,
    nearest,
    text_of,
    windows_of,
)
from metrics.formula import Formula, FormulaError, Scale, parse_formula

__all__ = [
    "catalogue_of",
    "doubts_of",
    "duration",
    "kpi_of",
    "nearest",
    "parse_catalogue",
    "scales_of",
]

Events = Mapping[str, Mapping[str, FieldType]]

_NEARLY = 0.85  # help_opened is no case_opened, cancel_finshed is cancel_finished
_KPI_KEYS = (
    *("title", "title_zh", "kind", "better", "windows", "trust", "words", "unit", "core"),
    *("measures", "per", "each", "value", "over"),
)


def parse_catalogue(text: str) -> Catalogue:
    """Return the catalogue of a YAML text with the keys ``events`` and ``kpis``.

    Raises:
        CatalogueError: Says where and what is wrong.
    """
    try:
        loaded: object = YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise CatalogueError("", f"no YAML: {error}") from error
    return catalogue_of(mapping_of(loaded, ""))


def catalogue_of(whole: Given, *, onto: Catalogue | None = None) -> Catalogue:
    """Return the catalogue that a file describes.

    Args:
        whole: What the file says: ``events`` and ``kpis``.
        onto: Catalogue it adds to. A KPI of the same key, or a field with another type, is an
            error: one word has one meaning.

    Raises:
        CatalogueError: Says where and what is wrong, with every other problem.
    """
    found = Findings()
    check_keys(whole, ("events", "kpis"), "", found)
    base = onto if onto is not None else Catalogue({}, {})
    events = dict(base.events)
    none: Given = {}
    for name, types in found.take(_part, whole, "events", otherwise=none).items():
        fields = found.take(_fields, name, types, base, otherwise=MappingProxyType({}))
        events[name] = MappingProxyType({**events.get(name, {}), **fields})
    kpis = dict(base.kpis)
    for key, given in found.take(_part, whole, "kpis", otherwise=none).items():
        kpi = found.take(_entry, key, given, otherwise=None)
        if key in base:
            found.add(f"kpis.{key}", "is the key of a built-in KPI; give yours another key")
        elif kpi is not None:
            kpis[key] = kpi
    found.tell()
    return Catalogue(MappingProxyType(kpis), MappingProxyType(events))


def _part(whole: Given, name: str) -> Given:
    given = whole.get(name)
    return {} if given is None else mapping_of(given, name)


def _entry(key: str, given: object) -> KpiDefinition | None:
    return kpi_of(key, mapping_of(given, f"kpis.{key}"), path=f"kpis.{key}")


def _fields(name: str, given: object, base: Catalogue) -> Mapping[str, FieldType]:
    path, found = f"events.{name}", Findings()
    fields: dict[str, FieldType] = {}
    for key, kind in mapping_of(given or {}, path).items():
        known = base.events.get(name, {}).get(key)
        fields[key] = found.take(
            choice_of, FieldType, kind, f"{path}.{key}", otherwise=FieldType.TEXT
        )
        if base.events and known is None and fields[key] is FieldType.INTEGER:
            found.add(f"{path}.{key}", "integer is for built-in fields; write number")
        if known is not None and fields[key] is not known:
            found.add(
                f"{path}.{key}", f"is {known.value} in the built-in catalogue; it cannot change"
            )
    found.tell()
    return fields


def kpi_of(key: str, given: Given, *, path: str) -> KpiDefinition:
    """Return one KPI; ``path`` is where it stands, for messages.

    Raises:
        CatalogueError: With everything that is wrong with it.
    """
    found = Findings()
    if not NAME.fullmatch(key):
        found.add(path, f"{key[:64]!r} must be lower-case letters, digits and _, at most 64")
    check_keys(given, _KPI_KEYS, path, found)

    def text(name: str, default: str = "") -> str:
        given_or_default = given.get(name, default or None)
        return found.take(text_of, given_or_default, f"{path}.{name}", otherwise=key)

    title = text("title", key)
    measures = found.take(_measures, given.get("measures"), f"{path}.measures", otherwise=())
    none: tuple[tuple[str, str], ...] = ()
    kpi = KpiDefinition(
        key=key,
        title=title,
        title_zh=text("title_zh", title),
        kind=found.take(choice_of, Kind, given.get("kind"), f"{path}.kind", otherwise=Kind.MEAN),
        better=found.take(
            choice_of, Better, given.get("better"), f"{path}.better", otherwise=Better.EITHER
        ),
        windows=found.take(windows_of, given.get("windows"), f"{path}.windows", otherwise=()),
        trust=found.take(
            choice_of, Trust, given.get("trust", "server"), f"{path}.trust", otherwise=Trust.SERVER
        ),
        words=text("words", title),
        unit=text("unit", "count"),
        measures=measures,
        value=text("value"),
        over=text("over") if "over" in given else None,
        per=text("per") if "per" in given else None,
        each=found.take(_each, given.get("each"), f"{path}.each", otherwise=none),
        core=given.get("core", False) is True,
    )
    _check_structure(kpi, path, found)
    parts = tuple(f"{path}.{part}" for part in ("measures", "value", "over", "each"))
    if not any(error.path.startswith(parts) for error in found.errors):
        _check_formulas(kpi, path, found)
    found.tell()
    return kpi


def _measures(given: object, path: str) -> tuple[Measure, ...]:
    if given is None:
        raise CatalogueError(path, "is missing; write for instance {opened: {event: help_opened}}")
    found, measures = Findings(), list[Measure]()
    for name, each in mapping_of(given, path).items():
        measure = found.take(measure_of, name, each, f"{path}.{name}", otherwise=None)
        if measure is not None:
            measures.append(measure)
    names = [measure.name for measure in measures]
    for measure in measures:
        if measure.after is not None and measure.after not in names and not found.errors:
            found.add(
                f"{path}.{measure.name}.after",
                f"{measure.after!r} is no measure of this KPI{nearest(measure.after, names)}",
            )
        elif measure.after == measure.name:
            found.add(
                f"{path}.{measure.name}.after",
                f"{measure.after!r} is this measure itself: nothing would ever count; name the one "
                "that must come first",
            )
    found.tell()
    return tuple(measures)


def _each(given: object, path: str) -> tuple[tuple[str, str], ...]:
    if given is None:
        return ()
    named = mapping_of(given, path).items()
    return tuple((name, text_of(formula, f"{path}.{name}")) for name, formula in named)


def scales_of(kpi: KpiDefinition) -> dict[str, Scale]:
    """Return the names a KPI's per-case formulas (or, without cases, all formulas) may use."""
    scales = {
        measure.name: Scale.COUNT if measure.field is None else Scale.QUANTITY
        for measure in kpi.measures
    }
    scales["window"] = Scale.QUANTITY
    return scales


def _check_structure(kpi: KpiDefinition, path: str, found: Findings) -> None:
    if bool(kpi.per) != bool(kpi.each):
        found.add(path, "`per` (a field) and `each` (numbers per case) go together; write both")
    wrong = {error.path for error in found.errors}
    if f"{path}.kind" in wrong:
        return
    if kpi.over is not None and kpi.kind is Kind.MEAN:
        found.add(f"{path}.over", "a mean counts every unit; use kind: ratio")
    elif kpi.over is None and kpi.kind is Kind.RATIO:
        found.add(f"{path}.over", "a ratio needs a denominator; write a formula of measures")


def _check_formulas(kpi: KpiDefinition, path: str, found: Findings) -> None:
    scales = scales_of(kpi)
    totals = dict(scales)
    for name, text in kpi.each:
        if name in scales:
            found.add(f"{path}.each.{name}", "a measure has this name already; rename one")
        formula = found.take(_formula, text, scales, f"{path}.each.{name}", otherwise=None)
        totals[name] = formula.scale if formula is not None else Scale.COUNT
    found.take(_formula, kpi.value, totals, f"{path}.value", otherwise=None)
    if kpi.over is not None:
        found.take(_formula, kpi.over, totals, f"{path}.over", otherwise=None)


def _formula(text: str, scales: Mapping[str, Scale], path: str) -> Formula | None:
    try:
        return parse_formula(text, scales)
    except FormulaError as error:
        raise CatalogueError(path, str(error)) from error


def doubts_of(kpi: KpiDefinition, events: Events, path: str) -> Iterator[CatalogueError]:
    """Yield what a KPI asks of events that it cannot mean, given the fields they have.

    Events and fields that are not described are allowed (applications may send any); but a name
    that is nearly a known one, and a field of another type, would count nothing without a word.
    """
    for measure in kpi.measures:
        at = f"{path}.measures.{measure.name}"
        fields = events.get(measure.event)
        if fields is None:
            hint = _near_miss(measure.event, events)
            if hint:
                yield CatalogueError(f"{at}.event", f"no event {measure.event!r} is known{hint}")
            continue
        if measure.field is not None:
            yield from _doubt(measure.field, fields, FieldType.NUMBER, f"{at}.sum")
        for condition in measure.where:
            wanted = _type_of(condition.test, condition.values)
            yield from _doubt(condition.field, fields, wanted, f"{at}.where.{condition.field}")


def _doubt(
    name: str, fields: Mapping[str, FieldType], wanted: FieldType | None, path: str
) -> Iterator[CatalogueError]:
    known = fields.get(name)
    if known is None and (hint := _near_miss(name, fields)):
        yield CatalogueError(path, f"the event has no field {name!r}{hint}")
    elif known is not None and wanted is not None and known is not wanted:
        yield CatalogueError(
            path, f"{name} is {known.value}, and this asks for a {wanted.value}; nothing matches"
        )


def _near_miss(name: str, known: Mapping[str, object]) -> str:
    close = get_close_matches(name, list(known), n=1, cutoff=_NEARLY)
    return f"; did you mean {close[0]!r}?" if close else ""


def _type_of(test: Test, values: tuple[str | bool | int, ...]) -> FieldType | None:
    if test is Test.ABOVE:
        return FieldType.NUMBER
    if test is not Test.IS or len({type(value) for value in values}) != 1:
        return None
    if isinstance(values[0], bool):
        return FieldType.BOOLEAN
    return FieldType.TEXT if isinstance(values[0], str) else FieldType.NUMBER
