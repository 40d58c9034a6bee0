"""A message as text: cut to what a receiver takes, and nothing in it that steers. Pure."""

from typing import Final

from guardrails.channels import Message

NAMES: Final = {
    "kpi": "KPI",
    "effect": "Effect",
    "interval": "Interval",
    "value": "Value",
    "units": "Units",
    "look": "Look",
    "evidence": "Evidence",
    "budget": "Budget",
    "margin": "Margin",
    "now": "Now",
    "next": "Next",
    "runbook": "Runbook",
}
"""Facts of a message in the order in which they are shown, and how they are called."""


def cut(text: str, longest: int) -> str:
    """Return a text of at most ``longest`` characters; what is cut ends in three dots."""
    if len(text) <= longest:
        return text
    dots = "..." if longest > len("...") else ""
    return text[: max(0, longest - len(dots))] + dots


def one_line(text: str, longest: int = 200) -> str:
    """Return a text without line ends, control characters and runs of blanks."""
    plain = "".join(c if c.isprintable() else " " for c in text)
    return cut(" ".join(plain.split()), longest)


def paragraphs(text: str) -> str:
    """Return a text whose only control characters are line ends."""
    return "\n".join(
        "".join(c if c.isprintable() else " " for c in line) for line in text.splitlines()
    )


def fact_lines(message: Message) -> list[str]:
    """Return the facts of a message, one a line, those with a place of their own first."""
    known = [name for name in NAMES if name in message.facts]
    rest = [name for name in message.facts if name not in NAMES]
    lines = [
        f"{NAMES.get(name, name)}: {one_line(message.facts[name], 500)}" for name in (*known, *rest)
    ]
    return [*lines, f"Page: {one_line(message.link, 500)}"] if message.link else lines


def plain(message: Message, longest: int) -> str:
    """Return everything a person wants to read, without the title."""
    parts = [paragraphs(message.text)]
    if message.facts or message.link:
        parts.append("\n".join(fact_lines(message)))
    return cut("\n\n".join(part for part in parts if part), longest)
