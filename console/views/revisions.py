"""The file of an experiment in words, and what each revision changed. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from console.views import words
from experiments.audience import AnyOf, Clause, Condition, Operator
from experiments.errors import SpecError
from guardrails.differences import differences
from guardrails.spec_file import SpecFile, load_spec
from guardrails.views import RevisionView
from metrics.catalogue import Catalogue
from metrics.wording import gettext as _
from metrics.wording import marked

_TESTS: Final[Mapping[Operator, str]] = MappingProxyType(
    {
        Operator.IS: marked("{attribute} is {values}"),
        Operator.ANY_OF: marked("{attribute} is {values}"),
        Operator.NOT: marked("{attribute} is not {values}"),
        Operator.AT_LEAST: marked("{attribute} is at least {values}"),
        Operator.ABOVE: marked("{attribute} is above {values}"),
        Operator.AT_MOST: marked("{attribute} is at most {values}"),
        Operator.BELOW: marked("{attribute} is below {values}"),
        Operator.EXISTS: marked("{attribute} is given: {values}"),
        Operator.MATCHES: marked("{attribute} matches {values}"),
        Operator.VERSION_AT_LEAST: marked("{attribute} is version {values} or newer"),
    }
)


@dataclass(frozen=True, slots=True)
class Changed:
    """One applied file: who, when, and what it changed against the one before.

    ``changes`` is empty of the first, and where only layout or comments changed.
    """

    number: int
    at: datetime
    at_words: str
    actor: str
    source: str
    changes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class File:
    """The newest file: for whom, what is only shown, its text, and how it came to be."""

    audience: tuple[str, ...]
    watch: tuple[str, ...]
    text: str
    revisions: tuple[Changed, ...]


Load = Callable[[str], SpecFile | None]
"""Reads the text of a file; ``None`` where it no longer can be."""


def loader(catalogue: Catalogue) -> Load:
    """Return what reads files; each text is read once.

    Args:
        catalogue: KPIs that files may name.
    """

    @lru_cache(maxsize=512)
    def load(text: str) -> SpecFile | None:
        try:
            return load_spec(text, catalogue=catalogue)
        except SpecError:
            return None

    return load


def file_of(revisions: Sequence[RevisionView], load: Load) -> File | None:
    """Return the file of an experiment; ``None`` without a revision.

    Args:
        revisions: Every applied file, oldest first.
        load: Reads a file.
    """
    if not revisions:
        return None
    specs = [load(each.text) for each in revisions]
    newest = specs[-1]
    audience: tuple[str, ...] = ()
    watch: tuple[str, ...] = ()
    if newest is not None:
        audience = tuple(clause_words(c) for c in newest.experiment.audience)
        watch = newest.experiment.watch
    changed = [
        Changed(
            number=each.number,
            at=each.at,
            at_words=words.instant(each.at),
            actor=each.actor,
            source=each.source,
            changes=() if index == 0 else _changes(specs[index - 1], specs[index]),
        )
        for index, each in enumerate(revisions)
    ]
    return File(audience, watch, revisions[-1].text, tuple(reversed(changed)))


def _changes(before: SpecFile | None, after: SpecFile | None) -> tuple[str, ...]:
    if before is None or after is None:
        return (_("What it changed cannot be said: it is not readable by this version."),)
    return differences(before, after) or (_("Only its layout or its comments changed."),)


def clause_words(clause: Clause) -> str:
    """Return one line of an audience in words."""
    if isinstance(clause, AnyOf):
        groups = [words.joined(tuple(clause_words(c) for c in group)) for group in clause.groups]
        return _("one of these holds: {groups}", groups="; ".join(groups))
    return _condition(clause)


def _condition(condition: Condition) -> str:
    values = [str(v).lower() if isinstance(v, bool) else str(v) for v in condition.values]
    most, last = values[:-1], values[-1] if values else ""
    said = _("{most} or {last}", most=_(", ").join(most), last=last) if most else last
    return _(_TESTS[condition.operator], attribute=condition.attribute, values=said)
