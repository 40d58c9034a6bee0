"""Who gets which arm: GrowthBook's hash version 2, compiled once per revision. Pure.

Each arm owns an interval of the buckets of the seed ``key:seed`` as wide as its weight;
traffic fills every interval from its lower end, so raising traffic adds units and moves
nobody. A layer and the global holdout are further hashes with seeds of their own.

How an answer is reached, in this order, and its OFREP reason:

==========================================  ===========  =====================================
situation                                   variant      reason
==========================================  ===========  =====================================
observing, finished, stopped                control      ``STATIC``
finished, and a treatment was shipped       (see below)
paused                                      control      ``DISABLED``
draft, and no override of the unit's id     control      ``STATIC``
the context holds no id of the unit         control      ``UNKNOWN``
an override of the unit's id                its variant  ``TARGETING_MATCH``
an override to a treatment rolled back      control      ``DISABLED``
not in the audience                         control      ``TARGETING_MATCH``
kept out by the global holdout              control      ``SPLIT``
outside of the experiment's layer buckets   control      ``SPLIT``
outside of the traffic                      control      ``SPLIT``
in an arm                                   that arm     ``SPLIT``, the only one that counts
in a treatment that was rolled back         control      ``DISABLED``
==========================================  ===========  =====================================

Once a treatment was shipped, an id is wanted, audience and holdout are asked as above, and all
others get that treatment: ``STATIC``, and no exposure.

A unit in an arm counts from its exposure: the evaluation itself, or with ``exposure: event``
the event that the application sends.
"""

import math
from array import array
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from fnv_hash_fast import fnv1a_32

from experiments.audience import Matcher, compile_audience
from experiments.hashing import (
    BUCKETS,
    HOLDOUT_SEED,
    bucket_of,
    bucket_ranges,
    fnv1a32,
    unit_id,
)
from experiments.layers import Interval, layer_seed
from experiments.spec import CONTROL, ExperimentSpec, Exposure

TARGETING_KEY: Final = "targetingKey"
"""Attribute that names the unit where the context has none of its type (OpenFeature)."""


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
            anything but ``running`` serves control to everybody, overrides in a draft aside.
        traffic: Share of the audience that takes part, 0-1.
        rolled_back: Treatments whose units get control.
        layer: Buckets of its layer that the experiment owns; ignored without a layer, and
            with a layer but no buckets nobody takes part.
        holdout: Share of all units the global holdout keeps out of it, 0-1, fixed when the
            seed began.
        shipped: Treatment that everybody who may take part gets once it is finished.
    """

    state: str
    traffic: float = 1.0
    rolled_back: frozenset[str] = frozenset()
    layer: tuple[Interval, ...] = ()
    holdout: float = 0.0
    shipped: str | None = None

    @property
    def winner(self) -> str | None:
        """Treatment that is served to everybody who may take part, ``None`` while none is."""
        if self.state != "finished" or self.shipped in self.rolled_back:
            return None
        return self.shipped


@dataclass(frozen=True, slots=True)
class Assignment:
    """What one unit gets. Shared between units: do not change ``value``.

    Attributes:
        experiment: Key.
        variant: Arm served.
        value: Its JSON value.
        reason: Why.
        exposed: Whether this evaluation is an exposure, to be recorded: in an arm that runs and
            is not rolled back, unless exposures are events of the application.
        assigned: Arm the hash says, ``None`` for a unit that takes no part.
    """

    experiment: str
    variant: str
    value: Any
    reason: Reason
    exposed: bool
    assigned: str | None

    @property
    def counts(self) -> bool:
        """Whether an exposure of this unit counts, whoever records it."""
        return self.assigned is not None and self.reason is Reason.SPLIT


@dataclass(frozen=True, slots=True)
class Plan:
    """What ``assign`` and ``batch.assign_many`` both follow; codes are indices of ``answers``.

    Attributes:
        answers: Every answer there can be.
        everybody: Code of everybody without an override, ``None`` where units are dealt.
        nobody: Code of a context without an id.
        untargeted: Code outside of the audience.
        outside: Code of units held out, outside of the layer's buckets or of the traffic.
        forced: Codes of ids with an override.
        matches: Test of the audience, ``None`` when everybody takes part.
        held_out: The first so many buckets of the holdout's hash take no part.
        layer_seed: Seed of the layer's hash, empty without a layer.
        owned: 1 for each bucket of the layer that the experiment owns.
        seed: Seed of the experiment's hash.
        codes: Code of each of its buckets.
    """

    answers: tuple[Assignment, ...]
    everybody: int | None
    nobody: int
    untargeted: int
    outside: int
    forced: Mapping[str, int]
    matches: Matcher | None
    held_out: int
    layer_seed: str
    owned: bytes
    seed: str
    codes: "array[int]"


Assign = Callable[[Mapping[str, Any]], Assignment]


@dataclass(frozen=True, slots=True)
class CompiledExperiment:
    """A spec and what it serves, ready to answer.

    Attributes:
        key: Experiment key.
        spec: What was compiled.
        serving: What it serves.
        assign: Context to assignment; never raises, whatever the ids and attributes are.
        plan: The same as tables, for many units at once.
    """

    key: str
    spec: ExperimentSpec
    serving: Serving
    assign: Assign
    plan: Plan


def unit_of(unit: str, context: Mapping[str, Any]) -> str:
    """Return the id of type ``unit`` as it is hashed; empty when the context has none.

    Where the context has none of its type the OpenFeature ``targetingKey`` names the unit.
    """
    value = context.get(unit)
    return unit_id(context.get(TARGETING_KEY) if value is None else value)


def compile_experiment(spec: ExperimentSpec, serving: Serving) -> CompiledExperiment:
    """Prepare a spec for answering: bucket tables, conditions and one answer per outcome."""
    plan = _plan(spec, serving)
    if plan.everybody is not None:
        assign = _undealt(spec.unit, plan, plan.everybody)
    elif plan.forced or plan.held_out or plan.layer_seed:
        assign = _layered(spec.unit, plan)
    else:
        assign = _plain(spec.unit, plan)
    return CompiledExperiment(spec.key, spec, serving, assign, plan)


class _Answers:
    """The answers of one experiment, each once: equal ones have the same code."""

    def __init__(self, spec: ExperimentSpec) -> None:
        self._spec = spec
        self._codes: dict[tuple[str, Reason, bool, str | None], int] = {}

    def code(
        self, variant: str, reason: Reason, *, exposed: bool = False, assigned: str | None = None
    ) -> int:
        """Return the code of an answer."""
        return self._codes.setdefault((variant, reason, exposed, assigned), len(self._codes))

    def every(self) -> tuple[Assignment, ...]:
        """Return all answers in the order of their codes."""
        key, flow = self._spec.key, {arm.name: arm.flow for arm in self._spec.variants}
        return tuple(
            Assignment(key, variant, flow[variant], reason, exposed, assigned)
            for variant, reason, exposed, assigned in self._codes
        )


def _plan(spec: ExperimentSpec, serving: Serving) -> Plan:
    answers = _Answers(spec)
    running, turned_back = serving.state == "running", serving.rolled_back - {CONTROL}
    outside = answers.code(CONTROL, Reason.SPLIT)
    everybody, winner = None, serving.winner
    if not running and winner is None:
        reason = Reason.DISABLED if serving.state == "paused" else Reason.STATIC
        everybody = answers.code(CONTROL, reason)
    forced = {
        unit: answers.code(CONTROL, Reason.DISABLED)
        if name in turned_back
        else answers.code(name, Reason.TARGETING_MATCH)
        for unit, name in spec.force.items()
        if running or serving.state == "draft"
    }
    exposed = spec.exposure is Exposure.EVALUATE
    arms = [
        answers.code(CONTROL, Reason.DISABLED, assigned=arm.name)
        if arm.name in turned_back
        else answers.code(arm.name, Reason.SPLIT, exposed=exposed, assigned=arm.name)
        for arm in spec.variants
    ]
    ranges = bucket_ranges([arm.weight for arm in spec.variants], serving.traffic)
    if winner is not None:
        ranges, arms = [(0.0, 1.0)], [answers.code(winner, Reason.STATIC)]
    nobody = answers.code(CONTROL, Reason.UNKNOWN)
    untargeted = answers.code(CONTROL, Reason.TARGETING_MATCH)
    return Plan(
        answers=answers.every(),
        everybody=everybody,
        nobody=nobody,
        untargeted=untargeted,
        outside=outside,
        forced=forced,
        matches=compile_audience(spec.audience),
        held_out=buckets_below(serving.holdout),
        layer_seed="" if spec.layer is None or winner is not None else layer_seed(spec.layer.name),
        owned=owned_buckets(serving.layer),
        seed=spec.hash_seed,
        codes=_bucket_codes(ranges, arms, outside=outside),
    )


def buckets_below(share: float) -> int:
    """Return how many buckets lie below a share (0-1), compared as GrowthBook compares."""
    return bisect_left(range(BUCKETS), share, key=lambda bucket: bucket / BUCKETS)


def owned_buckets(intervals: Sequence[Interval]) -> bytes:
    """Return 1 for every bucket inside of the intervals, 0 for every other."""
    owned = bytearray(BUCKETS)
    for start, stop in intervals:
        owned[start:stop] = b"\1" * (stop - start)
    return bytes(owned)


def _bucket_codes(
    ranges: Sequence[tuple[float, float]], arms: Sequence[int], *, outside: int
) -> "array[int]":
    """Return the code of every bucket; the first interval that holds it wins."""
    table = array("h", [outside]) * BUCKETS
    for (start, end), arm in reversed(list(zip(ranges, arms, strict=True))):
        first = max(0, math.floor(start * BUCKETS) - 1)
        last = min(BUCKETS, math.ceil(end * BUCKETS) + 1)
        for bucket in range(first, last):
            # compared as GrowthBook compares, so that rounding is the same at every edge
            if start <= bucket / BUCKETS < end:
                table[bucket] = arm
    return table


def _undealt(unit: str, plan: Plan, code: int) -> Assign:
    """Answer for an experiment that deals nobody: the same to all but overrides."""
    everybody = plan.answers[code]
    if not plan.forced:
        return lambda _context: everybody
    forced = {name: plan.answers[code] for name, code in plan.forced.items()}
    return lambda context: forced.get(unit_of(unit, context), everybody)


def _plain(unit: str, plan: Plan) -> Assign:
    """Answer by the audience and one hash; the hot path, so nothing is called that need not be."""
    answers, seed, matches, fnv = plan.answers, plan.seed, plan.matches, fnv1a_32
    nobody, untargeted = answers[plan.nobody], answers[plan.untargeted]
    outcomes = tuple(answers[code] for code in plan.codes)

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


def _layered(unit: str, plan: Plan) -> Assign:
    """Answer with everything there is, in the order of this module's table."""
    answers, seed, matches = plan.answers, plan.seed, plan.matches
    nobody, untargeted = answers[plan.nobody], answers[plan.untargeted]
    outside, held_out, owned = answers[plan.outside], plan.held_out, plan.owned
    forced = {name: answers[code] for name, code in plan.forced.items()}
    outcomes = tuple(answers[code] for code in plan.codes)
    layer = plan.layer_seed

    def assign(context: Mapping[str, Any]) -> Assignment:
        value = context.get(unit)
        if type(value) is not str:
            value = unit_of(unit, context)
        if not value:
            return nobody
        if value in forced:
            return forced[value]
        if matches is not None and not matches(context):
            return untargeted
        if held_out and bucket_of(HOLDOUT_SEED, value) < held_out:
            return outside
        if layer and not owned[bucket_of(layer, value)]:
            return outside
        return outcomes[bucket_of(seed, value)]

    return assign
