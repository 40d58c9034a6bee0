"""Telling people that guardrails cannot judge, what follows from it, and that they can again.

One message for each source and spell, however many guardrails it blinds: when it has lasted for
the checks the file names (``blind``, ``no_data``), when its deadline passes (``blind_page``; where
that gives everybody control the change of state is told instead), and when sight is back after a
message (``sight_back``). The spell is kept with the monitors and the messages with the outbox, so a
restart tells nothing twice.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from sqlmodel import Session

from guardrails.facts import Spell
from guardrails.outcome import Code, Finding
from guardrails.repository import message_exists
from guardrails.rollback import message
from guardrails.rules.failures import ENDING
from guardrails.sight import Sight
from guardrails.spells import Source
from guardrails.words import duration, instant, outcome_words
from metrics.wording import gettext as _

_NO_DATA: Final = frozenset({Code.NO_VALUES, Code.EVENTS_STOPPED})
_NAMED: Final = 4
"""Guardrails that a message names; of more it gives the number."""

_Groups = Mapping[tuple[str, datetime], Sequence[Spell]]


def tell_blind(session: Session, sight: Sight, *, at: datetime) -> None:
    """Put what is due about failures that last, or ended, into the outbox.

    Args:
        session: The transaction of the check.
        sight: What the check read and decided.
        at: Its instant.
    """
    for spells in _grouped(sight.decision.spells).values():
        late = [s for s in spells if _pages(sight, s, at)]
        if sight.decision.overdue in spells:
            continue  # the pause or the end is told, with this as its reason
        if late:
            _tell_late(session, sight, spells, late, at=at)
        elif any(s.told() for s in spells) and _is_blind(spells):
            _tell_blind(session, sight, spells, at=at)
    for spells in _grouped(sight.decision.ended).values():
        _tell_back(session, sight, spells, at=at)


def _pages(sight: Sight, spell: Spell, at: datetime) -> bool:
    """Return whether a deadline has passed that still means something."""
    if spell.consequence.then in ENDING and sight.record.state != "running":
        return False  # everybody has control already
    # people are told first, also where checks are further apart than the deadline
    after_told = spell.checks > spell.consequence.alert_after
    return after_told and spell.late(at, since=_from(sight, spell))


def _grouped(spells: Iterable[Spell]) -> _Groups:
    found: dict[tuple[str, datetime], list[Spell]] = {}
    for spell in spells:
        found.setdefault((spell.source, spell.since), []).append(spell)
    return found


def _is_blind(spells: Sequence[Spell]) -> bool:
    """Return whether nothing can be judged; arms that are unlike are told as a breach."""
    return spells[0].code not in {Code.UNEVEN_SPLIT, Code.DOUBLE_EXPOSED}


def _from(sight: Sight, spell: Spell) -> datetime | None:
    """Return from when a deadline counts: where it gives everybody control, while it runs."""
    return sight.inputs.running_since if spell.consequence.then in ENDING else None


def _key(sight: Sight, kind: str, spell: Spell) -> str:
    record = sight.record
    return f"{kind}:{record.key}/{record.seed}/{spell.source}@{spell.since.isoformat()}"


def _names(spells: Sequence[Spell]) -> str:
    names = list(dict.fromkeys(s.guardrail for s in spells))
    return f"{len(names)} guardrails" if len(names) > _NAMED else ", ".join(names)


def _what(sight: Sight, spells: Sequence[Spell]) -> str:
    """Return what cannot be seen, and why, as a sentence."""
    spell = spells[0]
    if spell.source == Source.STORE:
        why = f": {sight.inputs.failure}" if sight.inputs.failure else ""
        return f"The metric store could not be read{why}"
    finding = next((f for f in sight.findings if (f.guardrail, f.treatment) == _pair(spell)), None)
    judged = sight.loaded.comparison(spell.guardrail, spell.treatment)
    if finding is None or judged is None:
        return f"{spell.guardrail} cannot be judged"
    empty = _empty_arm(finding, sight.loaded.spec.experiment.control)
    if empty:
        return empty
    return outcome_words(finding, judged, sight.loaded.title(finding.kpi)).rstrip(".")


def _pair(spell: Spell) -> tuple[str, str]:
    return spell.guardrail, spell.treatment


def _empty_arm(finding: Finding, control: str) -> str:
    """Return that one arm has no values while the other has, empty where that is not so."""
    for window in finding.windows:
        beside, treated = window.units
        if window.code is Code.NO_VALUES and (beside == 0) != (treated == 0):
            empty, other = control, finding.treatment
            if treated == 0:
                empty, other = other, empty
            return (
                f"{empty} has no value of {finding.kpi} from {max(window.entered):,} units, while "
                f"{other} has {max(beside, treated):,}: are its events lost, or does nothing "
                "happen in it any more?"
            )
    return ""


def _tell_blind(session: Session, sight: Sight, spells: Sequence[Spell], *, at: datetime) -> None:
    first = spells[0]
    kind = "blind"
    if first.code in _NO_DATA:
        kind = "no_data"
    title = _(
        "{experiment}: {guardrails} cannot be judged since {at}",
        experiment=sight.record.key,
        guardrails=_names(spells),
        at=instant(first.since),
    )
    held = "The ramp stands still meanwhile; " if any(s.waits for s in spells) else ""
    _put(
        session,
        sight,
        key=_key(sight, "blind", first),
        kind=kind,
        guardrail=first.guardrail,
        title=title,
        text=f"{_sentence(_what(sight, spells))} {held}nobody is turned back by it.",
        at=at,
    )


def _sentence(words: str) -> str:
    return words if words.endswith(("?", ".")) else f"{words}."


def _tell_late(
    session: Session, sight: Sight, spells: Sequence[Spell], late: Sequence[Spell], *, at: datetime
) -> None:
    """Page: the deadline of at least one guardrail has passed."""
    first, after = spells[0], _("it goes on")
    kind = "blind_page"
    if any(s.waits for s in late):
        after = _("the ramp is frozen, and its step begins anew when it can be judged again")
    told = {
        "experiment": sight.record.key,
        "guardrails": _names(spells),
        "length": duration(at - first.since),
        "then": after,
    }
    title = _("{experiment}: {guardrails} finds the arms unlike for {length}: {then}", **told)
    if _is_blind(spells):
        title = _("{experiment}: {guardrails} cannot be judged for {length}: {then}", **told)
    _put(
        session,
        sight,
        key=_key(sight, kind, first),
        kind=kind,
        guardrail=late[0].guardrail,
        title=title,
        text=f"{_sentence(_what(sight, spells))} Nobody is turned back by it.",
        at=at,
    )


def _tell_back(session: Session, sight: Sight, spells: Sequence[Spell], *, at: datetime) -> None:
    """Tell that a source is seen again, where people were told that it was not."""
    first = spells[0]
    told = [_key(sight, kind, spell) for kind in ("blind", "blind_page") for spell in spells]
    if not any(message_exists(session, key) for key in dict.fromkeys(told)):
        return
    then = "What was missed meanwhile counts now, as if it had been seen."
    if sight.decision.anew:
        then += " The step of the ramp begins anew: it was not watched."
    _put(
        session,
        sight,
        key=_key(sight, "sight_back", first),
        kind="sight_back",
        guardrail=first.guardrail,
        title=_(
            "{experiment}: {guardrails} can be judged again after {length}",
            experiment=sight.record.key,
            guardrails=_names(spells),
            length=duration(at - first.since),
        ),
        text=then,
        at=at,
    )


def _put(
    session: Session,
    sight: Sight,
    *,
    key: str,
    kind: str,
    guardrail: str,
    title: str,
    text: str,
    at: datetime,
) -> None:
    if message_exists(session, key):
        return
    message(
        session,
        key=key,
        kind=kind,
        experiment=sight.record.key,
        variant=None,
        at=at,
        title=title,
        text=text,
        evidence=None,
        channels=sight.loaded.channels,
        guardrail=guardrail,
        facts={"next": f"turnback status {sight.record.key}"},
    )
