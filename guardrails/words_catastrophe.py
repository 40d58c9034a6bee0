"""The rule ``catastrophe`` in words: units that are harmed, one by one. Pure."""

from guardrails.levels import CatastropheComparison
from guardrails.outcome import WindowFinding
from guardrails.plain_words import amount, duration, odds, percent
from metrics.wording import gettext as _


def catastrophe_promise(comparison: CatastropheComparison, title: str) -> str:
    """Return what a guardrail promises, in one sentence without its full stop."""
    return _(
        "{harm} may not be more than {times} times {control}'s, counted unit by unit from the "
        "first on",
        harm=harm_words(title, comparison.side),
        times=amount(comparison.max_times),
        control=comparison.control,
    )


def harm_words(title: str, side: str) -> str:
    """Return what is counted: units with the KPI's event, or those without it."""
    return title if side == "rise" else _("The share of units missing from {title}", title=title)


def catastrophe_breach(
    treatment: str, window: WindowFinding, comparison: CatastropheComparison, title: str
) -> str:
    """Return why a guardrail is breached: who is harmed, the evidence and the budget."""
    treated, beside = counted(window, comparison.side)
    return _(
        "{counts} (window of {window} closed). Dealt at random, {due} of these {units} would be "
        "{treatment}'s if it did no harm. The file tolerates {times} times {control}'s rate; more "
        "is proven (evidence {odds} to 1, needed {needed} to 1), at a level of {level} for this "
        "comparison.",
        counts=_counts(window, comparison, title, treatment),
        window=duration(window.window),
        due=percent(comparison.part),
        units=f"{treated + beside:,}",
        treatment=treatment,
        times=amount(comparison.max_times),
        control=comparison.control,
        odds=odds(window.e_value),
        needed=f"{1 / window.level:,.0f}",
        level=percent(window.level, digits=3),
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
    return _(
        "{what}: {harmed} of {treated} units of {treatment}, {beside} of {units} of {control}",
        what=title if comparison.side == "rise" else _("{title}, missed", title=title),
        harmed=f"{treated:,}",
        treated=f"{window.units[1]:,}",
        treatment=treatment,
        beside=f"{beside:,}",
        units=f"{window.units[0]:,}",
        control=comparison.control,
    )
