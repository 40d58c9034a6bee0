"""Layers: experiments that never share a unit take disjoint buckets of one hash. Pure.

A layer deals every unit a bucket, 0 to 9,999, with its own seed. Each experiment of the layer
owns some of them from the moment its file is applied until it is finished or stopped, whatever
is applied later.
"""

from collections.abc import Iterable, Sequence

from experiments.hashing import BUCKETS

Interval = tuple[int, int]
"""Buckets ``start <= bucket < stop`` of a layer."""


class LayerFullError(ValueError):
    """There are fewer free buckets than asked for.

    Attributes:
        free: Buckets that nobody owns.
        wanted: Buckets that were asked for beyond those owned already.
    """

    def __init__(self, *, free: int, wanted: int) -> None:
        self.free, self.wanted = free, wanted
        super().__init__(f"{wanted} buckets wanted, {free} are free")


def layer_seed(name: str) -> str:
    """Return the hash seed of a layer."""
    return f"layer:{name}"


def buckets_of(share: float) -> int:
    """Return how many buckets a share (0-1) of a layer is, at least 1."""
    return max(1, round(share * BUCKETS))


def width(intervals: Iterable[Interval]) -> int:
    """Return the number of buckets in disjoint intervals."""
    return sum(stop - start for start, stop in intervals)


def allocate(
    share: float, *, taken: Iterable[Interval], own: Sequence[Interval] = ()
) -> tuple[Interval, ...]:
    """Return the buckets of an experiment: those it owns, and the lowest free ones it lacks.

    What it owns stays, so growing moves no unit. Touching intervals are joined; ascending.

    Args:
        share: Share of the layer wanted, above 0 and at most 1.
        taken: Buckets of the other experiments of the layer.
        own: Buckets it owns already; they must not be more than ``share``.

    Raises:
        LayerFullError: Too few are free.
    """
    wanted = buckets_of(share) - width(own)
    free = _free(sorted([*taken, *own]))
    if width(free) < wanted:
        raise LayerFullError(free=width(free), wanted=wanted)
    chosen = list(own)
    for start, stop in free:
        if wanted <= 0:
            break
        step = min(wanted, stop - start)
        chosen.append((start, start + step))
        wanted -= step
    return _joined(chosen)


def _free(used: Sequence[Interval]) -> list[Interval]:
    gaps: list[Interval] = []
    at = 0
    for start, stop in used:
        if start > at:
            gaps.append((at, start))
        at = max(at, stop)
    if at < BUCKETS:
        gaps.append((at, BUCKETS))
    return gaps


def _joined(intervals: Iterable[Interval]) -> tuple[Interval, ...]:
    joined: list[Interval] = []
    for start, stop in sorted(intervals):
        if joined and joined[-1][1] == start:
            joined[-1] = (joined[-1][0], stop)
        else:
            joined.append((start, stop))
    return tuple(joined)
