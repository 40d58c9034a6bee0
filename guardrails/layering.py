"""Room in a layer: experiments of one layer never share a unit, whatever is applied when."""

from collections.abc import Callable, Sequence

from sqlmodel import Session

from experiments.errors import LayerConflictError
from experiments.layers import BUCKETS, Interval, LayerFullError, allocate, width
from experiments.lifecycle import OVER
from experiments.repository import ExperimentRecord, layer_members
from experiments.spec import ExperimentSpec
from guardrails.words import percent


def own_buckets(record: ExperimentRecord) -> tuple[Interval, ...]:
    """Return the buckets an experiment was given."""
    return tuple((start, stop) for start, stop in record.layer_buckets)


def reserve(
    session: Session,
    spec: ExperimentSpec,
    *,
    own: Sequence[Interval] = (),
    unit_of: Callable[[ExperimentRecord], str],
) -> tuple[Interval, ...]:
    """Return the buckets of its layer that an experiment gets; nothing without a layer.

    What other experiments of the layer own stays theirs until they are finished or stopped.
    The caller stores the answer in the same transaction.

    Args:
        session: The transaction.
        spec: The experiment that asks.
        own: Buckets it keeps.
        unit_of: Returns the unit type of another experiment.

    Raises:
        LayerConflictError: There is no room, or the layer deals units of another type.
    """
    if spec.layer is None:
        return ()
    members = layer_members(
        session, spec.layer.name, besides=spec.key, over=[state.value for state in OVER]
    )
    for member in members:
        unit = unit_of(member)
        if unit != spec.unit:
            raise LayerConflictError(
                f"{spec.key} deals {spec.unit}, but {member.key} of the layer {spec.layer.name} "
                f"deals {unit}",
                hint=f"use `unit: {unit}`, or another layer: experiments of one layer share their "
                "unit",
                path="unit",
            )
    taken = [interval for member in members for interval in own_buckets(member)]
    try:
        return allocate(spec.layer.share, taken=taken, own=own)
    except LayerFullError as error:
        raise _full(spec.layer.name, spec.layer.share, members, error, width(own)) from error


def _full(
    name: str,
    share: float,
    members: Sequence[ExperimentRecord],
    error: LayerFullError,
    own: int,
) -> LayerConflictError:
    held = ", ".join(f"{m.key} has {_share(width(own_buckets(m)))} ({m.state})" for m in members)
    most = error.free + own
    fit = f"ask for at most {_share(most)}, " if most else ""
    return LayerConflictError(
        f"{percent(share, digits=2)} of the layer {name} is asked for, {_share(most)} is free: "
        f"{held}",
        hint=f"{fit}wait until one of them is finished, stop one, or use another layer",
        path="layer.share",
    )


def _share(buckets: int) -> str:
    return percent(buckets / BUCKETS, digits=2)
