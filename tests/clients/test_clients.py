"""The official clients, unmodified from their registries, against the service: the same arms."""

import pytest
from growthbook.common_types import AbstractStickyBucketService

from tests.clients import javascript
from tests.clients.contexts import FULL, KEY, NOBODY, contexts, ours, soon
from tests.clients.javascript import JavaScriptClient, driver
from tests.clients.python_clients import CLIENTS, Async, Ofrep, Sync
from tests.clients.story import PHASES, UNITS, story
from tests.running import running

# what the clients themselves leave open in threads of theirs
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

COUNT = 500
LATE = 20.0
"""Seconds that say a change came by itself; the full size measures them."""


@pytest.fixture(scope="module")
def python_story():
    return story(CLIENTS, count=COUNT, seed=20261123)


@pytest.fixture(scope="module")
def javascript_story():
    with driver() as node:
        opened = {name: lambda url, n=name: JavaScriptClient(node, n, url) for name in NODE}
        return story(opened, count=COUNT, seed=20261124)


NODE = javascript.names()
EVERY = [
    *(pytest.param("python_story", name, id=f"Python: {name}") for name in CLIENTS),
    *(pytest.param("javascript_story", name, id=f"JavaScript: {name}") for name in NODE),
]


@pytest.mark.parametrize(("told", "name"), EVERY)
def test_a_client_serves_the_arms_of_our_evaluator_in_every_phase(request, told, name):
    told = request.getfixturevalue(told)
    assert told.told[name].wrong == {phase: [] for phase in PHASES}
    # the agreement means something: arms were met, and the phases differ
    step, full, back = (told.arms[phase] for phase in PHASES)
    assert min(step["treatment"], step["short"]) > COUNT // 50
    assert full["treatment"] > 1.5 * step["treatment"]
    assert (back["treatment"], back["short"]) == (0, full["short"])


@pytest.mark.parametrize(("told", "name"), EVERY)
def test_a_client_sees_a_rollback_and_its_end_by_itself(request, told, name):
    seconds = request.getfixturevalue(told).told[name].seconds
    assert len(seconds) == 2
    assert max(seconds) < LATE


@pytest.mark.parametrize(("told", "name"), EVERY)
def test_the_exposures_of_a_client_are_kept_once_and_right(request, told, name):
    told = request.getfixturevalue(told)
    sent = told.told[name]
    # a web client's flags are evaluated in bulk, which is no exposure: a hook of its page sends them
    assert len(sent.exposed) == UNITS
    assert sent.exposed == sent.expected
    assert told.quarantined == 0


@pytest.fixture
def it():
    with running() as service:
        assert service.apply(FULL).is_success
        yield service


@pytest.fixture
def node():
    with driver() as process:
        yield process


def treated(it):
    """A context whose unit is in `treatment`."""
    given = contexts(200, 7)
    arms = ours(it.services, given)
    return next(
        c
        for c, arm in zip(given, arms, strict=True)
        if arm == "treatment" and c["order_id"] != "qa-1" and isinstance(c["order_id"], str)
    )


def test_a_rolled_back_arm_is_control_with_the_reason_disabled_for_openfeature_clients(it, node):
    context = {"targetingKey": "somebody", **treated(it)}
    single = JavaScriptClient(node, "ofrep-provider", it.url)
    web = JavaScriptClient(node, "ofrep-web-provider", it.url)
    python = Ofrep(it.url)
    web.until(context, "treatment")
    it.act("roll_back", variant="treatment")
    web.until(context, "control")
    python_says = python.details(context)
    python.close()
    assert (python_says.value["arm"], python_says.variant) == ("control", "control")
    assert str(python_says.reason) == "DISABLED"
    assert python_says.error_code is None
    for client in (single, web):
        says = client.details(context)
        assert (says["value"]["arm"], says["variant"]) == ("control", "control")
        assert says["reason"] == "DISABLED"
        assert says["flagMetadata"]["turnback.state"] == "rolled_back"
        assert says["flagMetadata"]["turnback.exposed"] is False
        client.close()


def test_openfeature_clients_in_javascript_take_our_errors_for_what_they_are(it, node):
    single = JavaScriptClient(node, "ofrep-provider", it.url, flag="none")
    missing = single.details({"targetingKey": "u"})
    assert (missing["errorCode"], missing["value"]) == ("FLAG_NOT_FOUND", NOBODY)
    nameless = JavaScriptClient(node, "ofrep-provider", it.url).details({})
    assert nameless["errorCode"] == "TARGETING_KEY_MISSING"


@pytest.mark.parametrize("back", [False, True])
def test_a_sticky_bucket_defeats_neither_the_hash_nor_a_rollback(it, back):
    class Stuck(AbstractStickyBucketService):
        def get_assignments(self, attribute_name, attribute_value):
            kept = {f"{KEY}__{version}": "treatment" for version in range(3)}
            return {
                "attributeName": attribute_name,
                "attributeValue": attribute_value,
                "assignments": kept,
            }

        def save_assignments(self, doc):
            raise AssertionError("nothing is to be kept")

    if back:
        it.act("roll_back", variant="treatment")
    given = contexts(100, 3)
    client = Sync(it.url, streaming=False, sticky_bucket_service=Stuck())
    theirs = client.arms(given)
    client.close()
    assert theirs == ours(it.services, given)
    assert ("treatment" in theirs) is not back


def test_a_sticky_bucket_in_javascript_defeats_neither_the_hash_nor_a_rollback(it, node):
    given = contexts(100, 3)
    client = JavaScriptClient(node, "growthbook", it.url, sticky="treatment")
    assert client.arms(given) == ours(it.services, given)
    it.act("roll_back", variant="treatment")
    client.until(treated_in(given, it), "control")
    assert client.arms(given) == ours(it.services, given)


def treated_in(given, it):
    compiled = it.services.engine.serving().experiments[KEY]
    return next(c for c in given if compiled.assign(c).assigned == "treatment")


def test_events_of_both_tracking_plugins_arrive_under_their_names(it, node, monkeypatch):
    taken, append = [], type(it.services.store).append

    def noted(store, events, **kwargs):
        taken.extend(events)
        return append(store, events, **kwargs)

    monkeypatch.setattr(type(it.services.store), "append", noted)
    context, properties = {"order_id": "o-1", "user_id": "u-1"}, {"score": 4, "comment": "fine"}
    python = Sync(it.url, streaming=False)
    javascript = JavaScriptClient(node, "growthbook", it.url)
    for client in (python, javascript):
        client.log(context, "rating_given", properties)
        soon(lambda: [e for e in taken if e.name == "rating_given"])
        (event,) = [e for e in taken if e.name == "rating_given"]
        assert event.units == {"order_id": "o-1"}
        assert event.fields == {"score": 4_000_000, "comment": "fine"}
        assert not event.trusted
        taken.clear()
        client.close()


def test_a_large_payload_arrives_by_stream_as_well(it, node):
    flow = "{text: " + "x" * 60_000 + "}"
    for number in range(5):  # 300 kB and more on one line
        spec = FULL.replace(f"experiment: {KEY}", f"experiment: large-{number}")
        assert it.apply(spec.replace("{arm: short, steps: []}", flow)).is_success
    context = treated(it)
    python, asynchronous = Sync(it.url, streaming=True), Async(it.url)
    javascript = JavaScriptClient(node, "growthbook", it.url)
    clients = (python, asynchronous, javascript)
    for client in clients:
        client.until(context, "treatment")
    it.act("roll_back", variant="treatment")
    for client in clients:
        client.until(context, "control")
        client.close()
