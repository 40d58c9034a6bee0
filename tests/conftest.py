"""What holds for all tests: a busy machine is no failure."""

from hypothesis import settings

settings.register_profile("turnback", deadline=None)
settings.load_profile("turnback")
