"""English that stands on a page in Chinese: what a visitor who chose Chinese cannot read.

Left out is what is no text of ours: code, what is marked with a language of its own
(``lang="en"``: a quotation, ``lang=""``: whatever language a person wrote in), scripts and styles.
What remains may hold single words in Latin letters (names, keys, ``control``), no two in a row.
"""

import re
from html.parser import HTMLParser

NOT_TEXT = frozenset({"script", "style", "code", "pre", "kbd", "svg", "textarea", "title"})
EMPTY = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"}
)
SAID = frozenset({"alt", "aria-label", "data-label", "data-text", "placeholder", "title"})
NAMES = re.compile(
    r"""`[^`]*`                                 # code within a text
    | \b[a-z]+(?:[_-][a-z0-9]+)+\b              # keys: cancel_success_rate, courier-map
    | \bturnback\s+(?:[a-z-]+\b|[A-Z]+\b|\s)*   # commands
    | [\w.]+@[\w.]+ | https?://[\w.:/?=&-]+   # addresses
    """,
    re.VERBOSE | re.ASCII,
)
SENTENCE = re.compile(r"[A-Za-z][A-Za-z']+,? +[A-Za-z][A-Za-z']+")


class _Reader(HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.found = [], []

    @property
    def _hidden(self):
        return any(hidden for _, hidden in self.open)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        hidden = tag in NOT_TEXT or ("lang" in given and not (given["lang"] or "").startswith("zh"))
        if not self._hidden and not hidden:
            self.found += [value for name, value in attrs if name in SAID and value]
        if tag not in EMPTY:
            self.open.append((tag, hidden))

    def handle_endtag(self, tag):
        while self.open and self.open.pop()[0] != tag:
            pass

    def handle_data(self, data):
        if data.strip() and not self._hidden:
            self.found.append(" ".join(data.split()))


def texts(page):
    """Return every text of a page that a person reads, and what is read to them."""
    reader = _Reader()
    reader.feed(page)
    return reader.found


def english(text):
    """Return whether two English words stand in a row in a text."""
    return SENTENCE.search(NAMES.sub(" 、", text)) is not None


def leftovers(page):
    """Return what of a page is English, each once, in order."""
    return list(dict.fromkeys(text for text in texts(page) if english(text)))
