"""KPI kinds: how a unit's numbers become a value. One file each, one line in `KINDS`."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from metrics.catalogue import Kind
from metrics.kinds.mean import MEAN
from metrics.kinds.proportion import PROPORTION
from metrics.kinds.ratio import RATIO

Array = NDArray[Any]
"""An array of int64, or of Python integers (dtype object) where 64 bits might not do."""


class UnitKind(Protocol):
    """From formula results to a unit's exact numerator and denominator, both in 1e-6.

    Formula results are in 1e-6; ``over`` is ``None`` where a KPI has no denominator.
    """

    def unit_value(self, value: int, over: int | None) -> tuple[int, int] | None:
        """Return (y, x) of one unit, ``None`` when it is undefined."""
        ...

    def unit_values(
        self, value: Array, over: Array | None
    ) -> tuple[Array, Array, NDArray[np.bool_]]:
        """Return (y, x, defined) of many units: the same as `unit_value` one by one."""
        ...


KINDS: Mapping[Kind, UnitKind] = MappingProxyType(
    {Kind.PROPORTION: PROPORTION, Kind.MEAN: MEAN, Kind.RATIO: RATIO}
)
