"""A process that has everything imported and forks services, so that 200 lives take minutes.

Run as ``python nursery.py FAULT``; each line on stdin is a JSON object of settings and starts one
service, whose process id is printed. ``FAULT`` names a defect to plant, or is ``none``: a test
that cannot notice a planted defect proves nothing.
"""

import json
import os
import signal
import sys
from concurrent.futures import Future
from contextlib import suppress

import duckdb
import numpy as np
import pyarrow as pa
import uvicorn

import service
from console import dashboard
from metrics.ingest import Ingest
from metrics.store import Appended

_ = (duckdb, np, pa, uvicorn)  # imported once for every life


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


FAULTS = {"none": lambda: None, "acknowledge-early": acknowledge_early, "forget-ids": forget_ids}


def live(settings):
    """Run one service in this process until it is killed."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    service.serve(service.Settings(**settings), pages=[dashboard.attach])


def main():
    """Fork a service for every line."""
    FAULTS[sys.argv[1]]()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the dead are not waited for
    for line in sys.stdin:
        settings = json.loads(line)
        child = os.fork()
        if child == 0:
            with suppress(KeyboardInterrupt):
                live(settings)
            os._exit(0)
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
