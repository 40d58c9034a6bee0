"""The real service behind a real socket, for tests that speak HTTP."""

import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

import httpx
from fastapi import FastAPI

import service
from console import dashboard

KEY = "cancel-page"
SPEC = """\
experiment: cancel-page
title: Cancel page
unit: order_id
variants:
  control: {weight: 50%, flow: {steps: [confirm]}}
  treatment: {weight: 50%, flow: {steps: [why, confirm]}}
guardrails:
  - {kpi: satisfaction, max_drop: 3%}
ends: {after: 10d, observe_for: 1d}
check_every: 1h
expect_units: 50000
"""
START = service.DEMO_START


@dataclass(frozen=True)
class Running:
    url: str
    services: service.Services
    http: httpx.Client
    app: FastAPI

    def apply(self, text=SPEC, **kwargs):
        return self.http.post("/api/v1/experiments?source=spec.yaml", content=text, **kwargs)

    def act(self, action, *, key=KEY, variant=None, reason="a test"):
        body = {"action": action, "reason": reason}
        body |= {"variant": variant} if variant else {}
        return self.http.post(f"/api/v1/experiments/{key}/actions", json=body)

    def evaluate(self, unit, *, key=KEY, **kwargs):
        body = {"context": {"targetingKey": unit}}
        return self.http.post(f"/ofrep/v1/evaluate/flags/{key}", json=body, **kwargs)

    def unit_of(self, variant, *, key=KEY):
        """Return the first unit that the hash gives to a variant."""
        compiled = self.services.engine.serving().experiments[key]
        return next(
            unit
            for unit in map("unit-{}".format, range(1000))
            if compiled.assign({"targetingKey": unit}).assigned == variant
        )


@contextmanager
def running(**settings) -> Iterator[Running]:
    """Run a service until the block ends; in demo mode unless told otherwise."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {"data": Path(folder), "demo": True, "exposure_flush_ms": 20, **settings}
        chosen = service.Settings(**settings)
        built = service.build(chosen)
        app = service.create_app(chosen, services=built, pages=[dashboard.attach])
        server = service.server(app, chosen)
        listening = socket.create_server(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        thread = Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            with httpx.Client(base_url=url, timeout=20) as http:
                yield Running(url, built, http, app)
        finally:
            server.should_exit = True
            thread.join(20)
        assert not thread.is_alive(), "the service did not stop"
