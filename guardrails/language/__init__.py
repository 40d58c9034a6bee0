"""The guardrail part of the spec language: entries, sets, rules across keys, explanation."""
