"""The parts a KPI's description is made of, each read from what YAML or JSON gave.

Each raises `CatalogueError` with the path of the part, what is wrong and what to write instead.
"""

import difflib
import re
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from enum import StrEnum
from typing import Any, TypeVar, cast

from metrics.catalogue import CatalogueError, Condition, Measure, Test, Window
from metrics.cells import MICRO

Given = Mapping[str, object]
E = TypeVar("E", bound=StrEnum)
T = TypeVar("T")

NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_LONGEST = timedelta(days=3650)
_LARGEST = 9_000_000_000_000
_WEIGHT_ERROR = 1e-9
_SHOWN = 40
_MEASURE_KEYS = ("event", "where", "sum", "cap", "before_close", "after")
_RESERVED = ("window", "min", "max", "and", "or", "not", "if", "in", "is")


class Findings:
    """Collects what is wrong with every part, so that all of it is told at once."""

    def __init__(self) -> None:
        self.errors: list[CatalogueError] = []

    def take(self, read: Callable[..., T], *given: Any, otherwise: T) -> T:
        """Return what ``read`` returns, ``otherwise`` where it finds something wrong."""
        try:
            return read(*given)
        except CatalogueError as error:
            self.errors += error.every
            return otherwise

    def add(self, path: str, message: str) -> None:
        """Add one."""
        self.errors.append(CatalogueError(path, message))

    def tell(self) -> None:
        """Raise everything there is as one error.

        Raises:
            CatalogueError: The first, with the others under ``more``.
        """
        if self.errors:
            first, *others = self.errors
            raise CatalogueError(first.path, first.message, more=tuple(others))


def nearest(word: str, known: Collection[str]) -> str:
    """Return a hint to the nearest known word, or the list of them."""
    close = difflib.get_close_matches(word[:100].lower(), list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(sorted(known))}"


def got(given: object) -> str:
    """Return what was given, for a message: never more than fits a line."""
    if given is None:
        return "got nothing"
    if isinstance(given, Mapping):
        return "got keys and values"
    if isinstance(given, list):
        return "got a list"
    text = str(given).lower() if isinstance(given, bool) else repr(given)
    return f"got {text}" if len(text) <= _SHOWN else f"got {text[: _SHOWN - 1]}…"


def duration(text: object, path: str) -> timedelta:
    """Return a duration written like ``90s``, ``30m``, ``6h``, ``14d`` or ``2w``."""
    match = re.fullmatch(r"([0-9]{1,9})([smhdw])", text) if isinstance(text, str) else None
    length = timedelta(seconds=int(match[1]) * _SECONDS[match[2]]) if match else timedelta(0)
    if not timedelta(0) < length <= _LONGEST:
        raise CatalogueError(
            path, f"expected a duration such as 30m, 6h or 14d, at most ten years; {got(text)}"
        )
    return length


def text_of(given: object, path: str) -> str:
    """Return a text that is not empty."""
    if given is None:
        raise CatalogueError(path, "is missing; it must be a text")
    if not isinstance(given, str) or not given.strip():
        raise CatalogueError(path, f"expected text, {got(given)}")
    return given.strip()


def mapping_of(given: object, path: str) -> Given:
    """Return keys and values whose keys are text."""
    if not isinstance(given, Mapping):
        raise CatalogueError(path, f"expected keys and values, {got(given)}")
    mapping = cast("Mapping[object, object]", given)
    for key in mapping:
        if not isinstance(key, str):
            raise CatalogueError(path, f"expected text as a key, {got(key)}; quote it")
    return cast("Given", mapping)


def check_keys(given: Given, known: Collection[str], path: str, found: Findings) -> None:
    """Find every key that is not known."""
    for key in given:
        if key not in known:
            shown = key if len(key) <= _SHOWN else f"{key[: _SHOWN - 1]}…"
            at = f"{path}.{shown}" if path else shown
            found.add(at, f"unknown key {shown!r}{nearest(key, known)}")


def choice_of(choices: type[E], given: object, path: str) -> E:
    """Return one of a closed set of words."""
    known = [choice.value for choice in choices]
    if given is None:
        raise CatalogueError(path, f"is missing; write one of {', '.join(known)}")
    if not isinstance(given, str) or given not in known:
        hint = nearest(given, known) if isinstance(given, str) else f"; known: {', '.join(known)}"
        raise CatalogueError(path, f"{got(given)}{hint}")
    return choices(given)


def micros_of(given: object, path: str) -> int:
    """Return a number as an integer of 1e-6."""
    number = float("nan") if isinstance(given, bool) else given
    if not isinstance(number, int | float) or not -_LARGEST <= number <= _LARGEST:
        raise CatalogueError(path, f"expected a number of at most {_LARGEST:,}; {got(given)}")
    return int((Decimal(repr(number)) * MICRO).to_integral_value(ROUND_HALF_EVEN))


def windows_of(given: object, path: str) -> tuple[Window, ...]:
    """Return windows, ascending: lengths with shares, or a list of lengths with equal ones."""
    if given is None:
        raise CatalogueError(path, "is missing; write for instance {1h: 50%, 1d: 50%}")
    found = Findings()
    none = timedelta(0)
    if isinstance(given, list):
        lengths = [
            found.take(duration, each, f"{path}[{place}]", otherwise=none)
            for place, each in enumerate(cast("list[object]", given))
        ]
        windows = [Window(length, 1 / len(lengths)) for length in lengths]
    else:
        windows = [
            Window(
                found.take(duration, length, f"{path}.{length}", otherwise=none),
                found.take(_share, weight, f"{path}.{length}", otherwise=1.0),
            )
            for length, weight in mapping_of(given, path).items()
        ]
    found.tell()
    if not windows or abs(sum(window.weight for window in windows) - 1) > _WEIGHT_ERROR:
        raise CatalogueError(path, "the weights of the windows must sum to 100%")
    if len({window.length for window in windows}) < len(windows):
        raise CatalogueError(path, "a window is named twice")
    return tuple(sorted(windows, key=lambda window: window.length))


def _share(given: object, path: str) -> float:
    if isinstance(given, str) and (match := re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)%", given)):
        share = float(match[1]) / 100
    elif isinstance(given, int | float) and not isinstance(given, bool):
        share = float(given)
    else:
        raise CatalogueError(path, f"expected a share such as 50%, {got(given)}")
    if not 0 < share <= 1:
        raise CatalogueError(path, f"a share lies between 0% and 100%, {got(given)}")
    return share


def measure_of(name: str, described: object, path: str) -> Measure:
    """Return one measure of a KPI."""
    found = Findings()
    if not NAME.fullmatch(name) or name in _RESERVED:
        found.add(path, f"{name[:_SHOWN]!r} cannot be a measure's name; use letters and _")
    given = mapping_of(described, path)
    check_keys(given, _MEASURE_KEYS, path, found)
    cap = given.get("cap")
    summed = found.take(_optional, given, "sum", path, otherwise=None)
    if cap is not None and "sum" not in given:
        found.add(f"{path}.cap", "only a sum has a cap; add `sum: FIELD`")
    before = given.get("before_close")
    measure = Measure(
        name=name,
        event=found.take(text_of, given.get("event"), f"{path}.event", otherwise=""),
        where=found.take(_conditions, given.get("where"), f"{path}.where", otherwise=()),
        field=summed,
        cap=None
        if cap is None or cap == "window"
        else found.take(_cap, cap, f"{path}.cap", otherwise=None),
        cap_window=cap == "window",
        before_close=None
        if before is None
        else found.take(duration, before, f"{path}.before_close", otherwise=None),
        after=found.take(_optional, given, "after", path, otherwise=None),
    )
    found.tell()
    return measure


def _optional(given: Given, key: str, path: str) -> str | None:
    return text_of(given[key], f"{path}.{key}") if key in given else None


def _cap(given: object, path: str) -> int:
    cap = micros_of(given, path)
    if cap <= 0:
        raise CatalogueError(path, f"a cap is a number above 0, or `window`; {got(given)}")
    return cap


def _conditions(given: object, path: str) -> tuple[Condition, ...]:
    if given is None:
        return ()
    found = Findings()
    conditions = [
        found.take(_condition, field, test, f"{path}.{field}", otherwise=Condition("", Test.IS))
        for field, test in mapping_of(given, path).items()
    ]
    found.tell()
    return tuple(conditions)


def _condition(field: str, given: object, path: str) -> Condition:
    if isinstance(given, Mapping):
        match cast("Mapping[object, object]", given):
            case {"not": "unit", **rest} if not rest:
                return Condition(field, Test.OTHER_THAN_UNIT)
            case {"above": value, **rest} if not rest:
                return Condition(field, Test.ABOVE, (micros_of(value, path),))
            case {"present": True, **rest} if not rest:
                return Condition(field, Test.PRESENT)
            case {"present": False, **rest} if not rest:
                return Condition(field, Test.ABSENT)
            case _:
                raise CatalogueError(
                    path,
                    "cannot be read; write a value, a list of values, {above: NUMBER}, "
                    "{not: unit} or {present: true}",
                )
    values = cast("list[object]", given) if isinstance(given, list) else [given]
    if not values:
        raise CatalogueError(path, "is an empty list, which nothing matches; list a value")
    return Condition(field, Test.IS, tuple(_exact(value, path) for value in values))


def _exact(value: object, path: str) -> str | bool | int:
    if value is None:
        raise CatalogueError(
            path, "says nothing; write {present: false} for events without the field"
        )
    return value if isinstance(value, str | bool) else micros_of(value, path)
