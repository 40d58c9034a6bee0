"""What it costs to import the statistics: a command that only asks for help pays it too."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SCRIPT = """
import importlib, json, pkgutil, sys, time
import numpy, scipy.special
started = time.perf_counter()
import metrics.stats
for module in pkgutil.iter_modules(metrics.stats.__path__):
    importlib.import_module("metrics.stats." + module.name)
print(json.dumps([time.perf_counter() - started, sorted(sys.modules)]))
"""
HEAVY = ["scipy.stats", "statsmodels", "scipy.optimize", "scipy.integrate", "pandas", "pydantic"]


@pytest.fixture(scope="module")
def imported():
    def child():
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=True
        )
        return json.loads(done.stdout)

    found = [child() for _ in range(3)]
    return min(seconds for seconds, _ in found), set(found[0][1])


@pytest.mark.parametrize("module", HEAVY)
def test_importing_the_statistics_does_not_import(imported, module):
    assert "metrics.stats.group_sequential" in imported[1]
    assert module not in imported[1]


def test_importing_the_statistics_takes_at_most_three_tenths_of_a_second_more(imported):
    assert imported[0] <= 0.3
