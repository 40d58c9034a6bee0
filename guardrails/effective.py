"""Whether clients follow a rollback, told from exposures before and after it. Pure."""

RELATIVE_EXPOSURE_AFTER_ROLLBACK = 0.01
"""A rollback is effective when the arm's exposures are below this share of their rate before."""

LEAST_DUE = 5.0
"""Exposures that must have been due at the old rate before their absence means anything."""

LEAST_STRAYS = 2
"""Exposures after the grace period that are too many at once, whatever was due."""


def verify_rollback(
    *, before: int, hours_before: float, after: int, others_after: int, hours_after: float
) -> tuple[float | None, float | None, bool | None]:
    """Return (rate before, rate after, effective) of a rolled back arm's exposures per hour.

    ``effective`` is ``None`` while it cannot be told: nobody at all was exposed since the grace
    period (silence of every arm proves nothing), or fewer than five exposures of the arm were
    due at its old rate.

    Args:
        before: Exposures of the arm before the rollback.
        hours_before: Length of that span.
        after: Exposures of the arm after the grace period.
        others_after: Exposures of all other arms in that span.
        hours_after: Length of the span after the grace period.
    """
    rate_before = before / hours_before if hours_before > 0 else None
    if hours_after <= 0 or after + others_after == 0:
        return rate_before, None, None
    rate_after = after / hours_after
    if not rate_before:
        return rate_before, rate_after, after == 0
    ceiling = RELATIVE_EXPOSURE_AFTER_ROLLBACK * rate_before
    if after and rate_after > ceiling and after >= LEAST_STRAYS:
        return rate_before, rate_after, False
    if rate_before * hours_after < LEAST_DUE:
        return rate_before, rate_after, None
    return rate_before, rate_after, rate_after <= ceiling
