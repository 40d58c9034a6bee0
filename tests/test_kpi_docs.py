"""``docs/kpis.md`` says of every KPI what the catalogue says, and tells the stories that are tested.

``TURNBACK_WRITE_DOCS=1 pytest tests/test_kpi_docs.py`` writes both parts anew.
"""

import os
import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from guardrails.catalogue_reading import read_catalogue
from metrics.catalogue import Kind, load_catalogue
from metrics.catalogue_words import events_of, measure_words, windows_words

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "kpis.md"
STORIES = sorted((ROOT / "tests" / "scenarios" / "naive").glob("*.yaml"))
WRITE = os.environ.get("TURNBACK_WRITE_DOCS") == "1"
MARKS = {"stories": "\n## Your own KPIs\n", "kpis": None}


def part(name):
    """Return (begin, end) of the generated part after a mark."""
    text = PAGE.read_text(encoding="utf-8")
    begin = text.index(f"<!-- {name} -->\n") + len(f"<!-- {name} -->\n")
    end = MARKS[name]
    return text, begin, len(text) if end is None else text.index(end, begin)


def formula(kpi):
    if kpi.kind is Kind.RATIO:
        return f"sum of `{kpi.value}` / sum of `{kpi.over}`"
    what = "share of units with" if kpi.kind is Kind.PROPORTION else "mean of"
    return f"{what} `{kpi.value}`" + (f", among units with `{kpi.over}`" if kpi.over else "")


def about(number, kpi):
    better = (
        "either direction may be better" if kpi.better == "either" else f"{kpi.better} is better"
    )
    reads = [
        f"`{event}`" + (f" ({', '.join(f'`{field}`' for field in fields)})" if fields else "")
        for event, fields in events_of(kpi).items()
    ]
    summary = (
        f"{kpi.kind.value.capitalize()}, {better}. Windows {windows_words(kpi.windows)}. Unit: "
        f"{kpi.unit}. Trust: {kpi.trust.value}. Reads {', '.join(reads)}."
    )
    lines = [
        f"### {f'{number}. ' if number else ''}`{kpi.key}` {kpi.title_zh}",
        "",
        " ".join(kpi.words.split()),
        "",
        summary,
        "",
        *(f"- `{measure.name}`: {measure_words(measure)}" for measure in kpi.measures),
        *(f"- `{name}` per `{kpi.per}`: `{text}`" for name, text in kpi.each),
        f"- {formula(kpi)}",
        "",
    ]
    return "\n".join(lines)


def built_in():
    core = load_catalogue().core
    others = [kpi for kpi in load_catalogue() if not kpi.core]
    parts = ["", *(about(n, kpi) for n, kpi in enumerate(core, 1))]
    parts += ["The others are shipped too and are not shown unless a file names them.\n"]
    return "\n".join([*parts, *(about(0, kpi) for kpi in others)]).rstrip() + "\n"


def figure(kpi, value):
    if load_catalogue().get(kpi).unit == "hours":
        return f"{value:g} h"
    return f"{100 * value:.0f}%"


def stories():
    rows = [
        "",
        "| KPI | what happens | the naive figure, control and treatment | ours |",
        "|---|---|---|---|",
    ]
    for path in STORIES:
        story = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
        kpi, figures = story["kpi"], story["figures"]
        naive, ours = (
            " → ".join(figure(kpi, figures[which][arm]) for arm in ("control", "treatment"))
            for which in ("naive", "ours")
        )
        rows.append(
            f"| `{kpi}` | {story['story']} | {story['naive']['words']}: {naive}. Looks as if "
            f"{story['looks']} | {ours}: {story['is']} |"
        )
    return "\n".join(rows) + "\n"


@pytest.mark.parametrize(("name", "expected"), [("stories", stories), ("kpis", built_in)])
def test_the_page_says_what_the_catalogue_and_the_stories_say(name, expected):
    text, begin, end = part(name)
    if WRITE:
        PAGE.write_text(text[:begin] + expected() + text[end:], encoding="utf-8")
        return
    assert text[begin:end] == expected()


def test_the_pages_own_catalogue_file_is_a_good_one():
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    catalogue, warnings = read_catalogue(example, source="kpis.md")
    assert warnings == ()
    assert len(catalogue) == len(load_catalogue()) + 2


def test_every_word_of_a_measure_is_explained():
    text = PAGE.read_text(encoding="utf-8")
    for word in ("event", "where", "sum", "cap", "before_close", "after"):
        assert f"| `{word}` |" in text
