"""Real faults around a real ``turnback serve``: what happens, what does not, and where it shows.

Each fault of the design's table is caused, not pretended: a file-size limit put on the running
process, a lock held by another one, ports nobody listens on, a process that is stopped by a
signal. Only the unreachable metric store is a store that says so, and a clock that goes back is
one that is injected. Waits are shortened by default and full in the acceptance tier; ten minutes
without a process are one second of a clock that runs 600 times as fast.
"""

import contextlib
import json
import os
import re
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from datetime import timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import duckdb
import httpx
import pytest

from tests.harm import BREACH, HOUR, KEY, LATER, SPEC, START, UNITS, arms, story
from tests.lives import Life, nursery
from tests.receiver import receiving
from tests.running import running

MINUTE = timedelta(minutes=1)


class Lab:
    """Services on copies of one prepared folder, each with a receiver of its messages."""

    def __init__(self, folder, forked, receiver):
        self.folder, self.nursery, self.receiver = folder, forked, receiver

    def life(self, name, at=START, *, fresh=False, **settings):
        data = self.folder / name / "data"
        if not data.exists() and not fresh:
            shutil.copytree(self.folder / "before", data)
        data.parent.mkdir(exist_ok=True)
        if "clock" not in settings:
            settings |= {"demo": "1", "demo_start": at.isoformat()}
        hook = {"ops": f"{self.receiver.url}/{name}"}
        life = Life(self.nursery, data, webhooks=json.dumps(hook), **settings)
        assert life.ready()
        return life


@contextlib.contextmanager
def lab_of(folder, fault):
    with nursery(folder, fault) as forked, receiving() as receiver:
        it = Lab(folder, forked, receiver)
        life = Life(forked, folder / "before", demo="1", demo_start=START.isoformat())
        assert life.ready()
        assert life.http.post("/api/v1/experiments", content=SPEC).is_success
        assert life.http.post("/api/v1/events", json=list(story())).is_success
        life.end(signal.SIGTERM)
        yield it


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Services that wait shorter than real ones."""
    faults = "impatient,unreachable-store,fast-clock"
    with lab_of(tmp_path_factory.mktemp("lab"), faults) as it:
        yield it


@contextlib.contextmanager
def living(*args, **options):
    life = args[0].life(*args[1:], **options)
    try:
        yield life
    finally:
        life.end(signal.SIGTERM)


def served(life):
    """Return what a unit of the treatment is served, and why."""
    asked = {"context": {"targetingKey": arms()[1][0]}}
    answer = life.http.post(f"/ofrep/v1/evaluate/flags/{KEY}", json=asked).json()
    return answer["variant"], answer["reason"]


TURNED_BACK = ("control", "DISABLED")
NOT_YET = ("treatment", "SPLIT")


def checks(life, result):
    return life.series("turnback_checks_total", result=result)


def limit_files(life, size):
    """Let no file of the process grow beyond a size: to it the disk is full."""
    resource.prlimit(life.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def wals(life):
    names = ("control.db-wal", "metrics.duckdb.wal")
    return [(life.data / name).stat().st_size for name in names if (life.data / name).exists()]


def test_on_a_full_disk_no_decision_is_half_written_and_none_is_lost(lab):
    with living(lab, "full-control") as life:
        assert served(life) == NOT_YET
        limit_files(life, (life.data / "control.db-wal").stat().st_size)
        assert life.move(BREACH)
        assert checks(life, "error") == 1
        assert re.search("checks fail since .* the control plane cannot be used", life.status(KEY))
        assert served(life) == NOT_YET  # from memory
        assert lab.receiver.keys("/full-control") == []
        limit_files(life, resource.RLIM_INFINITY)
        assert life.move(BREACH)
        assert (served(life), checks(life, "ok")) == (TURNED_BACK, 1)
        assert "checks fail" not in life.status(KEY)
        assert len(lab.receiver.keys("/full-control")) == 1


def bulk(number):
    """Return events that take room on a disk."""
    return [
        {
            "id": f"bulk-{number}-{each}",
            "name": "page_seen",
            "happened_at": START.isoformat(),
            "units": {"order_id": f"bulk-{number}-{each}"},
            "fields": {"text": os.urandom(1000).hex()},
        }
        for each in range(100)
    ]


def test_on_a_full_disk_events_are_refused_and_treatments_still_turned_back(lab):
    with living(lab, "full-store") as life:
        limit_files(life, max(wals(life)) + 2**20)
        for number in range(50):
            answer = life.http.post("/api/v1/events", json=bulk(number))
            if answer.status_code != 200:
                break
        assert answer.status_code == 503
        assert answer.headers["Retry-After"].isdecimal()
        assert life.series("turnback_events_total", result="refused") == 1
        assert "events are refused since 2026-01-05 00:00 UTC" in life.status(KEY)
        assert life.move(BREACH)
        assert served(life) == TURNED_BACK
        limit_files(life, resource.RLIM_INFINITY)
        again = life.http.post("/api/v1/events", json=bulk(number)).json()
        assert again["accepted"] + again["duplicates"] == 100
        assert "events are refused" not in life.status(KEY)
    with duckdb.connect(str(life.data / "metrics.duckdb"), read_only=True) as store:
        rows = store.execute("SELECT count(*), count(DISTINCT id) FROM events").fetchone()
    assert rows == (100 * (number + 1) + 6 * UNITS + 30,) * 2


def while_locked(lab, name):
    """Lock the control plane until a check has given up; return how long that took."""
    with living(lab, name) as life:
        with contextlib.closing(sqlite3.connect(life.data / "control.db")) as other:
            other.execute("BEGIN IMMEDIATE")
            begun = time.monotonic()
            ringing = threading.Thread(target=life.move, args=(BREACH,))
            ringing.start()
            assert served(life) == NOT_YET  # nobody waits for the lock but who writes
            assert life.http.get("/readyz").status_code == 200
            assert life.http.get("/metrics").status_code == 200
            ringing.join()
            waited = time.monotonic() - begun
            assert checks(life, "error") == 1
            assert "database is locked" in life.status(KEY)
            assert served(life) == NOT_YET
            other.rollback()
        assert life.move(BREACH)
        assert (served(life), checks(life, "ok")) == (TURNED_BACK, 1)
        assert "database is locked" not in life.status(KEY)
        assert len(lab.receiver.keys(f"/{name}")) == 1
    return waited


def test_a_locked_control_plane_delays_a_check_and_no_answer(lab):
    assert while_locked(lab, "locked") >= 1


def test_a_check_waits_for_a_short_lock(lab):
    with living(lab, "briefly-locked") as life:
        with contextlib.closing(sqlite3.connect(life.data / "control.db")) as other:
            other.execute("BEGIN IMMEDIATE")
            ringing = threading.Thread(target=life.move, args=(BREACH,))
            ringing.start()
            ringing.join(0.3)
            other.rollback()
        ringing.join()
        assert (served(life), checks(life, "error")) == (TURNED_BACK, 0)


def test_without_the_metric_store_nobody_is_turned_back_and_assignment_goes_on(lab):
    with living(lab, "no-store") as life:
        fault = life.data.parent / "unreachable"
        fault.touch()
        for instant in (BREACH, LATER):
            assert life.move(instant)
        assert checks(life, "error") == 2
        labels = {"experiment": KEY, "guardrail": "cancel_success_rate"}
        assert life.series("turnback_guardrail_outcome", outcome="error", **labels) == 1
        assert life.series("turnback_guardrail_blind_seconds", **labels) == 3600
        assert "blind since 2026-01-05 02:00 UTC" in life.status(KEY)
        assert served(life) == NOT_YET
        refused = life.http.post("/api/v1/events", json=bulk(0))
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
        assert not [k for k in lab.receiver.keys("/no-store") if k.startswith("rolled_back")]
        fault.unlink()
        assert life.http.post("/api/v1/events", json=bulk(0)).json()["accepted"] == 100
        assert life.move(LATER + HOUR)
        assert served(life) == TURNED_BACK
        assert life.series("turnback_guardrail_blind_seconds", **labels) == 0


QUERIES = {
    "empty": 'no_such_series{variant="$variant"}',
    "nan": 'label_replace(vector(0) / 0, "variant", "$variant", "", "")',
    "several": 'label_replace(vector(5), "a", "$variant", "", "") or '
    'label_replace(vector(5), "a", "other", "", "")',
}
QUERY_SPEC = """\
experiment: exp
unit: order_id
variants:
  control: {weight: 50%}
  treatment: {weight: 50%}
ramp:
  - {traffic: 50%, hold: 3m}
  - {traffic: 100%}
guardrails:
  - {kpi: satisfaction, max_drop: 5%}
QUERIES
ends: {after: 10d, observe_for: 1d}
check_every: 1m
notify: [ops]
"""


def query_spec(*names):
    entries = [f"  - {{rule: promql, query: {name}, max: 1, hold: 2m}}" for name in names]
    return QUERY_SPEC.replace("QUERIES", "\n".join(entries))


@contextlib.contextmanager
def answering(port=0):
    """Speak as much of Prometheus' API as one query needs, with the answers of ``QUERIES``."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            query = form["query"][0]
            start, end, step = (float(form[name][0]) for name in ("start", "end", "step"))
            times = [start + step * k for k in range(int((end - start) / step) + 1)]
            value = "NaN" if "vector(0) / 0" in query else "5"
            series = 0 if "no_such" in query else 2 if " or " in query else 1
            result = [
                {"metric": {"a": str(k)}, "values": [[at, value] for at in times]}
                for k in range(series)
            ]
            data = {"resultType": "matrix", "result": result}
            body = json.dumps({"status": "success", "data": data}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(20)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def real_prometheus(folder):
    """Run Debian's Prometheus without any data."""
    if shutil.which("prometheus") is None:
        pytest.skip("prometheus is not installed")
    port = free_port()
    (folder / "prometheus.yml").write_text("global: {scrape_interval: 1m}\n")
    command = [
        "prometheus",
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/prometheus-data",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{url}/-/ready").status_code == 200:
                    break
            time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=20)


def minutes(life, first, last):
    for number in range(first, last + 1):
        assert life.move(START + number * MINUTE)


@pytest.mark.parametrize("source", ["a small server", "Prometheus"])
def test_a_wrong_answer_of_prometheus_is_an_error_and_never_a_verdict(lab, source, tmp_path):
    real = source == "Prometheus"
    name = f"wrong-answers-{real}"
    with (
        real_prometheus(tmp_path) if real else answering() as url,
        living(lab, name, fresh=True, queries=json.dumps(QUERIES), prometheus_url=url) as life,
    ):
        assert life.http.post("/api/v1/experiments", content=query_spec(*QUERIES)).is_success
        minutes(life, 1, 6)
        view = life.http.get(f"/api/v1/experiments/{KEY}").json()
        found = {g["guardrail"]: g for g in view["guardrails"]}
        assert {found[q]["outcome"] for q in QUERIES} == {"error"}
        words = {"empty": "answers nothing", "nan": "no number", "several": "2 series"}
        wrong = {q: found[q]["words"] for q in QUERIES if words[q] not in found[q]["words"]}
        assert wrong == {}
        assert (view["step"], {v["state"] for v in view["variants"]}) == (0, {"control", "live"})
        for query in QUERIES:
            blind = [each for each in life.status(KEY).splitlines() if ": blind since" in each]
            assert any(query in each for each in blind)
            labels = {"experiment": KEY, "guardrail": query}
            assert life.series("turnback_guardrail_blind_seconds", **labels) >= 240
            assert life.series("turnback_guardrail_outcome", outcome="error", **labels) == 1
        told = {each.body["kind"] for each in lab.receiver.got if each.path == f"/{name}"}
        assert told == {"blind"}


def test_without_prometheus_the_ramp_holds_people_are_told_and_later_it_acts(lab):
    port = free_port()
    queries = json.dumps({"high": 'high{variant="$variant"}'})
    url = f"http://127.0.0.1:{port}"
    with living(lab, "down", fresh=True, queries=queries, prometheus_url=url) as life:
        assert life.http.post("/api/v1/experiments", content=query_spec("high")).is_success
        minutes(life, 1, 6)
        labels = {"experiment": KEY, "guardrail": "high"}
        assert life.series("turnback_guardrail_outcome", outcome="error", **labels) == 1
        assert life.series("turnback_guardrail_blind_seconds", **labels) >= 240
        assert "Prometheus cannot be reached" in life.status(KEY)
        view = life.http.get(f"/api/v1/experiments/{KEY}").json()
        assert (view["step"], {v["state"] for v in view["variants"]}) == (0, {"control", "live"})
        assert len(lab.receiver.keys("/down")) == 1
        with answering(port):
            time.sleep(0.2)
            minutes(life, 7, 8)
            assert life.series("turnback_rollbacks_total", experiment=KEY) == 1
            assert life.series("turnback_guardrail_blind_seconds", **labels) == 0


def deliveries(life):
    results = ("delivered", "retry", "given_up")
    return [
        int(life.series("turnback_notifications_total", channel="ops", result=r)) for r in results
    ]


@contextlib.contextmanager
def answered_with(lab, *statuses):
    lab.receiver.statuses = list(statuses)
    try:
        yield
    finally:
        lab.receiver.statuses = [200]


def test_a_webhook_that_fails_is_tried_again_with_the_same_key(lab):
    with living(lab, "failing") as life, answered_with(lab, 500, 503, 200):
        assert life.move(BREACH)
        assert served(life) == TURNED_BACK
        assert deliveries(life) == [0, 1, 0]
        for hour in (1, 2, 3):
            assert life.move(BREACH + hour * HOUR)
        assert deliveries(life) == [1, 2, 0]
    keys = lab.receiver.keys("/failing")
    assert (len(keys), len(set(keys))) == (3, 1)


def test_a_webhook_that_refuses_is_given_up_and_the_rollback_stands(lab):
    with living(lab, "refusing") as life, answered_with(lab, 404):
        assert life.move(BREACH)
        assert life.move(LATER)
        assert served(life) == TURNED_BACK
        assert deliveries(life) == [0, 0, 1]
        until(
            lambda: "1 message to ops could not be told" in life.status(KEY)
        )  # asked now and then
        assert len(lab.receiver.keys("/refusing")) == 1


def without_an_answer(lab, name):
    lab.receiver.hang.set()
    lab.receiver.released.clear()
    with living(lab, name) as life:
        begun = time.monotonic()
        assert life.move(BREACH)
        waited = time.monotonic() - begun
        assert served(life) == TURNED_BACK
        assert deliveries(life) == [0, 1, 0]
        lab.receiver.hang.clear()
        lab.receiver.released.set()
        assert life.move(LATER)
        assert deliveries(life) == [1, 1, 0]
    assert len(set(lab.receiver.keys(f"/{name}"))) == 1
    return waited


def test_a_webhook_that_does_not_answer_is_tried_again(lab):
    assert without_an_answer(lab, "hanging") >= 0.3


def test_a_clock_set_back_an_hour_checks_nothing_twice_and_says_so():
    with running() as it:
        it.http.post("/api/v1/experiments", content=SPEC.replace("1h", "30m"))
        it.http.post("/api/v1/events", json=list(story()))
        move = partial(moved, it)
        move(START + HOUR)
        it.services.clock._now = START  # what a stepped clock refuses, another may do
        assert it.services.engine.run_due() == ()
        assert "before the newest check" in " ".join(it.services.engine.experiment(KEY).attention)
        newest = series(it, "turnback_last_check_timestamp_seconds")
        assert newest == (START + HOUR).timestamp()
        assert it.evaluate(arms()[1][0], key=KEY).json()["variant"] == "treatment"
        move(BREACH)
        assert it.services.engine.experiment(KEY).attention == ()
        assert it.evaluate(arms()[1][0], key=KEY).json()["variant"] == "control"
        assert it.services.engine.experiment(KEY).checks == 2


def test_a_clock_set_forward_a_day_turns_nobody_back_without_proof_and_people_may_act():
    with running() as it:
        healthy = [e for e in story() if e["name"] == "exposure"]
        it.http.post("/api/v1/experiments", content=SPEC)
        it.http.post("/api/v1/events", json=healthy)
        moved(it, START + HOUR)
        moved(it, START + 25 * HOUR)
        view = it.services.engine.experiment(KEY)
        assert (view.state, view.checks) == ("running", 2)
        assert series(it, "turnback_checks_missed_total") == 23
        assert series(it, "turnback_rollbacks_total") == 0
        it.services.clock._now = START + 2 * HOUR  # set right again
        assert it.services.engine.run_due() == ()
        said = " ".join(it.services.engine.experiment(KEY).attention)
        assert "nothing is due until it has caught up" in said
        assert it.act("roll_back", key=KEY, variant="treatment").is_success
        assert it.evaluate(arms()[1][0], key=KEY).json()["variant"] == "control"


def moved(it, instant):
    answer = it.http.post("/api/v1/demo/clock", json={"to": instant.isoformat()})
    assert answer.is_success


def series(it, name):
    lines = it.http.get("/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith(name)).rpartition(" ")[2])


FAST = 600
"""Ten minutes in a second."""


def test_a_process_paused_for_ten_minutes_counts_what_it_missed_and_goes_on(lab):
    settings = {"clock": (START + 10 * MINUTE, FAST), "ring_seconds": "0.02"}
    with living(lab, "paused", **settings) as life:
        often = SPEC.replace("check_every: 1h", "check_every: 1m")
        assert life.http.post("/api/v1/experiments", content=often).is_success
        until(lambda: checks(life, "ok") >= 2)
        life.send(signal.SIGSTOP)
        time.sleep(1.0)  # ten minutes of its clock
        life.send(signal.SIGCONT)
        until(lambda: served(life) == TURNED_BACK)
        until(lambda: lab.receiver.keys("/paused"))
        assert life.series("turnback_checks_missed_total") >= 9
        assert re.search(r"checks of exp were due before .* and none ran", life.status(KEY))
        assert checks(life, "error") == 0
    with contextlib.closing(sqlite3.connect(life.data / "control.db")) as control:
        longest, ticks, instants = control.execute(
            "SELECT max(missed), count(*), count(DISTINCT at) FROM evaluation"
        ).fetchone()
        back = control.execute("SELECT count(*) FROM transition WHERE after = 'rolled_back'")
        assert back.fetchone() == (1,)
    assert (longest >= 9, ticks) == (True, instants)
    assert len(set(lab.receiver.keys("/paused"))) == 1


def until(true, *, within=60):
    deadline = time.monotonic() + within
    while not true():
        assert time.monotonic() < deadline, "it never came to this"
        time.sleep(0.02)


@pytest.mark.acceptance(cores=0.5)
def test_with_real_waits_a_lock_of_thirty_seconds_and_a_silent_webhook_lose_nothing(
    tmp_path, record_property
):
    with lab_of(tmp_path, "none") as patient:
        waited = while_locked(patient, "locked")
        assert 29 <= waited < 60
        record_property("seconds a check waited for a locked control plane", round(waited, 1))
        waited = without_an_answer(patient, "hanging")
        assert 4.9 <= waited < 30
        record_property("seconds a message waited for a silent webhook", round(waited, 1))
