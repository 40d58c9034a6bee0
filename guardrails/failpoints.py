"""Steps of a check, a rollback and a delivery at which a test may kill the process.

``TURNBACK_FAILPOINT=committed`` makes a service end itself with ``SIGKILL`` the first time it
comes to that step, ``committed:3`` the third time: what a crash there leaves behind is then seen
by a test instead of by an operator. Nothing is armed by default, and meeting a step that nobody
waits for costs one comparison.
"""

import os
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum


class Point(StrEnum):
    """The steps, in the order in which one check meets them; the stream runs beside the rest."""

    DUE = "check-due"
    BEFORE_CELLS = "before-cells"
    AFTER_CELLS = "after-cells"
    JUDGED = "judged"
    LOOKED_BACK = "looked-back"
    BEGUN = "transaction-begun"
    EVALUATION = "evaluation-stored"
    FINDINGS = "findings-stored"
    LATCH = "latch-closed"
    TRANSITION = "transition-stored"
    MESSAGE = "message-queued"
    EVIDENCE = "evidence-stored"
    STATE = "state-stored"
    VERIFIED = "verification-stored"
    BEFORE_COMMIT = "before-commit"
    COMMITTED = "committed"
    SERVED = "served"
    STREAMED = "streamed"
    BEFORE_DELIVERY = "before-delivery"
    DELIVERED = "delivered"
    MARKED = "marked"


@dataclass(slots=True)
class Fuse:
    """Kills the process at the n-th meeting of one step.

    Attributes:
        point: Which step.
        left: Meetings left, positive.
    """

    point: Point
    left: int = 1

    def __call__(self, point: Point) -> None:
        """Count one meeting; the last one does not return."""
        if point is not self.point:
            return
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


class _Armed:
    met: Callable[[Point], None] | None = None


def reached(point: Point) -> None:
    """Say that a step is met; does nothing unless somebody waits for it."""
    if _Armed.met is not None:
        _Armed.met(point)


def fuse(text: str) -> Fuse:
    """Return what ``name`` or ``name:n`` means.

    Raises:
        ValueError: There is no such step, or n is no positive number.
    """
    name, colon, times = text.partition(":")
    if name not in set(Point):
        raise ValueError(f"must be one of {', '.join(Point)}, with :2 for the second time")
    if colon and not (times.isdecimal() and int(times) > 0):
        raise ValueError(f"{name}: must be followed by a positive number, such as {name}:2")
    return Fuse(Point(name), int(times) if colon else 1)


def arm(text: str | None) -> None:
    """Wait for a step to end the process there; ``None`` waits for nothing.

    Raises:
        ValueError: The text means no step.
    """
    _Armed.met = None if text is None else fuse(text)


@contextmanager
def watched(met: Callable[[Point], None]) -> Generator[None]:
    """Call ``met`` at every step while the block runs."""
    before, _Armed.met = _Armed.met, met
    try:
        yield
    finally:
        _Armed.met = before
