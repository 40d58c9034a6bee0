"""Advice in words a product manager forwards. Pure text from numbers, nothing invented."""

import math
from datetime import timedelta

from guardrails.advice_reading import MetricRead
from guardrails.loaded import Loaded
from guardrails.plain_words import duration, percent
from metrics.stats.ship import Role, ShipAdvice


def metric_words(loaded: Loaded, read: MetricRead, found: ShipAdvice) -> str:
    """Return what one metric says: its effect, over which window, and what that proves."""
    title, window = loaded.title(read.kpi), duration(read.window)
    if not math.isfinite(read.effect):
        return f"{title} over {window}: too few units to say anything"
    control, treatment = read.units
    effect = f"{_signed(read.effect)}"
    if math.isfinite(read.low) and math.isfinite(read.high):
        effect += f" (between {_signed(read.low)} and {_signed(read.high)})"
    said = f"{title} over {window}: {effect}, {control:,} and {treatment:,} units: "
    return said + _proven(read, found)


def _proven(read: MetricRead, found: ShipAdvice) -> str:
    if read.name in found.harmed:
        return "proven worse"
    if read.role is Role.SUCCESS:
        return "the goal is proven better" if read.name in found.better else "not proven better"
    if read.role is Role.GUARDRAIL:
        unproven = read.name in found.unproven
        return "not proven to be within its margin" if unproven else "within its margin, proven"
    return "not proven worse"


def _signed(effect: float) -> str:
    if abs(effect) < 0.0005:  # noqa: PLR2004 - rounds to 0.0%
        return "unchanged"
    return f"{percent(abs(effect))} {'lower' if effect < 0 else 'higher'}"


def shipping_words(treatment: str, weeks: int) -> str:
    """Return that a treatment may be shipped."""
    over = "a whole week" if weeks == 1 else f"{weeks} whole weeks"
    return (
        f"Ship {treatment}: over {over} at full traffic its goal is better, every guardrail is "
        "within its margin and nothing is worse."
    )


def extension_words(treatment: str, weeks: int | None) -> str:
    """Return what an extension would take."""
    how = "raise `seed` in the file to run it again with fresh units"
    if weeks is None:
        return (
            f"Keep control for now, or extend {treatment}: there are too few units to say how "
            f"long it would take; {how}."
        )
    return (
        f"Keep control for now, or extend {treatment}: if its effects are as measured, {weeks} "
        f"whole weeks at full traffic would prove what is missing, with probability 80%; {how}."
    )


def too_short_words(full_for: timedelta) -> str:
    """Return that a run has no whole week at full traffic."""
    had = duration(full_for) if full_for >= timedelta(seconds=1) else "no time"
    return (
        f"advice needs a whole week at full traffic, since weekdays differ; it had {had}; "
        "let it run longer (`ends`)"
    )
