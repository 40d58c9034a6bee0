"""Every message of the project, found where it is written: code, templates and the catalogue."""

import ast
import re
from functools import cache
from pathlib import Path

from babel.messages.pofile import read_po
from jinja2 import Environment, nodes

from metrics.catalogue import load_catalogue

ROOT = Path(__file__).parents[1]
PACKAGES = ("metrics", "experiments", "guardrails", "console")
TEMPLATES = tuple(ROOT / "console" / each / "templates" for each in ("dashboard", "reports"))
CALLS = {"_": 1, "gettext": 1, "marked": 1, "ngettext": 2, "_html": 1}
"""What marks a message, and how many of its first arguments are one."""

Message = str | tuple[str, str]


def _of_call(name, arguments, where):
    if name not in CALLS:
        return None
    count = CALLS[name]
    literals = arguments[:count]
    if not literals or not all(isinstance(text, str) for text in literals):
        return None
    return where, literals[0] if count == 1 else tuple(literals)


@cache
def calls():
    """Return (path, call) of every call in the packages that says something."""
    return [
        (path, node)
        for path in sorted(p for name in PACKAGES for p in (ROOT / name).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CALLS
    ]


def of_code():
    """Yield (where, message) of every call in the packages."""
    for path, node in calls():
        arguments = [a.value if isinstance(a, ast.Constant) else a for a in node.args]
        found = _of_call(node.func.id, arguments, f"{path.relative_to(ROOT)}:{node.lineno}")
        if found is not None:
            yield found


def environment():
    return Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)


def of_templates():
    """Yield (where, message) of every call in the templates."""
    for path in sorted(p for each in TEMPLATES for p in each.rglob("*.html")):
        tree = environment().parse(path.read_text(encoding="utf-8"))
        for node in tree.find_all(nodes.Call):
            if isinstance(node.node, nodes.Name):
                arguments = [a.value if isinstance(a, nodes.Const) else a for a in node.args]
                found = _of_call(node.node.name, arguments, f"{path.name}:{node.lineno}")
                if found is not None:
                    yield found


def of_catalogue():
    """Yield (where, message) of the KPIs that are shipped; their titles have their own Chinese."""
    for kpi in load_catalogue():
        yield f"catalogue.yaml: {kpi.key}", kpi.words


@cache
def messages():
    """Return every message and the first place where it is written."""
    found = {}
    for where, message in (*of_code(), *of_templates(), *of_catalogue()):
        found.setdefault(message, where)
    return found


@cache
def catalogue(code="zh"):
    """Return message to text of a language's catalogue; of a plural the text of all its forms."""
    with (ROOT / "console" / "locale" / f"{code}.po").open("rb") as file:
        return {
            tuple(each.id) if isinstance(each.id, (list, tuple)) else each.id: each.string
            for each in read_po(file, ignore_obsolete=True)
            if each.id
        }


def places(text):
    """Return the named places of a message and its markup, in order of name."""
    return sorted(re.findall(r"\{\w*\}|</?\w+[^>]*>", text))


def bare_text():
    """Yield (where, text) of words in templates that no call translates."""
    for path in sorted(p for each in TEMPLATES for p in each.rglob("*.html")):
        source = path.read_text(encoding="utf-8")
        tree = environment().parse(source)
        pieces = (d.data for d in tree.find_all(nodes.TemplateData))
        text = "\0".join(pieces)
        text = re.sub(r"<(script|style)\b.*?</\1>", "", text, flags=re.DOTALL)
        attributes = re.findall(
            r"""\b(?:title|aria-label|placeholder|alt|data-label|data-text)="([^"\0]*)["\0]""", text
        )
        plain = re.sub(r"<[^>]*>", "\0", text)
        for piece in (*plain.split("\0"), *attributes):
            if re.search(r"[A-Za-z\u4e00-\u9fff]{2,}", piece) and piece.strip() not in ALLOWED:
                yield path.name, piece.strip()


ALLOWED = frozenset({"Turnback", "- Turnback"})
"""Names that are the same in every language."""
