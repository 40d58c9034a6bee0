"""How events of one name are read: which measures each of them matches, and its numbers.

Whether an event matches a measure is decided once and kept as one bit per distinct selector of
its name. Fields are looked at by column: many events at a time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from metrics.catalogue import Condition, Measure, Test, Trust
from metrics.events import FieldValue
from metrics.store import StoreError
from metrics.stores.columns import Ints
from metrics.values import is_number, passes

MOST_SELECTORS = 62

Values = Sequence[FieldValue | None]
"""One field of many events; ``None`` where an event has none."""


@dataclass(frozen=True, slots=True)
class Selector:
    """What an event must have: all conditions, a number, and a secret key behind it."""

    bit: int
    where: tuple[Condition, ...]
    field: str | None
    trusted: bool


@dataclass(slots=True, eq=False)
class NamePlan:
    """How events of one name are read; frames with the same KPIs share it.

    Attributes:
        code: Number of the name.
        selectors: What the measures that look at it ask for, each once.
        numbers: Number field to column.
        cases: Case field to column.
    """

    code: int
    selectors: list[Selector] = field(default_factory=list[Selector])
    numbers: dict[str, int] = field(default_factory=dict[str, int])
    cases: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that anything depends on."""
        conditions = (each.field for selector in self.selectors for each in selector.where)
        return tuple(dict.fromkeys((*self.numbers, *self.cases, *conditions)))

    def bit(self, measure: Measure, trust: Trust) -> int:
        """Return the bit of a measure's selector.

        Raises:
            StoreError: There are too many.
        """
        asked = (measure.where, measure.field, trust is Trust.SERVER)
        for each in self.selectors:
            if (each.where, each.field, each.trusted) == asked:
                return each.bit
        if len(self.selectors) >= MOST_SELECTORS:
            raise StoreError(
                f"event {measure.event!r}: more than {MOST_SELECTORS} different measures look at "
                "it; let KPIs share measures"
            )
        self.selectors.append(Selector(1 << len(self.selectors), *asked))
        return self.selectors[-1].bit

    def flags(
        self,
        columns: Mapping[str, Values],
        numeric: Mapping[str, NDArray[np.bool_]],
        units: Sequence[str],
        trusted: NDArray[np.bool_],
    ) -> Ints:
        """Return the bits of the selectors that events match.

        Args:
            columns: Their fields.
            numeric: Where each number field holds a number.
            units: Their units.
            trusted: Whether a secret key sent them.
        """
        flags = np.zeros(trusted.shape[0], np.int64)
        tested: dict[Condition, NDArray[np.bool_]] = {}
        for selector in self.selectors:
            matches = trusted.copy() if selector.trusted else np.ones(trusted.shape[0], np.bool_)
            if selector.field is not None:
                matches &= numeric[selector.field]
            for condition in selector.where:
                if condition not in tested:
                    tested[condition] = _tested(condition, columns[condition.field], units)
                matches &= tested[condition]
            flags[matches] |= selector.bit
        return flags


def numeric(values: Values) -> NDArray[np.bool_]:
    """Return where a field holds a number."""
    return np.array([is_number(value) for value in values], np.bool_)


def _tested(condition: Condition, values: Values, units: Sequence[str]) -> NDArray[np.bool_]:
    """Return `metrics.values.passes` of many events; the usual conditions without a call each."""
    wanted = condition.values
    if condition.test is Test.PRESENT:
        passed = [value is not None for value in values]
    elif condition.test is Test.OTHER_THAN_UNIT:
        passed = [value != unit for value, unit in zip(values, units, strict=True)]
    elif condition.test is Test.IS and all(isinstance(each, str) for each in wanted):
        passed = [value in wanted for value in values]
    elif condition.test is Test.IS and len(wanted) == 1 and isinstance(wanted[0], bool):
        passed = [value is wanted[0] for value in values]
    else:
        pairs = zip(values, units, strict=True)
        passed = [passes(condition, value, unit) for value, unit in pairs]
    return np.array(passed, np.bool_)
