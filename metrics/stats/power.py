"""What a group-sequential monitor finds, and when: its law under any drift, from one recursion.

The density of a path that has not crossed yet depends on the drift only through where it ends:
under drift theta it is the density under none times ``exp(theta S - theta^2 I / 2)`` with score
``S = z sqrt I``. So boundaries are solved once, and the law of the stopping look under any
drift is one sum per look.

Source: STATISTICS 1(b), 1(i); Girsanov's theorem; Jennison & Turnbull (2000), ch. 19.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from metrics.stats.group_sequential import Progress, advance, look, spacing_for

Array = npt.NDArray[np.float64]

_DRIFT_REACH = 64.0  # of a drift sought, in standard deviations at the last look


def root(function: Callable[[float], float], low: float, high: float, *, xtol: float) -> float:
    """Return where a function changes sign between ``low`` and ``high`` (Brent, by scipy).

    Args:
        function: Continuous.
        low: One end.
        high: The other.
        xtol: How near to the root.

    Raises:
        ValueError: It has the same sign at both ends.
    """
    from scipy.optimize import brentq  # noqa: PLC0415 - a third of a second, only planning needs it

    found: Any = brentq(function, low, high, xtol=xtol)
    return float(found)


@dataclass(frozen=True, slots=True)
class Monitor:
    """One one-sided group-sequential test over a whole schedule of looks.

    Attributes:
        information: Of the looks, increasing; may be empty.
        boundary: z each look must reach, ``inf`` where nothing can be found.
        laws: Law of the paths that have not crossed after each look, under no drift.
    """

    information: Array
    boundary: Array
    laws: tuple[Progress, ...]

    def found_by(self, drift: float) -> Array:
        """Return the probability of having crossed by each look.

        The laws end at z = 8.5: where a boundary is above, a path beyond counts as having crossed
        (a little early; ``detection.detection`` is exact there too).

        Args:
            drift: theta; the statistic has mean ``theta sqrt(I)``. Negative is fine.
        """
        return np.array([self._crossed(law, drift) for law in self.laws])

    def power(self, drift: float) -> float:
        """Return the probability of crossing at any look, 0 without looks."""
        return self._crossed(self.laws[-1], drift) if self.laws else 0.0

    def drift_for(self, power: float) -> float:
        """Return the drift that is found by the last look with this probability.

        ``inf`` without looks; ``nan`` where even no drift is found that often.

        Args:
            power: Above 0 and below 1.
        """
        if not self.laws:
            return math.inf
        if self.power(0.0) > power:
            return math.nan
        scale = 1.0 / math.sqrt(self.laws[-1].information)

        def missing(deviations: float) -> float:
            return self.power(deviations * scale) - power

        high = 2.0 * max(float(-ndtri(1.0 - power)), 1.0)
        while missing(high) < 0.0:
            high *= 2.0
            if high > _DRIFT_REACH:
                return math.inf
        return root(missing, 0.0, high, xtol=1e-9) * scale

    @staticmethod
    def _crossed(law: Progress, drift: float) -> float:
        tilt = drift * math.sqrt(law.information) * law.grid - 0.5 * drift * drift * law.information
        # far above every boundary nothing survives, and the tilt itself may be too large
        left = float(law.mass @ np.exp(np.minimum(tilt, 700.0)))
        return min(1.0, max(0.0, 1.0 - left))


def monitor(information: Sequence[float] | Array, cumulative: Sequence[float] | Array) -> Monitor:
    """Return the monitor that has spent ``cumulative`` alpha by each look.

    Guarantee: one-sided, the boundaries are those of ``group_sequential.look``.

    Args:
        information: Of the looks, increasing; may be empty.
        cumulative: Alpha the spending curve allows by each look.

    Raises:
        ValueError: Information that does not grow, an alpha that is none, lists of different
            lengths.
    """
    found, laws, progress = list[float](), list[Progress](), Progress()
    following = [*information, None][1:]
    for now, alpha, after in zip(information, cumulative, following, strict=True):
        bound, progress = look(progress, float(now), float(alpha), next_information=after)
        found.append(bound)
        laws.append(progress)
    return Monitor(np.asarray(information, dtype=np.float64), np.array(found), tuple(laws))


def monitor_of(information: Sequence[float], boundary: Sequence[float]) -> Monitor:
    """Return the monitor of given boundaries, for instance a published design's.

    Args:
        information: Of the looks, increasing; may be empty.
        boundary: z to be reached at each, ``inf`` for a look that finds nothing.

    Raises:
        ValueError: Information that does not grow, a boundary that is ``nan``, lists of different
            lengths.
    """
    laws, progress = list[Progress](), Progress()
    following = [*information, None][1:]
    for now, bound, after in zip(information, boundary, following, strict=True):
        progress, _, _ = advance(progress, now, bound, spacing=spacing_for(now, after))
        laws.append(progress)
    return Monitor(np.array(information), np.array(boundary, dtype=np.float64), tuple(laws))
