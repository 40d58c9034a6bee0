"""Help and errors of every command, word for word as people read them.

``TURNBACK_WRITE_GOLDEN=1 pytest tests/console/test_golden.py`` writes ``golden/`` anew.
"""

import os
import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from console import cli

GOLDEN = Path(__file__).with_name("golden")
WRITE = os.environ.get("TURNBACK_WRITE_GOLDEN") == "1"
NOBODY = "http://127.0.0.1:9"  # the discard port: nothing listens there
FILES = {
    "spec.yaml": "experiment: one\nunit: order_id\nguardrials: []\n",
    "broken.yaml": "experiment: [\n",
    "kpis.yaml": "kpis: [\n",
    "events.csv": "id\n",
    "some/file.txt": "x",
}
ERRORS = (
    "statsu",
    "--nope",
    "status --nope",
    "status one two",
    "apply",
    "demo --scenario flood",
    "demo --port many",
    "serve --port 70000",
    "validate",
    "validate none.yaml",
    "validate spec.yaml",
    "validate broken.yaml",
    "validate --catalogue kpis.yaml",
    "kpis satisfacton",
    "plan spec.yaml --units-per-day 3k",
    "plan spec.yaml --units-per-day 0",
    "simulate none.yaml --units-per-day 100",
    "backtest spec.yaml --events events.csv",
    "load events.csv",
    "load some",
    "status",
    "status --url here",
    "status --watch --every 0",
    "explain x --at yesterday",
    "roll-back x",
    "resume x --reason because",
    "replay x",
    "replay t1 --data some",
    "revisions x --show 0",
    "quarantine --resubmit 1 --resubmit-code bad",
    "store check --data none",
    "backup copy --check",
    "export --to out --since tomorrow",
    "forget u-1",
    "keys create ops",
    "keys list --data none",
    "keys revoke ops --data none",
    "channels test",
    "scenario none.yaml",
    "import online-retail some --out out.csv",
)


def turnback(*arguments):
    env = {
        "COLUMNS": "80",
        "TURNBACK_URL": NOBODY,
        "TURNBACK_ADMIN_KEY": "",
        "TURNBACK_CATALOGUE": None,
        "TURNBACK_DATA": None,
    }
    return CliRunner(env=env).invoke(cli.app, list(arguments))


def compare(name, text):
    """Compare with what is kept; in writing mode keep it."""
    path = GOLDEN / name
    if WRITE:
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text, (
        "if this is meant: TURNBACK_WRITE_GOLDEN=1 pytest tests/console/test_golden.py"
    )


def every_command(group, *before):
    """Yield the words of every command and group, each group before what is in it."""
    yield before, group
    for name, command in sorted(getattr(group, "commands", {}).items()):
        yield from every_command(command, *before, name)


def test_the_help_of_every_command_reads_as_it_did_and_has_an_example():
    pages = []
    for words, command in every_command(get_command(cli.app)):
        shown = turnback(*words, "--help")
        assert shown.exit_code == 0, words
        assert "  turnback " in shown.stdout or hasattr(command, "commands"), words
        assert [line for line in shown.stdout.splitlines() if re.search(r"\w\.\.\.$", line)] == []
        pages.append(f"$ {shlex.join(['turnback', *words, '--help'])}\n{shown.stdout}")
    compare("help.txt", "\n".join(pages))


def test_errors_read_as_they_did(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(text, encoding="utf-8")
    told = []
    for line in ERRORS:
        result = turnback(*shlex.split(line))
        assert isinstance(result.exception, SystemExit), (line, result.exception)
        assert result.exit_code in {1, 2, 3}, line
        assert result.stdout == "", line
        told.append(f"$ turnback {line}\n{result.stderr}exit code {result.exit_code}\n")
    compare("errors.txt", "\n".join(told))


@pytest.mark.parametrize("line", ERRORS)
def test_every_error_says_what_to_do(line):
    """Of an error's lines the last is a hint, or each problem has its own after a semicolon."""
    kept = (GOLDEN / "errors.txt").read_text(encoding="utf-8")
    told = kept.partition(f"$ turnback {line}\n")[2].partition("exit code")[0].splitlines()
    assert told, line
    assert told[-1].startswith("  ") or all("; " in problem for problem in told), told
