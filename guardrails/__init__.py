"""When to turn back: rules, judgement, decisions, rollback, checks and messages."""
