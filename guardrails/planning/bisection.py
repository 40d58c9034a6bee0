"""The nearest value at which something holds that holds ever after. Pure."""

from collections.abc import Callable

STEPS = 14


def nearest(
    enough: Callable[[float], bool | None],
    near: float,
    far: float,
    *,
    steps: int = STEPS,
    within: float = 0.0,
) -> float:
    """Return about the value nearest to ``near`` at which ``enough`` holds.

    Args:
        enough: Whether it holds; once it does, it does all the way to ``far``.
        near: A value at which it does not hold.
        far: One at which it holds, above or below ``near``.
        steps: Most halvings.
        within: Part of the answer that is exact enough to stop earlier.
    """
    for _ in range(steps):
        if abs(far - near) <= within * abs(far):
            break
        middle = 0.5 * (near + far)
        near, far = (near, middle) if enough(middle) else (middle, far)
    return far
