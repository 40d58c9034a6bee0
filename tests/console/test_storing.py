"""`turnback store` and `turnback forget`: of a service that runs, and of files."""

import json
from contextlib import closing
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest
from typer.testing import CliRunner

from console import cli
from metrics.stores import open_store
from tests.running import KEY, START, running
from tests.support import LATE, event, exposed, frame_of, put

NOBODY = "http://127.0.0.1:9"


def turnback(*arguments, **env):
    return CliRunner(env={"COLUMNS": "200", **env}).invoke(cli.app, list(arguments))


@pytest.fixture(scope="module")
def service():
    with running() as it:
        it.apply()
        unit = it.unit_of("control")
        seen = {"experiment": KEY, "variant": "control", "seed": 1}
        at = START.isoformat()
        events = [
            {"id": "e", "name": "exposure", "happened_at": at, "unit": unit, "fields": seen},
            {
                "id": "r",
                "name": "satisfaction_rated",
                "happened_at": at,
                "unit": unit,
                "fields": {"score": 4},
            },
            {"id": "x", "name": "satisfaction_rated", "happened_at": "never", "unit": unit},
        ]
        answer = it.http.post("/api/v1/events", json=events).json()
        assert (answer["accepted"], len(answer["rejected"])) == (2, 1)
        yield it, unit


@pytest.fixture
def data(tmp_path):
    with closing(open_store(tmp_path / "metrics.duckdb")) as store:
        put(store, exposed(1), event("f", "flow_failed", 1.5), exposed(2, "o2"))
        store.snapshot(frame_of("flow_failure_rate"), now=LATE)
    return tmp_path


def test_a_service_counts_again_checks_and_forgets(service):
    it, unit = service
    again = turnback("store", "rebuild", "--url", it.url)
    assert (again.exit_code, again.stdout) == (
        0,
        "cancel-page, seed 1: 2 events counted again; every number is equal\n",
    )
    good = turnback("store", "check", "--url", it.url, "--json")
    found = json.loads(good.stdout)
    assert found == {"ok": True, "events": 2, "quarantined": 1, "frames": 1, "findings": []}
    gone = turnback("forget", unit, "--yes", "--url", it.url)
    assert (gone.exit_code, gone.stdout.splitlines()[0]) == (
        0,
        "forgotten: 2 events, 1 from quarantine",
    )
    more = turnback("forget", unit, "--yes", "--url", it.url)
    assert more.stdout == "nothing in the store names this unit\n"
    (erasure,) = it.http.get("/api/v1/store/erasures").json()["erasures"]
    assert (erasure["kind"], erasure["events"]) == ("forgotten", 2)
    assert unit not in str(erasure)


def test_refused_events_are_listed_in_a_table(service):
    it, unit = service
    bad = {"id": "z9", "name": "flow_failed", "happened_at": "never", "unit": unit}
    it.http.post("/api/v1/events", json=[bad])
    listed = turnback("quarantine", "--url", it.url)
    assert listed.exit_code == 0
    lines = listed.stdout.splitlines()
    assert ["number", "event", "id", "code", "reason"] in [line.split() for line in lines]
    assert any(line.split()[1:2] == ["z9"] for line in lines)
    assert "Rows(" not in listed.stdout


def test_numbers_that_differ_are_shown_and_the_exit_code_says_so(service):
    it, _ = service
    store = it.services.store
    (frame,) = it.services.engine.frames()
    store.snapshot(frame, now=START + timedelta(days=1))
    (state,) = store._frames.values()
    reach = state._units.reach()
    reach["control"] = replace(reach["control"], exposed=3)
    bad = turnback("store", "check", "--url", it.url)
    assert bad.exit_code == 1
    assert "the running totals: control: exposed: 3 in the totals, 0 recounted" in bad.stdout
    again = turnback("store", "rebuild", "--url", it.url)
    assert again.exit_code == 1
    assert "1 numbers differed and are replaced:" in again.stdout
    assert "  control: exposed: 3 in the totals, 0 recounted" in again.stdout
    assert turnback("store", "check", "--url", it.url).exit_code == 0


def test_what_fails_in_the_middle_is_told(service, monkeypatch):
    it, _ = service

    def fail(**_asked):
        raise RuntimeError("the disk melted")

    monkeypatch.setattr(it.services.store, "verify", fail)
    result = turnback("store", "check", "--url", it.url)
    assert result.exit_code == 1
    assert "this failed\n  the service's log says why" in result.stderr


def test_the_routes_are_the_administrators(monkeypatch):
    with running(admin_key="secret", demo=False) as it:
        for path in ("rebuild", "check", "forget"):
            answer = it.http.post(f"/api/v1/store/{path}", json={"unit": "u"})
            assert answer.status_code == httpx.codes.UNAUTHORIZED
        assert turnback("store", "check", "--url", it.url, "--key", "secret").exit_code == 0


def test_files_of_a_stopped_service_are_opened(data):
    good = turnback("store", "check", "--data", str(data))
    assert (good.exit_code, good.stdout) == (
        0,
        "3 events, 0 in quarantine, totals compared with a recount: 1\nall is well\n",
    )
    gone = turnback("forget", "o1", "--yes", "--data", str(data), "--json")
    assert json.loads(gone.stdout)["events"] == 2
    assert "no experiment runs" in turnback("store", "rebuild", "--data", str(data)).stdout


def test_files_with_experiments_are_counted_again():
    with running() as it:
        it.apply()
        folder = it.services.settings.data
        held = turnback("store", "check", "--data", str(folder))
        assert held.exit_code == 1
        assert "leave out --data to ask the running service" in held.stderr
        it.services.close()
        again = turnback("store", "rebuild", "--data", str(folder))
        assert (
            again.stdout == "cancel-page, seed 1: 0 events counted again; every number is equal\n"
        )


def test_a_folder_without_a_store_is_told_and_left_alone(tmp_path):
    result = turnback("store", "check", "--data", str(tmp_path))
    assert result.exit_code == 1
    assert "no metric store is here" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_forgetting_is_never_done_without_being_asked(data):
    result = turnback("forget", "o1", "--data", str(data))
    assert result.exit_code == 2
    assert "cannot be undone" in result.stderr
    assert "--yes" in result.stderr
    with closing(open_store(data / "metrics.duckdb")) as store:
        assert store.erasures() == ()


@pytest.mark.parametrize("answer", [True, False])
def test_a_terminal_is_asked(data, answer, monkeypatch):
    from console.commands import storing

    monkeypatch.setattr(storing.sys, "stdin", type("Terminal", (), {"isatty": lambda _: True})())
    monkeypatch.setattr(storing.sys.stdout, "isatty", lambda: True, raising=False)
    asked = []
    monkeypatch.setattr(storing.typer, "confirm", lambda text: asked.append(text) or answer)
    assert storing.confirmed("o1", yes=False) is answer
    assert asked == ["Remove everything about 'o1'? This cannot be undone."]


def test_without_a_service_it_says_so():
    assert turnback("store", "check", "--url", NOBODY).exit_code == 3
