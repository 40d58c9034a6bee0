"""Mean of a number per unit; a unit without events has 0, x is 1 (in 1e-6)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from metrics.cells import MICRO


class Mean:
    """Every unit has a value."""

    def unit_value(self, value: int, over: int | None) -> tuple[int, int] | None:  # noqa: ARG002 - a mean has none
        """Return (value, 1) in 1e-6."""
        return value, MICRO

    def unit_values(
        self,
        value: NDArray[Any],
        over: NDArray[Any] | None,  # noqa: ARG002 - a mean has none
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_]]:
        """Return `unit_value` of many units."""
        return value, np.full(value.shape, MICRO, np.int64), np.ones(value.shape, np.bool_)


MEAN = Mean()
