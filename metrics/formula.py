"""Formulas over the measures of one unit, written in the catalogue as text. Pure.

``hours + max(0, requested - paid) * window`` is checked once and then evaluated on Python
integers and on numpy arrays alike, with the same exact result. Two types keep scales honest: a
*count* is a plain integer, a *quantity* an integer of 1e-6; a count is scaled up where it meets a
quantity, and two quantities cannot be multiplied. Comparisons, ``and`` and ``or`` give counts
of 0 or 1.
"""

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from metrics.cells import MICRO

LARGEST_LITERAL = 1_000_000
LONGEST = 500
"""Most characters of a formula."""


class FormulaError(ValueError):
    """A formula cannot be used; the message says which part and why."""


class Scale(StrEnum):
    """What an integer means."""

    COUNT = "count"
    QUANTITY = "quantity"


Compute = Callable[[Mapping[str, Any]], Any]


@dataclass(frozen=True, slots=True)
class _Term:
    """A checked part: its scale, its value, and a bound of its size for given bounds of names."""

    scale: Scale
    compute: Compute
    bound: Compute


@dataclass(frozen=True, slots=True)
class Formula:
    """A checked formula.

    Attributes:
        text: As written.
        names: Measures it uses.
        scale: Whether the result is a count or a quantity.
        compute: Value for given measures: integers give an integer, int64 arrays an array.
        bound: Largest absolute value of the result and of every intermediate, when no measure
            exceeds the absolute value given under its name.
    """

    text: str
    names: frozenset[str]
    scale: Scale
    compute: Compute
    bound: Compute

    def micros(self, values: Mapping[str, Any]) -> Any:
        """Return the value as an integer of 1e-6 (or an array of them)."""
        result = self.compute(values)
        return result * MICRO if self.scale is Scale.COUNT else result


_ARITHMETIC: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
}
_COMPARISONS: Mapping[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_EXTREMES: Mapping[str, tuple[Callable[[Any, Any], Any], Any]] = {
    "min": (min, np.minimum),
    "max": (max, np.maximum),
}


def parse_formula(text: str, scales: Mapping[str, Scale]) -> Formula:
    """Check a formula against the measures there are.

    Args:
        text: For instance ``max(0, requested - paid) * window``.
        scales: Names that may be used, with their scales.

    Raises:
        FormulaError: Says which part is not understood, and what is.
    """
    if len(text) > LONGEST:
        raise FormulaError(
            f"a formula has at most {LONGEST} characters, this one {len(text):,}; use fewer terms"
        )
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError) as error:
        raise FormulaError(f"{text!r} is no formula ({error})") from error
    names = frozenset(
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and node.id not in _EXTREMES
    )
    term = _term(tree.body, scales)
    return Formula(text, names, term.scale, term.compute, term.bound)


def _term(node: ast.expr, scales: Mapping[str, Scale]) -> _Term:  # noqa: PLR0911 - one per syntax
    match node:
        case ast.Name(id=name):
            return _name(name, scales)
        case ast.Constant(value=int(value)) if not isinstance(value, bool):
            return _literal(value)
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            return _product(_term(left, scales), _term(right, scales))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            return _sum(_ARITHMETIC[type(op)], _term(left, scales), _term(right, scales))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _sum(operator.sub, _literal(0), _term(operand, scales))
        case ast.BoolOp(op=op, values=values):
            chosen = "min" if isinstance(op, ast.And) else "max"
            return _extreme(chosen, [_truth(_term(value, scales)) for value in values])
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _COMPARISONS:
            return _comparison(_COMPARISONS[type(op)], _term(left, scales), _term(right, scales))
        case ast.Call(func=ast.Name(id=("min" | "max") as chosen), args=args, keywords=[]) if args:
            return _extreme(chosen, [_term(arg, scales) for arg in args])
        case _:
            raise FormulaError(
                f"{ast.unparse(node)!r} is not understood; a formula has measures, whole numbers, "
                "+ - *, one comparison at a time, and, or, min(), max()"
            )


def _name(name: str, scales: Mapping[str, Scale]) -> _Term:
    if name not in scales:
        raise FormulaError(f"{name!r} is no measure; there are {', '.join(sorted(scales))}")
    read: Compute = operator.itemgetter(name)
    return _Term(scales[name], read, read)


def _literal(value: int) -> _Term:
    if not 0 <= value <= LARGEST_LITERAL:
        raise FormulaError(f"{value} is too large; whole numbers go up to {LARGEST_LITERAL}")
    return _Term(Scale.COUNT, lambda _: value, lambda _: value)


def _aligned(a: _Term, b: _Term) -> tuple[_Term, _Term]:
    if a.scale is b.scale:
        return a, b
    return _quantity(a), _quantity(b)


def _quantity(term: _Term) -> _Term:
    if term.scale is Scale.QUANTITY:
        return term
    return _Term(
        Scale.QUANTITY,
        lambda values: term.compute(values) * MICRO,
        lambda bounds: term.bound(bounds) * MICRO,
    )


def _sum(op: Callable[[Any, Any], Any], left: _Term, right: _Term) -> _Term:
    a, b = _aligned(left, right)
    return _Term(
        a.scale,
        lambda values: op(a.compute(values), b.compute(values)),
        lambda bounds: a.bound(bounds) + b.bound(bounds),
    )


def _product(a: _Term, b: _Term) -> _Term:
    if a.scale is Scale.QUANTITY and b.scale is Scale.QUANTITY:
        raise FormulaError("two quantities cannot be multiplied; one side of * must be a count")
    scale = Scale.QUANTITY if Scale.QUANTITY in (a.scale, b.scale) else Scale.COUNT
    return _Term(
        scale,
        lambda values: a.compute(values) * b.compute(values),
        lambda bounds: max(a.bound(bounds), 1) * max(b.bound(bounds), 1),
    )


def _extreme(chosen: str, terms: list[_Term]) -> _Term:
    plain, vector = _EXTREMES[chosen]
    whole = terms[0]
    for term in terms[1:]:
        whole = _pair(plain, vector, *_aligned(whole, term))
    return whole


def _pair(
    plain: Callable[[Any, Any], Any], vector: Callable[[Any, Any], Any], a: _Term, b: _Term
) -> _Term:
    def compute(values: Mapping[str, Any]) -> Any:
        x, y = a.compute(values), b.compute(values)
        if isinstance(x, np.ndarray) or isinstance(y, np.ndarray):
            return vector(x, y)
        return plain(x, y)

    return _Term(a.scale, compute, lambda bounds: max(a.bound(bounds), b.bound(bounds)))


def _truth(term: _Term) -> _Term:
    return _comparison(operator.ne, term, _literal(0))


def _comparison(op: Callable[[Any, Any], Any], left: _Term, right: _Term) -> _Term:
    a, b = _aligned(left, right)

    def compute(values: Mapping[str, Any]) -> Any:
        truth = op(a.compute(values), b.compute(values))
        return truth.astype(np.int64) if isinstance(truth, np.ndarray) else int(truth)

    return _Term(Scale.COUNT, compute, lambda bounds: max(a.bound(bounds), b.bound(bounds), 1))
