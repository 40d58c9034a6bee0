"""Which version of Turnback this is."""

from importlib.metadata import PackageNotFoundError, version


def build_version() -> str:
    """Return the installed version, ``unknown`` outside of an installation."""
    try:
        return version("turnback")
    except PackageNotFoundError:
        return "unknown"
