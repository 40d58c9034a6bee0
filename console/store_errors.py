"""What commands say when the files of the store cannot be opened or used."""

from collections.abc import Generator
from contextlib import contextmanager

from console.output import CommandError
from metrics.store import StoreError, StoreLockedError


@contextmanager
def store_told(*, held: str = "") -> Generator[None]:
    """Turn errors of the store into those of a command.

    Args:
        held: What to do where another process holds the files; what the store says by default.

    Raises:
        CommandError: The store refused.
    """
    try:
        yield
    except StoreLockedError as error:
        raise CommandError(error.what, hint=held or error.hint, code="store") from error
    except StoreError as error:
        raise CommandError(str(error), code="store") from error
