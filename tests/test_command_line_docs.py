"""The pages about the command line: every command in them is one, and what they list is whole."""

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from console.cli import app
from console.output import ExitCode

DOCS = Path(__file__).parents[1] / "docs"
PAGES = ("command-line.md", "sharing-results.md", "README.md")


def commands(page):
    """Return the lines of a page's bash blocks, and the names that stand in its sentences."""
    text = (DOCS / page).read_text(encoding="utf-8")
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    lines = [line.split(" > ")[0] for block in blocks for line in block.splitlines()]
    return lines, re.findall(r"`turnback ([a-z][\w-]*)", text)


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_is_one_that_the_program_takes(page):
    root = get_command(app)
    lines, names = commands(page)
    assert [name for name in names if name not in root.commands] == []
    assert lines or page == "README.md"
    for line in lines:
        program, *words = shlex.split(line)
        assert program == "turnback"
        if not words or words[0].startswith("--"):
            assert set(words) <= {option for p in root.params for option in p.opts} | {"--help"}
        elif "--help" not in words:
            root.commands[words[0]].make_context(words[0], words[1:])  # raises what is wrong


def test_the_page_explains_every_exit_code():
    text = (DOCS / "command-line.md").read_text(encoding="utf-8")
    codes = re.findall(r"^\| (\d+) \| ([^|]+) \|", text, re.MULTILINE)
    assert [int(code) for code, _ in codes] == sorted(ExitCode)
    assert all(meaning.strip() for _, meaning in codes)


def test_the_index_leads_to_every_page():
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    pages = {page.name for page in DOCS.glob("*.md")} - {"README.md"}
    assert [name for name in sorted(pages) if f"({name}" not in index] == []
