"""`turnback replay` and its kin: what was decided can be computed again, and is explained."""

import json
import re
from datetime import timedelta

import pytest
from typer.testing import CliRunner

import service as wiring
from console import cli
from metrics.events import Event
from tests.running import KEY, SPEC, START, running


def turnback(*arguments, **env):
    return CliRunner(env={"COLUMNS": "300", **env}).invoke(cli.app, list(arguments))


def happened(unit, variant, minutes=0):
    at = (START + timedelta(minutes=minutes)).isoformat()
    fields = {"experiment": KEY, "variant": variant, "seed": 1}
    yield {"id": f"e-{unit}", "name": "exposure", "happened_at": at, "unit": unit, "fields": fields}
    yield {
        "id": f"s-{unit}",
        "name": "satisfaction_rated",
        "happened_at": at,
        "unit": unit,
        "fields": {"score": 4},
    }


@pytest.fixture(scope="module")
def service():
    with running() as it:
        it.apply()
        units = [it.unit_of(variant) for variant in ("control", "treatment")]
        sent = [e for u, v in zip(units, ("control", "treatment"), strict=True)
                for e in happened(u, v)]  # fmt: skip
        assert it.http.post("/api/v1/events", json=sent).json()["accepted"] == 4
        it.services.clock.move_to(START + timedelta(hours=3))
        it.services.engine.run_due()
        yield it, units


def test_a_decision_that_status_shows_is_replayed(service):
    it, _ = service
    status = turnback("status", KEY, "--url", it.url).stdout
    shown, _split = sorted(set(re.findall(r"\bf[0-9]+\b", status)))
    done = turnback("replay", shown, "--url", it.url)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith(f"{shown} of {KEY}: equal\n")
    assert "decided by the check c1" in done.stdout
    assert "compared bit for bit" in done.stdout
    assert "up to event 4" in done.stdout
    as_json = turnback("replay", "C1", "--json", "--from-start", "--url", it.url)
    replayed = json.loads(as_json.stdout)
    assert (replayed["id"], replayed["verdict"], replayed["differences"]) == ("c1", "equal", [])
    assert replayed["looks"] == 0


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("t99", "no decision has the id t99"),
        ("what/else?", "is no id of a decision"),
        ("", "is no id of a decision"),
        ("t1", "was no check's decision"),
    ],
)
def test_what_cannot_be_replayed_is_said_with_what_to_do(service, given, words):
    it, _ = service
    done = turnback("replay", given, "--url", it.url)
    assert done.exit_code == 1
    assert done.stdout == ""
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 2
    error = json.loads(turnback("replay", given, "--json", "--url", it.url).stderr)["error"]
    assert words in error["message"]
    assert error["hint"]


def test_the_files_of_a_stopped_service_are_replayed_and_what_was_forgotten_is_said(tmp_path):
    services = wiring.build(wiring.Settings(data=tmp_path, demo=True))
    try:
        services.engine.apply(SPEC, source="spec.yaml", actor="ann")
        services.start()
        intake = [e for u in ("a", "b") for e in happened(u, "control")]
        wire = [
            Event(e["id"], e["name"], START, {"order_id": e["unit"]}, e["fields"]) for e in intake
        ]
        services.store.append(wire, received_at=START)
        services.clock.move_to(START + timedelta(hours=3))
        services.engine.run_due()
    finally:
        services.close()
    data = ("--data", str(tmp_path))
    assert turnback("replay", "c1", *data).stdout.startswith("c1 of cancel-page: equal\n")
    assert turnback("forget", "a", "--yes", *data).exit_code == 0
    done = turnback("replay", "c1", *data)
    assert done.exit_code == 1
    assert "events it counted have left" in done.stdout
    assert "gone: 2 events of a unit that was forgotten" in done.stdout
    (tmp_path / "control.db").unlink()
    missing = turnback("replay", "c1", *data)
    assert missing.exit_code == 1
    assert "no control plane is here" in missing.stderr


def test_a_note_is_written_and_shown(service):
    it, _ = service
    done = turnback("note", KEY, "version 3.2 reaches everybody", "--url", it.url)
    assert done.exit_code == 0, done.stderr
    assert f"{KEY}: noted as t" in done.stdout
    assert "note by" in turnback("status", KEY, "--url", it.url).stdout
    assert "version 3.2 reaches everybody" in turnback("explain", KEY, "--url", it.url).stdout
    page = it.http.get(f"/experiments/{KEY}").text
    assert "A note" in page
    assert "version 3.2 reaches everybody" in page
    noted = json.loads(turnback("note", KEY, "again", "--json", "--url", it.url).stdout)
    assert (noted["after"], noted["reason"]) == ("note", "again")
    empty = turnback("note", KEY, " ", "--url", it.url)
    assert (empty.exit_code, "the note is empty" in empty.stderr) == (1, True)


def test_the_engine_is_suspended_everywhere_and_woken(service):
    it, _ = service
    done = turnback("suspend", "--reason", "the store moves", "--url", it.url)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("the engine is suspended since 2026-01-05 03:00 UTC by ")
    assert "(the store moves)" in turnback("status", "--url", it.url).stdout
    assert "the engine is suspended" in turnback("explain", KEY, "--url", it.url).stdout
    assert "(the store moves)" in it.http.get("/").text
    assert "turnback_suspended 1.0" in it.http.get("/metrics").text
    again = turnback("suspend", "--reason", "twice", "--url", it.url)
    assert (again.exit_code, again.stdout) == (1, "")
    assert "already" in again.stderr
    off = turnback("suspend", "--off", "--reason", "moved", "--json", "--url", it.url)
    view = json.loads(off.stdout)
    assert view["suspended"] is False
    assert [each["reason"] for each in view["history"]] == ["the store moves", "moved"]
    assert "turnback_suspended 0.0" in it.http.get("/metrics").text
    assert it.http.get("/api/v1/suspension").json() == view


def test_the_past_is_explained(service):
    it, _ = service
    done = turnback("explain", KEY, "--at", "2026-01-05T01:00Z", "--url", it.url)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith(f"On 2026-01-05 01:00 UTC {KEY} was running")
    bad = turnback("explain", KEY, "--at", "yesterday", "--url", it.url)
    assert bad.exit_code == 2
    assert "'yesterday' is no instant" in bad.stderr
    early = turnback("explain", KEY, "--at", "2025-01-05T01:00Z", "--json", "--url", it.url)
    assert "was not there yet" in json.loads(early.stderr)["error"]["message"]


@pytest.mark.parametrize("command", ["replay", "note", "suspend", "explain"])
def test_help_has_an_example(command):
    text = turnback(command, "--help").stdout
    assert f"  turnback {command} " in text.partition("Example")[2]
    assert "--json" in text
