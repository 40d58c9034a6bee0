"""The examples of docs/clients.md work when pasted: each is run against a service."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clients.contexts import soon
from tests.clients.javascript import script
from tests.running import KEY, SPEC, running

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
ADDRESS, UNIT = "http://127.0.0.1:8300", "A-20391"
SECTION = re.compile(r"^## (?P<title>.+)$(?P<text>(?:.|\n)*?)(?=^## |\Z)", re.MULTILINE)
FENCE = re.compile(r"^```(?P<info>\w+)\n(?P<body>.*?)^```$", re.DOTALL | re.MULTILINE)


def examples(language):
    return [
        pytest.param(fence["body"], id=section["title"])
        for section in SECTION.finditer(GUIDE)
        for fence in FENCE.finditer(section["text"])
        if fence["info"] == language
    ]


@pytest.fixture
def it():
    # a page says what time it is, so the service has no clock of its own
    with running(demo=False, checks=False) as service:
        assert service.apply(SPEC + "audience: {platform: ios}\n").is_success
        yield service


def test_every_client_has_its_example():
    titles = {param.id for language in ("python", "javascript") for param in examples(language)}
    linked = set(re.findall(r"^\| \[.+?\]\(#(.+?)\)", GUIDE, re.MULTILINE))
    assert {title.lower().replace(" ", "-") for title in titles} == linked
    assert len(linked) == 7


def test_the_examples_are_short():
    for language, longest in (("python", 22), ("javascript", 38)):
        for param in examples(language):
            lines = [line for line in param.values[0].splitlines() if line.strip()]
            assert len(lines) <= longest, param.id


def served(it):
    compiled = it.services.engine.serving().experiments[KEY]
    return compiled.assign({"order_id": UNIT, "platform": "ios"})


def exposed(it):
    """Return the arms that were met, by unit; the store knows a unit by another name."""
    it.services.flush()
    store = it.services.store
    known = {store.stored_as(UNIT): UNIT}
    return {known.get(name, name): arm for name, arm in store.exposed_units(KEY, 1).items()}


@pytest.mark.parametrize("example", examples("python"))
def test_a_python_example_prints_the_flow_and_its_exposure_arrives(it, example):
    code = example.replace(ADDRESS, it.url)
    # the plugins send in a thread that ends with the program
    code += "\nimport time\ntime.sleep(0.5)\n"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": ""},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(served(it).value["steps"])
    soon(lambda: exposed(it) == {UNIT: served(it).variant}, every=0.05)


@pytest.mark.parametrize("example", examples("javascript"))
def test_a_javascript_example_prints_the_flow_and_its_exposure_arrives(it, example):
    with script(example.replace(ADDRESS, it.url)) as process:
        printed = process.stdout.readline()  # as the console shows a list: [ 'why', 'confirm' ]
        assert re.findall(r"'(\w+)'", printed) == served(it).value["steps"], process.stderr.read()
        soon(lambda: exposed(it) == {UNIT: served(it).variant}, every=0.05)


def test_the_answer_in_the_guide_is_what_the_service_answers(it):
    (shown,) = examples("json")
    (command,) = examples("sh")
    body = re.search(r"-d '(.+)'", command.values[0])[1]
    answer = it.http.post(f"/ofrep/v1/evaluate/flags/{KEY}", content=body)
    assert json.loads(shown.values[0]) == answer.json()


def test_every_address_in_the_guide_is_described(it):
    paths = it.http.get("/openapi.json").json()["paths"]
    named = re.findall(r"^\| `(GET|POST) (\S+?)(?:\?\S+)?` \|", GUIDE, re.MULTILINE)
    assert len(named) == 6
    assert [pair for pair in named if pair[0].lower() not in paths.get(pair[1], {})] == []
