"""What is tried: spec models, assignment, lifecycle and revisions. Knows nothing of guardrails."""
