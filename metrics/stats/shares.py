"""Shares of counted trials."""

from scipy.special import betaincinv

_TAIL = 0.025


def share_interval(count: int, of: int) -> tuple[float, float]:
    """Return the exact 95% interval of a probability: at least 95% of such intervals cover it.

    Args:
        count: Trials in which it came true, 0 to ``of``.
        of: Independent trials, 1 or more.

    References:
        Clopper and Pearson (1934), doi:10.1093/biomet/26.4.404.
    """
    low = float(betaincinv(count, of - count + 1, _TAIL)) if count else 0.0
    high = float(betaincinv(count + 1, of - count, 1.0 - _TAIL)) if count < of else 1.0
    return low, high
