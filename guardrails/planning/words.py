"""A plan's harms, changes and times in words. Pure."""

from datetime import timedelta
from typing import Final

from guardrails.planning.values import GuardrailPlan
from guardrails.rules import Catastrophe, Limit
from guardrails.words import amount, percent

OF_VALUES: Final = frozenset({Limit.rule, Catastrophe.rule})
"""Rules whose harms are values of the treatment, not changes against control."""


def span_words(length: timedelta) -> str:
    """Return a time since the start, rounded: ``45 min``, ``5 h``, ``2 d 5 h``."""
    minutes = round(length.total_seconds() / 60)
    if minutes < 60:  # noqa: PLR2004 - an hour
        return f"{minutes} min"
    hours = round(minutes / 60)
    if hours < 48:  # noqa: PLR2004 - two days
        return f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def harm_words(guardrail: GuardrailPlan, harm: float) -> str:
    """Return a harm as the file writes margins, with its sign: ``-3%``, ``+2pp``.

    Of a limit or a catastrophe it is the treatment's value: ``8%``, ``52``.
    """
    if guardrail.rule in OF_VALUES:
        return percent(harm) if guardrail.share else amount(harm)
    sign = "-" if guardrail.side == "drop" else "+"
    return sign + size_words(harm, absolute=guardrail.absolute)


def change_words(change: float, *, absolute: bool) -> str:
    """Return a change for the better or worse with its sign."""
    return ("-" if change < 0 else "+") + size_words(abs(change), absolute=absolute)


def size_words(size: float, *, absolute: bool) -> str:
    """Return a harm or a change without its sign: ``3%``, ``2pp``."""
    return percent(size).replace("%", "pp") if absolute else percent(size)
