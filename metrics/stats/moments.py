"""From exact integer sums to centred floating-point moments.

Raw float sums lose everything when the mean is large beside the spread (at mean
1e8 and sd 1 a variance from them is noise). So every sum is shifted, as an integer,
to its arm's own mean before it becomes a float.

Source: DESIGN 7; STATISTICS 1(d), 1(j).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from metrics.cells import MICRO, MILLI, Cell, Sums

Array = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_MOMENTS = 10
_ROUNDED = 1_000  # values of 1e-6 that are multiples of this have exact third powers
_SQUARE = float(MICRO) ** 2
_CUBE = float(MILLI) ** 3


@dataclass(frozen=True, slots=True)
class Arm:
    """Moments of one arm about a reference, by (from cohort, phase); rows may be added up.

    With ``u = y - y0`` and ``v = x - x0`` (``y0``, ``x0`` near the arm's means) the
    moments are sums over units with a value. Leading axes are free, the last one is
    the allocation phase: an ``Arm`` may hold many (see ``arms``). All in the KPI's own unit.

    Attributes:
        y0: Reference of the numerator.
        x0: Reference of the denominator; 1 for a proportion or a mean.
        n: Units.
        u: Sum of u; ``uu``, ``uuu`` its second and third powers.
        v: Sum of v; ``uv``, ``vv``, ``uuv``, ``uvv``, ``vvv`` likewise; ``None`` where
            every unit has denominator 1.
        cubes: Whether the third moments mean anything (see ``arm``).
    """

    y0: float | Array
    x0: float | Array
    n: Array
    u: Array
    uu: Array
    uuu: Array
    v: Array | None = None
    uv: Array | None = None
    vv: Array | None = None
    uuv: Array | None = None
    uvv: Array | None = None
    vvv: Array | None = None
    cubes: bool | Flags = True

    @property
    def y(self) -> Array:
        """Sum of numerators."""
        return self.u + self.n * self.y0

    @property
    def x(self) -> Array:
        """Sum of denominators."""
        return self.n if self.v is None else self.v + self.n * self.x0

    def row(self, index: slice | int) -> "Arm":
        """Return some rows ("since cohort j"), or one; of many arms some only."""
        return Arm(self.y0, self.x0, *self._moments((..., index, slice(None))), cubes=self.cubes)

    def some(self, index: slice) -> "Arm":
        """Return some of many arms."""
        y0, x0, cubes = (np.asarray(each)[index] for each in (self.y0, self.x0, self.cubes))
        return Arm(y0, x0, *self._moments(index), cubes=cubes)

    def _moments(self, index: Any) -> list[Any]:
        first, second = (self.n, self.u, self.uu, self.uuu), (self.v, self.uv, self.vv)
        every = (*first, *second, self.uuv, self.uvv, self.vvv)
        return [None if each is None else each[index] for each in every]


def total(cells: Iterable[Cell]) -> Sums:
    """Return the exact sums of several cells, whole numbers; zeros of none.

    Args:
        cells: Any, in any order.
    """
    n = y = x = yy = xy = xx = yyy = xyy = xxy = xxx = 0
    for cell in cells:
        s = cell.sums
        n, y, x = n + s.n, y + s.y, x + s.x
        yy, xy, xx = yy + s.yy, xy + s.xy, xx + s.xx
        yyy, xyy, xxy, xxx = yyy + s.yyy, xyy + s.xyy, xxy + s.xxy, xxx + s.xxx
    return Sums(n, y, x, yy, xy, xx, yyy, xyy, xxy, xxx)


def _reference(summed: int, n: int) -> int:
    """Return a multiple of 1e-3 near the mean, in 1e-6."""
    return round(summed / n / _ROUNDED) * _ROUNDED if n else 0


def _shifted_y(s: Sums, c: int) -> tuple[float, ...]:
    """Return n, sum u, sum u^2, sum u^3 about ``c`` (1e-6, a multiple of 1e-3)."""
    n, y, yy = s.n, s.y, s.yy
    m = c // MILLI
    third = (s.yyy - n * m**3) * MICRO - 3 * m * yy + 3 * m * m * y * MILLI
    return (
        float(n),
        (y - n * c) / MICRO,
        (yy - 2 * c * y + n * c * c) / _SQUARE,
        third / (_CUBE * MICRO),
    )


def _shifted_xy(s: Sums, c: int, d: int) -> tuple[float, ...]:
    """Return all moments about (``c``, ``d``) in the order of ``Arm``'s fields from n to vvv."""
    n, y, x, xy, xx = s.n, s.y, s.x, s.xy, s.xx
    a, b = c // MILLI, d // MILLI
    uuv = (
        (s.xyy - n * a * a * b) * MICRO
        - 2 * a * xy
        + (a * a * x + 2 * a * b * y) * MILLI
        - b * s.yy
    )
    uvv = (
        (s.xxy - n * a * b * b) * MICRO - 2 * b * xy + (b * b * y + 2 * a * b * x) * MILLI - a * xx
    )
    vvv = (s.xxx - n * b**3) * MICRO - 3 * b * xx + 3 * b * b * x * MILLI
    return (
        *_shifted_y(s, c),
        (x - n * d) / MICRO,
        (xy - d * y - c * x + n * c * d) / _SQUARE,
        (xx - 2 * d * x + n * d * d) / _SQUARE,
        uuv / (_CUBE * MICRO),
        uvv / (_CUBE * MICRO),
        vvv / (_CUBE * MICRO),
    )


def counts(several: Sequence[Sequence[Cell]], cohorts: int, phases: int) -> tuple[Array, Array]:
    """Return units and numerators "since cohort j" for j = 0..cohorts-1, by arm and phase.

    All a proportion needs. Numerators are whole numbers of 1e-6, so they are exact.

    Args:
        several: The cells of each arm; every (cohort, phase) at most once, indices in range.
        cohorts: Number of cohorts, one row each.
        phases: Number of phases, one column each.

    Returns:
        Two arrays of shape ``(arms, 1, cohorts, phases)``, zeros without cells.
    """
    table = np.zeros((2, len(several), 1, cohorts, phases))
    sums = [(cell.sums.n, cell.sums.y / MICRO) for cells in several for cell in cells]
    if sums:
        table[:, *_places(several)] = np.array(sums).T
    since = _since(table)
    return since[0], since[1]


def _places(several: Sequence[Sequence[Cell]]) -> tuple[list[int], int, list[int], list[int]]:
    """Return where the cells of several arms are in a table: arm, 0, cohort, phase."""
    return (
        [place for place, cells in enumerate(several) for _ in cells],
        0,
        [cell.cohort for cells in several for cell in cells],
        [cell.phase for cells in several for cell in cells],
    )


def _since(table: Array) -> Array:
    """Return sums from each cohort to the end."""
    return np.cumsum(table[..., ::-1, :], axis=-2)[..., ::-1, :]


def arm(cells: Sequence[Cell], whole: Sums, *, cohorts: int, phases: int, ratio: bool) -> Arm:
    """Return an arm's moments "since cohort j" for j = 0..cohorts-1, by phase.

    Third powers are kept of values rounded down to 1e-3. Where values are not multiples
    of it and the mean is so large beside the spread that the rounding could move the
    skewness by more than 1, ``cubes`` is false: the third moments are not to be used.

    Args:
        cells: Of one arm; every (cohort, phase) at most once, indices in range.
        whole: Their exact total.
        cohorts: Number of cohorts, one row each.
        phases: Number of phases, one column each.
        ratio: Whether denominators vary.

    Returns:
        Moments of shape ``(cohorts, phases)``, zeros without cells. First and second ones are
        exact to rounding at any mean.
    """
    about = _about(whole, ratio=ratio)
    columns = tuple(_table([cells], [about], cohorts, phases, ratio=ratio)[:, 0, 0])
    c, d = about
    return Arm(c / MICRO, d / MICRO, *columns, cubes=_cubes_known(whole, c, d if ratio else 0))


def arms(
    several: Sequence[Sequence[Cell]],
    wholes: Sequence[Sums],
    *,
    cohorts: int,
    phases: int,
    ratio: bool,
) -> Arm:
    """Return the moments of several arms in one, each as ``arm`` returns it.

    Returns:
        Moments of shape ``(arms, 1, cohorts, phases)``; what concerns a whole arm has its shape
        but for one row and one column.
    """
    abouts = [_about(whole, ratio=ratio) for whole in wholes]
    known = [
        _cubes_known(s, c, d if ratio else 0) for s, (c, d) in zip(wholes, abouts, strict=True)
    ]
    y0, x0 = (np.array([each[n] / MICRO for each in abouts]) for n in range(2))
    columns = tuple(_table(several, abouts, cohorts, phases, ratio=ratio))
    return Arm(_tall(y0), _tall(x0), *columns, cubes=_tall(np.array(known, np.bool_)))


def _tall(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return values.reshape(-1, 1, 1, 1)


def _about(whole: Sums, *, ratio: bool) -> tuple[int, int]:
    """Return the references of numerator and denominator, in 1e-6."""
    return _reference(whole.y, whole.n), _reference(whole.x, whole.n) if ratio else MICRO


def _table(
    several: Sequence[Sequence[Cell]],
    abouts: Sequence[tuple[int, int]],
    cohorts: int,
    phases: int,
    *,
    ratio: bool,
) -> Array:
    """Return every moment "since cohort j", by (moment, arm, 0, cohort, phase)."""
    table = np.zeros((_MOMENTS if ratio else 4, len(several), 1, cohorts, phases))
    moments: dict[int, list[tuple[float, ...]]] = {}  # a control is there once per treatment
    for cells, (c, d) in zip(several, abouts, strict=True):
        if id(cells) not in moments:
            moments[id(cells)] = [
                _shifted_xy(cell.sums, c, d) if ratio else _shifted_y(cell.sums, c)
                for cell in cells
            ]
    rows = [row for cells in several for row in moments[id(cells)]]
    if rows:
        table[:, *_places(several)] = np.array(rows).T
    return _since(table)


def _cubes_known(s: Sums, c: int, d: int) -> bool:
    """Tell whether rounding to 1e-3 leaves the third central moments meaningful."""
    return _cube_known(s.n, s.y, s.yy, c) and (d == 0 or _cube_known(s.n, s.x, s.xx, d))


def _cube_known(n: int, summed: int, squares: int, c: int) -> bool:
    if n == 0 or (summed % _ROUNDED == 0 and squares % _ROUNDED**2 == 0):
        return True  # (nearly surely) every value is a multiple of 1e-3: no rounding at all
    variance = (n * squares - summed * summed) / (n * n) / _ROUNDED**2
    mean, sd = abs(c) / _ROUNDED, variance**0.5
    return 3.0 * mean * (mean + 2.0 * sd) <= variance * sd
