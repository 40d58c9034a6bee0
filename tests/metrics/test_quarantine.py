"""Refused events: kept as they were sent, listed with reasons, and sent again once mended."""

import json
from dataclasses import replace
from datetime import timedelta
from itertools import count

import pytest
from typer.testing import CliRunner

from console import cli
from metrics.events import Event, borrowed, exposure
from metrics.store import StoreError
from tests.running import START, running

URL = "/api/v1/events"
KEPT = "/api/v1/quarantine"
NUMBERS = count()


@pytest.fixture
def it():
    with running() as service:
        service.apply()
        yield service


def rating(hours=0.5, unit="o1", **fields):
    return {
        "id": f"q{next(NUMBERS)}",
        "name": "satisfaction_rated",
        "happened_at": (START + timedelta(hours=hours)).isoformat(),
        "units": {"order_id": unit},
        "fields": fields,
    }


def send(it, *events, **kwargs):
    return it.http.post(URL, json=list(events), **kwargs).json()


def kept(it, query=""):
    return it.http.get(KEPT + query).json()


def again(it, **body):
    return it.http.post(f"{KEPT}/resubmit", json=body)


def test_the_list_says_number_reason_and_how_many_of_each(it):
    send(it, rating(score="five"), rating(hours=24 * 30, score=4), rating(score="six"))
    told = kept(it)
    assert told["counts"] == {"wrong_type": 2, "in_future": 1}
    assert {each["number"] for each in told["quarantine"]} == {1, 2, 3}
    assert [each["code"] for each in kept(it, "?code=in_future")["quarantine"]] == ["in_future"]
    assert [each["number"] for each in kept(it, "?before=3&limit=1")["quarantine"]] == [2]


def test_an_event_that_can_be_read_later_counts_then_and_leaves_the_quarantine(it):
    early = rating(hours=24 * 30, score=4.25)
    send(it, early)
    (held,) = kept(it)["quarantine"]
    assert again(it, numbers=[held["number"]]).json()["rejected"][0]["code"] == "in_future"
    assert len(kept(it)["quarantine"]) == 1

    it.services.clock.move_to(START + timedelta(days=30))
    answer = again(it, numbers=[held["number"], 99]).json()
    assert (answer["accepted"], answer["rejected"], answer["missing"]) == (1, [], [99])
    assert kept(it)["quarantine"] == []
    assert send(it, early)["duplicates"] == 1  # exactly the event that was sent


def test_numbers_are_kept_exactly_when_an_exposure_or_id_is_refused(it):
    first = rating(score=4.25)
    send(it, first)
    moved = {**first, "happened_at": (START + timedelta(hours=1)).isoformat()}
    assert send(it, moved)["rejected"][0]["code"] == "id_reused"
    (held,) = kept(it)["quarantine"]
    assert '"score": 4.25' in held["event"]
    told = again(it, code="id_reused").json()
    assert told["rejected"][0]["code"] == "id_reused"
    assert len(kept(it)["quarantine"]) == 1  # refused once more, kept once


def test_an_exposure_that_contradicted_the_hash_can_be_sent_again(it):
    unit = it.unit_of("control")
    wrong = {
        "id": "x1",
        "name": "exposure",
        "happened_at": START.isoformat(),
        "units": {"order_id": unit},
        "fields": {"experiment": "cancel-page", "variant": "treatment", "seed": 1},
    }
    (refused,) = send(it, wrong)["rejected"]
    (held,) = kept(it)["quarantine"]
    assert '"seed": 1' in held["event"]  # not scaled: it is an integer field
    told = again(it, numbers=[held["number"]]).json()
    assert [each["code"] for each in told["rejected"]] == [refused["code"]]


def test_an_event_sent_with_a_public_key_stays_public_when_it_is_sent_again(tmp_path):
    keys = {"admin_key": "adm", "ingest_key": "ing", "client_key": "pub"}
    headers = {"Authorization": "Bearer adm"}
    with running(data=tmp_path, **keys) as it:
        body = [rating(hours=24 * 30, score=1)]
        it.http.post(URL, json=body, headers={"Authorization": "Bearer pub"})
        it.http.post(
            URL, json=[rating(hours=24 * 30, score=2)], headers={"Authorization": "Bearer ing"}
        )
        trusted = it.http.get(KEPT, headers=headers).json()["quarantine"]
        assert [each["trusted"] for each in trusted] == [True, False]
        it.services.clock.move_to(START + timedelta(days=30))
        got: list[Event] = []
        screen = it.services.events
        append = it.services.store.append
        it.services.store.append = lambda events, **k: (got.extend(events), append(events, **k))[1]
        screen.resubmit([1, 2])
        assert [(e.fields["score"], e.trusted) for e in got] == [
            (1_000_000, False),
            (2_000_000, True),
        ]
        assert (
            it.http.post(
                f"{KEPT}/resubmit", json={"numbers": [1]}, headers={"Authorization": "Bearer ing"}
            ).status_code
            == 403
        )


def test_an_event_of_which_only_the_beginning_was_kept_says_so(it):
    send(it, rating(score="x" * 20_000))
    (held,) = kept(it)["quarantine"]
    (refused,) = again(it, numbers=[held["number"]]).json()["rejected"]
    assert refused["code"] == "cut"
    assert "send it again from where it came from" in refused["reason"]


LINES = {"Content-Type": "application/x-ndjson"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(b"", b" " * 20_000 + b"broken", id="cut behind an object"),
        pytest.param(b" " * 100, b" " * 16_382 + b"x", id="cut in the middle of blanks"),
        pytest.param(b"", None, id="bytes that are no UTF-8"),
    ],
)
def test_a_malformed_line_that_is_not_all_that_was_sent_is_no_event(it, before, after):
    line = json.dumps(rating(score=4)).encode()
    line = line.replace(b"o1", b"caf\xe9") if after is None else before + line + after
    told = it.http.post(URL, content=line, headers=LINES).json()
    assert [each["code"] for each in told["rejected"]] == ["malformed"]
    (held,) = kept(it)["quarantine"]
    json.loads(held["event"])  # what is left of it is a good event, which nobody sent
    answer = again(it, numbers=[held["number"]]).json()
    assert (answer["accepted"], [each["code"] for each in answer["rejected"]]) == (0, ["cut"])
    assert "not all that was sent" in answer["rejected"][0]["reason"]
    assert "send it again from where it came from" in answer["rejected"][0]["reason"]
    assert len(kept(it)["quarantine"]) == 1
    assert it.services.store.watermark() == 0


def test_a_malformed_line_that_is_kept_whole_is_refused_for_what_it_is(it):
    line = json.dumps(rating(why="é", score=4)).encode()[:-2]
    it.http.post(URL, content=line, headers=LINES)
    (refused,) = again(it, numbers=[1]).json()["rejected"]
    assert (refused["code"], refused["number"]) == ("malformed", 1)


def test_a_store_that_cannot_write_loses_nothing(it, monkeypatch):
    send(it, rating(hours=24 * 30, score=4))
    it.services.clock.move_to(START + timedelta(days=30))

    def full(*_args, **_kwargs):
        raise StoreError("the disk is full; make room")

    monkeypatch.setattr(it.services.store, "append", full)
    answer = again(it, numbers=[1])
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "1"
    monkeypatch.undo()
    assert len(kept(it)["quarantine"]) == 1
    assert again(it, numbers=[1]).json()["accepted"] == 1


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "either numbers or a code"),
        ({"numbers": [1], "code": "too_late"}, "either numbers or a code"),
        ({"numbers": [0]}, "at least 1"),
        ({"numbers": ["x"]}, "whole number"),
    ],
)
def test_a_request_that_makes_no_sense_says_what_to_send(it, body, words):
    answer = again(it, **body)
    assert answer.status_code == 422
    error = answer.json()["error"]
    assert words in error["message"]


def test_the_id_of_a_derived_exposure_is_refused_under_another_event(it):
    real = exposure("three-step-cancel", 1, "order_id", "o1", "control", START)
    told = send(it, {**rating(score=4), "id": real.id}, rating(score=4))
    assert told["accepted"] == 1
    assert [(r["field"], r["code"]) for r in told["rejected"]] == [("id", "reserved_id")]
    assert "give the event an id of its own" in told["rejected"][0]["reason"]
    assert [each.id for each in it.services.store.held([1])] == [real.id]


def test_an_exposure_may_have_only_the_id_that_its_content_gives():
    real = exposure("x", 1, "order_id", "o1", "control", START)
    assert borrowed(real) == ""
    assert borrowed(replace(real, units={**real.units, "user_id": "u1"})) == ""
    assert borrowed(replace(real, units={"order_id": "o2"}))
    assert borrowed(replace(real, fields={**real.fields, "variant": "treatment"}))
    assert borrowed(replace(real, id="exposure:0"))
    assert borrowed(replace(real, name="foo"))


def test_an_event_that_comes_later_with_the_same_id_ends_its_refusal(it):
    wrong, other = rating(score="five"), rating(score="six")
    send(it, wrong, other)
    assert send(it, {**wrong, "fields": {"score": 5}})["accepted"] == 1
    (left,) = kept(it)["quarantine"]
    assert left["id"] == other["id"]


def test_neither_a_repeat_nor_a_public_key_ends_a_refusal(it):
    first = rating(score=4)
    send(it, first)
    send(it, {**first, "happened_at": START.isoformat()})  # its id is taken
    send(it, first, rating(score=3))
    assert kept(it)["counts"] == {"id_reused": 1}
    wrong = rating(score="five")
    send(it, wrong)
    good = {**wrong, "fields": {"score": 5}}
    assert send(it, good, headers={"X-Turnback-Trust": "any"})["accepted"] == 1
    assert kept(it)["counts"] == {"id_reused": 1, "wrong_type": 1}


def test_refusals_from_before_a_start_end_too(it):
    wrong = rating(score="five")
    send(it, wrong)
    it.services.counts.awaited = None  # as after a start
    assert send(it, rating(score=1))["accepted"] == 1
    assert len(kept(it)["quarantine"]) == 1
    send(it, {**wrong, "fields": {"score": 5}})
    assert kept(it)["quarantine"] == []


def test_what_nobody_will_send_is_dismissed_and_the_call_is_recorded(it):
    send(it, rating(score="five"), rating(score="six"))
    told = it.http.post(f"{KEPT}/dismiss", json={"numbers": [1, 1, 99]}).json()
    assert told == {"dismissed": 1, "missing": [99]}
    assert [each["number"] for each in kept(it)["quarantine"]] == [2]
    assert it.http.post(f"{KEPT}/dismiss", json={}).status_code == 422
    (call,) = [
        c for c in it.services.admission.calls(5) if c.path.endswith("/dismiss") and c.status == 200
    ]
    assert call.method == "POST"


def test_the_command_says_how_to_mend_and_dismisses(it):
    send(it, rating(score="five"))

    def run(*options):
        return CliRunner().invoke(cli.app, ["quarantine", *options, "--url", it.url])

    hint = (
        "send it with the same id: this entry then goes away; or `turnback quarantine --dismiss 1`"
    )
    assert hint in run().stdout
    again = run("--resubmit", "1")
    assert again.exit_code == 1
    assert hint in again.stdout
    assert "goes away" in it.http.get("/events").text
    assert run("--dismiss", "1", "--resubmit", "1").exit_code == 2
    assert run("--dismiss", "1").stdout.strip() == "1 dismissed"
    assert run("--dismiss", "1").exit_code == 1
