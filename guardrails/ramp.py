"""Where a ramp stands after its file was applied again. Pure.

What was served decides, not the index of the step: traffic never falls within one seed, since
that would take the arm away from units that met it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from experiments.spec import Advance, RampStep
from guardrails.words import duration, percent

_SAME = 1e-9


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a ramp.

    Attributes:
        step: Index of the step.
        anew: Whether the step begins anew: its hold and its units are counted from now.
        approved: Index of the step that a person allowed to be left, -1 for none.
    """

    step: int
    anew: bool
    approved: int


def position(
    old: Sequence[RampStep], new: Sequence[RampStep], *, step: int, approved: int
) -> Position | str:
    """Return where a running experiment stands in a changed ramp, or why it cannot stand there.

    The step with the traffic that is served goes on, and what it asks for before the next may
    grow, never shrink. Without one, only the last step may grow: to raise any other would be an
    advance without its hold, units, evidence and approval.

    Args:
        old: Ramp so far.
        new: Ramp of the file that is applied.
        step: Index of the current step of ``old``.
        approved: Index of the step of ``old`` that a person allowed to be left, -1 for none.
    """
    at = min(step, len(old) - 1)
    served = old[at].traffic
    for index, candidate in enumerate(new):
        if abs(candidate.traffic - served) <= _SAME:
            kept = approved == at and _leads_to(new, index) == _leads_to(old, at)
            follows = _leads_to(old, at) is not None and _leads_to(new, index) is not None
            if follows and (gone := _dropped(old[at], candidate, approved=kept)):
                return f"the step with {_share(served)}, which is served, {' and '.join(gone)}"
            return Position(index, anew=False, approved=index if kept else -1)
    index = next((i for i, s in enumerate(new) if s.traffic > served), None)
    if index is None:
        return f"the ramp ends at {_share(new[-1].traffic)}, but {_share(served)} is served"
    if _leads_to(old, at) is not None:
        return (
            f"the ramp has no step with {_share(served)}, which is served: raising it to "
            f"{_share(new[index].traffic)} would be an advance without what the step asks for"
        )
    return Position(index, anew=True, approved=-1)


def _dropped(old: RampStep, new: RampStep, *, approved: bool) -> list[str]:
    """Return what a step no longer asks for before the next one, in words."""
    words: list[str] = []
    if old.approval and not new.approval and not approved:
        words.append("no longer waits for the approval that nobody has given")
    if new.hold < old.hold:
        words.append(f"is held for {duration(new.hold)} instead of {duration(old.hold)}")
    if new.min_units < old.min_units:
        words.append(f"waits for {new.min_units:,} units instead of {old.min_units:,}")
    if old.advance is Advance.PROVEN and new.advance is not Advance.PROVEN:
        words.append("no longer waits for proof")
    return words


def _leads_to(ramp: Sequence[RampStep], step: int) -> float | None:
    """Return the traffic of the step that follows, ``None`` after the last."""
    return ramp[step + 1].traffic if step + 1 < len(ramp) else None


def _share(traffic: float) -> str:
    return percent(traffic, digits=2)
