"""GrowthBook's hash version 2: ids as its SDKs write them, buckets, and arms' intervals. Pure.

A unit's bucket is a number from 0 to 9,999, ``fnv1a32(decimal(fnv1a32(seed + id))) mod
10,000`` over UTF-16 code units.
"""

import math
from collections.abc import Sequence
from typing import Any, Final

from fnv_hash_fast import fnv1a_32

BUCKETS: Final = 10_000
HOLDOUT_SEED: Final = "holdout"
"""Hash seed of the global holdout: the first buckets of it take part in no experiment."""

FNV_OFFSET: Final = 0x811C9DC5
FNV_PRIME: Final = 0x01000193
_MASK: Final = 0xFFFFFFFF


def fnv1a32(text: str) -> int:
    """Return the 32-bit FNV-1a hash of a text's UTF-16 code units."""
    try:
        # up to U+00FF a code unit is one byte of Latin-1, so the C function applies
        return fnv1a_32(text.encode("latin-1"))
    except UnicodeEncodeError:
        state = FNV_OFFSET
        data = text.encode("utf-16-le", "surrogatepass")
        for low, high in zip(data[::2], data[1::2], strict=True):
            state = ((state ^ (low | high << 8)) * FNV_PRIME) & _MASK
        return state


def bucket_of(seed: str, value: str) -> int:
    """Return the bucket, 0 to 9,999, of an id: GrowthBook's hash version 2 times 10,000."""
    return fnv1a_32(b"%d" % fnv1a32(seed + value)) % BUCKETS


def unit_id(value: Any) -> str:
    """Return an id as JavaScript's ``String(x)`` writes it; empty when it is none.

    Text is taken as it is. Finite numbers other than 0 are ids (1.0 is ``1``); everything
    else (``None``, booleans, 0, nan, infinities, lists, mappings) is not.
    """
    if isinstance(value, str):
        # the text itself: str() of an enum member that is text would be its name
        return str.__str__(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return ""
    try:
        number = float(value)
    except OverflowError:
        return ""
    return _javascript_number(number) if number != 0 and math.isfinite(number) else ""


def _javascript_number(number: float) -> str:
    """ECMAScript's Number::toString for a finite number that is not 0 (ECMA-262, 6.1.6.1.20)."""
    sign = "-" if number < 0 else ""
    # repr has the shortest digits that read back to the same number, as JavaScript wants
    mantissa, _, exponent = repr(abs(number)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    fraction = "" if fraction == "0" else fraction
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0")
    count = len(digits)
    if count <= point <= 21:  # noqa: PLR2004 - the standard's bounds
        return sign + digits + "0" * (point - count)
    if 0 < point <= 21:  # noqa: PLR2004 - as above
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:  # noqa: PLR2004 - as above
        return f"{sign}0.{'0' * -point}{digits}"
    power = point - 1
    rest = f".{digits[1:]}" if count > 1 else ""
    return f"{sign}{digits[0]}{rest}e{'+' if power > 0 else '-'}{abs(power)}"


def bucket_ranges(weights: Sequence[float], traffic: float) -> tuple[tuple[float, float], ...]:
    """Return each arm's interval ``start <= bucket / 10,000 < end``.

    Arm i has ``[W, W + traffic * w_i)`` with W the sum of the weights before it, whatever the
    traffic: raising it never moves a unit to another arm. As in GrowthBook, traffic is
    clamped to 0-1, and weights that do not sum to 1 within 0.01 are taken as equal.
    """
    share = min(max(traffic, 0.0), 1.0)
    if not 0.99 <= sum(weights) <= 1.01:  # noqa: PLR2004 - GrowthBook's bounds
        weights = [1 / len(weights)] * len(weights)
    ranges: list[tuple[float, float]] = []
    below = 0.0
    for weight in weights:
        ranges.append((below, below + share * weight))
        below += weight
    return tuple(ranges)
