"""What is said where somebody else wrote first."""

from collections.abc import Generator
from contextlib import contextmanager

from experiments.errors import StaleWriteError
from experiments.repository import ChangedMeanwhileError


@contextmanager
def compare_and_set() -> Generator[None]:
    """Say in words that somebody else wrote first.

    Raises:
        StaleWriteError: In the place of ``ChangedMeanwhileError``.
    """
    try:
        yield
    except ChangedMeanwhileError as error:
        raise StaleWriteError(
            f"{error} was changed by somebody else meanwhile", hint="look again, then retry"
        ) from error
