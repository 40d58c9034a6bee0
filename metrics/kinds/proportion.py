"""Share of units to which something happened: y is 0 or 1, x is 1 (in 1e-6)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from metrics.cells import MICRO


class Proportion:
    """A unit counts 1 when its value is not 0, among the units whose denominator is above 0."""

    def unit_value(self, value: int, over: int | None) -> tuple[int, int] | None:
        """Return (0 or 1, 1) in 1e-6; ``None`` for a unit outside the denominator."""
        if over is not None and over <= 0:
            return None
        return (MICRO if value != 0 else 0), MICRO

    def unit_values(
        self, value: NDArray[Any], over: NDArray[Any] | None
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_]]:
        """Return `unit_value` of many units."""
        defined = np.ones(value.shape, np.bool_) if over is None else (over > 0).astype(np.bool_)
        y = (value != 0).astype(np.int64) * MICRO
        return y, np.full(value.shape, MICRO, np.int64), defined


PROPORTION = Proportion()
