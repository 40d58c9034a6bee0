"""Findings in words a product manager forwards. Pure text from numbers, nothing invented."""

import math
from datetime import datetime, timedelta

from guardrails.levels import Comparison
from guardrails.outcome import Code, Finding, Outcome, WindowFinding


def duration(length: timedelta) -> str:
    """Return a length as people write it: ``90 s``, ``1 h``, ``14 d``."""
    seconds = int(length.total_seconds())
    for size, letter in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds // size} {letter}"
    return f"{seconds} s"


def instant(at: datetime) -> str:
    """Return an instant as ``2026-01-04 02:00 UTC``."""
    return at.strftime("%Y-%m-%d %H:%M UTC")


def percent(share: float, *, digits: int = 1) -> str:
    """Return a share as a percentage without needless zeros; ``unknown`` when undefined."""
    if not math.isfinite(share):
        return "unknown"
    text = f"{100 * share:.{digits}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) + "%"


def amount(value: float) -> str:
    """Return a KPI value with four significant digits; ``unknown`` when undefined."""
    return f"{value:,.4g}" if math.isfinite(value) else "unknown"


def margin_words(comparison: Comparison, *, part: float = 1.0) -> str:
    """Return a part of the margin: ``3%`` or ``5 percentage points``."""
    size = comparison.margin * part
    if comparison.absolute:
        return f"{100 * size:.4g} percentage points"
    return percent(size, digits=2)


def limit_words(comparison: Comparison, title: str) -> str:
    """Return what a guardrail promises, in one sentence without its full stop."""
    verb = "drop" if comparison.side == "drop" else "rise"
    if comparison.margin == 0:
        return f"{title} may not {verb} at all against {comparison.control}"
    return (
        f"{title} may not {verb} by more than {margin_words(comparison)} "
        f"against {comparison.control}"
    )


def effect_words(window: WindowFinding) -> str:
    """Return the measured effect: ``5.1% lower (between 2.9% and 7.3% lower)``."""
    if not math.isfinite(window.effect):
        return "not measured"
    text = _signed(window.effect)
    low, high = window.effect_low, window.effect_high
    if not (math.isfinite(low) and math.isfinite(high)):
        return text
    return f"{text} (between {_signed(low)} and {_signed(high)})"


def _signed(effect: float) -> str:
    if abs(effect) < 0.0005:  # noqa: PLR2004 - rounds to 0.0%
        return "unchanged"
    return f"{percent(abs(effect))} {'lower' if effect < 0 else 'higher'}"


def main_window(finding: Finding) -> WindowFinding | None:
    """Return the window that says most: the one with the strongest evidence."""
    return max(finding.windows, key=lambda w: w.evidence, default=None)


def breach_words(finding: Finding, comparison: Comparison, title: str) -> str:
    """Return why a guardrail is breached: effect, interval, units, look, budget."""
    window = main_window(finding)
    if window is None:
        return f"{title} breached its guardrail"
    proven = margin_words(comparison, part=comparison.prove_past)
    beyond = "any harm" if comparison.prove_past * comparison.margin == 0 else f"more than {proven}"
    whole = window.boundary > 0 and window.z >= window.boundary
    where = "" if whole else "among the units that came later, "
    span = "" if whole else " over the whole run"
    return (
        f"{title} of {finding.treatment} is {effect_words(window)} than "
        f"{comparison.control}{span} "
        f"({amount(window.control_value)} → {amount(window.treatment_value)}, "
        f"{window.units[0]:,} and {window.units[1]:,} units whose window of "
        f"{duration(window.window)} has closed). The file tolerates {margin_words(comparison)}; "
        f"{where}harm of {beyond} is proven at look {window.look} "
        f"({_proof(window)}), at a level of {percent(window.level, digits=3)} for this comparison."
    )


def _proof(window: WindowFinding) -> str:
    whole = window.z / window.boundary if window.boundary > 0 else math.nan
    if math.isfinite(whole) and whole >= 1:
        return f"z {window.z:.2f} against a boundary of {window.boundary:.2f}"
    if math.isfinite(window.e_value):
        return f"evidence {window.e_value:,.0f} to 1, needed {2 / window.level:,.0f} to 1"
    return f"evidence {window.evidence:.2f} of 1"


_CODE_WORDS = {
    Code.PROVEN_HARM: "harm is proven",
    Code.PROVEN_SAFE: "proven to be inside the margin",
    Code.WINDOW_OPEN: "no unit's window has closed yet",
    Code.TOO_FEW: "not enough units yet for a decision",
    Code.INSIDE_MARGIN: "the estimate is inside the margin, nothing is proven",
    Code.UNDECIDED: "the estimate is beyond the margin, nothing is proven yet",
    Code.CONTROL_NOT_POSITIVE: "control's value is not positive, so a relative margin says nothing",
    Code.NO_VALUES: "units arrive, but none of one arm has a value: is its source broken?",
    Code.EVENTS_STOPPED: "events no longer arrive: is their source broken?",
    Code.QUERY_FAILED: "the store could not be read",
}


def outcome_words(finding: Finding, comparison: Comparison, title: str) -> str:
    """Return what a check found, in one sentence."""
    if finding.outcome is Outcome.BREACH:
        return breach_words(finding, comparison, title)
    deciding = next((w for w in finding.windows if w.code is finding.code), None)
    passed = [w for w in finding.windows if w.outcome is Outcome.PASS]
    if deciding is None or (finding.outcome is not Outcome.PASS and not passed):
        text = _CODE_WORDS.get(finding.code, finding.code.value.replace("_", " "))
        return text if deciding is None else _measured(deciding, title, text)
    if finding.outcome is Outcome.PASS:
        return _measured(deciding, title, _CODE_WORDS[finding.code])
    over = " and ".join(duration(w.window) for w in passed)
    text = _CODE_WORDS.get(finding.code, finding.code.value.replace("_", " "))
    safe = _measured(passed[0], title, f"{_CODE_WORDS[Code.PROVEN_SAFE]} over {over}")
    return f"{safe}; over {duration(deciding.window)}: {text}"


def _measured(window: WindowFinding, title: str, text: str) -> str:
    if not math.isfinite(window.effect):
        return text
    return f"{title} is {effect_words(window)}; {text}"
