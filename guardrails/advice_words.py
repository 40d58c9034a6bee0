"""Advice in words a product manager forwards. Pure text from numbers, nothing invented."""

import math
from datetime import timedelta

from guardrails.advice_reading import MetricRead
from guardrails.loaded import Loaded
from guardrails.plain_words import difference_words, duration, percent
from metrics.stats.ship import Role, ShipAdvice
from metrics.wording import gettext as _
from metrics.wording import ngettext


def metric_words(loaded: Loaded, read: MetricRead, found: ShipAdvice) -> str:
    """Return what one metric says: its effect, over which window, and what that proves."""
    title, window = loaded.title(read.kpi), duration(read.window)
    if not (math.isfinite(read.effect) or math.isfinite(read.difference)):
        return _("{title} over {window}: too few units to say anything", title=title, window=window)
    control, treatment = read.units
    known = math.isfinite(read.effect)
    effect = _signed(read.effect) if known else difference_words(read.difference)
    if math.isfinite(read.low) and math.isfinite(read.high):
        low, high = _signed(read.low), _signed(read.high)
        effect = _("{effect} (between {low} and {high})", effect=effect, low=low, high=high)
    return _(
        "{title} over {window}: {effect}, {units} and {treated} units: {proven}",
        title=title,
        window=window,
        effect=effect,
        units=f"{control:,}",
        treated=f"{treatment:,}",
        proven=_proven(read, found),
    )


def _proven(read: MetricRead, found: ShipAdvice) -> str:
    if read.name in found.harmed:
        return _("proven worse")
    if read.role is Role.SUCCESS:
        better = read.name in found.better
        return _("the goal is proven better") if better else _("not proven better")
    if read.role is Role.GUARDRAIL:
        if read.name in found.unproven:
            return _("not proven to be within its margin")
        return _("within its margin, proven")
    return _("not proven worse")


def _signed(effect: float) -> str:
    if abs(effect) < 0.0005:  # noqa: PLR2004 - rounds to 0.0%
        return _("unchanged")
    if effect < 0:
        return _("{size} lower", size=percent(abs(effect)))
    return _("{size} higher", size=percent(abs(effect)))


def shipping_words(treatment: str, weeks: int) -> str:
    """Return that a treatment may be shipped."""
    return _(
        "Ship {treatment}: over {over} at full traffic its goal is better, every guardrail is "
        "within its margin and nothing is worse.",
        treatment=treatment,
        over=ngettext("a whole week", "{n} whole weeks", weeks),
    )


def extension_words(treatment: str, weeks: int | None) -> str:
    """Return what an extension would take."""
    if weeks is None:
        return _(
            "Keep control for now, or extend {treatment}: there are too few units to say how long "
            "it would take; raise `seed` in the file to run it again with fresh units.",
            treatment=treatment,
        )
    return _(
        "Keep control for now, or extend {treatment}: if its effects are as measured, {weeks} "
        "whole weeks at full traffic would prove what is missing, with probability 80%; raise "
        "`seed` in the file to run it again with fresh units.",
        treatment=treatment,
        weeks=weeks,
    )


def too_short_words(full_for: timedelta) -> str:
    """Return that a run has no whole week at full traffic."""
    had = duration(full_for) if full_for >= timedelta(seconds=1) else _("no time")
    return _(
        "advice needs a whole week at full traffic, since weekdays differ; it had {length}; let it "
        "run longer (`ends`)",
        length=had,
    )
