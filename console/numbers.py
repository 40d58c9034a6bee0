"""Options that are numbers: what was given and what to write, where it is none."""

import math
import re
from collections.abc import Callable

import typer

_DIGITS = re.compile(r"[+-]?[0-9]{1,300}(\.[0-9]{1,300})?(e[+-]?[0-9]{1,3})?", re.IGNORECASE)
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_NEARLY = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,15})?)\s?([km]?)", re.IGNORECASE)
_THOUSANDS = re.compile(r"(?<=[0-9])[,' _](?=[0-9]{3}(?![0-9]))")
_TIMES = {"": 1, "k": 1_000, "m": 1_000_000}


def number(least: float, most: float) -> Callable[[str | float], float]:
    """Return the reader of an option that is a number from ``least`` to ``most``."""

    def read(text: str | float) -> float:
        given = str(text).strip()
        value = float(given) if _DIGITS.fullmatch(given) else math.nan
        if least <= value <= most:
            return value
        raise _refused(given, value, least, most, what="number")

    return read


def whole(least: int, most: int | None = None) -> Callable[[str | int], int]:
    """Return the reader of an option that is a whole number; ``most`` is ``None`` for no limit."""

    def read(text: str | int) -> int:
        given, limit = str(text).strip(), math.inf if most is None else most
        value = int(given) if _WHOLE.fullmatch(given) else math.nan
        if least <= value <= limit:
            return int(value)
        raise _refused(given, value, least, limit, what="whole number")

    return read


def _refused(
    given: str, value: float, least: float, most: float, *, what: str
) -> typer.BadParameter:
    if not math.isnan(value):
        return typer.BadParameter(f"{given} is out of range; write {_range(least, most, what)}")
    meant = _meant(given)
    if least <= meant <= most and (what == "number" or meant.is_integer()):
        return typer.BadParameter(f"{given!r} is no {what}; write {meant:.15g}")
    return typer.BadParameter(f"{given!r} is no {what}; write {_range(least, most, what)}")


def _range(least: float, most: float, what: str) -> str:
    if math.isinf(most):
        return f"a {what} of {least:.15g} or more"
    return f"a {what} from {least:.15g} to {most:.15g}"


def _meant(text: str) -> float:
    """Return what ``3k``, ``3,000``, ``1.5m`` or ``1e4`` stands for, ``nan`` for anything else."""
    if _DIGITS.fullmatch(text):
        return float(text)
    found = _NEARLY.fullmatch(_THOUSANDS.sub("", text))
    return float(found[1]) * _TIMES[found[2].lower()] if found is not None else math.nan
