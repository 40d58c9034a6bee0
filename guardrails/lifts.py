"""How far a treatment is from control: in percent where that has a meaning, else in the KPI's unit.

A percentage of nothing, or of a negative quantity, has no meaning: from -14.10 to -16.05 is not
"13.8% higher". Everything that shows a lift takes it from here.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Lift:
    """A treatment against control; exactly one of the two is known, none where a value is not.

    Attributes:
        effect: Relative to control, -0.05 is 5% lower; ``None`` where control is not positive.
        difference: Treatment minus control in the KPI's own unit, ``None`` where there is an
            ``effect``.
    """

    effect: float | None
    difference: float | None


def has_percent(control: float) -> bool:
    """Return whether a percentage of control's value has a meaning: it is finite and above 0."""
    return 0.0 < control < math.inf


def lift_of(control: float | None, treatment: float | None) -> Lift:
    """Return how far a treatment's value is from control's; nothing where either is unknown."""
    if control is None or treatment is None:
        return Lift(None, None)
    if not (math.isfinite(control) and math.isfinite(treatment)):
        return Lift(None, None)
    if has_percent(control):
        return Lift(treatment / control - 1.0, None)
    return Lift(None, treatment - control)
