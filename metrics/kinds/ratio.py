"""Sum of numerators over sum of denominators; units without a denominator contribute nothing."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


class Ratio:
    """A unit has a value when its denominator is above 0: never 0 by absence."""

    def unit_value(self, value: int, over: int | None) -> tuple[int, int] | None:
        """Return (numerator, denominator) in 1e-6; ``None`` without a denominator."""
        return None if over is None or over <= 0 else (value, over)

    def unit_values(
        self, value: NDArray[Any], over: NDArray[Any] | None
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_]]:
        """Return `unit_value` of many units."""
        if over is None:
            return value, value, np.zeros(value.shape, np.bool_)
        return value, over, (over > 0).astype(np.bool_)


RATIO = Ratio()
