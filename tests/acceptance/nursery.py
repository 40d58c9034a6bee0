"""A process that has everything imported and forks services, so that 200 lives take minutes.

Run as ``python nursery.py FAULT``; each line on stdin is a JSON object, sets the variables of its
``environment`` and starts one ``turnback serve``, whose process id is printed. ``FAULT`` names
defects to plant, with commas between, or is ``none``, and ``fault`` in the object those of one
service: a test that cannot notice a planted defect proves nothing.
"""

import gc
import importlib
import json
import os
import signal
import sys
import time
from concurrent.futures import Future
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import uvicorn

import service
from console import cli, dashboard
from guardrails import assembly
from guardrails.failpoints import Point, reached
from metrics.ingest import Ingest
from metrics.store import Appended, StoreError

_ = (dashboard, duckdb, np, pa, uvicorn)  # imported once for every life
with suppress(ImportError):
    importlib.import_module("pandas")  # by which values are recognised, where it is installed


def acknowledge_early():
    """Plant an ingest that answers before the store has written."""

    def submit(self, events):
        real(self, events)
        early = Future()
        early.set_result(Appended(len(events), 0, (), 0))
        return early

    real, Ingest.submit = Ingest.submit, submit


def forget_ids():
    """Plant a store that takes every event for a new one."""
    from metrics.stores.duckdb import DuckDBMetricStore

    DuckDBMetricStore._known = lambda *_: {}


def split_commit():
    """Plant a check that is recorded in one transaction and acts in another."""
    from guardrails import storing

    def act(session, *args, **options):
        session.flush()
        connection = session.connection()
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        return real(session, *args, **options)

    real, storing.act = storing.act, act


def mark_first():
    """Plant a delivery that marks a message as told before it is told."""
    from guardrails import outbox

    def deliver(control, name, send, waiting, *, now, hurry):
        with control.transaction() as session:
            outbox.mark_message(session, waiting.id, attempts=1, delivered_at=now())
        reached(Point.BEFORE_DELIVERY)
        send(waiting)
        reached(Point.DELIVERED)
        return "delivered", False

    outbox._deliver = deliver


def new_key_each_time():
    """Plant messages that get another key whenever they are told."""
    from guardrails.channels import webhook

    real = webhook.visible_key
    webhook.visible_key = lambda key: f"{real(key)}#{os.getpid()}"


def impatient():
    """Shorten every wait, so that what comes after it is seen sooner."""
    from experiments import database
    from guardrails import prometheus
    from guardrails.channels import webhook

    def post(*given, timeout, **options):
        real(*given, timeout=timedelta(seconds=0.3), **options)

    database.BUSY_SECONDS = 1.0
    real, webhook.post = webhook.post, post
    assembly.PrometheusClient = partial(prometheus.PrometheusClient, timeout=0.5)


def unreachable_store():
    """Let the metric store fail as long as there is a file ``unreachable`` beside its folder."""
    from metrics.stores.duckdb import DuckDBMetricStore

    def failing(name):
        real = getattr(DuckDBMetricStore, name)

        def method(self, *args, **options):
            if (Path(self._log.path).parent.parent / "unreachable").exists():
                raise StoreError("the metric store cannot be reached (connection refused)")
            return real(self, *args, **options)

        setattr(DuckDBMetricStore, name, method)

    for name in ("append", "snapshot", "exposure_counts", "exposed_units", "quarantine"):
        failing(name)


def fast_clock():
    """Let the clock start at ``CLOCK_FROM`` and run ``CLOCK_RATE`` times as fast, where set."""

    class Fast:
        def __init__(self):
            self._from = datetime.fromisoformat(os.environ["CLOCK_FROM"])
            self._rate = float(os.environ["CLOCK_RATE"])
            self._begun = time.monotonic()

        def now(self):
            return self._from + self._rate * timedelta(seconds=time.monotonic() - self._begun)

    usual = service.SystemClock
    service.SystemClock = lambda: Fast() if "CLOCK_FROM" in os.environ else usual()


FAULTS = {
    "none": lambda: None,
    "impatient": impatient,
    "unreachable-store": unreachable_store,
    "fast-clock": fast_clock,
    "acknowledge-early": acknowledge_early,
    "forget-ids": forget_ids,
    "split-commit": split_commit,
    "mark-first": mark_first,
    "new-key-each-time": new_key_each_time,
}


def plant(faults):
    """Plant defects by name."""
    for fault in faults.split(","):
        FAULTS[fault]()


def live(settings):
    """Run one service in this process until it is killed."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    plant(settings["fault"])
    os.environ.update(settings["environment"])
    sys.argv = ["turnback", "serve"]
    cli.main()


def main():
    """Fork a service for every line."""
    plant(sys.argv[1])
    gc.freeze()  # what a life never changes is neither searched nor copied by it
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the dead are not waited for
    for line in sys.stdin:
        settings = json.loads(line)
        child = os.fork()
        if child == 0:
            with suppress(KeyboardInterrupt, SystemExit):
                live(settings)
            os._exit(0)
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
