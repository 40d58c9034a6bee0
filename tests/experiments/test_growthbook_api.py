"""What GrowthBook's SDKs ask for, over HTTP: the payload, the stream of payloads, their events."""

import json
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from metrics.events import exposure
from tests.running import KEY, START, running

FEATURES = "/api/features/sdk-1"
KEYS = {"admin_key": "adm-1", "ingest_key": "ing-1", "client_key": "cli-1"}


@pytest.fixture(scope="module")
def it():
    with running() as service:
        assert service.apply().status_code == 201
        yield service


@pytest.fixture
def fresh():
    with running() as service:
        assert service.apply().status_code == 201
        yield service


def events_of(lines):
    """The (event, data) pairs of a stream."""
    kind = None
    for line in lines:
        if line.startswith("event: "):
            kind = line.removeprefix("event: ")
        if line.startswith("data: "):
            yield kind, json.loads(line.removeprefix("data: "))


def track(it, *elements, key="sdk-1"):
    return it.http.post(
        f"/track?client_key={key}",
        content=json.dumps(elements),
        headers={"content-type": "text/plain"},
    )


def viewed(it, unit, *, variant=None, spelling="js", **other):
    variant = (
        variant or it.services.engine.serving().experiments[KEY].assign({"order_id": unit}).assigned
    )
    if spelling == "js":
        name, told = "Experiment Viewed", {"experimentId": KEY, "variationId": variant}
        told |= {"hashAttribute": "order_id", "hashValue": unit}
    else:
        name, told = "$$experiment_viewed", {"experiment_id": KEY, "variation_id": 1}
        told |= {"variation_key": variant, "in_experiment": True, "hash_used": True}
        told |= {"hash_attribute": "order_id", "hash_value": unit}
    return {
        "event_name": name,
        "properties_json": told | other,
        "context_json": {"order_id": unit, "email": "anna@example.com"},
        "user_id": None,
        "device_id": "d-1",
        "url": "https://shop.example/cancel",
    }


def test_the_payload_comes_with_all_that_sdks_and_caches_need(it):
    answer = it.http.get(FEATURES, headers={"origin": "https://shop.example"})
    payload = answer.json()
    assert (answer.status_code, payload["status"]) == (200, 200)
    assert set(payload["features"]) == {KEY}
    assert payload["dateUpdated"].endswith("Z")
    assert answer.headers["x-sse-support"] == "enabled"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "x-sse-support" in answer.headers["access-control-expose-headers"].lower()
    assert answer.headers["cache-control"] == "public, max-age=1, must-revalidate"
    assert all(
        rule["hashVersion"] == 2
        for feature in payload["features"].values()
        for rule in feature["rules"]
        if "variations" in rule
    )


def test_who_has_the_payload_is_told_so_until_it_changes(fresh):
    tag = fresh.http.get(FEATURES).headers["etag"]
    again = fresh.http.get(FEATURES, headers={"if-none-match": tag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert fresh.act("roll_back", variant="treatment").status_code == 200
    changed = fresh.http.get(FEATURES, headers={"if-none-match": tag})
    assert changed.status_code == 200
    assert changed.headers["etag"] != tag


def test_no_two_payloads_have_the_same_date_though_the_clock_stands_still(fresh):
    dates = [fresh.http.get(FEATURES).json()["dateUpdated"]]
    for action in ("roll_back", "resume", "roll_back"):
        assert fresh.act(action, variant="treatment").status_code == 200
        dates.append(fresh.http.get(FEATURES).json()["dateUpdated"])
    assert dates == sorted(set(dates))
    assert len({len(date) for date in dates}) == 1


def test_a_rolled_back_arm_is_a_force_and_its_sticky_buckets_are_blocked(fresh):
    before = fresh.http.get(FEATURES).json()["features"][KEY]["rules"]
    fresh.act("roll_back", variant="treatment")
    force, rule = fresh.http.get(FEATURES).json()["features"][KEY]["rules"]
    assert force["force"] == {"steps": ["confirm"]}
    assert rule["disableStickyBucketing"] is True
    assert rule["bucketVersion"] == rule["minBucketVersion"] == 1
    assert before[-1]["bucketVersion"] == before[-1]["minBucketVersion"] == 0


def test_a_stream_begins_with_the_payload_and_brings_every_change(fresh):
    held = fresh.http.get(FEATURES).json()
    with ThreadPoolExecutor(1) as pool, fresh.http.stream("GET", "/sub/sdk-1") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert stream.headers["access-control-allow-origin"] == "*"
        events = events_of(stream.iter_lines())
        assert next(events) == ("features", held)
        acted = pool.submit(fresh.act, "roll_back", variant="treatment")
        kind, payload = next(events)
        assert acted.result().status_code == 200
    assert kind == "features"
    assert payload == fresh.http.get(FEATURES).json()
    assert payload["dateUpdated"] > held["dateUpdated"]


def test_a_public_key_opens_payload_stream_and_events_and_a_secret_one_never_does():
    with running(host="0.0.0.0", **KEYS) as it:  # noqa: S104 - see test_service
        it.apply(headers={"X-API-Key": "adm-1"})
        assert it.http.get("/api/features/cli-1").status_code == 200
        assert track(it, key="cli-1").status_code == 200
        with it.http.stream("GET", "/sub/cli-1") as stream:
            assert stream.status_code == 200
        for path in ("/api/features/{}", "/sub/{}"):
            unknown = it.http.get(path.format("sdk-guessed"))
            assert (unknown.status_code, unknown.json()["status"]) == (401, 401)
            secret = it.http.get(path.format("ing-1"))
            assert secret.status_code == 403
            assert "addresses end up in logs" in secret.json()["error"]
            assert "ing-1" not in secret.text
        assert track(it, key="sdk-guessed").status_code == 401
        assert track(it, key="adm-1").status_code == 403


def test_other_methods_and_addresses_are_refused_in_words(it):
    for path in (FEATURES, "/sub/sdk-1"):
        answer = it.http.post(path)
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, OPTIONS")
        assert it.http.options(path).status_code == 204
    assert it.http.get("/track?client_key=x").status_code == 405
    assert it.http.post("/track?client_key=x&key=y", content="[]").status_code == 400
    assert it.http.post("/track?client_key=x", content="{").status_code == 400


@pytest.mark.parametrize("spelling", ["js", "python"])
def test_an_exposure_is_kept_once_however_often_and_by_whom_it_is_told(fresh, spelling):
    unit = fresh.unit_of("treatment")
    first = track(fresh, viewed(fresh, unit, spelling=spelling))
    assert (first.status_code, first.json()["accepted"]) == (200, 1)
    again = track(fresh, viewed(fresh, unit, spelling="js"), viewed(fresh, unit, spelling="python"))
    assert (again.json()["accepted"], again.json()["duplicates"]) == (0, 2)
    fresh.evaluate(unit)
    fresh.services.flush()
    assert fresh.services.store.exposed_units(KEY, 1) == {unit: "treatment"}
    assert fresh.services.store.watermark() == 1


def test_a_unit_told_as_a_number_is_the_id_that_javascript_writes(fresh):
    compiled = fresh.services.engine.serving().experiments[KEY]
    number = next(n for n in range(1, 99) if compiled.assign({"order_id": n}).counts)
    assert track(fresh, viewed(fresh, number) | {"context_json": {}}).json()["accepted"] == 1
    assert set(fresh.services.store.exposed_units(KEY, 1)) == {str(number)}


def test_what_is_no_exposure_is_not_kept(it):
    unit = it.unit_of("control")
    evaluated = {"event_name": "Feature Evaluated", "properties_json": {"feature": KEY}}
    answer = track(
        it,
        evaluated,
        evaluated | {"event_name": "$$feature_evaluated"},
        viewed(it, unit, spelling="python", in_experiment=False),
        viewed(it, unit, spelling="python", hash_used=False),
    )
    assert answer.json() | {"watermark": 0} == {
        "accepted": 0,
        "duplicates": 0,
        "rejected": [],
        "watermark": 0,
    }


@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param({"experimentId": "none"}, "unknown_experiment", id="unknown experiment"),
        pytest.param({"variationId": "third"}, "variant_mismatch", id="not what the hash says"),
        pytest.param({"hashValue": None}, "unit_missing", id="no unit"),
        pytest.param({"hashAttribute": "user_id"}, "unit_missing", id="another unit"),
        pytest.param({"hashValue": "x\ud800"}, "bad_text", id="half a surrogate pair"),
    ],
)
def test_a_wrong_exposure_is_quarantined_with_its_place_and_reason(it, change, code):
    good = {"event_name": "page_seen", "properties_json": {}}
    skipped = {"event_name": "Feature Evaluated"}
    bad = viewed(it, it.unit_of("control"), **change)
    (rejected,) = track(it, skipped, good, bad).json()["rejected"]
    assert (rejected["index"], rejected["code"]) == (2, code)


@pytest.mark.parametrize(
    ("element", "field"),
    [
        (7, ""),
        (None, ""),
        ({}, "name"),
        ({"event_name": 5}, "name"),
        ({"event_name": ["x"]}, "name"),
        ({"event_name": "seen", "properties_json": [1]}, "fields"),
    ],
)
def test_what_is_no_event_is_quarantined(it, element, field):
    (rejected,) = track(it, element).json()["rejected"]
    assert (rejected["index"], rejected["field"]) == (0, field)


def test_a_custom_event_is_mapped_by_its_name_with_the_ids_it_names(fresh, monkeypatch):
    rows, append = [], type(fresh.services.store).append

    def noted(store, events, **kwargs):
        rows.extend(events)
        return append(store, events, **kwargs)

    monkeypatch.setattr(type(fresh.services.store), "append", noted)
    score = {
        "event_name": "rating",
        "properties_json": {"score": 4, "order_id": "o-7"},
        "context_json": {"order_id": "o-1", "email": "anna@example.com"},
        "user_id": "u-1",
        "device_id": None,
    }
    other = score | {"properties_json": {"score": 5}}
    assert track(fresh, score, score, other).json()["accepted"] == 3  # two clicks are two events
    assert [row.units for row in rows] == [{"order_id": u} for u in ("o-7", "o-7", "o-1")]
    assert {row.name for row in rows} == {"rating"}
    assert {row.happened_at for row in rows} == {START}
    assert not any(row.trusted for row in rows)
    assert "anna" not in str(rows)


def test_ids_of_other_unit_types_are_found_where_the_sdks_put_them():
    from experiments.assignment import Serving, compile_experiment
    from experiments.growthbook_events import wire_events
    from tests.specs_of import spec_of

    served = {
        unit: compile_experiment(spec_of([0.5, 0.5], key=unit, unit=unit), Serving("running"))
        for unit in ("user_id", "id", "device_id", "cart")
    }
    sent = {"event_name": "seen", "user_id": "u", "device_id": "d", "context_json": {"cart": 7}}
    ((_, event),) = wire_events([sent], experiments=served, default_unit="order_id", at=START)
    assert event["units"] == {"user_id": "u", "id": "d", "device_id": "d", "cart": "7"}


def test_an_exposure_has_the_id_that_everybody_derives(it):
    from experiments.growthbook_events import wire_events

    unit = it.unit_of("treatment")
    served = it.services.engine.serving().experiments
    for spelling in ("js", "python"):
        sent = viewed(it, unit, spelling=spelling)
        ((_, event),) = wire_events([sent], experiments=served, default_unit="order_id", at=START)
        assert event["id"] == exposure(KEY, 1, "order_id", unit, "treatment", START).id


def test_a_full_service_says_when_to_come_back(it, monkeypatch):
    monkeypatch.setattr("experiments.streaming.Streams.full", True)
    for path in ("/sub/sdk-1", "/ofrep/v1/stream"):
        answer = it.http.get(path)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


def test_an_sdk_may_speak_gzip(it):
    import gzip

    body = gzip.compress(json.dumps([viewed(it, it.unit_of("control"))]).encode())
    answer = httpx.post(
        f"{it.url}/track?client_key=x", content=body, headers={"content-encoding": "gzip"}
    )
    assert answer.status_code == 200
