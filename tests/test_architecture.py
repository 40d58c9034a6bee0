"""The shape of the house: imports, sizes, and docs that cannot rot."""

import ast
import importlib.metadata
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("metrics", "experiments", "guardrails", "console")
MODULES = [
    *sorted(p for name in PACKAGES for p in (ROOT / name).rglob("*.py")),
    ROOT / "service.py",
]
TECHNOLOGY = {
    "altair": lambda p: p.parts == ("console", "charts", "loading.py"),
    "duckdb": lambda p: p.parts[:2] == ("metrics", "stores"),
    "sqlmodel": lambda p: p.parts[0] in {"experiments", "guardrails"},
    "apscheduler": lambda p: p.parts == ("guardrails", "scheduler.py"),
    "prometheus_client": lambda p: (
        p.parts
        in {
            ("guardrails", "telemetry.py"),
            ("guardrails", "telemetry_doors.py"),
            ("service.py",),
        }
    ),
    "statsmodels": lambda p: p.parts[:2] == ("metrics", "stats"),
}
LONGEST_MODULE = 420


def imported(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module.split(".")[0]


def test_import_contracts_hold():
    command = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("technology", TECHNOLOGY)
def test_a_technology_is_known_in_one_place_only(technology):
    allowed = TECHNOLOGY[technology]
    strangers = [
        str(path.relative_to(ROOT))
        for path in MODULES
        if technology in set(imported(path)) and not allowed(path.relative_to(ROOT))
    ]
    assert strangers == []


def test_no_module_outgrows_its_idea():
    long = {
        str(path.relative_to(ROOT)): lines
        for path in MODULES
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > LONGEST_MODULE
    }
    assert long == {}


def test_every_dependency_has_a_range():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    bare = [d for d in project["dependencies"] if ">=" not in d or "<" not in d]
    assert bare == []
    assert importlib.metadata.version("turnback") == project["version"]


def test_the_docs_name_every_command():
    from typer.main import get_command

    from console.cli import app

    page = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    commands = get_command(app).commands
    assert [name for name in commands if f"| `turnback {name}` |" not in page] == []
    assert [name for name, command in commands.items() if not (command.help or "").strip()] == []


def test_the_readme_names_every_prometheus_series():
    sources = [p.read_text(encoding="utf-8") for p in (ROOT / "guardrails").glob("telemetry*.py")]
    names = {
        node.value
        for source in sources
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node.value.startswith("turnback_")
        and node.value.replace("_", "").isalnum()
    }
    text = "".join(
        p.read_text(encoding="utf-8") for p in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    )
    assert names, "no series found: did telemetry move?"
    assert sorted(name for name in names if name not in text) == []


def test_the_project_names_no_path_of_the_machine_it_was_written_on():
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    needle = "/" + "work" + "/"
    guilty = [
        name
        for name in tracked
        if (ROOT / name).suffix in {".py", ".md", ".yaml", ".toml", ".yml", ".html", ""}
        and (ROOT / name).is_file()
        and needle in (ROOT / name).read_text(encoding="utf-8", errors="ignore")
    ]
    assert guilty == []
