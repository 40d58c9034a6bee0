"""From the record of a spec file to an ``ExperimentSpec``: rules across keys, then building."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

from experiments.amounts import Amount, format_duration, format_percent
from experiments.errors import Severity
from experiments.reading import Item, Record
from experiments.source import to_json
from experiments.spec import (
    CONTROL,
    Advance,
    Ends,
    ExperimentSpec,
    Goal,
    Mode,
    RampStep,
    VariantSpec,
)

MAX_VARIANTS: Final = 20
_HUNDRED: Final = Decimal(100)


def check_experiment(record: Record) -> None:
    """Tell what is wrong across keys; rules whose values could not be read keep quiet."""
    for rule in _RULES:
        rule(record)


def _arms(record: Record) -> Mapping[str, Item]:
    return record.get("variants", {})


def _variants_have_a_control(record: Record) -> None:
    node = record.node.get("variants")
    names = list(to_json(node)) if record.has("variants") and node is not None else None
    if names is None:
        return
    if CONTROL not in names:
        near = next((name for name in names if name.lower() == CONTROL), None)
        hint = f"rename `{near}` to `control`" if near else "name the arm without the change so"
        record.problem("variants", "there is no `control`", hint)
    elif len(names) == 1:
        record.problem("variants", "there is no treatment", "add the variant you want to try")
    if len(names) > MAX_VARIANTS:
        record.problem("variants", f"there are more than {MAX_VARIANTS} variants", "try fewer")


def _weights_sum_to_all(record: Record) -> None:
    arms = _arms(record)
    node = record.node.get("variants")
    if not arms or node is None or len(arms) != len(to_json(node)):
        return
    if not all(arm.value.has("weight") for arm in arms.values()):
        return
    total = sum((arm.value.get("weight").percent for arm in arms.values()), Decimal(0))
    if total != _HUNDRED:
        rest = _HUNDRED - total
        hint = f"{'add' if rest > 0 else 'take away'} {format_percent(abs(rest))}"
        record.problem("variants", f"the weights sum to {format_percent(total)}, not 100%", hint)


def _flows_are_alike(record: Record) -> None:
    """A flag has one type: applications ask for an object or a text, and get an error else."""
    arms = _arms(record)
    written = {name: arm for name, arm in arms.items() if arm.value.written("flow")}
    if not written:
        return
    for name, arm in arms.items():
        if name not in written:
            other = next(iter(written))
            arm.place.problem(
                arm.at, f"has no `flow`, but `{other}` has one", "give one to every variant"
            )
    kinds = {n: _json_kind(a.value.get("flow")) for n, a in written.items() if a.value.has("flow")}
    first = next(iter(kinds.items()), None)
    for name, kind in kinds.items():
        if first is not None and kind != first[1]:
            written[name].value.problem(
                "flow",
                f"is {kind}, but that of `{first[0]}` is {first[1]}",
                "use the same JSON type in every variant: a flag has one type",
            )


def _json_kind(value: Any) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, str):
        return "a text"
    if isinstance(value, (int, float)):
        return "a number"
    return "a list" if isinstance(value, list) else "an object"


def _ramp_rises(record: Record) -> None:
    steps: Sequence[Item] = record.get("ramp", ())
    before: Amount | None = None
    for step in steps:
        traffic: Amount | None = step.value.get("traffic")
        if traffic is not None and before is not None and traffic.percent <= before.percent:
            step.value.problem(
                "traffic",
                f"{format_percent(traffic.percent)} is not more than the "
                f"{format_percent(before.percent)} of the step before",
                "raise it, or remove the step",
            )
        before = traffic if traffic is not None else before


def _ramp_steps_wait(record: Record) -> None:
    steps: Sequence[Item] = record.get("ramp", ())
    for step in steps[:-1]:
        if not any(step.value.written(key) for key in ("hold", "min_units", "approval")):
            step.place.problem(
                step.at, "nothing keeps the ramp in this step", "add `hold:` or `min_units:`"
            )
    for step in steps[-1:]:
        for key in ("hold", "min_units", "advance"):
            if step.value.has(key):
                step.value.problem(
                    key,
                    "has no effect: no step follows",
                    "remove it",
                    severity=Severity.WARNING,
                )


def _approval_is_for_later(record: Record) -> None:
    for step in record.get("ramp", ()):
        if step.value.get("approval"):
            step.value.problem("approval", "is not supported yet", "use `hold:` or `min_units:`")


def _ramp_fits_the_run(record: Record) -> None:
    ends: Record | None = record.get("ends")
    steps: Sequence[Item] = record.get("ramp", ())
    after: timedelta | None = ends.get("after") if ends is not None else None
    if ends is None or after is None:
        return
    held = sum((step.value.get("hold", timedelta(0)) for step in steps[:-1]), timedelta(0))
    if held > after:
        ends.problem(
            "after",
            f"{format_duration(after)} is over before the ramp, which holds "
            f"{format_duration(held)} in all",
            "end later or hold shorter",
        )
    every: timedelta | None = record.get("check_every")
    if every is not None and every > after:
        record.problem(
            "check_every",
            f"{format_duration(every)} is longer than the run of {format_duration(after)}",
            "check more often",
        )


def _lists_name_things_once(record: Record) -> None:
    for key in ("watch", "notify"):
        seen: set[str] = set()
        for item in record.get(key, ()):
            if item.value in seen:
                item.place.problem(item.at, f"`{item.value}` is listed twice", "remove one")
            seen.add(item.value)


_RULES: tuple[Callable[[Record], None], ...] = (
    _variants_have_a_control,
    _weights_sum_to_all,
    _flows_are_alike,
    _ramp_rises,
    _ramp_steps_wait,
    _approval_is_for_later,
    _ramp_fits_the_run,
    _lists_name_things_once,
)


def build_experiment(record: Record) -> ExperimentSpec:
    """Return the experiment of a record without problems."""
    goal: Record | None = record.get("goal")
    ends: Record = record.get("ends")
    key: str = record.get("experiment")
    spec = ExperimentSpec(
        key=key,
        title=record.get("title", key),
        owner=record.get("owner", ""),
        hypothesis=record.get("hypothesis", ""),
        unit=record.get("unit"),
        variants=tuple(_variant(name, arm.value) for name, arm in _arms(record).items()),
        ramp=tuple(_step(step.value) for step in record.get("ramp", ())) or (RampStep(),),
        goal=_goal(goal) if goal is not None else None,
        watch=tuple(item.value for item in record.get("watch", ())),
        ends=Ends(ends.get("after"), ends.get("observe_for")),
        audience=record.get("audience", ()),
        notify=tuple(item.value for item in record.get("notify", ())),
        expect_units=record.get("expect_units"),
    )
    given: dict[str, Any] = {
        name: record.get(name) for name in ("seed", "check_every", "lag") if record.has(name)
    }
    if record.has("alpha"):
        given["alpha"] = record.get("alpha").share
    if record.has("mode"):
        given["mode"] = Mode(record.get("mode"))
    return replace(spec, **given)


def _variant(name: str, record: Record) -> VariantSpec:
    return VariantSpec(name, record.get("weight").share, record.get("flow", name))


def _goal(record: Record) -> Goal:
    expect: Amount | None = record.get("expect")
    if expect is None:
        return Goal(record.get("kpi"))
    return Goal(record.get("kpi"), expect.share, expect.absolute)


def _step(record: Record) -> RampStep:
    return RampStep(
        traffic=record.get("traffic").share,
        hold=record.get("hold", timedelta(0)),
        min_units=record.get("min_units", 0),
        approval=record.get("approval", False),
        advance=Advance(record.get("advance", Advance.UNHARMED)),
    )
