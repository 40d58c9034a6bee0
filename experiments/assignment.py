"""Who gets which arm: GrowthBook's hash version 2, compiled once per revision. Pure.

A unit's bucket is a number from 0 to 9,999, ``fnv1a32(decimal(fnv1a32(seed + id))) mod
10,000`` over UTF-16 code units, with the seed ``key:seed``. Each arm owns an interval of
buckets as wide as its weight; traffic fills every interval from its lower end, so raising
traffic adds units and moves nobody.

How an answer is reached, and its OFREP reason:

======================================  ==================  ================
situation                               variant             reason
======================================  ==================  ================
draft, observing, finished, stopped     control             ``STATIC``
paused                                  control             ``DISABLED``
the context holds no id of the unit     control             ``UNKNOWN``
not in the audience                     control             ``TARGETING_MATCH``
in the audience, not in the traffic     control             ``SPLIT``
in an arm                               that arm            ``SPLIT``, exposed
in a treatment that was rolled back     control             ``DISABLED``
======================================  ==================  ================
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from fnv_hash_fast import fnv1a_32

from experiments.audience import compile_audience
from experiments.layers import Interval
from experiments.spec import CONTROL, ExperimentSpec

BUCKETS: Final = 10_000
TARGETING_KEY: Final = "targetingKey"
"""Attribute that names the unit where the context has none of its type (OpenFeature)."""

_FNV_OFFSET: Final = 0x811C9DC5
_FNV_PRIME: Final = 0x01000193
_MASK: Final = 0xFFFFFFFF


class Reason(StrEnum):
    """Why a variant was given: the words OFREP knows."""

    SPLIT = "SPLIT"
    TARGETING_MATCH = "TARGETING_MATCH"
    STATIC = "STATIC"
    DISABLED = "DISABLED"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class Serving:
    """What an experiment serves now, whatever the time.

    Attributes:
        state: ``draft``, ``running``, ``paused``, ``observing``, ``finished`` or ``stopped``;
            anything but ``running`` serves control to everybody.
        traffic: Share of the audience that takes part, 0-1.
        rolled_back: Treatments whose units get control.
        layer: Buckets of its layer that the experiment owns; ignored without a layer.
        holdout: Share of all units the global holdout keeps out of it, 0-1, fixed when the
            seed began.
    """

    state: str
    traffic: float = 1.0
    rolled_back: frozenset[str] = frozenset()
    layer: tuple[Interval, ...] = ()
    holdout: float = 0.0


@dataclass(frozen=True, slots=True)
class Assignment:
    """What one unit gets. Shared between units: do not change ``value``.

    Attributes:
        experiment: Key.
        variant: Arm served.
        value: Its JSON value.
        reason: Why.
        exposed: Whether an exposure is to be recorded: in an arm that runs and is not rolled back.
        assigned: Arm the hash says, ``None`` for a unit that takes no part.
    """

    experiment: str
    variant: str
    value: Any
    reason: Reason
    exposed: bool
    assigned: str | None


@dataclass(frozen=True, slots=True)
class CompiledExperiment:
    """A spec and what it serves, ready to answer.

    Attributes:
        key: Experiment key.
        spec: What was compiled.
        serving: What it serves.
        assign: Context to assignment; never raises, whatever the ids and attributes are.
    """

    key: str
    spec: ExperimentSpec
    serving: Serving
    assign: Callable[[Mapping[str, Any]], Assignment]


def fnv1a32(text: str) -> int:
    """Return the 32-bit FNV-1a hash of a text's UTF-16 code units."""
    try:
        # up to U+00FF a code unit is one byte of Latin-1, so the C function applies
        return fnv1a_32(text.encode("latin-1"))
    except UnicodeEncodeError:
        state = _FNV_OFFSET
        data = text.encode("utf-16-le", "surrogatepass")
        for low, high in zip(data[::2], data[1::2], strict=True):
            state = ((state ^ (low | high << 8)) * _FNV_PRIME) & _MASK
        return state


def bucket_of(seed: str, value: str) -> int:
    """Return the bucket, 0 to 9,999, of an id: GrowthBook's hash version 2 times 10,000."""
    return fnv1a_32(b"%d" % fnv1a32(seed + value)) % BUCKETS


def unit_id(value: Any) -> str:
    """Return an id as JavaScript's ``String(x)`` writes it; empty when it is none.

    Text is taken as it is. Finite numbers other than 0 are ids (1.0 is ``1``); everything
    else (``None``, booleans, 0, nan, infinities, lists, mappings) is not.
    """
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return ""
    try:
        number = float(value)
    except OverflowError:
        return ""
    return _javascript_number(number) if number != 0 and math.isfinite(number) else ""


def _javascript_number(number: float) -> str:
    """ECMAScript's Number::toString for a finite number that is not 0 (ECMA-262, 6.1.6.1.20)."""
    sign = "-" if number < 0 else ""
    # repr has the shortest digits that read back to the same number, as JavaScript wants
    mantissa, _, exponent = repr(abs(number)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    fraction = "" if fraction == "0" else fraction
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0")
    count = len(digits)
    if count <= point <= 21:  # noqa: PLR2004 - the standard's bounds
        return sign + digits + "0" * (point - count)
    if 0 < point <= 21:  # noqa: PLR2004 - as above
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:  # noqa: PLR2004 - as above
        return f"{sign}0.{'0' * -point}{digits}"
    power = point - 1
    rest = f".{digits[1:]}" if count > 1 else ""
    return f"{sign}{digits[0]}{rest}e{'+' if power > 0 else '-'}{abs(power)}"


def bucket_ranges(weights: Sequence[float], traffic: float) -> tuple[tuple[float, float], ...]:
    """Return each arm's interval ``start <= bucket / 10,000 < end``.

    Arm i has ``[W, W + traffic * w_i)`` with W the sum of the weights before it, whatever the
    traffic: raising it never moves a unit to another arm. As in GrowthBook, traffic is
    clamped to 0-1, and weights that do not sum to 1 within 0.01 are taken as equal.
    """
    share = min(max(traffic, 0.0), 1.0)
    if not 0.99 <= sum(weights) <= 1.01:  # noqa: PLR2004 - GrowthBook's bounds
        weights = [1 / len(weights)] * len(weights)
    ranges: list[tuple[float, float]] = []
    below = 0.0
    for weight in weights:
        ranges.append((below, below + share * weight))
        below += weight
    return tuple(ranges)


def compile_experiment(spec: ExperimentSpec, serving: Serving) -> CompiledExperiment:
    """Prepare a spec for answering: bucket table, conditions and one answer per outcome."""
    control = spec.variant(CONTROL).flow

    def to_control(reason: Reason, assigned: str | None = None) -> Assignment:
        return Assignment(spec.key, CONTROL, control, reason, exposed=False, assigned=assigned)

    if serving.state != "running":
        paused = serving.state == "paused"
        everybody = to_control(Reason.DISABLED if paused else Reason.STATIC)
        return CompiledExperiment(spec.key, spec, serving, lambda _context: everybody)
    arms = [
        to_control(Reason.DISABLED, arm.name)
        if arm.name in serving.rolled_back and arm.name != CONTROL
        else Assignment(spec.key, arm.name, arm.flow, Reason.SPLIT, exposed=True, assigned=arm.name)
        for arm in spec.variants
    ]
    ranges = bucket_ranges([arm.weight for arm in spec.variants], serving.traffic)
    outcomes = _bucket_table(ranges, arms, outside=to_control(Reason.SPLIT))
    assign = _assigner(
        spec,
        outcomes,
        nobody=to_control(Reason.UNKNOWN),
        untargeted=to_control(Reason.TARGETING_MATCH),
    )
    return CompiledExperiment(spec.key, spec, serving, assign)


def _bucket_table(
    ranges: Sequence[tuple[float, float]], arms: Sequence[Assignment], *, outside: Assignment
) -> tuple[Assignment, ...]:
    """Return the answer of every bucket; the first interval that holds it wins."""
    table = [outside] * BUCKETS
    for (start, end), arm in reversed(list(zip(ranges, arms, strict=True))):
        first = max(0, math.floor(start * BUCKETS) - 1)
        last = min(BUCKETS, math.ceil(end * BUCKETS) + 1)
        for bucket in range(first, last):
            # compared as GrowthBook compares, so that rounding is the same at every edge
            if start <= bucket / BUCKETS < end:
                table[bucket] = arm
    return tuple(table)


def _assigner(
    spec: ExperimentSpec,
    outcomes: tuple[Assignment, ...],
    *,
    nobody: Assignment,
    untargeted: Assignment,
) -> Callable[[Mapping[str, Any]], Assignment]:
    unit, seed = spec.unit, spec.hash_seed
    matches = compile_audience(spec.audience)
    fnv = fnv1a_32

    def assign(context: Mapping[str, Any]) -> Assignment:
        value = context.get(unit)
        if value is None:
            value = context.get(TARGETING_KEY)
        if type(value) is not str:
            value = unit_id(value)
        if not value:
            return nobody
        if matches is not None and not matches(context):
            return untargeted
        text = seed + value
        try:
            first = fnv(text.encode("latin-1"))
        except UnicodeEncodeError:
            first = fnv1a32(text)
        return outcomes[fnv(b"%d" % first) % BUCKETS]

    return assign
