"""What holds for all tests: a busy machine is no failure."""

import gc

from hypothesis import settings

settings.register_profile("turnback", deadline=None)
settings.load_profile("turnback")


def pytest_collection_finish():
    """Leave what was imported out of garbage collection: a fifth of all CPU went into it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 10, 50)
