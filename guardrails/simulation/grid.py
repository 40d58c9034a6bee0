"""Settings of the method that a simulation varies: what they are called, and what they change."""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from experiments.language.amounts import parse_amount, parse_duration
from experiments.language.source import ListNode, MappingNode, ScalarNode, parse_yaml
from guardrails.planning.calendar import plan_calendar
from guardrails.rules import Regression
from guardrails.simulation.design import Design, SimulationError
from metrics.catalogue_file import nearest

MOST = 200
"""Combinations of settings, at most."""

_LONGEST = timedelta(days=3_650)

Vary = Mapping[str, tuple[str, ...]]
"""Values as they were written, by setting."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting that can be varied.

    Attributes:
        change: Design and value as written to the design with it; ``None`` where it is no value.
        write: What to write.
    """

    change: Callable[[Design, str], Design | None]
    write: str


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None


def _alpha(design: Design, text: str) -> Design | None:
    amount = parse_amount(text)
    value = _number(text) if amount is None else amount.share
    if value is None or not 0.0 < value <= 0.5:  # noqa: PLR2004 - as in the file
        return None
    if amount is not None and (amount.absolute or amount.signed):
        return None
    return _experiment(design, alpha=value)


def _prove_past(design: Design, text: str) -> Design | None:
    value = _number(text)
    if value is None or not 0.0 <= value <= 1.0:
        return None
    return _regressions(design, lambda g: replace(g, prove_past=value))


def _margin(design: Design, text: str) -> Design | None:
    if text.startswith("x"):
        times = _number(text[1:])
        if times is None or not times >= 0.0:
            return None
        return _regressions(design, lambda g: replace(g, margin=times * g.margin))
    amount = parse_amount(text)
    if amount is None or amount.signed:
        return None
    return _regressions(design, lambda g: replace(g, margin=amount.share, absolute=amount.absolute))


def _expect_units(design: Design, text: str) -> Design | None:
    if text == "none":
        return _experiment(design, expect_units=None)
    times = _number(text.removeprefix("x"))
    if times is None or not times > 0.0:
        return None
    if text.startswith("x"):
        times *= plan_calendar(design.spec.experiment, design.traffic).units
    return _experiment(design, expect_units=round(times)) if times >= 1.0 else None


def _ends(design: Design, text: str) -> Design | None:
    length = parse_duration(text)
    if length is None or not timedelta(hours=1) <= length <= _LONGEST:
        return None
    return _experiment(design, ends=replace(design.spec.experiment.ends, after=length, at=None))


def _check_every(design: Design, text: str) -> Design | None:
    length = parse_duration(text)
    if length is None or not timedelta(minutes=1) <= length <= timedelta(days=1):
        return None
    return _experiment(design, check_every=length)


def _restarts(design: Design, text: str) -> Design | None:
    return replace(design, restarts=text == "on") if text in {"on", "off"} else None


def _units_per_day(design: Design, text: str) -> Design | None:
    value = _number(text)
    if value is None or not 1.0 <= value <= 1e12:  # noqa: PLR2004 - as --units-per-day
        return None
    return replace(design, traffic=replace(design.traffic, units_per_day=value))


def _experiment(design: Design, **changes: object) -> Design:
    experiment = replace(design.spec.experiment, **changes)  # pyright: ignore[reportArgumentType]
    return replace(design, spec=replace(design.spec, experiment=experiment))


def _regressions(design: Design, changed: Callable[[Regression], Regression]) -> Design:
    guardrails = tuple(
        changed(g) if isinstance(g, Regression) else g for g in design.spec.guardrails
    )
    return replace(design, spec=replace(design.spec, guardrails=guardrails))


SETTINGS: Final[Mapping[str, Setting]] = {
    "units_per_day": Setting(_units_per_day, "a number: units_per_day=500,2000"),
    "ends": Setting(_ends, "lengths from 1h to 3650d: ends=7d,14d"),
    "check_every": Setting(_check_every, "lengths from 1m to 1d: check_every=5m,1h"),
    "alpha": Setting(_alpha, "shares above 0% and up to 50%: alpha=1%,5%"),
    "margin": Setting(_margin, "margins or parts of the file's: margin=3%,5% or margin=x0.5,x2"),
    "prove_past": Setting(_prove_past, "numbers from 0 to 1: prove_past=0,0.5,1"),
    "restarts": Setting(_restarts, "on or off: restarts=on,off"),
    "expect_units": Setting(
        _expect_units,
        "parts of the units that will come, numbers or none: expect_units=x0.1,x1,x10,none",
    ),
}
"""In the order in which they are applied: the units that will come depend on those before."""


def parse_vary(texts: Iterable[str]) -> Vary:
    """Return what ``--vary`` options say.

    Args:
        texts: ``SETTING=VALUE[,VALUE]...``.

    Raises:
        SimulationError: Says which text is wrong, and what to write.
    """
    found: dict[str, tuple[str, ...]] = {}
    for text in texts:
        name, equals, rest = text.partition("=")
        if not equals:
            raise SimulationError(
                f"--vary: {text!r} says no value", hint="write --vary alpha=1%,5%,10%"
            )
        _put(found, name.strip(), tuple(part.strip() for part in rest.split(",")), "--vary")
    return found


def read_grid(text: str, *, source: str) -> Vary:
    """Return what a grid file says: values by setting, one or a list.

    Args:
        text: YAML.
        source: Name of the file, for errors.

    Raises:
        SimulationError: The file is none, or says something that cannot be varied.
    """
    node, problems = parse_yaml(text, file=source)
    if node is None or problems:
        words = "\n".join(map(str, problems)) or f"{source}: there is nothing in it"
        raise SimulationError(words, hint=_WRITE)
    if not isinstance(node, MappingNode):
        raise SimulationError(f"{source}: it must have settings with their values", hint=_WRITE)
    found: dict[str, tuple[str, ...]] = {}
    for entry in node.entries:
        where = f"{source}:{entry.at.line}:{entry.at.column}"
        listed = entry.value.items if isinstance(entry.value, ListNode) else (entry.value,)
        values = [_written(one) for one in listed if isinstance(one, ScalarNode)]
        if len(values) < len(listed):
            raise SimulationError(f"{where}: {entry.key} takes values, no lists of lists and keys")
        _put(found, entry.key, tuple(values), where)
    return found


_WRITE: Final = "write a line per setting, like `alpha: [1%, 5%]` and `prove_past: [0, 0.5, 1]`"


def _written(node: ScalarNode) -> str:
    if isinstance(node.value, bool):
        return "on" if node.value else "off"
    return "none" if node.value is None else node.text


def _put(found: dict[str, tuple[str, ...]], name: str, values: tuple[str, ...], where: str) -> None:
    if name not in SETTINGS:
        raise SimulationError(f"{where}: unknown setting {name!r}{nearest(name, SETTINGS)}")
    if name in found:
        raise SimulationError(f"{where}: {name} is there twice", hint="give all its values at once")
    twice = [value for value in values if values.count(value) > 1]
    if twice:
        raise SimulationError(f"{where}: {name} has the value {twice[0]!r} twice")
    if not "".join(values):
        raise SimulationError(f"{where}: {name} has no value", hint=SETTINGS[name].write)
    found[name] = values


def designs(design: Design, vary: Vary, *, where: str = "--vary") -> tuple[Design, ...]:
    """Return the experiment under every combination of settings, the last one varying first.

    Args:
        design: The experiment as its file says it.
        vary: Values by setting; none gives the experiment alone.
        where: What said them, for errors.

    Raises:
        SimulationError: A value is none, or there are too many combinations.
    """
    _count(vary, where)
    found: list[Design] = []
    for values in itertools.product(*vary.values()):
        chosen = dict(zip(vary, values, strict=True))
        one = design
        for name in SETTINGS:
            if name not in chosen:
                continue
            changed = SETTINGS[name].change(one, chosen[name])
            if changed is None:
                raise SimulationError(
                    f"{where}: {chosen[name]!r} is no value of {name}",
                    hint=f"write {SETTINGS[name].write}",
                )
            one = changed
        found.append(replace(one, settings=chosen))
    return tuple(found)


def _count(vary: Vary, where: str) -> None:
    count = 1
    for values in vary.values():
        count *= len(values)
    if count > MOST:
        raise SimulationError(
            f"{where}: these are {count:,} combinations, and {MOST} at most are simulated",
            hint="give fewer values",
        )


def varied(setups: Sequence[Design]) -> tuple[str, ...]:
    """Return the names of the settings that differ, in the order they were given."""
    return tuple(dict.fromkeys(name for one in setups for name in one.settings))
