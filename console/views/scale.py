"""An effect and its interval drawn to scale against the margin: positions in percent. Pure."""

import math
from dataclasses import dataclass

from guardrails.outcome import WindowFinding
from guardrails.views import GuardrailView

_ROOM = 1.25
"""How much wider than what it shows the picture is."""

_SMALLEST = 0.005


@dataclass(frozen=True, slots=True)
class Scale:
    """Where things stand between the left end (0) and the right end (100).

    Attributes:
        zero: No effect.
        effect: The estimate.
        low: Lower end of the interval, cut at the picture's edge.
        high: Upper end.
        margin: What is tolerated.
        proof: The part of the margin that harm must exceed with proof.
        harm_left: Whether harm is to the left of the margin.
    """

    zero: float
    effect: float
    low: float
    high: float
    margin: float
    proof: float
    harm_left: bool


def scale_of(window: WindowFinding, margin: float | None, view: GuardrailView) -> Scale | None:
    """Return the picture of an effect, ``None`` where there is no effect or no margin.

    Args:
        window: With effect and interval.
        margin: Largest tolerated effect, signed in the direction of harm.
        view: The guardrail: which part of the margin is to be proven.
    """
    if not margin or not math.isfinite(window.effect):
        return None
    ends = [e for e in (window.effect_low, window.effect_high) if math.isfinite(e)]
    most = 3 * max(abs(margin), abs(window.effect))  # far ends are cut: they say nothing
    reach = _ROOM * max(
        _SMALLEST, abs(margin), abs(window.effect), *(min(abs(e), most) for e in ends)
    )

    def place(value: float) -> float:
        share = 0.5 + value / (2 * reach) if math.isfinite(value) else float(value > 0)
        return round(100 * min(1.0, max(0.0, share)), 2)

    return Scale(
        zero=50.0,
        effect=place(window.effect),
        low=place(window.effect_low),
        high=place(window.effect_high),
        margin=place(margin),
        proof=place(margin * (1.0 if view.prove_past is None else view.prove_past)),
        harm_left=margin < 0,
    )
