"""A query turned into a rollback by a real Prometheus, whose samples are written beforehand."""

import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from experiments.database import ControlPlane
from guardrails.clock import SteppedClock
from guardrails.engine import Engine
from guardrails.outcome import Code, Outcome
from guardrails.prometheus import PrometheusClient
from guardrails.settings import EngineSettings, QueryError
from metrics.cells import Reach, Snapshot

T = datetime(2026, 3, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SPEC = """\
experiment: refunds
unit: order_id
variants:
  control: {weight: 50%}
  three_step: {weight: 25%}
  coupon: {weight: 25%}
guardrails:
  - {kpi: satisfaction, max_drop: 3%}
  - {rule: promql, query: refund_p99, max: 0.8, hold: 5m}
  - {rule: promql, query: orders, min: 1, hold: 5m}
  - {rule: promql, query: every_pod, max: 1, hold: 5m, action: alert}
  - {rule: promql, query: never_seen, max: 1, hold: 5m, action: alert}
  - {rule: promql, query: nonsense, max: 1, hold: 5m, action: alert}
ends: {after: 10d, observe_for: 1d}
check_every: 1m
"""
QUERIES = {
    "refund_p99": 'histogram_quantile(0.99, sum by (le) (rate(refund_seconds_bucket{variant="'
    '$variant"}[2m])))',
    "orders": "sum(rate(orders_total[2m])) * 60",
    "every_pod": "pod_busy",
    "never_seen": "no_such_series",
    "nonsense": "rate(",
}

needed = pytest.mark.skipif(
    not (shutil.which("prometheus") and shutil.which("promtool")),
    reason="prometheus and promtool are not installed",
)


def samples():
    """Return an hour of OpenMetrics: refunds of three_step become slow after 20 minutes."""
    lines = ["# TYPE refund_seconds histogram"]
    steps = range(0, 3600, 15)
    for variant in ("control", "three_step", "coupon"):
        for edge, share in (("0.5", 0), ("1.0", 1), ("+Inf", 1)):
            count = 0
            for second in steps:
                slow = variant == "three_step" and second > 1200
                count += 10 if share or not slow else 0
                at = int(T.timestamp()) + second
                lines.append(
                    f'refund_seconds_bucket{{variant="{variant}",le="{edge}"}} {count} {at}'
                )
    lines.append("# TYPE orders counter")
    lines += [f"orders_total {2 * s} {int(T.timestamp()) + s}" for s in steps]
    lines.append("# TYPE pod_busy gauge")
    for pod in "ab":
        lines += [f'pod_busy{{pod="{pod}"}} 0.5 {int(T.timestamp()) + s}' for s in steps]
    return "\n".join([*lines, "# EOF", ""])


@contextmanager
def prometheus(folder):
    """Run Prometheus over planted samples on a free port; it ends with the block."""
    (folder / "samples.txt").write_text(samples())
    (folder / "prometheus.yml").write_text("global: {scrape_interval: 15s}\n")
    subprocess.run(
        ["promtool", "tsdb", "create-blocks-from", "openmetrics", "samples.txt", "data"],
        cwd=folder, check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder}/prometheus.yml",
                f"--storage.tsdb.path={folder}/data",
                "--storage.tsdb.retention.time=100y",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log, stderr=log,
        )  # fmt: skip
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for(url, process, folder / "log.txt")
            yield url
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(timeout=10)


def wait_for(url, process, log):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            if httpx.get(f"{url}/-/ready", timeout=1).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    pytest.fail(f"Prometheus is not ready: {log.read_text()[-500:]}")


class NoEvents:
    def snapshot(self, frame, *, now, as_of=None):
        cells = {(kpi.key, w): () for kpi, windows in frame.kpis for w in windows}
        return Snapshot(now, 1, cells, {v: Reach() for v in frame.variants})

    def exposure_counts(self, experiment, seed, *, since, until):
        return {}


@needed
def test_a_real_prometheus_turns_back_the_variant_whose_refunds_become_slow(tmp_path):
    control = ControlPlane("sqlite://")
    clock = SteppedClock(T + 10 * MINUTE)
    with prometheus(tmp_path) as url:
        client = PrometheusClient(url)
        engine = Engine(
            control=control,
            store=NoEvents(),
            clock=clock,
            settings=EngineSettings(show_core=False, queries=QUERIES, prometheus=client),
        )
        engine.apply(SPEC, source="refunds.yaml", actor="tester")
        turned_at = None
        seen = {}
        while turned_at is None and clock.now() < T + 50 * MINUTE:
            clock.move_to(clock.now() + MINUTE)
            engine.run_due()
            view = engine.experiment("refunds")
            seen = {(g.guardrail, g.treatment): g for g in view.guardrails}
            if any(v.state == "rolled_back" for v in view.variants):
                turned_at = clock.now()
    client.close()
    control.close()
    # slow from 20 min on; beyond the limit at every sample of five minutes soon after 25
    assert turned_at is not None
    assert 25 * MINUTE <= turned_at - T <= 28 * MINUTE
    states = {v.name: v.state for v in view.variants}
    assert states == {"control": "control", "three_step": "rolled_back", "coupon": "live"}
    (rollback,) = [t for t in view.transitions if t.after == "rolled_back"]
    assert (
        "refund_p99 of three_step was above 0.8 at all 6 evaluations over 5 min" in rollback.reason
    )
    assert seen["refund_p99", "coupon"].outcome is Outcome.PASS
    assert seen["orders", "coupon"].outcome is Outcome.PASS
    for name, words in {
        "every_pod": "answers 2 series, and one is needed",
        "never_seen": "answers nothing",
        "nonsense": "parse error",
    }.items():
        found = seen[name, "coupon"]
        assert (found.outcome, found.code) == (Outcome.ERROR, Code.SOURCE_FAILED)
        assert words in found.words
    with pytest.raises(QueryError, match="cannot be reached"), httpx_free(url) as dead:
        dead.values("up", start=T, stop=T + MINUTE, step=MINUTE)


@contextmanager
def httpx_free(url):
    client = PrometheusClient(url)
    try:
        yield client
    finally:
        client.close()
