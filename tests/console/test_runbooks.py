"""The operations guide is a page of the service, so that links of alerts open."""

import re
from pathlib import Path

import pytest

from console.dashboard import runbooks
from console.dashboard.runbooks import anchor, guide, rendered
from console.dashboard.shell import UnknownFileError

GUIDE = Path(__file__).parents[2] / "docs" / "operations.md"


def test_every_heading_of_the_guide_is_a_place_of_its_page():
    page = str(guide())
    wanted = re.findall(
        r"^#+ (.+)$", re.sub(r"```.*?```", "", GUIDE.read_text(), flags=re.DOTALL), re.MULTILINE
    )
    assert len(wanted) > 30
    for heading in wanted:
        assert page.count(f'id="{anchor(heading)}"') == 1, heading


def test_every_link_of_the_page_leads_somewhere():
    page = str(guide())
    places = set(re.findall(r'id="([^"]+)"', page))
    links = re.findall(r'href="([^"]+)"', page)
    assert len(links) > 10
    assert {to for to in links if not to.startswith("http")} <= {f"#{p}" for p in places}


def test_markup_in_the_guide_is_text_and_words_of_links_to_files_stay():
    page = str(
        rendered("# A <b>\n\n<script>x</script> [the page](kpis.md#a) [b](#a) javascript:x\n")
    )
    assert "<script>" not in page
    assert "the page" in page
    assert re.findall(r"href=\"(.*?)\"", page) == ["#a"]


def test_a_page_has_one_first_heading():
    assert "<h1" not in str(guide())


def test_where_the_guide_was_not_installed_that_is_said(monkeypatch):
    monkeypatch.setattr(runbooks, "GUIDE", "nothing.md")
    with pytest.raises(UnknownFileError, match=r"docs/nothing\.md was not installed"):
        runbooks._file()
