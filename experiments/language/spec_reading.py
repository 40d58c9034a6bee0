"""From the record of a spec file to an ``ExperimentSpec``: rules across keys, then building."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from experiments.assignment import TARGETING_KEY
from experiments.language.amounts import Amount
from experiments.language.arms_reading import (
    flows_are_alike,
    forced_variants_exist,
    variants_have_a_control,
    weights_sum_to_all,
)
from experiments.language.audience_rules import attributes_are_spelt_once
from experiments.language.freeze_reading import build_freeze
from experiments.language.reading import Item, Record
from experiments.language.schedule_reading import SCHEDULE_RULES, build_ends, build_step
from experiments.spec import (
    CONTROL,
    ExperimentSpec,
    Exposure,
    Goal,
    Layer,
    Mode,
    RampStep,
    VariantSpec,
)


def check_experiment(record: Record) -> None:
    """Tell what is wrong across keys; rules whose values could not be read keep quiet."""
    for rule in _RULES:
        rule(record)


def _lists_name_things_once(record: Record) -> None:
    for key in ("watch", "notify", "segments"):
        seen: set[str] = set()
        for item in record.get(key, ()):
            if item.value in seen:
                item.place.problem(item.at, f"`{item.value}` is listed twice", "remove one")
            seen.add(item.value)


def _segments_are_no_ids(record: Record) -> None:
    """Every unit would be a level of its own, and the store keep ids that it may not."""
    for item in record.get("segments", ()):
        if item.value in {record.get("unit"), TARGETING_KEY}:
            hint = "name what many units share, for instance country"
            item.place.problem(item.at, f"`{item.value}` is the id of a unit", hint)


def _key_is_free(record: Record) -> None:
    """The hash of layer `1` and that of seed 1 of an experiment called `layer` would be one."""
    if record.get("experiment") == "layer":
        hint = "name it by what it tries, for instance three-step-cancel"
        record.problem("experiment", "`layer` is a word of the assignment", hint)


def _auto_ship_can(record: Record) -> None:
    """Without a goal nothing is better; in shadow mode nobody acts; null tells clients nothing."""
    if record.get("auto_ship") is not True:
        return
    if record.node.get("goal") is None:
        hint = "add `goal: {kpi: ..., expect: ...}`, or leave out `auto_ship`"
        record.problem("auto_ship", "without a goal nobody knows what is better", hint)
    if record.get("mode") == Mode.SHADOW:
        hint = "leave out one of the two"
        record.problem("auto_ship", "in `mode: shadow` the engine acts on nothing", hint)
    variants: Mapping[str, Item] = record.get("variants", {})
    empty = [name for name, arm in variants.items() if arm.value.get("flow", name) is None]
    for name in empty:
        if name != CONTROL:
            message = f"the flow of `{name}` is null, which leaves it to each application"
            record.problem("auto_ship", message, "give it a value that can be served to all")


_RULES: tuple[Callable[[Record], None], ...] = (
    variants_have_a_control,
    weights_sum_to_all,
    flows_are_alike,
    forced_variants_exist,
    attributes_are_spelt_once,
    *SCHEDULE_RULES,
    _lists_name_things_once,
    _segments_are_no_ids,
    _key_is_free,
    _auto_ship_can,
)


def build_experiment(record: Record) -> ExperimentSpec:
    """Return the experiment of a record without problems."""
    goal: Record | None = record.get("goal")
    layer: Record | None = record.get("layer")
    variants: Mapping[str, Item] = record.get("variants")
    forced: Mapping[str, Item] = record.get("force", {})
    key: str = record.get("experiment")
    spec = ExperimentSpec(
        key=key,
        title=record.get("title", key),
        owner=record.get("owner", ""),
        hypothesis=record.get("hypothesis", ""),
        unit=record.get("unit"),
        variants=tuple(_variant(name, arm.value) for name, arm in variants.items()),
        ramp=tuple(build_step(step.value) for step in record.get("ramp", ())) or (RampStep(),),
        goal=_goal(goal) if goal is not None else None,
        watch=tuple(item.value for item in record.get("watch", ())),
        ends=build_ends(record),
        audience=record.get("audience", ()),
        notify=tuple(item.value for item in record.get("notify", ())),
        expect_units=record.get("expect_units"),
        layer=Layer(layer.get("name"), layer.get("share").share) if layer is not None else None,
        force={name: item.value for name, item in forced.items()},
        starts=record.get("starts"),
        segments=tuple(item.value for item in record.get("segments", ())),
        freeze=tuple(build_freeze(item.value) for item in record.get("freeze", ())),
    )
    given: dict[str, Any] = {
        name: record.get(name)
        for name in ("seed", "check_every", "lag", "holdout", "auto_ship")
        if record.has(name)
    }
    if record.has("alpha"):
        given["alpha"] = record.get("alpha").share
    if record.has("mode"):
        given["mode"] = Mode(record.get("mode"))
    if record.has("exposure"):
        given["exposure"] = Exposure(record.get("exposure"))
    return replace(spec, **given)


def _variant(name: str, record: Record) -> VariantSpec:
    return VariantSpec(name, record.get("weight").share, record.get("flow", name))


def _goal(record: Record) -> Goal:
    expect: Amount | None = record.get("expect")
    if expect is None:
        return Goal(record.get("kpi"))
    return Goal(record.get("kpi"), expect.share, expect.absolute)
