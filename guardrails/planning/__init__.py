"""Before a run: what it can find, when, and where it cannot protect."""
