"""The whole loop with Debian's Prometheus and Alertmanager, wired as `deploy/` wires them.

Prometheus scrapes the service, evaluates a rule and fires to two Alertmanagers that do not know of
each other, as a cluster that was cut in two; both post to Turnback, which turns the variant back and
tells both. Only addresses, keys and intervals are other than in `deploy/`.
"""

import io
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from ruamel.yaml import YAML

from tests.receivers import ABSENT, BINARY, alertmanager, free_port
from tests.running import KEY, running

DEPLOY = Path(__file__).parents[2] / "deploy"
PROMETHEUS, PROMTOOL = shutil.which("prometheus"), shutil.which("promtool")
pytestmark = [
    pytest.mark.skipif(BINARY is None, reason=ABSENT),
    pytest.mark.skipif(
        not (PROMETHEUS and PROMTOOL), reason="no Prometheus here: apt-get install prometheus"
    ),
]
KEYS = {"admin_key": "a" * 24, "ingest_key": "i" * 24, "client_key": "c" * 24}
ADMIN = {"Authorization": f"Bearer {KEYS['admin_key']}"}
SPEC = """\
experiment: cancel-page
title: Cancel page
unit: order_id
variants:
  control: {weight: 50%, flow: {steps: [confirm]}}
  treatment: {weight: 50%, flow: {steps: [why, confirm]}}
guardrails:
  - {kpi: satisfaction, max_drop: 3%}
  - {rule: alert, name: TooManyShown}
  - {rule: alert, name: SomebodySleeps, action: hold}
ends: {after: 10d, observe_for: 1d}
check_every: 1h
notify: [pager]
"""
# a busy machine misses a scrape now and then: that resolves no alert
RULES = """\
groups:
  - name: shop
    rules:
      - alert: TooManyShown
        expr: last_over_time(turnback_evaluations_total[1m]) >= 3
        labels: {experiment: cancel-page, variant: treatment}
        annotations: {summary: "{{ $value }} flags were evaluated"}
      - alert: SomebodySleeps
        expr: last_over_time(turnback_suspended[1m]) == 1
        labels: {experiment: cancel-page}
      - alert: NobodyAskedForThis
        expr: last_over_time(turnback_build_info[1m]) == 1
        labels: {experiment: cancel-page}
"""


def until(read, wanted, *, seconds=40):
    """Return what is read once it is as wanted."""
    end = time.monotonic() + seconds
    while not wanted(found := read()):
        assert time.monotonic() < end, found
        time.sleep(0.1)
    return found


def written(document):
    out = io.StringIO()
    YAML().dump(document, out)
    return out.getvalue()


def of_alertmanager(url, key):
    """Return the shipped configuration of Alertmanager, with shorter intervals."""
    config = YAML().load((DEPLOY / "alertmanager" / "alertmanager.yml").read_text())
    (hook,) = config["receivers"][1]["webhook_configs"]
    hook["url"] = hook["url"].replace("http://turnback:8300", url)
    hook["http_config"]["authorization"]["credentials_file"] = str(key)
    assert hook["url"] == f"{url}/api/v1/alerts"
    config["route"]["routes"][0] |= {"group_interval": "1s", "repeat_interval": "2s"}
    return written(config)


def of_prometheus(url, key, instances, folder):
    """Return the shipped configuration of Prometheus, with shorter intervals and a rule more."""
    config = YAML().load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "500ms", "evaluation_interval": "500ms"}
    (folder / "rules.yml").write_text(RULES)
    config["rule_files"] = [str(DEPLOY / "prometheus" / "alerts.yml"), str(folder / "rules.yml")]
    (managers,) = config["alerting"]["alertmanagers"]
    managers["static_configs"][0]["targets"] = [i.url.removeprefix("http://") for i in instances]
    (scrape,) = config["scrape_configs"]
    scrape["authorization"]["credentials_file"] = str(key)
    scrape["static_configs"][0]["targets"] = [url.removeprefix("http://")]
    return written(config)


@contextmanager
def prometheus(folder, text):
    (folder / "prometheus.yml").write_text(text)
    port = free_port()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                PROMETHEUS,
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


class Loop:
    def __init__(self, it, instances, prometheus_url):
        self.it, self.instances, self.prometheus = it, instances, prometheus_url

    def view(self):
        return self.it.http.get(f"/api/v1/experiments/{KEY}", headers=ADMIN).json()

    def arm(self):
        return next(v["state"] for v in self.view()["variants"] if v["name"] == "treatment")

    def guardrail(self, name):
        return next(g for g in self.view()["guardrails"] if g["guardrail"] == name)

    def act(self, path, **body):
        done = self.it.http.post(path, json=body, headers=ADMIN)
        assert done.is_success, done.text

    def series(self):
        text = self.it.http.get("/metrics", headers=ADMIN).text
        lines = (line.rsplit(" ", 1) for line in text.splitlines() if line[:1] != "#")
        return text, {name: float(value) for name, value in lines}


@pytest.fixture(scope="module")
def loop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("loop")
    key = folder / "key"
    key.write_text(KEYS["ingest_key"])
    ports = free_port(), free_port()
    pager = {
        "type": "alertmanager",
        "urls": [f"http://127.0.0.1:{port}" for port in ports],
        "every": "1s",
    }
    with running(demo=False, channels={"pager": pager}, cooldown="0s", **KEYS) as it:
        text = of_alertmanager(it.url, key)
        with (
            alertmanager(folder / "one", text, port=ports[0]) as one,
            alertmanager(folder / "two", text, port=ports[1]) as two,
            prometheus(folder, of_prometheus(it.url, key, (one, two), folder)) as url,
        ):
            assert it.apply(SPEC, headers=ADMIN).is_success
            yield Loop(it, (one, two), url)


def test_an_alert_of_a_real_prometheus_turns_a_variant_back_and_both_instances_hear_of_it(loop):
    client = {"Authorization": f"Bearer {KEYS['client_key']}"}
    unit = loop.it.unit_of("treatment")
    for _ in range(3):
        assert loop.it.evaluate(unit, headers=client).json()["variant"] == "treatment"
    # checks are an hour apart: it is the alert that is not waited for
    until(loop.arm, lambda state: state == "rolled_back")
    assert loop.it.evaluate(unit, headers=client).json()["variant"] == "control"
    rollback = next(t for t in loop.view()["transitions"] if t["variant"] == "treatment")
    assert "The alert TooManyShown" in rollback["reason"]
    assert "It says: 3 flags were evaluated." in rollback["reason"]
    for instance in loop.instances:
        alert = instance.until(lambda alerts: "TurnbackRolledBack" in alerts)["TurnbackRolledBack"]
        assert alert["labels"]["variant"] == "treatment"
        assert alert["labels"]["guardrail"] == "TooManyShown"


def test_what_two_instances_post_again_and_again_makes_nothing_twice(loop):
    def counted():
        return loop.series()[1]

    name = 'turnback_alerts_total{{result="{}"}}'.format
    series = until(counted, lambda s: s[name("repeated")] >= 3 and s[name("ignored")] >= 1)
    assert series[name("fired")] == 1
    rolled = 'turnback_rollbacks_total{experiment="cancel-page",variant="treatment"}'
    assert series[rolled] == 1


def test_the_rule_of_prometheus_about_the_same_rollback_is_inhibited(loop):
    alerts = loop.instances[0].until(lambda alerts: "TurnbackVariantRolledBack" in alerts)
    assert alerts["TurnbackVariantRolledBack"]["status"]["inhibitedBy"]
    assert alerts["TurnbackRolledBack"]["status"]["state"] == "active"


def test_a_rollback_stands_while_it_stands_and_is_over_once_a_person_resumes(loop):
    first = [i.alerts()["TurnbackRolledBack"]["updatedAt"] for i in loop.instances]
    for instance, before in zip(loop.instances, first, strict=True):
        instance.until(lambda a, b=before: a["TurnbackRolledBack"]["updatedAt"] > b)
    loop.act(
        f"/api/v1/experiments/{KEY}/actions", action="resume", variant="treatment", reason="mended"
    )
    for instance in loop.instances:
        instance.until(lambda alerts: "TurnbackRolledBack" not in alerts)


def test_an_alert_of_the_whole_service_breaches_while_it_fires_and_passes_once_resolved(loop):
    loop.act("/api/v1/suspension", suspended=True, reason="a sale")
    until(lambda: loop.guardrail("SomebodySleeps"), lambda g: g["outcome"] == "breach")
    loop.act("/api/v1/suspension", suspended=False, reason="over")
    found = until(lambda: loop.guardrail("SomebodySleeps"), lambda g: g["outcome"] == "pass")
    assert found["code"] == "alert_resolved"


def test_the_series_of_the_real_service_are_named_as_prometheus_wants(loop):
    text, series = loop.series()
    checked = subprocess.run(
        [PROMTOOL, "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
    for kind in ("ofrep", "growthbook"):
        assert series[f'turnback_streams_open{{kind="{kind}"}}'] == 0
        assert series[f'turnback_streams_dropped_total{{kind="{kind}"}}'] == 0
    up = httpx.get(f"{loop.prometheus}/api/v1/query", params={"query": "up"}, timeout=5).json()
    assert [sample["value"][1] for sample in up["data"]["result"]] == ["1"]
    groups = httpx.get(f"{loop.prometheus}/api/v1/rules", timeout=5).json()["data"]["groups"]
    assert {rule["health"] for group in groups for rule in group["rules"]} <= {"ok"}
