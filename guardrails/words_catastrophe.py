"""The rule ``catastrophe`` in words: units that are harmed, one by one. Pure."""

from guardrails.levels import CatastropheComparison
from guardrails.outcome import WindowFinding
from guardrails.plain_words import amount, duration, odds, percent


def catastrophe_promise(comparison: CatastropheComparison, title: str) -> str:
    """Return what a guardrail promises, in one sentence without its full stop."""
    times, control = amount(comparison.max_times), comparison.control
    return (
        f"{harm_words(title, comparison.side)} may not be more than {times} times {control}'s, "
        "counted unit by unit from the first on"
    )


def harm_words(title: str, side: str) -> str:
    """Return what is counted: units with the KPI's event, or those without it."""
    return title if side == "rise" else f"The share of units missing from {title}"


def catastrophe_breach(
    treatment: str, window: WindowFinding, comparison: CatastropheComparison, title: str
) -> str:
    """Return why a guardrail is breached: who is harmed, the evidence and the budget."""
    treated, beside = counted(window, comparison.side)
    due = percent(comparison.part)
    return (
        f"{_counts(window, comparison, title, treatment)} (window of {duration(window.window)} "
        f"closed). Dealt at random, {due} of these {treated + beside:,} would be {treatment}'s if "
        f"it did no harm. The file tolerates {amount(comparison.max_times)} times "
        f"{comparison.control}'s rate; more is proven (evidence {odds(window.e_value)} to 1, "
        f"needed {1 / window.level:,.0f} to 1), at a level of "
        f"{percent(window.level, digits=3)} for this comparison."
    )


def catastrophe_words(
    window: WindowFinding, comparison: CatastropheComparison, title: str, text: str
) -> str:
    """Return what was counted, and what that means."""
    if min(window.units) == 0:
        return text
    return f"{_counts(window, comparison, title, comparison.treatment)}; {text}"


def counted(window: WindowFinding, side: str) -> tuple[int, int]:
    """Return the units harmed of treatment and of control."""

    def harmed(units: int, value: float) -> int:
        events = round(units * value) if units else 0
        return events if side == "rise" else units - events

    return (
        harmed(window.units[1], window.treatment_value),
        harmed(window.units[0], window.control_value),
    )


def _counts(
    window: WindowFinding, comparison: CatastropheComparison, title: str, treatment: str
) -> str:
    treated, beside = counted(window, comparison.side)
    what = title if comparison.side == "rise" else f"{title}, missed"
    return (
        f"{what}: {treated:,} of {window.units[1]:,} units of {treatment}, {beside:,} of "
        f"{window.units[0]:,} of {comparison.control}"
    )
