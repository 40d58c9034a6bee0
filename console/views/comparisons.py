"""Which numbers stand beside a KPI: values, lift, interval and units of one and the same evidence.

The page of an experiment, its report and everything else that puts a treatment beside control
take them from here, so that no two of them differ. Pure.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from console.views import words
from console.views.lines import is_proof
from guardrails.lifts import lift_of
from guardrails.outcome import Outcome, WindowFinding
from guardrails.views import ExperimentView, GuardrailView, KpiView
from metrics.wording import gettext as _

Key = tuple[str, timedelta, str]
"""KPI, window and treatment."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A KPI of one treatment beside control over one window.

    Where a guardrail judges it and has measured it, everything is of that guardrail's newest look:
    of a treatment that was turned back the look that decided. Else everything is of the totals at
    the newest check, with the interval for information.

    Attributes:
        values: Of control and the treatment, in the KPI's own unit.
        units: With a value, likewise.
        effect: Relative to control, ``None`` where control is not positive.
        difference: In the KPI's own unit instead, ``None`` where there is an ``effect``.
        ends: The interval of whichever of the two there is.
        guardrail: Whose look it is, with what it found; both ``None`` of totals.
        finding: See there.
        note: What a reader must know of the numbers, empty for nothing.
    """

    values: tuple[float, float]
    units: tuple[int, int]
    effect: float | None
    difference: float | None
    ends: tuple[float, float] | None
    better: str
    guardrail: GuardrailView | None
    finding: WindowFinding | None
    note: str

    @property
    def lift(self) -> float | None:
        """The effect, or the difference where there is no effect."""
        return self.difference if self.effect is None else self.effect

    def lift_words(self, unit: str) -> str:
        """Return ``5.1% lower``, or ``1.95 lower`` where a percentage has no meaning."""
        return words.lift(self.effect, self.difference, unit)

    def interval_words(self, unit: str) -> str:
        """Return the interval of the lift; empty where there is none."""
        if self.ends is None:
            return ""
        if self.effect is None:
            return words.difference_interval(*self.ends, unit)
        return words.interval(*self.ends)

    @property
    def tone(self) -> str:
        """The colour of the lift: what may be chance has none."""
        return tone_of_interval(*(self.ends or (None, None)), self.better)


def comparisons(view: ExperimentView) -> Mapping[Key, Comparison]:
    """Return every KPI, window and treatment of which both arms have a value."""
    control = next(v.name for v in view.variants if v.state == "control")
    found = {(k.kpi, k.window, k.variant): k for k in view.kpis}
    judged = _judged(view)
    told: dict[Key, Comparison] = {}
    for (kpi, window, variant), treated in found.items():
        base = found.get((kpi, window, control))
        if variant == control or base is None:
            continue
        looked = judged.get((kpi, window, variant))
        if looked is not None and math.isfinite(looked[1].effect):
            told[kpi, window, variant] = _of_look(view, *looked, treated.better)
        elif base.value is not None and treated.value is not None:
            told[kpi, window, variant] = _of_totals(base, treated, judged=looked is not None)
    return told


def tone_of_interval(low: float | None, high: float | None, better: str) -> str:
    """Return the colour of a difference: what may be chance has none."""
    if better == "either" or low is None or high is None or not (low > 0 or high < 0):
        return "quiet"
    return "worse" if (high < 0) == (better == "higher") else "better"


def _judged(view: ExperimentView) -> Mapping[Key, tuple[GuardrailView, WindowFinding]]:
    """Return who judges each KPI, window and treatment: the first of the file, a breach before."""
    found: dict[Key, tuple[GuardrailView, WindowFinding]] = {}
    for g in sorted(view.guardrails, key=lambda g: g.outcome is not Outcome.BREACH):
        if g.kpi is None or not is_proof(g):
            continue
        for window in g.windows:
            key = g.kpi, window.window, g.treatment
            measured = math.isfinite(window.effect)  # a limit that looks at it too measures none
            if key not in found or (measured and not math.isfinite(found[key][1].effect)):
                found[key] = (g, window)
    return found


def _of_look(
    view: ExperimentView, guardrail: GuardrailView, found: WindowFinding, better: str
) -> Comparison:
    ends = (found.effect_low, found.effect_high)
    plain = lift_of(found.control_value, found.treatment_value).effect
    return Comparison(
        values=(found.control_value, found.treatment_value),
        units=found.units,
        effect=found.effect,
        difference=None,
        ends=ends if words.interval(*ends) else None,
        better=better,
        guardrail=guardrail,
        finding=found,
        note=" ".join(filter(None, (_as_of(view, guardrail), _weighed(found.effect, plain)))),
    )


def _of_totals(base: KpiView, treated: KpiView, *, judged: bool) -> Comparison:
    low, high = treated.effect_low, treated.effect_high
    if treated.effect is None:
        low, high = treated.difference_low, treated.difference_high
    values = (base.value or 0.0, treated.value or 0.0)
    plain = lift_of(*values).effect
    return Comparison(
        values=values,
        units=(base.units, treated.units),
        effect=treated.effect,
        difference=treated.difference,
        # a guardrail that has no interval of its own yet is not lent another's
        ends=None
        if low is None or high is None or (judged and treated.effect is not None)
        else (low, high),
        better=treated.better,
        guardrail=None,
        finding=None,
        note=_weighed(treated.effect, plain),
    )


def _as_of(view: ExperimentView, guardrail: GuardrailView) -> str:
    """Return of which look the numbers are, where it is not the newest check."""
    if guardrail.checked_at is None or guardrail.checked_at == view.last_check_at:
        return ""
    at = words.instant(guardrail.checked_at)
    if guardrail.outcome is Outcome.BREACH:
        return _("As of {at}, when the guardrail decided.", at=at)
    return _("As of {at}, the guardrail's last look.", at=at)


def _weighed(effect: float | None, plain: float | None) -> str:
    """Return that the lift is not that of the two values beside it, where one can see it."""
    if effect is None or plain is None or words.effect(effect) == words.effect(plain):
        return ""
    return _(
        "Allocation phases weighed alike; the two values alone say {plain}.",
        plain=words.effect(plain),
    )
