"""``python -m experiments.migrations postgresql``: the steps as SQL on stdout."""

import sys

from experiments.migrations import offline_sql

DIALECTS = ("postgresql", "sqlite")

if __name__ == "__main__":
    dialect = sys.argv[1] if len(sys.argv) > 1 else "postgresql"
    if dialect not in DIALECTS:
        sys.exit(f"unknown dialect {dialect!r}; known: {', '.join(DIALECTS)}")
    sys.stdout.write(offline_sql(dialect))
