"""Reads the catalogue's YAML: every problem says where it is and what to write instead."""

import difflib
import re
from collections.abc import Collection, Mapping
from datetime import timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import TypeVar, cast

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from metrics.catalogue import (
    Better,
    Catalogue,
    CatalogueError,
    Condition,
    FieldType,
    Kind,
    KpiDefinition,
    Measure,
    Test,
    Trust,
    Window,
)
from metrics.cells import MICRO
from metrics.formula import Formula, FormulaError, Scale, parse_formula

Given = Mapping[str, object]
E = TypeVar("E", bound=StrEnum)

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_KEY = re.compile(r"[a-z][a-z0-9_]*")
_KPI_KEYS = (
    *("title", "title_zh", "kind", "better", "windows", "trust", "words", "unit", "core"),
    *("measures", "per", "each", "value", "over"),
)
_MEASURE_KEYS = ("event", "where", "sum", "cap", "before_close")
_WEIGHT_ERROR = 1e-9


def nearest(word: str, known: Collection[str]) -> str:
    """Return a hint to the nearest known word, or the list of them."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(sorted(known))}"


def parse_catalogue(text: str) -> Catalogue:
    """Return the catalogue of a YAML text with the keys ``events`` and ``kpis``.

    Raises:
        CatalogueError: Says where and what is wrong.
    """
    try:
        loaded: object = YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise CatalogueError("", f"no YAML: {error}") from error
    whole = _mapping(loaded, "")
    _known(whole, ("events", "kpis"), "")
    events = {
        name: MappingProxyType(
            {
                key: _choice(FieldType, kind, f"events.{name}.{key}")
                for key, kind in _mapping(types or {}, f"events.{name}").items()
            }
        )
        for name, types in _mapping(whole.get("events", {}), "events").items()
    }
    kpis = {
        key: kpi_of(key, _mapping(given, f"kpis.{key}"), path=f"kpis.{key}")
        for key, given in _mapping(whole.get("kpis", {}), "kpis").items()
    }
    return Catalogue(MappingProxyType(kpis), MappingProxyType(events))


def kpi_of(key: str, given: Given, *, path: str) -> KpiDefinition:
    """Return one KPI; ``path`` is where it stands, for messages."""
    if not _KEY.fullmatch(key):
        raise CatalogueError(path, f"{key!r} must be lower-case letters, digits and _")
    _known(given, _KPI_KEYS, path)
    measures = tuple(
        _measure(name, _mapping(each, f"{path}.measures.{name}"), f"{path}.measures.{name}")
        for name, each in _mapping(given.get("measures"), f"{path}.measures").items()
    )
    each = _mapping(given.get("each", {}), f"{path}.each")
    kpi = KpiDefinition(
        key=key,
        title=_text(given.get("title", key), f"{path}.title"),
        title_zh=_text(given.get("title_zh", given.get("title", key)), f"{path}.title_zh"),
        kind=_choice(Kind, given.get("kind"), f"{path}.kind"),
        better=_choice(Better, given.get("better"), f"{path}.better"),
        windows=_windows(given.get("windows"), f"{path}.windows"),
        trust=_choice(Trust, given.get("trust", "server"), f"{path}.trust"),
        words=_text(given.get("words", given.get("title", key)), f"{path}.words"),
        unit=_text(given.get("unit", "count"), f"{path}.unit"),
        measures=measures,
        value=_text(given.get("value"), f"{path}.value"),
        over=_text(given["over"], f"{path}.over") if "over" in given else None,
        per=_text(given["per"], f"{path}.per") if "per" in given else None,
        each=tuple((name, _text(formula, f"{path}.each.{name}")) for name, formula in each.items()),
        core=given.get("core", False) is True,
    )
    _check_formulas(kpi, path)
    return kpi


def duration(text: object, path: str) -> timedelta:
    """Return a duration written like ``90s``, ``30m``, ``6h``, ``14d`` or ``2w``."""
    match = re.fullmatch(r"(\d+)([smhdw])", text) if isinstance(text, str) else None
    if match is None or int(match[1]) == 0:
        raise CatalogueError(path, f"expected a duration such as 30m, 6h or 14d, got {text!r}")
    return timedelta(seconds=int(match[1]) * _SECONDS[match[2]])


def scales_of(kpi: KpiDefinition) -> dict[str, Scale]:
    """Return the names a KPI's per-case formulas (or, without cases, all formulas) may use."""
    scales = {
        measure.name: Scale.COUNT if measure.field is None else Scale.QUANTITY
        for measure in kpi.measures
    }
    scales["window"] = Scale.QUANTITY
    return scales


def _check_formulas(kpi: KpiDefinition, path: str) -> None:
    scales = scales_of(kpi)
    if bool(kpi.per) != bool(kpi.each):
        raise CatalogueError(path, "`per` (a field) and `each` (numbers per case) go together")
    totals = dict(scales)
    for name, text in kpi.each:
        if name in scales:
            raise CatalogueError(f"{path}.each.{name}", "a measure has this name already")
        totals[name] = _formula(text, scales, f"{path}.each.{name}").scale
    _formula(kpi.value, totals, f"{path}.value")
    if kpi.over is not None:
        if kpi.kind is Kind.MEAN:
            raise CatalogueError(f"{path}.over", "a mean counts every unit; use kind: ratio")
        _formula(kpi.over, totals, f"{path}.over")
    elif kpi.kind is Kind.RATIO:
        raise CatalogueError(f"{path}.over", "a ratio needs a denominator")


def _formula(text: str, scales: Mapping[str, Scale], path: str) -> Formula:
    try:
        return parse_formula(text, scales)
    except FormulaError as error:
        raise CatalogueError(path, str(error)) from error


def _measure(name: str, given: Given, path: str) -> Measure:
    if not _KEY.fullmatch(name) or name in ("window", "min", "max", "and", "or"):
        raise CatalogueError(path, f"{name!r} cannot be a measure's name; use letters and _")
    _known(given, _MEASURE_KEYS, path)
    cap = given.get("cap")
    summed = _text(given["sum"], f"{path}.sum") if "sum" in given else None
    if cap is not None and summed is None:
        raise CatalogueError(f"{path}.cap", "only a sum has a cap; add `sum: FIELD`")
    return Measure(
        name=name,
        event=_text(given.get("event"), f"{path}.event"),
        where=tuple(
            _condition(field, test, f"{path}.where.{field}")
            for field, test in _mapping(given.get("where", {}), f"{path}.where").items()
        ),
        field=summed,
        cap=None if cap is None or cap == "window" else _micros(cap, f"{path}.cap"),
        cap_window=cap == "window",
        before_close=duration(given["before_close"], f"{path}.before_close")
        if "before_close" in given
        else None,
    )


def _condition(field: str, given: object, path: str) -> Condition:
    if isinstance(given, dict):
        match cast("dict[str, object]", given):
            case {"not": "unit", **rest} if not rest:
                return Condition(field, Test.OTHER_THAN_UNIT)
            case {"above": value, **rest} if not rest:
                return Condition(field, Test.ABOVE, (_micros(value, path),))
            case {"present": True, **rest} if not rest:
                return Condition(field, Test.PRESENT)
            case {"present": False, **rest} if not rest:
                return Condition(field, Test.ABSENT)
            case _:
                raise CatalogueError(
                    path,
                    "expected a value, a list of values, {above: NUMBER}, {not: unit} "
                    f"or {{present: true}}, got {given!r}",
                )
    values = cast("list[object]", given) if isinstance(given, list) else [given]
    return Condition(field, Test.IS, tuple(_exact(value, path) for value in values))


def _exact(value: object, path: str) -> str | bool | int:
    return value if isinstance(value, str | bool) else _micros(value, path)


def _micros(value: object, path: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise CatalogueError(path, f"expected a number, got {value!r}")
    return int((Decimal(repr(value)) * MICRO).to_integral_value(ROUND_HALF_EVEN))


def _windows(given: object, path: str) -> tuple[Window, ...]:
    if isinstance(given, list):
        lengths = [duration(each, path) for each in cast("list[object]", given)]
        windows = [Window(length, 1 / len(lengths)) for length in lengths]
    else:
        windows = [
            Window(duration(length, path), _share(weight, f"{path}.{length}"))
            for length, weight in _mapping(given, path).items()
        ]
    if not windows or abs(sum(window.weight for window in windows) - 1) > _WEIGHT_ERROR:
        raise CatalogueError(path, "the weights of the windows must sum to 100%")
    if len({window.length for window in windows}) < len(windows):
        raise CatalogueError(path, "a window is named twice")
    return tuple(sorted(windows, key=lambda window: window.length))


def _share(given: object, path: str) -> float:
    if isinstance(given, str) and (match := re.fullmatch(r"(\d+(?:\.\d+)?)%", given)):
        share = float(match[1]) / 100
    elif isinstance(given, int | float) and not isinstance(given, bool):
        share = float(given)
    else:
        raise CatalogueError(path, f"expected a share such as 50%, got {given!r}")
    if not 0 < share <= 1:
        raise CatalogueError(path, f"a share lies between 0% and 100%, got {given!r}")
    return share


def _choice(choices: type[E], given: object, path: str) -> E:
    known = [choice.value for choice in choices]
    if not isinstance(given, str) or given not in known:
        hint = nearest(given, known) if isinstance(given, str) else f"; known: {', '.join(known)}"
        raise CatalogueError(path, f"got {given!r}{hint}")
    return choices(given)


def _text(given: object, path: str) -> str:
    if not isinstance(given, str) or not given.strip():
        raise CatalogueError(path, f"expected text, got {given!r}")
    return given.strip()


def _mapping(given: object, path: str) -> Given:
    if not isinstance(given, Mapping):
        raise CatalogueError(path, f"expected a mapping, got {given!r}")
    mapping = cast("Mapping[object, object]", given)
    for key in mapping:
        if not isinstance(key, str):
            raise CatalogueError(path, f"expected text as a key, got {key!r}; quote it")
    return cast("Given", mapping)


def _known(given: Given, known: Collection[str], path: str) -> None:
    for key in given:
        if key not in known:
            raise CatalogueError(path, f"unknown key {key!r}{nearest(key, known)}")
