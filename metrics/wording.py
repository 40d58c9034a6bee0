"""The seam every sentence for people passes on its way: English, unless a page asks otherwise.

A string that people read is written as a literal in one of three calls, with named places:

    from metrics.wording import gettext as _
    from metrics.wording import ngettext

    _("No harm is proven for {arms}.", arms=arms)
    ngettext("{n} unit", "{n} units", units)      # {n} is the number, grouped

Only literals are found and translated; a sentence is one literal, never joined from parts, since
languages order their parts otherwise. A table of words made when a module is loaded is marked with
`marked` and translated where it is used: ``_(TABLE[key])``.

Which language is a matter of the context: a page sets it with `speaking` for as long as it is
made. Whatever runs by itself (checks, notifications, the API) speaks English, so what is recorded
with a decision is English, stays as it was recorded, and is the same for every reader.
"""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol


class Wording(Protocol):
    """A language: its code, its texts and how it groups digits."""

    @property
    def language(self) -> str:
        """Code of the language: ``en``, ``zh``."""
        ...

    def text(self, message: str) -> str:
        """Return the text of a message; the message itself where there is none."""
        ...

    def plural(self, one: str, many: str, number: int) -> str:
        """Return the form for a number."""
        ...

    def grouped(self, number: int) -> str:
        """Return a whole number as it is written: ``2,400``."""
        ...

    def recorded(self, text: str) -> str | None:
        """Return what was recorded in English; ``None`` where its message is not known."""
        ...


class English:
    """What messages are written in."""

    language = "en"

    def text(self, message: str) -> str:
        """Return the message."""
        return message

    def plural(self, one: str, many: str, number: int) -> str:
        """Return the form for a number."""
        return one if number == 1 else many

    def grouped(self, number: int) -> str:
        """Return a whole number as ``2,400``."""
        return f"{number:,}"

    def recorded(self, text: str) -> str | None:
        """Return the text: it is English."""
        return text


ENGLISH: Wording = English()
_WORDING: ContextVar[Wording] = ContextVar("wording", default=ENGLISH)


def wording() -> Wording:
    """Return the language of the context."""
    return _WORDING.get()


def language() -> str:
    """Return the code of the language of the context: ``en`` unless a page asks otherwise."""
    return _WORDING.get().language


@contextmanager
def speaking(chosen: Wording) -> Generator[None]:
    """Let everything in the block be said in a language; also in threads it hands its context."""
    token = _WORDING.set(chosen)
    try:
        yield
    finally:
        _WORDING.reset(token)


def marked(message: str) -> str:
    """Return a message as it is; it is translated where it is used."""
    return message


def gettext(message: str, /, **values: object) -> str:
    """Return a message in the language of the context, its named places filled.

    Args:
        message: A literal; braces are places only where values are given.
        values: What goes into the places, written already.
    """
    text = _WORDING.get().text(message)
    return text.format(**values) if values else text


def recorded(text: str) -> str | None:
    """Return a text that was recorded in English, in the language of the context.

    Args:
        text: As `gettext` or `ngettext` said it when it was recorded.

    Returns:
        ``None`` where no message of the language's catalogue says it.
    """
    return _WORDING.get().recorded(text)


def ngettext(one: str, many: str, number: int, /, **values: object) -> str:
    """Return the form of a message for a number; ``{n}`` in it is the number, grouped.

    Args:
        one: English for 1.
        many: English for any other number.
        number: How many.
        values: What goes into the other places.
    """
    spoken = _WORDING.get()
    return spoken.plural(one, many, number).format(n=spoken.grouped(number), **values)
