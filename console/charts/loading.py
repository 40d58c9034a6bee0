"""Altair, loaded when the first chart is made: it takes a second."""

# ruff: noqa: PLC0415 - what is drawn seldom is loaded late

from typing import Any


def altair() -> Any:
    """Return Altair, with pandas loaded to its end.

    For every value it looks at, Altair asks ``sys.modules`` for pandas and takes what is there to
    be whole. While another thread loads pandas (the one that counts segments does, by
    statsmodels), a part of it is there. An import statement waits for that thread.
    """
    import pandas as pd

    _ = pd  # whole from here on, whoever loaded it
    import altair as alt

    return alt
