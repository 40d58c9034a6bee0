"""The examples of docs/clients.md work when pasted: each is run against a service."""

import json
import os
import re
import socket
import subprocess
import sys
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from openfeature import api
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext

import service
from guardrails.models import KeyRow
from guardrails.spec_file import load_spec
from metrics.access import Role, digest
from tests.browsing import chromium
from tests.clients.contexts import soon
from tests.clients.javascript import packages, script
from tests.running import running

ROOT = Path(__file__).parents[2]
KEY = "three-step-cancel"
SPEC = (ROOT / "examples" / f"{KEY}.yaml").read_text(encoding="utf-8")
GUIDE = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
ADMIN, DEFAULT = "an-admin-key-of-a-test", ["confirm"]
OTHER = "Your other events"
IN_PAGES = "What happens in a page"
WHY = "I always get my default: why?"
NO_CLIENTS = {OTHER, IN_PAGES, WHY}
MODULE = "// turnback.js\n"
"""How the example begins that another one imports."""
NOBODY = "http://127.0.0.1:9"
"""Where no service is: the port is one that none may have."""
LINGER = "import time\ntime.sleep(0.5)\n"
ADDRESS, UNIT = "http://127.0.0.1:8300", "A-20391"
SECTION = re.compile(r"^## (?P<title>.+)$(?P<text>(?:.|\n)*?)(?=^## |\Z)", re.MULTILINE)
FENCE = re.compile(r"^```(?P<info>\w+)\n(?P<body>.*?)^```$", re.DOTALL | re.MULTILINE)


def examples(language, told=None):
    """Return the examples of the clients, or those under one title."""
    return [
        pytest.param(fence["body"], id=section["title"])
        for section in SECTION.finditer(GUIDE)
        if (section["title"] in told if told else section["title"] not in NO_CLIENTS)
        for fence in FENCE.finditer(section["text"])
        if fence["info"] == language and not fence["body"].startswith(MODULE)
    ]


def whole(language, begins=""):
    """Return the one example that begins so."""
    found = [f["body"] for f in FENCE.finditer(GUIDE) if f["info"] == language]
    (body,) = [each for each in found if each.startswith(begins)]
    return body


def node(example, url):
    """Start an example of JavaScript; what it may import is beside it."""
    if "./turnback.js" in example:
        return script(example, turnback=relocated(whole("javascript", MODULE), url))
    return script(relocated(example, url))


@pytest.fixture
def it():
    # a page says what time it is, so the service has no clock of its own
    with running(demo=False, checks=False) as service:
        assert service.apply(SPEC).is_success
        yield service


def test_every_client_has_its_example():
    titles = {param.id for language in ("python", "javascript") for param in examples(language)}
    linked = set(re.findall(r"^\| \[.+?\]\(#(.+?)\)", GUIDE, re.MULTILINE))
    assert {title.lower().replace(" ", "-") for title in titles} == linked
    assert len(linked) == 7


def test_the_examples_are_short():
    for language, longest in (("python", 22), ("javascript", 45)):
        for param in examples(language):
            lines = [line for line in param.values[0].splitlines() if line.strip()]
            assert len(lines) <= longest, param.id
    assert len(whole("javascript", MODULE).splitlines()) < 55


def served(it):
    compiled = it.services.engine.serving().experiments[KEY]
    return compiled.assign({"order_id": UNIT, "platform": "ios"})


def exposed(it):
    """Return the arms that were met, by unit; the store knows a unit by another name."""
    it.services.flush()
    store = it.services.store
    known = {store.stored_as(UNIT): UNIT}
    return {known.get(name, name): arm for name, arm in store.exposed_units(KEY, 1).items()}


def ran(example, url):
    """Run an example of Python to its end; the plugins send in a thread that ends with it."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"{relocated(example, url)}\n{LINGER}"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": ""},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def relocated(example, url):
    assert ADDRESS in example
    return example.replace(ADDRESS, url)


def steps(process):
    """Return the steps that a program printed, as the console shows a list over lines."""
    printed = ""
    while "]" not in printed:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        printed += line
    return re.findall(r"'(\w+)'", printed)


@pytest.mark.parametrize("example", examples("python"))
def test_a_python_example_prints_the_flow_and_its_exposure_arrives(it, example):
    assert ran(example, it.url) == str(served(it).value["steps"])
    soon(lambda: exposed(it) == {UNIT: served(it).variant}, every=0.05)


@pytest.mark.parametrize("example", examples("javascript"))
def test_a_javascript_example_prints_the_flow_and_its_exposure_arrives(it, example):
    with node(example, it.url) as process:
        assert steps(process) == served(it).value["steps"]
        soon(lambda: exposed(it) == {UNIT: served(it).variant}, every=0.05)


@pytest.mark.parametrize("example", examples("python"))
def test_a_python_example_shows_the_default_while_nobody_answers(example):
    assert ran(example, NOBODY) == str(DEFAULT)


@pytest.mark.parametrize("example", examples("javascript"))
def test_a_javascript_example_shows_the_default_while_nobody_answers(example):
    with node(example, NOBODY) as process:
        assert steps(process) == DEFAULT


def test_the_web_page_comes_back_once_its_key_is_right_and_follows_a_rollback(it):
    example = whole("javascript", "// page.js\n")
    let_in(it, "another client's key")
    let_in(it, ADMIN, Role.ADMIN)
    browsers = 'globalThis.EventSource = (await import("eventsource")).EventSource;\n'
    with node(browsers + example, it.url) as process:
        assert steps(process) == DEFAULT
        let_in(it, "YOUR_CLIENT_KEY")
        while (shown := steps(process)) == DEFAULT:
            pass  # it tried once more before
        assert shown == served(it).value["steps"] != DEFAULT
        streams = it.services.streams["ofrep"]
        soon(lambda: streams.open > 0, every=0.05)
        body = {"action": "roll_back", "variant": "three_step", "reason": "a test"}
        done = it.http.post(
            f"/api/v1/experiments/{KEY}/actions", json=body, headers={"X-API-Key": ADMIN}
        )
        assert done.is_success, done.text
        assert steps(process) == DEFAULT


@pytest.fixture
def kept(it, monkeypatch):
    """What the store was given to keep: fields of exposures by unit."""
    found, append = {}, type(it.services.store).append

    def spied(store, events, **more):
        for event in events:
            found.setdefault(event.units.get("order_id"), []).append(dict(event.fields))
        return append(store, events, **more)

    monkeypatch.setattr(type(it.services.store), "append", spied)
    return found


def test_a_page_says_of_its_unit_what_the_file_declares_and_no_more_is_kept(it, kept):
    context = '{ order_id: 20391, platform: "ios", country: "DE", age: 31, tags: [1], note: "#" }'
    shown = '{ targetingKey: "A-20391", platform: "ios" }'
    page = whole("javascript", "// page.js\n")
    assert shown in page
    with node(page.replace(shown, context.replace("#", "x" * 70)), it.url) as process:
        steps(process)
        soon(lambda: kept, every=0.05)
    ((unit, (fields,)),) = kept.items()
    assert unit == "20391"  # its own attribute is its id, as it is for the evaluation
    said = {name: value for name, value in fields.items() if name.startswith("segment.")}
    assert said == {"segment.platform": "ios", "segment.country": "DE"}


ANSWERED_FIRST = """\
const real = globalThis.fetch;
const first = [() => %s];
globalThis.fetch = (to, how) =>
  typeof to === "string" && first.length ? Promise.resolve().then(first.pop()) : real(to, how);
"""
"""A page whose first event is answered otherwise."""


@pytest.mark.parametrize(
    "answer",
    ['new Response("later", { status: 503 })', '{ throw new TypeError("no network"); }'],
    ids=["503", "no network"],
)
def test_an_exposure_that_meets_an_outage_is_sent_again(it, kept, answer):
    page = ANSWERED_FIRST % answer + whole("javascript", "// page.js\n")
    with node(page, it.url) as process:
        steps(process)
        soon(lambda: exposed(it) == {UNIT: served(it).variant}, every=0.05)
    assert len(kept[UNIT]) == 1


@pytest.mark.parametrize(
    "answer",
    [
        'new Response("the key is not known here", { status: 401 })',
        'Response.json({ rejected: [{ reason: "the key is not known here" }] })',
    ],
    ids=["401", "rejected"],
)
def test_an_exposure_that_is_refused_is_told_in_the_words_of_the_service(it, answer):
    page = ANSWERED_FIRST % answer + whole("javascript", "// page.js\n")
    with node(page, it.url) as process:
        steps(process)
        assert "the key is not known here" in process.stderr.readline()


INSECURE = """\
delete Object.getPrototypeOf(crypto).randomUUID;
delete Object.getPrototypeOf(crypto).subtle;
if (crypto.randomUUID || crypto.subtle) throw new Error("the context is still a secure one");
"""
"""What a page of plain HTTP lacks, unless its host is ``localhost``."""


@pytest.mark.parametrize(
    "example", [each for each in examples("javascript") if "web page" in each.id]
)
def test_a_page_needs_no_secure_context(it, example):
    with node(INSECURE + example, it.url) as process:
        assert steps(process) == served(it).value["steps"]
        soon(lambda: exposed(it) == {UNIT: served(it).variant}, every=0.05)


FAILS_ONCE = """\
const { getRandomValues } = crypto;
crypto.getRandomValues = () => {
  crypto.getRandomValues = getRandomValues;
  throw new Error("no random values yet");
};
"""


def test_an_exposure_that_could_not_be_made_is_sent_at_the_next_read(it):
    page = FAILS_ONCE + whole("javascript", "// page.js\n") + "show();\n"
    with node(page, it.url) as process:
        steps(process)
        soon(lambda: exposed(it) == {UNIT: served(it).variant}, every=0.05)


def test_a_page_without_a_bundler_shows_the_flow_and_its_button_feeds_kpis(it, kept, tmp_path):
    let_in(it, "YOUR_CLIENT_KEY")
    let_in(it, "YOUR_INGEST_KEY", Role.INGEST)
    let_in(it, ADMIN, Role.ADMIN)
    (tmp_path / "index.html").write_text(whole("html"))
    (tmp_path / "turnback.js").write_text(relocated(whole("javascript", MODULE), it.url))
    installed(tmp_path / "node_modules" / "@openfeature")
    source = relocated(whole("python", "# shop.py\n"), it.url)
    elsewhere = "--host-resolver-rules=MAP shop.test 127.0.0.1"
    with shop(tmp_path, source) as at, chromium(elsewhere) as browser:
        page = browser.new_page()
        told = []
        page.on("console", lambda message: told.append(message.text))
        page.on("pageerror", lambda error: told.append(str(error)))
        page.goto(at.replace("127.0.0.1", "shop.test"))
        assert page.evaluate("isSecureContext") is False
        page.locator("li").nth(2).wait_for()
        assert page.locator("li").all_inner_texts() == served(it).value["steps"]
        soon(lambda: exposed(it) == {UNIT: served(it).variant}, every=0.05)
        assert kept[UNIT][0]["segment.platform"] == "ios"
        page.locator("#begin").click()
        soon(lambda: len(kept[UNIT]) > 1, every=0.05)
        assert [text for text in told if "favicon" not in text and "404" not in text] == []
    it.services.flush()
    received = it.http.get("/api/v1/received", headers={"X-API-Key": ADMIN}).json()["received"]
    (began,) = [each for each in received if each["name"] == "cancel_started"]
    assert (began["server"], began["client"]) == (1, 0)


def installed(folder):
    """Put the packages of a page where its ``npm install`` does."""
    folder.mkdir(parents=True)
    there = packages() / "node_modules" / "@openfeature"
    for name in ("core", "web-sdk", "ofrep-web-provider"):
        (folder / name).symlink_to(there / name)
    # beside a server's provider the lock has another version of it at the top
    own = there / "ofrep-web-provider" / "node_modules" / "@openfeature" / "ofrep-core"
    (folder / "ofrep-core").symlink_to(own)


@contextmanager
def shop(folder, source):
    """Run the guide's server of a shop in a folder."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    code = source.replace('("127.0.0.1", 8000)', f'("127.0.0.1", {port})')
    assert code != source
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code], cwd=folder, stderr=subprocess.DEVNULL
    ) as process:
        try:
            soon(lambda: opens(port), within=20, every=0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()


def opens(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


STATES = {
    "running": SPEC,
    "audience": SPEC + "audience: {platform: [android]}\n",
    "draft": SPEC + "starts: manual\n",
    "paused": SPEC,
    "turned-back": SPEC,
    "dealt-control": SPEC,
}
CAUSES = {
    "The flag's key is misspelt": ("three-step-cancl", {}),
    "The context has no id": ("running", {"targetingKey": None}),
    "The API key is not known": ("running", {"key": "another"}),
    "Turnback cannot be reached": ("running", {"url": NOBODY}),
    "The unit is outside of the audience": ("audience", {}),
    "The experiment has not started, or is over": ("draft", {}),
    "It is paused": ("paused", {}),
    "The variant was turned back": ("turned-back", {}),
    "The unit is in control, or not among the traffic yet": ("dealt-control", {}),
}


def test_each_cause_of_a_default_shows_as_the_guide_says(it):
    shown = re.findall(r"^\| ([^|]+) \| (`[A-Z].*?) \| (\w+) \|", GUIDE, re.MULTILINE)
    assert {what: (words, status) for what, words, status in shown} == {
        what: told_by_clients(it, *CAUSES[what]) for what in causes_of(it)
    }


def causes_of(it):
    """Apply and steer the experiments of the causes, then let only keys in."""
    for name, text in STATES.items():
        assert it.apply(text.replace(f"experiment: {KEY} ", f"experiment: {name} ")).is_success
    for name, action in (("paused", "pause"), ("turned-back", "roll_back")):
        done = it.act(action, key=name, variant="three_step" if action == "roll_back" else None)
        assert done.is_success, done.text
    let_in(it, "YOUR_CLIENT_KEY")
    let_in(it, ADMIN, Role.ADMIN)
    return CAUSES


def told_by_clients(it, flag, given):
    """Return the cells of a cause: what clients of Python and HTTP are told."""
    compiled = it.services.engine.serving().experiments.get(flag)
    arm = "control" if flag == "dealt-control" else "three_step"
    units = (f"A-{number}" for number in range(1000))
    unit = next(u for u in units if compiled is None or dealt(compiled, u) in {arm, None})
    context = {"platform": "ios", "targetingKey": unit} | given
    url, key = context.pop("url", it.url), context.pop("key", "YOUR_CLIENT_KEY")
    headers = {"X-API-Key": key}
    provider = OFREPProvider(url, headers_factory=lambda: headers)
    id_, more = context["targetingKey"], {"platform": "ios"}
    api.set_provider(provider, "of a test")
    details = api.get_client("of a test").get_object_details(
        flag, {"steps": DEFAULT}, EvaluationContext(id_, more)
    )
    assert details.value == {"steps": DEFAULT}
    said = [f"`{details.reason}`", *([f"`{details.error_code}`"] if details.error_code else [])]
    try:
        answer = httpx.post(
            f"{url}/ofrep/v1/evaluate/flags/{flag}", json={"context": context}, headers=headers
        )
    except httpx.TransportError:
        return " ".join(said), "nothing"
    return " ".join(said), f"{answer.status_code}"


def dealt(compiled, unit):
    return compiled.assign({"order_id": unit, "platform": "ios"}).assigned


def let_in(it, key, role=Role.CLIENT):
    """Let a key be in force that was chosen here."""
    row = KeyRow(
        name=f"{role.name.lower()}-{len(key)}",
        scope=role.name.lower(),
        digest=digest(key).hex(),
        created_at=it.services.clock.now(),
        created_by="a test",
    )
    with it.services.guarding.control.transaction() as session:
        session.add(row)
    it.services.admission.look()


def test_an_event_of_a_server_arrives_as_a_trusted_one(it):
    let_in(it, "YOUR_INGEST_KEY", Role.INGEST)
    code = [examples(language, told=(OTHER,)) for language in ("python", "javascript")]
    ((python,), (javascript,)) = code
    assert ran(python.values[0], it.url) == ""
    another = javascript.values[0].replace("A-20391-rated", "A-20392-rated")
    with script(relocated(another, it.url)) as process:
        assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 0
    it.services.flush()
    received = it.http.get("/api/v1/received").json()["received"]
    (rated,) = [each for each in received if each["name"] == "satisfaction_rated"]
    assert (rated["server"], rated["client"]) == (2, 0)


def test_an_example_that_is_run_twice_is_refused_as_the_guide_says(it):
    code = [examples(language, told=(OTHER,)) for language in ("python", "javascript")]
    ((python,), (javascript,)) = code
    assert ran(python.values[0], it.url) == ""
    assert "id_reused" in ran(python.values[0], it.url)
    with script(relocated(javascript.values[0], it.url)) as process:
        assert "id_reused" in process.communicate(timeout=60)[0]


def test_any_name_is_a_key_until_the_first_one_is_made(it):
    def status(path, body):
        return it.http.post(path, json=body, headers={"X-API-Key": "YOUR_CLIENT_KEY"}).status_code

    flag = (f"/ofrep/v1/evaluate/flags/{KEY}", {"context": {"targetingKey": UNIT}})
    assert [status(*flag), status("/api/v1/events", [])] == [200, 200]
    let_in(it, "of a server", Role.INGEST)
    assert [status(*flag), status("/api/v1/events", [])] == [200, 401]
    let_in(it, "of another page")
    assert [status(*flag), status("/api/v1/events", [])] == [401, 401]


def test_a_page_is_told_of_a_missing_id_no_more_than_the_guide_says(it):
    page = whole("javascript", "// page.js\n").replace('targetingKey: "A-20391", ', "")
    with node(page, it.url) as process:
        assert steps(process) == DEFAULT
        said = process.stderr.readline()
    assert "status: 400" in said
    assert "targetingKey" not in said
    answer = it.http.post("/ofrep/v1/evaluate/flags", json={"context": {}})
    assert "needs a targetingKey" in answer.json()["errorDetails"]


def test_the_trial_of_the_guide_counts_exposures_and_events_within_minutes():
    text = whole("yaml")
    assert load_spec(text, source="trial.yaml").warnings == ()
    with running() as it:
        assert it.apply(text).is_success
        now = service.DEMO_START
        compiled = it.services.engine.serving().experiments["trial"]
        arms = [compiled.assign({"order_id": f"o-{n}"}).assigned for n in range(8)]
        for number in range(8):
            assert it.evaluate(f"o-{number}", key="trial").is_success
        rated = [
            {
                "id": f"o-{number}-rated",
                "name": "satisfaction_rated",
                "happened_at": now.isoformat(),
                "units": {"order_id": f"o-{number}"},
                "fields": {"score": 4},
            }
            for number in range(8)
        ]
        assert it.http.post("/api/v1/events", json=rated).json()["accepted"] == 8
        dealt = [arms.count("control"), arms.count("three_step")]
        for minute, entered in ((1, [0, 0]), (3, dealt)):
            to = {"to": (now + timedelta(minutes=minute)).isoformat()}
            assert it.http.post("/api/v1/demo/clock", json=to).is_success
            view = it.http.get("/api/v1/experiments/trial").json()
            assert [arm["exposed"] for arm in view["variants"]] == dealt
            (window,) = view["guardrails"][0]["windows"]
            assert window["entered"] == entered
        assert window["control_value"] == window["treatment_value"] == 4


def test_pages_of_any_origin_may_ask_what_the_guide_names(it):
    origin = {"Origin": "https://shop.example"}
    named = re.findall(r"^\| `(GET|POST) (\S+?)` \|", GUIDE, re.MULTILINE)
    for method, path in [*named, ("POST", "/api/v1/events")]:
        at = path.replace("{key}", KEY).replace("{client_key}", "any")
        with it.http.stream(method, at, headers=origin) as answer:
            assert answer.headers["access-control-allow-origin"] == "*", path
            assert "access-control-allow-credentials" not in answer.headers
            shown = answer.headers["access-control-expose-headers"]
        assert shown == "ETag, Retry-After" + ", X-SSE-Support" * ("/api/features" in path)
    for path in ("/api/v1/experiments", "/metrics", "/", "/api/v1/audit"):
        answer = it.http.get(path, headers=origin)
        assert "access-control-allow-origin" not in answer.headers


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
