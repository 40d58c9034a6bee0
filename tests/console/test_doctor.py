"""``turnback doctor`` finds what is planted, says what to do, changes nothing, shows no secret."""

import gzip
import hashlib
import json
import os
import shutil
import socket
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread

import pytest
from typer.testing import CliRunner

import service
from console import cli
from console.doctor import files
from console.doctor.reach import _port
from guardrails.files import CONTROL, STORE
from guardrails.service_settings import Settings
from metrics.counting import MOST_NAMES, EventCounts, Received
from metrics.events import Event
from metrics.stores import open_store
from tests.running import KEY, SPEC, running

NOBODY = "http://127.0.0.1:9"
SECRET = "swordfish-of-the-admins"
NOW = datetime.now(UTC)
HOURS = timedelta(hours=1)
OWN = "kpis:\n  - key: our_own\n    title: Ours\n    kind: proportion\n"


def free_port():
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        return probe.getsockname()[1]


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    for name in os.environ:
        if name.startswith("TURNBACK_"):
            monkeypatch.delenv(name)


def run(data, *arguments, url=NOBODY, **env):
    env = {"COLUMNS": "120", "TURNBACK_PORT": str(free_port()), **env}
    command = ["doctor", "--data", str(data), "--url", url, *arguments]
    return CliRunner(env=env).invoke(cli.app, command)


def doctor(data, *, url=NOBODY, **env):
    """Return (what was found by code, all that was said, the exit code)."""
    told = run(data, "--json", url=url, **env)
    body = json.loads(told.stdout)
    assert told.exit_code == (0 if body["ok"] else 1)
    assert body["ok"] == (not any(f["status"] == "error" for f in body["findings"]))
    for finding in body["findings"]:
        assert finding["words"]
        assert finding["status"] == "ok" or finding["hint"], finding
    text = " ".join(f"{f['area']}: {f['words']} {f['hint']}" for f in body["findings"])
    return {f["code"]: f for f in body["findings"] if f["status"] != "ok"}, text, told.exit_code


def event(number, name, at, fields):
    when = at.isoformat().replace("+00:00", "Z")
    units = {"order_id": f"o{number}"}
    return {"id": f"{name}{number}", "name": name, "happened_at": when, "units": units} | {
        "fields": fields
    }


def lines(*events):
    return gzip.compress(b"\n".join(json.dumps(each).encode() for each in events))


def sent(it, *events, trust="server"):
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/x-ndjson"}
    headers |= {"X-Turnback-Trust": trust} if trust == "any" else {}
    answer = it.http.post("/api/v1/events", content=lines(*events), headers=headers)
    assert answer.json()["rejected"] == [], answer.text


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A service's folder after a while: one experiment that runs since five hours, with events."""
    data = tmp_path_factory.mktemp("installation") / "data"
    data.mkdir(mode=0o700)
    with running(data=data, demo_start=NOW - 5 * HOURS) as it:
        assert it.apply().is_success
        for number in range(4):
            at = NOW - 5 * HOURS + timedelta(minutes=number + 1)
            fields = {"experiment": KEY, "seed": 1}
            variant = "control"
            sent(it, event(number, "exposure", at, fields | {"variant": variant}))
            sent(it, event(number, "satisfaction_rated", at, {"score": 5}))
        to = (NOW - HOURS).isoformat().replace("+00:00", "Z")
        assert it.http.post("/api/v1/demo/clock", json={"to": to}).is_success
        sent(it, event(9, "satisfaction_rated", NOW - 2 * HOURS, {"score": 5}))
    return data


@pytest.fixture
def data(template, tmp_path):
    copied = tmp_path / "data"
    shutil.copytree(template, copied)
    copied.chmod(0o700)
    return copied


def digests(folder):
    return {
        p.relative_to(folder): (hashlib.sha256(p.read_bytes()).hexdigest(), p.stat().st_mtime_ns)
        for p in folder.rglob("*")
        if p.is_file()
    }


def test_a_healthy_installation_that_is_stopped_has_no_fault_and_nothing_is_touched(data):
    before = digests(data)
    found, text, code = doctor(data)
    assert found.keys() == {"no_service"}
    assert code == 0
    assert digests(data) == before
    assert "metric store: readable" in text
    shown = run(data).stdout.splitlines()
    assert shown[-1] == "1 warning"
    assert [line[:9] for line in shown if "answers at" in line] == ["warning  "]
    assert all(line.split()[0] in {"ok", "warning"} for line in shown[:-1] if line[0] != " ")
    narrow = run(data, COLUMNS="80").stdout.splitlines()
    assert max(len(line) for line in narrow if str(data) not in line) <= 80


def test_a_healthy_running_service_has_no_complaint(tmp_path):
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    with running(data=data, demo=False) as it:
        assert it.apply().is_success
        found, _, code = doctor(data, url=it.url)
        assert (found, code) == ({}, 0)
        assert run(data, "--quiet", url=it.url).stdout == "all is well\n"
        asleep = {"suspended": True, "reason": "a drill"}
        assert it.http.post("/api/v1/suspension", json=asleep).is_success
        found, text, code = doctor(data, url=it.url)
        assert (found.keys(), code) == ({"suspended"}, 1)
        assert 'turnback suspend --off --reason "..."' in text


def test_a_service_of_another_folder_is_not_taken_for_this_one(data, tmp_path, monkeypatch):
    mine = tmp_path / "mine"
    mine.mkdir(mode=0o700)
    monkeypatch.chdir(tmp_path)
    with running(data=mine, demo=False) as it:
        assert it.apply(SPEC.replace(KEY, "another-page")).is_success
        for folder in (data, tmp_path / "none", Path("turnback-data")):
            found, text, code = doctor(folder, url=it.url)
            assert "other_folder" in found, folder
            assert f"the service at {it.url} runs on other files than {folder}" in text
            assert "--data DIR" in text
            assert code == 0 or len(found) > 1
        with running(data=data, demo=False):  # both run, each on its own
            assert "other_folder" in doctor(data, url=it.url)[0]
        assert "other_folder" not in doctor(mine, url=it.url)[0]
        key = CliRunner().invoke(
            cli.app, ["keys", "create", "ops", "--scope", "admin", "--data", str(mine)]
        )
        assert key.exit_code == 0
        it.services.admission.look()
        found = doctor(data, url=it.url, TURNBACK_ADMIN_KEY="none-of-the-service's")[0]
        assert {"other_folder", "unauthorized"} <= found.keys()
        assert found["unauthorized"]["area"] == "experiments"


def test_of_a_store_that_cannot_be_read_nobody_says_whose_it_is(data, tmp_path):
    (data / STORE).write_bytes(b"no store")
    (data / CONTROL).unlink()
    with running(data=tmp_path / "mine", demo=False) as it:
        found = doctor(data, url=it.url)[0]
    assert "damaged_store" in found
    assert "other_folder" not in found


def test_the_stepped_clock_of_a_demo_is_not_late(tmp_path):
    with running() as it:
        assert it.apply().is_success
        to = {"to": (service.DEMO_START + 5 * HOURS).isoformat()}
        assert it.http.post("/api/v1/demo/clock", json=to).is_success
        assert it.http.get("/readyz").json()["demo"] is True
        assert "checks_late" not in doctor(tmp_path, url=it.url)[0]


def test_silence_at_an_address_that_was_set_is_a_fault():
    nobody = "http://127.0.0.1:9"
    done = CliRunner().invoke(cli.app, ["doctor", "--quiet"], env={"TURNBACK_URL": nobody})
    assert done.exit_code == 1
    assert f"no service answers at {nobody}" in done.stdout


def test_nothing_there_yet_is_no_fault(tmp_path):
    found, text, code = doctor(tmp_path / "none")
    assert (found.keys(), code) == ({"no_service"}, 0)
    assert "`turnback serve` makes it" in text


@pytest.mark.parametrize(
    ("env", "code", "words"),
    [
        ({"RETAIN": "1h"}, "bad_setting", "TURNBACK_RETAIN: must be a day or more"),
        ({"PORT": "many"}, "bad_setting", "TURNBACK_PORT"),
        ({"CHANNELS": "{"}, "bad_setting", "TURNBACK_CHANNELS: is no JSON"),
        ({"WEBHOOKS": "{"}, "bad_setting", "TURNBACK_WEBHOOKS: cannot be read as JSON"),
        ({"QUERIES": '{"q": "up"}'}, "bad_setting", "no Prometheus that answers them"),
        ({"PROMETEUS_URL": "x"}, "unknown_setting", "did you mean TURNBACK_PROMETHEUS_URL?"),
        ({"HOST": "0.0.0.0"}, "no_admin_key", "refusing to listen on 0.0.0.0 without keys"),  # noqa: S104
        ({"INGEST_KEY": SECRET}, "no_admin_key", "no admin key among those in force"),
        ({"ADMIN_KEY": "short"}, "short_key", "TURNBACK_ADMIN_KEY has fewer than 16"),
        (
            {"ADMIN_KEY": SECRET, "CLIENT_KEY": SECRET},
            "same_key",
            "one key stands for two scopes",
        ),
        ({"CATALOGUE": "/proc/none.yaml"}, "bad_catalogue", "none.yaml: cannot be read"),
        ({"SPECS": "/proc/none"}, "unreadable_file", "no such file or directory"),
    ],
)
def test_a_wrong_setting_is_found(data, env, code, words):
    found, text, _ = doctor(data, **{f"TURNBACK_{name}": value for name, value in env.items()})
    assert code in found
    assert words in text
    assert SECRET not in text


def test_spec_files_with_faults_are_found(data, tmp_path):
    specs = tmp_path / "specs"
    specs.mkdir()
    (specs / "a.yaml").write_text(SPEC.replace("satisfaction", "our_own"))
    (specs / "b.yaml").write_text("experiment: [\n")
    (specs / "c.yaml").write_text(SPEC + "notify: [pager]\n")
    found, text, code = doctor(data, TURNBACK_SPECS=str(specs))
    assert {"unknown_kpi", "invalid_spec", "unknown_channel"} <= found.keys()
    assert "there is no KPI `our_own`" in text
    assert "TURNBACK_CATALOGUE" in text
    assert code == 1


def test_a_kpi_that_left_the_catalogue_is_found_in_what_runs(data):
    with closing(sqlite3.connect(data / CONTROL)) as control, control:
        control.execute("UPDATE revision SET text = replace(text, 'satisfaction', 'our_own')")
    for left in data.glob(f"{CONTROL}-*"):
        left.unlink()
    found, text, _ = doctor(data)
    assert "unknown_kpi" in found
    assert f"{KEY} (spec.yaml):" in text


@pytest.mark.parametrize(("name", "code"), [(CONTROL, "damaged_control"), (STORE, "damaged_store")])
def test_a_damaged_file_is_found(data, name, code):
    path = data / name
    path.write_bytes(b"\x07" * path.stat().st_size)
    found, text, exit_code = doctor(data)
    assert code in found
    assert "one backup" in text
    assert exit_code == 1


def test_files_of_a_newer_version_are_found(data):
    with closing(sqlite3.connect(data / CONTROL)) as control, control:
        control.execute("UPDATE alembic_version SET version_num = '9999'")
    with closing(open_store(data / STORE)) as store:
        store._log._connection.execute("UPDATE meta SET value = '99' WHERE key = 'schema'")
    body = doctor(data)[1]
    assert "written by a newer version (revision 9999" in body
    assert "written by a newer version (schema 99" in body
    with closing(sqlite3.connect(data / CONTROL)) as control, control:
        control.execute("UPDATE alembic_version SET version_num = '0001'")
    assert "older_schema" in doctor(data)[0]


def test_a_store_without_its_control_plane_or_older_than_it_is_found(data):
    with closing(sqlite3.connect(data / CONTROL)) as control, control:
        control.execute("UPDATE evaluation SET watermark = 999")
    assert "older_store" in doctor(data)[0]
    for path in data.glob(f"{CONTROL}*"):
        path.unlink()
    assert "missing_control" in doctor(data)[0]


def test_files_that_others_may_read_are_found(data):
    data.chmod(0o755)
    (data / CONTROL).chmod(0o644)
    found, text, _ = doctor(data)
    assert "open_to_others" in found
    assert f"chmod 700 {data}" in text


def test_a_folder_that_cannot_be_written_and_a_full_disk_are_found(data, monkeypatch):
    monkeypatch.setattr(files, "_writable", lambda _: False)
    real = os.statvfs

    def full(path):
        told = real(path)
        return os.statvfs_result((*told[:3], 0, 0, *told[5:]))

    monkeypatch.setattr(os, "statvfs", full)
    found, text, code = doctor(data)
    assert {"read_only", "disk_full"} <= found.keys()
    assert "make room" in text
    assert code == 1


def test_a_file_in_the_place_of_the_folder_is_found(tmp_path):
    path = tmp_path / "file"
    path.touch()
    assert "no_folder" in doctor(path)[0]


def test_a_clock_far_behind_what_was_written_is_found(data):
    with closing(sqlite3.connect(data / CONTROL)) as control, control:
        control.execute("UPDATE transition SET at = '2099-01-01 00:00:00.000000'")
    found, text, _ = doctor(data)
    assert "clock_behind" in found
    assert "NTP" in text


def test_a_store_that_is_held_by_a_process_that_does_not_answer_is_found(data):
    with closing(open_store(data / STORE)):
        found, text, code = doctor(data)
    assert "held" in found
    assert "no service answers" in text
    assert code == 1


def test_a_killed_service_is_told_of_and_what_it_left_is_not_touched(data):
    (data / f"{STORE}.wal").write_bytes(b"")
    assert "ended_badly" not in doctor(data)[0]
    (data / f"{STORE}.mark").write_text("0123456789abcdef 00000000000000000099\n")
    assert "events_lost" not in doctor(data)[0]  # of another store
    with closing(open_store(data / STORE)) as store:
        token = store._log._first_opening()
    (data / f"{STORE}.mark").write_text(f"{token} 00000000000000000099\n")
    found, text, _ = doctor(data)
    assert "events_lost" in found
    assert "were acknowledged and are not in it" in text


def test_a_taken_port_is_found(data):
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = str(taken.getsockname()[1])
        found, text, _ = doctor(data, TURNBACK_PORT=port)
    assert "port_taken" in found
    assert f"port {port} of 127.0.0.1 cannot be used (address already in use)" in text


def test_a_prometheus_and_channels_that_nobody_reaches_are_found_and_no_secret_is_shown(data):
    at = f"127.0.0.1:{free_port()}"
    channels = {
        "ops": {"type": "webhook", "url": f"http://u:{SECRET}@{at}/{SECRET}"},
        "mail": {
            "type": "email",
            "host": "127.0.0.1",
            "port": int(at.rpartition(":")[2]),
            "from": "a@example.com",
            "to": ["b@example.com"],
            "security": "none",
        },
        "am": {"type": "alertmanager", "urls": [f"http://{at}/"]},
    }
    found, text, code = doctor(
        data,
        TURNBACK_PROMETHEUS_URL=f"http://u:{SECRET}@{at}",
        TURNBACK_CHANNELS=json.dumps(channels),
    )
    assert {"prometheus_unreachable", "channel_refused"} <= found.keys()
    for name in channels:
        assert f"channels: {name} (" in text
    assert f"no connection to {at} (connection refused)" in text
    assert SECRET not in text
    assert code == 1


def test_a_prometheus_that_refuses_a_query_is_found(data):
    answers = Thread(target=lambda: None)
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:

        def answer():
            good = (
                b'{"status":"success","data":{"resultType":"matrix",'
                b'"result":[{"metric":{},"values":[[1,"1"]]}]}}'
            )
            bad = b'{"status":"error","error":"parse error: unexpected }"}'
            empty = b'{"status":"success","data":{"resultType":"matrix","result":[]}}'
            for status, body in ((200, good), (400, bad), (200, empty)):
                with listening.accept()[0] as connection:
                    asked = b""
                    while b"timeout=" not in asked:
                        asked += connection.recv(65_536)
                    head = f"HTTP/1.1 {status} x\r\nConnection: close\r\nContent-Length: "
                    connection.sendall(head.encode() + f"{len(body)}\r\n\r\n".encode() + body)

        answers = Thread(target=answer, daemon=True)
        answers.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        queries = json.dumps({"bad": "rate(}", "none": "absent_one"})
        found, text, _ = doctor(data, TURNBACK_PROMETHEUS_URL=url, TURNBACK_QUERIES=queries)
    answers.join(5)
    assert {"query_refused", "query_empty"} <= found.keys()
    assert "the query bad: Prometheus refused the query (400): parse error" in text


def without_store(data):
    """Remove the store of a folder, its log, its mark and its totals."""
    for left in data.glob(f"{STORE}*"):
        shutil.rmtree(left) if left.is_dir() else left.unlink()


@pytest.mark.parametrize(
    ("names", "trust", "code", "words"),
    [
        ([], "server", "no_exposures", "and no unit ever entered it"),
        (["exposure"], "server", "events_missing", "nothing came in a day"),
        (
            ["exposure", "satisfaction_rated"],
            "any",
            "public_key",
            "`satisfaction_rated` came with a client key alone",
        ),
        (["exposure", "satisfaction_rated"], "server", None, "none was blind"),
    ],
)
def test_events_that_never_come_or_come_with_the_wrong_key_are_found(
    data, names, trust, code, words
):
    fields = {
        "exposure": {"experiment": KEY, "seed": 1, "variant": "control"},
        "satisfaction_rated": {"score": 4},
        "order_placed": {"amount": 1},
    }
    with closing(sqlite3.connect(data / CONTROL)) as control, control:
        control.execute("UPDATE evaluation SET watermark = 0")
        control.execute("UPDATE experiment SET watermark = 0")
        control.execute("DELETE FROM monitor")
    without_store(data)
    at = NOW - HOURS - timedelta(minutes=30)
    events = [event(1, name, at, fields[name]) for name in (*names, "order_placed")]
    chosen = service.Settings(data=data, demo=True, demo_start=NOW - HOURS)
    services = service.build(chosen)
    try:
        services.events.take(events, trusted=trust == "server")
        services.flush()
    finally:
        services.close()
    found, text, _ = doctor(data)
    assert words in text
    assert found.keys() - {"no_service"} == ({code} if code else set())


def test_beside_a_service_events_with_a_client_key_are_told_from_missing_ones(tmp_path):
    with running() as it:
        assert it.apply().is_success
        at = service.DEMO_START
        rated = {"name": "satisfaction_rated", "fields": {"score": 4}}
        first, second = (
            rated | {"id": f"r{n}", "unit": f"u{n}", "happened_at": at.isoformat()} for n in (1, 2)
        )
        answer = it.http.post("/api/v1/events", json=[first], headers={"X-Turnback-Trust": "any"})
        assert answer.json()["accepted"] == 1
        (came,) = it.http.get("/api/v1/received").json()["received"]
        assert (came["name"], came["server"], came["client"]) == ("satisfaction_rated", 0, 1)
        found, text, code = doctor(tmp_path, url=it.url)
        assert "`satisfaction_rated` came with a client key alone" in text
        assert "--scope ingest" in text
        assert "public_key" in found
        assert "events_missing" not in found
        assert code == 1
        assert it.http.post("/api/v1/events", json=[second, second]).is_success
        assert it.http.get("/api/v1/received").json()["received"][0]["server"] == 2
        found, _, _ = doctor(tmp_path, url=it.url)
        assert "public_key" not in found


def test_invented_names_of_events_fill_no_memory():
    counts = EventCounts()
    counts.came(
        [Event(f"e{n}", f"n{n}", NOW, {}, {}, trusted=False) for n in range(MOST_NAMES + 9)]
    )
    counts.came([Event("x", "n0", NOW, {}, {}, trusted=True)])
    assert len(counts.by_name) == MOST_NAMES
    assert counts.by_name["n0"] == Received(server=1, client=1)


def test_a_blind_guardrail_and_failing_messages_and_a_suspension_are_found(data):
    with closing(sqlite3.connect(data / CONTROL)) as control, control:
        control.execute(
            "UPDATE monitor SET outcome = 'no_data', blind_since = '2026-01-05 10:00:00', "
            "finding = '{\"words\": \"events stopped\"}' WHERE guardrail = 'satisfaction'"
        )
        control.execute(
            "INSERT INTO suspension (suspended, at, actor, reason) "
            "VALUES (1, '2026-01-05 10:00:00', 'ann', 'the store moves')"
        )
        control.execute(
            "INSERT INTO outbox (key, channel, experiment, created_at, due_at, attempts, "
            "last_error, body) VALUES ('k', 'ops', 'x', '2026-01-05 10:00:00', "
            "'2026-01-05 10:00:00', 3, 'refused', '{}')"
        )
    found, text, _ = doctor(data)
    assert {"blind", "suspended", "messages_failing"} <= found.keys()
    assert f"{KEY}: satisfaction of treatment: events stopped, since 2026-01-05 10:00 UTC" in text
    assert "suspended by ann: the store moves" in text
    assert "messages to ops: 1 waiting, 0 given up within a day: refused" in text


def test_a_running_service_tells_of_experiments_without_units_and_of_another_version(
    tmp_path, monkeypatch
):
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    with running(data=data, demo_start=NOW - 9 * HOURS) as it:
        assert it.apply().is_success
        to = (NOW - HOURS).isoformat().replace("+00:00", "Z")
        assert it.http.post("/api/v1/demo/clock", json={"to": to}).is_success
        monkeypatch.setattr("console.doctor.reach.build_version", lambda: "0.0.0")
        found, text, code = doctor(data, url=it.url)
    assert {"no_exposures", "other_version"} <= found.keys()
    assert f"{KEY} runs since" in text
    assert code == 1


def test_where_something_else_answers_it_is_said():
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:

        def answer():
            for _ in range(1):
                with listening.accept()[0] as connection:
                    connection.recv(65_536)
                    connection.sendall(b"HTTP/1.1 200 x\r\nContent-Length: 2\r\n\r\nhi")

        thread = Thread(target=answer, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        found, text, _ = doctor(Path("/proc/none"), url=url)
        thread.join(5)
    assert "not_turnback" in found
    assert "answered, but not as Turnback does" in text


def test_the_port_of_the_address_that_is_asked_is_tried_where_no_setting_says_another(monkeypatch):
    monkeypatch.delenv("TURNBACK_PORT", raising=False)
    free = free_port()
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        (found,) = _port(Settings(), f"http://127.0.0.1:{free}")
        assert (found.code, f"port {free} of 127.0.0.1 is free" in found.words) == ("ok", True)
        (found,) = _port(Settings(port=port), f"http://127.0.0.1:{free}")
        assert found.code == "port_taken"
        (found,) = _port(Settings(port=free), "https://turnback.example:99999")
        assert found.code == "ok"
