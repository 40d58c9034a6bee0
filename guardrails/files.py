"""The two files of a service, by their names in its folder."""

CONTROL = "control.db"
"""Experiments, decisions, evidence: the control plane."""

STORE = "metrics.duckdb"
"""Events and what is counted from them: the metric store."""
