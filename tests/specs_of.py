"""Experiments made for tests, by their weights."""

from datetime import timedelta

from experiments.spec import Ends, ExperimentSpec, RampStep, VariantSpec


def spec_of(weights, *, key="checkout", unit="order_id", **more):
    """Return a spec with the arms ``control``, ``arm1``, ``arm2`` and so on."""
    names = ["control", *(f"arm{i}" for i in range(1, len(weights)))]
    return ExperimentSpec(
        key=key,
        title=key,
        owner="",
        hypothesis="",
        unit=unit,
        variants=tuple(VariantSpec(n, w, {"arm": n}) for n, w in zip(names, weights, strict=True)),
        ramp=(RampStep(),),
        goal=None,
        watch=(),
        ends=Ends(timedelta(days=7)),
        **more,
    )
