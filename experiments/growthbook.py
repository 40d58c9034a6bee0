"""An experiment as a feature of a GrowthBook payload, so that its SDKs agree with us. Pure."""

from typing import Any

from experiments.assignment import Serving, bucket_ranges
from experiments.audience import growthbook_condition
from experiments.spec import CONTROL, ExperimentSpec


def growthbook_feature(spec: ExperimentSpec, serving: Serving) -> dict[str, Any]:
    """Return ``{"defaultValue", "rules"}`` of an experiment.

    A treatment that was rolled back becomes a ``force`` of control's value for its own bucket
    range, ahead of the experiment, so that its units are no exposures of any arm.
    """
    control = spec.variant(CONTROL).flow
    if serving.state != "running":
        return {"defaultValue": control, "rules": []}
    weights = [variant.weight for variant in spec.variants]
    condition = growthbook_condition(spec.audience)
    common: dict[str, Any] = {"condition": condition} if condition else {}
    rules: list[dict[str, Any]] = []
    for variant, interval in zip(
        spec.variants, bucket_ranges(weights, serving.traffic), strict=True
    ):
        if variant.name in serving.rolled_back and variant.name != CONTROL:
            bucket_filter = {
                "seed": spec.hash_seed,
                "ranges": [list(interval)],
                "hashVersion": 2,
                "attribute": spec.unit,
            }
            rules.append({**common, "force": control, "filters": [bucket_filter]})
    rules.append(
        {
            **common,
            "key": spec.key,
            "seed": spec.hash_seed,
            "hashAttribute": spec.unit,
            "hashVersion": 2,
            "variations": [variant.flow for variant in spec.variants],
            "weights": weights,
            "coverage": serving.traffic,
            "meta": [{"key": variant.name, "name": variant.name} for variant in spec.variants],
            "name": spec.title,
            # a unit's old arm must not outlive a rollback in a sticky bucket
            "bucketVersion": 0,
            "disableStickyBucketing": True,
        }
    )
    return {"defaultValue": control, "rules": rules}
