"""The runner of the acceptance tests: order, lanes, what is expected, and what a cut leaves."""

import importlib.util
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

PATH = Path(__file__).parent / "acceptance" / "run.py"


@pytest.fixture(name="run")
def module(tmp_path, monkeypatch):
    """Return the runner over a folder of tests of its own."""
    spec = importlib.util.spec_from_file_location("acceptance_run", PATH)
    found = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, found)
    spec.loader.exec_module(found)
    for name, value in {
        "ROOT": tmp_path,
        "KEPT": tmp_path / "kept",
        "PAGE": tmp_path / "page.md",
    }.items():
        monkeypatch.setattr(found, name, value)
    found.KEPT.mkdir()
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = acceptance\n")
    return found


def test_the_seconds_of_the_last_page_are_what_a_test_is_expected_to_take(run):
    page = "`a.py::test_b`: **passed**, 46.5 s\n\n`a.py::test_c`: **failed**, 1.0 s\n"
    assert run.last_seconds(page) == {"a.py::test_b": 46.5}


def test_the_page_that_is_written_can_be_read_again(run):
    result = {"node": "a.py::test_b", "verdict": "passed", "seconds": 2.5, "numbers": {"n": "1"}}
    assert run.last_seconds(run.page([result], "abc", 2.0)) == {"a.py::test_b": 2.5}


def test_the_longest_test_starts_first_and_those_for_all_cores_last(run):
    tests = [
        run.Planned("whole", 2, 900),
        run.Planned("short", 1, 10),
        run.Planned("half", 0.5, 400),
        run.Planned("long", 1, 500),
        run.Planned("short whole", 2, 100),
    ]
    names = [test.node for test in run.in_order(tests, 2)]
    assert names == ["long", "half", "short", "whole", "short whole"]
    # on more cores they have neighbours like any other
    assert run.in_order(tests, 4)[0].node == "whole"


def test_a_test_starts_only_where_its_cores_are_free(run):
    one, half, whole = (run.Planned(str(cores), cores, 9) for cores in (1, 0.5, 2))
    assert run.next_of([one, half], [one, half], 2) == half
    assert run.next_of([one], [one, half], 2) is None
    assert run.next_of([whole, one], [one], 2) == one
    assert run.next_of([whole], [], 1) == whole  # more than there are: alone


def test_what_is_left_is_the_work_over_the_cores_but_no_less_than_the_longest_test(run):
    tests = [run.Planned("a", 1, 100), run.Planned("b", 2, 50)]
    assert run.seconds_left(tests, 2) == 100
    assert run.seconds_left([*tests, run.Planned("c", 0.5, 400)], 2) == 400
    assert run.seconds_left([], 2) == 0


def test_tests_are_collected_by_function_with_the_cores_they_declare(run, tmp_path):
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        "@pytest.mark.acceptance(cores=0.5)\n"
        "@pytest.mark.parametrize('n', [1, 2])\n"
        "def test_both(n): ...\n"
        "@pytest.mark.acceptance\n"
        "def test_one(): ...\n"
        "def test_small(): ...\n"
    )
    run.PAGE.write_text("`test_it.py::test_one`: **passed**, 7.0 s\n")
    code = (
        f"import runpy, pathlib; run = runpy.run_path({str(PATH)!r})\n"
        f"run['collect'].__globals__.update(ROOT=pathlib.Path({str(tmp_path)!r}),"
        f" PAGE=pathlib.Path({str(run.PAGE)!r}))\n"
        "print(*((t.node, t.cores, t.seconds) for t in run['collect']()), sep='\\n')"
    )
    # a process of its own: pytest inside of pytest would share its state
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.splitlines() == [
        "('test_it.py::test_both', 0.5, 300.0)",
        "('test_it.py::test_one', 1.0, 7.0)",
    ]


def test_a_test_that_the_limit_cuts_is_not_kept_and_so_goes_on_next_time(
    run, tmp_path, monkeypatch, capsys
):
    assert run.run_one("test_it.py", timeout=0)["verdict"] == "cut"
    verdicts = {"a": "passed", "b": "cut"}

    def found(node, **_):
        return {"node": node, "verdict": verdicts[node], "seconds": 1.0, "output": ""}

    monkeypatch.setattr(run, "run_one", found)
    results, kept = {}, tmp_path / "results.json"
    run.Run([run.Planned(node, 1, 60.0) for node in verdicts], results, kept, 1.0).all()
    assert list(results) == list(json.loads(kept.read_text())) == ["a"]
    said = capsys.readouterr().out
    assert "[1/2] a: passed in 1.0 s; about 1 minutes left" in said
    assert "[2/2] b: cut in 1.0 s; about 0 minutes left" in said


def test_a_test_that_is_ended_takes_the_processes_it_started_with_it(run, tmp_path):
    child = tmp_path / "child"
    (tmp_path / "test_it.py").write_text(
        "import pathlib, subprocess, sys, time, pytest\n"
        "@pytest.mark.acceptance\n"
        "def test_slow():\n"
        "    sleeper = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"    pathlib.Path({str(child)!r}).write_text(str(sleeper.pid) + '.')\n"
        "    time.sleep(600)\n"
    )
    started = set()
    options = {"timeout": 60.0, "started": started}
    thread = threading.Thread(target=run.run_one, args=("test_it.py",), kwargs=options)
    thread.start()
    until(lambda: child.exists() and child.read_text().endswith("."))
    (process,) = started
    run.end(process)
    thread.join(timeout=30)
    assert not started
    until(lambda: not alive(int(child.read_text().rstrip("."))))


def until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # killed, and not yet waited for by whoever inherited it
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
