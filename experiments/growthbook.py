"""Experiments as a GrowthBook payload, so that its SDKs agree with us. Pure.

The SDKs decide by the attribute named like the unit; the OpenFeature ``targetingKey`` means
nothing to them. Number ids beyond 2 to the 53rd are rounded by JavaScript but not by every
SDK, so an override of such an id may be missed there.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from experiments.assignment import CompiledExperiment, Serving
from experiments.audience import growthbook_condition
from experiments.hashing import BUCKETS, HOLDOUT_SEED, bucket_ranges, unit_id
from experiments.layers import layer_seed
from experiments.spec import CONTROL, ExperimentSpec

HELD_OUT: Final = "holdoutcontrol"
"""Value of a holdout's feature for the units it keeps out: GrowthBook's own word."""
_TAKES_PART: Final = "genpop"
_NO_OVERRIDE: Final = "no override"
"""No arm has a name with a space in it."""


def growthbook_payload(experiments: Iterable[CompiledExperiment]) -> dict[str, Any]:
    """Return ``{"features": {...}}`` of experiments and of what their rules refer to.

    Beside a feature per experiment there is one per holdout (unit type and share) and one per
    experiment with overrides to a flow of null, whose value is the arm. Names of the latter two
    begin with ``$``, as no experiment's key does.
    """
    features: dict[str, Any] = {}
    for compiled in experiments:
        spec, serving = compiled.spec, compiled.serving
        features[spec.key] = growthbook_feature(spec, serving)
        if (serving.state == "running" or serving.winner) and serving.holdout > 0:
            features[_holdout_name(spec, serving)] = _holdout_feature(spec, serving)
        nulls = [
            {"condition": _ids_condition(spec.unit, ids), "force": name}
            for name, (value, ids) in _overrides(spec, serving).items()
            if value is None
        ]
        if nulls:
            features[_null_name(spec)] = {"defaultValue": _NO_OVERRIDE, "rules": nulls}
    return {"features": features}


def growthbook_feature(spec: ExperimentSpec, serving: Serving) -> dict[str, Any]:
    """Return ``{"defaultValue", "rules"}`` of an experiment.

    Overrides are ``force`` rules ahead of everything. The units of a treatment that was rolled
    back get control's value by a ``force`` ahead of the experiment, in which the arm's bucket
    range is empty, so that they are no exposures of any arm. A layer is a filter, the holdout a
    prerequisite: without its feature (see ``growthbook_payload``) nobody takes part.
    """
    rules = _override_rules(spec, serving)
    if serving.state == "running":
        rules += [*_turned_back_rules(spec, serving), _experiment_rule(spec, serving)]
    if serving.winner is not None:
        rules.append(_shipped_rule(spec, serving, serving.winner))
    return {"defaultValue": spec.variant(CONTROL).flow, "rules": rules}


def _experiment_rule(spec: ExperimentSpec, serving: Serving) -> dict[str, Any]:
    weights = [variant.weight for variant in spec.variants]
    ranges = [
        [start, start if variant.name in _turned_back(serving) else end]
        for variant, (start, end) in zip(
            spec.variants, bucket_ranges(weights, serving.traffic), strict=True
        )
    ]
    rule = {
        "id": "experiment",
        **_audience(spec),
        "key": spec.key,
        "seed": spec.hash_seed,
        "hashAttribute": spec.unit,
        "hashVersion": 2,
        "variations": [variant.flow for variant in spec.variants],
        "weights": weights,
        "coverage": serving.traffic,
        "ranges": ranges,
        "meta": [{"key": variant.name, "name": variant.name} for variant in spec.variants],
        "name": spec.title,
        # a unit's old arm must not outlive a rollback in a sticky bucket: none is looked up,
        # and an SDK that looks all the same finds those of before blocked
        "disableStickyBucketing": True,
        "bucketVersion": len(_turned_back(serving)),
        "minBucketVersion": len(_turned_back(serving)),
    }
    if spec.layer is not None:
        owned = [[start / BUCKETS, stop / BUCKETS] for start, stop in serving.layer]
        rule["filters"] = [_filter(layer_seed(spec.layer.name), spec.unit, owned)]
    return rule | _not_held_out(spec, serving)


def _not_held_out(spec: ExperimentSpec, serving: Serving) -> dict[str, Any]:
    if serving.holdout <= 0:
        return {}
    # said of those who take part: a `force` of null would be skipped by some SDKs
    parent = {"id": _holdout_name(spec, serving), "condition": {"value": _TAKES_PART}}
    return {"parentConditions": [parent]}


def _shipped_rule(spec: ExperimentSpec, serving: Serving, winner: str) -> dict[str, Any]:
    """Serve the winner to the audience: whoever has an id, as a coverage of 1 asks for one."""
    return {
        "id": f"shipped:{winner}",
        **_audience(spec),
        "force": spec.variant(winner).flow,
        "coverage": 1,
        "hashAttribute": spec.unit,
        "hashVersion": 2,
        "seed": spec.hash_seed,
        **_not_held_out(spec, serving),
    }


def _turned_back_rules(spec: ExperimentSpec, serving: Serving) -> list[dict[str, Any]]:
    control = spec.variant(CONTROL).flow
    if control is None:
        return []  # the empty range alone: SDKs skip a `force` of null, the default is the same
    weights = [variant.weight for variant in spec.variants]
    return [
        {
            "id": f"rolled_back:{variant.name}",
            **_audience(spec),
            "force": control,
            "filters": [_filter(spec.hash_seed, spec.unit, [list(interval)])],
        }
        for variant, interval in zip(
            spec.variants, bucket_ranges(weights, serving.traffic), strict=True
        )
        if variant.name in _turned_back(serving)
    ]


def _override_rules(spec: ExperimentSpec, serving: Serving) -> list[dict[str, Any]]:
    overrides = _overrides(spec, serving)
    rules: list[dict[str, Any]] = []
    if any(value is None for value, _ in overrides.values()):
        # a prerequisite that fails as a gate is the one way to serve null by rule
        gate = {"id": _null_name(spec), "condition": {"value": _NO_OVERRIDE}, "gate": True}
        rules.append({"parentConditions": [gate], "force": False, "coverage": 0})
    return rules + [
        {"id": f"override:{name}", "condition": _ids_condition(spec.unit, ids), "force": value}
        for name, (value, ids) in overrides.items()
        if value is not None
    ]


def _overrides(spec: ExperimentSpec, serving: Serving) -> dict[str, tuple[Any, list[str]]]:
    """Return value and ids of each variant that is served to ids by hand."""
    if serving.state not in {"draft", "running"}:
        return {}
    found: dict[str, tuple[Any, list[str]]] = {}
    for unit, name in spec.force.items():
        served = CONTROL if name in _turned_back(serving) else name
        found.setdefault(served, (spec.variant(served).flow, []))[1].append(unit)
    return found


def _ids_condition(unit: str, ids: Sequence[str]) -> dict[str, Any]:
    """Return the test whether a unit's id is one of ``ids``, sent as text or as a number.

    The type is asked for because a list attribute satisfies ``$in`` by any of its items.
    """
    numbers = [number for text in ids if (number := _number(text)) is not None]
    as_text = {unit: {"$type": "string", "$in": list(ids)}}
    if not numbers:
        return as_text
    return {"$or": [as_text, {unit: {"$type": "number", "$in": numbers}}]}


def _number(text: str) -> int | float | None:
    """Return the number that is written as ``text`` in JavaScript, ``None`` when there is none."""
    try:
        number = float(text)
    except ValueError:
        return None
    if unit_id(number) != text:
        return None
    return int(number) if number.is_integer() else number


def _turned_back(serving: Serving) -> frozenset[str]:
    return serving.rolled_back - {CONTROL}


def _audience(spec: ExperimentSpec) -> dict[str, Any]:
    condition = growthbook_condition(spec.audience)
    return {"condition": condition} if condition else {}


def _filter(seed: str, unit: str, ranges: Sequence[Sequence[float]]) -> dict[str, Any]:
    return {"seed": seed, "ranges": list(ranges), "hashVersion": 2, "attribute": unit}


def _null_name(spec: ExperimentSpec) -> str:
    return f"$null:{spec.key}"


def _holdout_name(spec: ExperimentSpec, serving: Serving) -> str:
    return f"$holdout:{spec.unit}:{serving.holdout}"


def _holdout_feature(spec: ExperimentSpec, serving: Serving) -> dict[str, Any]:
    first = _filter(HOLDOUT_SEED, spec.unit, [[0, serving.holdout]])
    return {"defaultValue": _TAKES_PART, "rules": [{"force": HELD_OUT, "filters": [first]}]}
