"""The languages of the pages and reports: which there are, which a request wants, how they write.

A language is one catalogue, ``console/locale/CODE.po``, and one line in `LANGUAGES`. How a string
is written so that it is found is said in `metrics.wording`; in templates the same calls are
``{{ _("Owner: {name}", name=page.owner) }}`` and ``{{ ngettext("{n} unit", "{n} units", n) }}``,
whose values are escaped, and ``{{ _html("Start with <code>turnback apply</code>") }}`` for a
message that holds markup of its own (values are escaped there too). No text stands in a template
outside of these calls. KPI titles come from the catalogue's own ``title_zh`` where it has one.

Tests find every message and demand its Chinese (`tests/console/test_languages.py`).
"""

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.resources import files
from io import BytesIO
from types import MappingProxyType
from typing import Final

from babel.dates import format_datetime, get_timezone
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal
from babel.support import Translations

from console.recorded import Reader
from metrics.catalogue import load_catalogue
from metrics.wording import ENGLISH, Wording, language, speaking

LANGUAGES: Final[Mapping[str, str]] = MappingProxyType({"en": "English", "zh": "中文"})
"""Code and own name of every language; the first is what messages are written in."""

_DATES: Final = {"en": "d MMM y, HH:mm 'UTC'", "zh": "y年M月d日 HH:mm 'UTC'"}
_DAYS: Final = {"en": "d MMM y", "zh": "y年M月d日"}
_LOCALES: Final = {"en": "en", "zh": "zh_Hans_CN"}


@dataclass(frozen=True, slots=True)
class _Translated:
    """A language with a catalogue."""

    language: str
    catalogue: Translations
    reader: Reader

    def text(self, message: str) -> str:
        return self.catalogue.gettext(message) if message else ""

    def plural(self, one: str, many: str, number: int) -> str:
        return self.catalogue.ngettext(one, many, number)

    def grouped(self, number: int) -> str:
        return format_decimal(number, locale=_LOCALES[self.language])

    def recorded(self, text: str) -> str | None:
        return self.reader.read(text)


@cache
def wording_of(code: str) -> Wording:
    """Return a language; its catalogue is read once.

    Raises:
        KeyError: There is no such language.
    """
    if code == next(iter(LANGUAGES)):
        return ENGLISH
    if code not in LANGUAGES:
        raise KeyError(code)
    written = files("console").joinpath("locale", f"{code}.po").read_bytes()
    catalogue = read_po(BytesIO(written), locale=_LOCALES[code])
    compiled = BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    titles = {kpi.title: kpi.title_zh for kpi in load_catalogue() if code == "zh" and kpi.title_zh}
    return _Translated(code, Translations(compiled), Reader(_messages(catalogue), titles))


def _messages(catalogue: Catalog) -> Iterator[tuple[str, str]]:
    """Yield every message with its text; of a plural each form with the text of many."""
    for each in catalogue:
        forms = [each.id] if isinstance(each.id, str) else each.id
        texts = [each.string] if isinstance(each.string, str) else each.string or [""]
        yield from ((form, texts[-1]) for form in forms if form)


@contextmanager
def in_language(code: str) -> Generator[None]:
    """Let everything in the block be said in a language of `LANGUAGES`."""
    with speaking(wording_of(code)):
        yield


def wanted(accept: str | None) -> str:
    """Return the language a browser asks for, the first of ours where it asks for none of them.

    Args:
        accept: The header ``Accept-Language``.
    """
    ranked: list[tuple[float, str]] = []
    for part in (accept or "").split(","):
        tag, _, weight = part.strip().partition(";q=")
        code = tag.strip().split("-")[0].lower()
        if code in LANGUAGES:
            ranked.append((-_weight(weight), code))
    # the first of those that weigh the same
    ranked.sort(key=lambda each: each[0])
    return ranked[0][1] if ranked and ranked[0][0] < 0 else next(iter(LANGUAGES))


def _weight(text: str) -> float:
    if not text:
        return 1.0
    try:
        return float(text)
    except ValueError:
        return 0.0


def locale() -> str:
    """Return Babel's name of the language of the context."""
    return _LOCALES[language()]


def decimal(number: float, digits: int) -> str:
    """Return a number with its digits grouped and so many of them after the point."""
    pattern = "#,##0" + ("." + "0" * digits if digits else "")
    return format_decimal(number, format=f"{pattern};\u2212{pattern}", locale=locale())


def instant(at: datetime) -> str:
    """Return an instant as ``5 Jan 2026, 14:00 UTC``, ``2026年1月5日 14:00 UTC``."""
    return format_datetime(at, _DATES[language()], tzinfo=get_timezone("UTC"), locale=locale())


def day(at: datetime) -> str:
    """Return the day of an instant as ``5 Jan 2026``, in UTC."""
    return format_datetime(at, _DAYS[language()], tzinfo=get_timezone("UTC"), locale=locale())
