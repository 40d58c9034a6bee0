"""What is shipped for operating: rules, dashboard, unit, containers."""

import json
import re
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from ruamel.yaml import YAML

import service
from guardrails.channels.alertmanager import SEVERITY, alert_name
from guardrails.links import RUNBOOKS
from tests.running import KEY, running

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
RULES = DEPLOY / "prometheus" / "alerts.yml"
TESTS = DEPLOY / "prometheus" / "alerts_test.yml"
BASE = "{{ $externalLabels.turnback_url }}"
GONE = "TurnbackDown"
SERIES = re.compile(r"\bturnback_[a-z_]+\b")


def read(path):
    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))


def run(*command):
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed (Debian: prometheus, prometheus-alertmanager)")
    done = subprocess.run(command, cwd=DEPLOY, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def alerts():
    return [rule for group in read(RULES)["groups"] for rule in group["rules"]]


@pytest.fixture(scope="module")
def scraped_from():
    """Yield a service that has an experiment, and the text of its ``/metrics``."""
    with running() as it:
        assert it.apply().is_success
        it.evaluate("u1")
        it.services.clock.move_to(service.DEMO_START + timedelta(hours=2))
        it.services.engine.run_due()
        variant = it.services.engine.experiments()[0].variants[1].name
        it.services.engine.roll_back(KEY, variant, reason="to see its series", actor="a test")
        yield it.http, it.http.get("/metrics").text


@pytest.fixture
def scraped(scraped_from):
    return scraped_from[1]


def names(text):
    return {line.split("{")[0].split(" ")[0] for line in text.splitlines() if line[:1] != "#"}


def test_the_rules_are_good_and_each_alert_fires_when_it_should():
    assert run("promtool", "check", "rules", str(RULES)) == (
        0,
        f"Checking {RULES}\n  SUCCESS: {len(alerts())} rules found\n\n",
    )
    code, told = run("promtool", "test", "rules", str(TESTS))
    assert (code, "SUCCESS" in told) == (0, True), told


def test_the_tests_of_the_rules_can_fail(tmp_path):
    for path in (RULES, TESTS):
        text = path.read_text(encoding="utf-8").replace(
            "_blind_seconds > 1800", "_blind_seconds > 9"
        )
        (tmp_path / path.name).write_text(text, encoding="utf-8")
    code, told = run("promtool", "test", "rules", str(tmp_path / TESTS.name))
    assert code == 1
    assert "TurnbackGuardrailBlind" in told


def test_every_alert_is_tested_both_ways():
    fires, rests = set(), set()
    for case in read(TESTS)["tests"]:
        for check in case["alert_rule_test"]:
            (fires if check["exp_alerts"] else rests).add(check["alertname"])
    named = {rule["alert"] for rule in alerts()}
    assert fires == named
    assert rests >= named


def test_every_alert_says_what_to_do_and_where():
    guide = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    for rule in alerts():
        notes = rule["annotations"]
        if rule["alert"] == GONE:  # whose pages do not open
            assert set(notes) == {"summary", "description", "runbook"}
            assert notes["runbook"] == "docs/operations.md#turnbackdown"
        else:
            assert set(notes) == {"summary", "description", "page", "runbook"}
            assert notes["runbook"] == f"{BASE}{RUNBOOKS}#{rule['alert'].lower()}"
            assert notes["page"].startswith(f"{BASE}/")
        assert f"### {rule['alert']}\n" in guide
        assert rule["labels"]["severity"] in {"page", "ticket"}


def test_the_links_of_every_alert_open_at_the_service(scraped_from):
    http, _ = scraped_from
    guide = http.get(RUNBOOKS).text
    for rule in alerts():
        if rule["alert"] == GONE:
            continue
        page, runbook = (
            rule["annotations"][name].replace(BASE, "").replace("{{ $labels.experiment }}", KEY)
            for name in ("page", "runbook")
        )
        assert http.get(page).status_code == 200
        assert f'id="{runbook.partition("#")[2]}"' in guide


def test_rules_and_dashboard_use_only_series_that_the_service_has(scraped):
    there = names(scraped)
    panels = (DEPLOY / "grafana" / "turnback.json").read_text(encoding="utf-8")
    used = set(SERIES.findall(panels)) | {s for r in alerts() for s in SERIES.findall(r["expr"])}
    assert used - there == set()
    assert len(used) > 15


def test_what_the_service_says_is_named_as_prometheus_wants(scraped, tmp_path):
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=scraped,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_no_rule_of_prometheus_is_called_as_what_the_service_tells_alertmanager_itself():
    kinds = {alert_name(kind) for kind in SEVERITY}
    assert kinds & {rule["alert"] for rule in alerts()} == set()
    inhibits = read(DEPLOY / "alertmanager" / "alertmanager.yml")["inhibit_rules"]
    told, found = (
        {n for rule in inhibits for m in rule[which] for n in re.findall(r"Turnback\w+", m)}
        for which in ("source_matchers", "target_matchers")
    )
    assert told <= kinds
    assert found <= {rule["alert"] for rule in alerts()}
    assert {alert_name("rolled_back"), "TurnbackVariantRolledBack"} <= told | found


def test_the_guide_shows_the_receiver_that_is_shipped_and_a_rule_that_prometheus_takes(tmp_path):
    guide = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    shown = [YAML(typ="safe").load(b) for b in re.findall(r"```yaml\n(.*?)```", guide, re.DOTALL)]
    (receivers,) = (each["receivers"] for each in shown if "receivers" in each)
    shipped = read(DEPLOY / "alertmanager" / "alertmanager.yml")
    assert receivers == shipped["receivers"][1:]
    (rule,) = (each for each in shown if isinstance(each, list) and "alert" in each[0])
    with (tmp_path / "rules.yml").open("w", encoding="utf-8") as file:
        YAML().dump({"groups": [{"name": "shop", "rules": rule}]}, file)
    code, told = run("promtool", "check", "rules", str(tmp_path / "rules.yml"))
    assert (code, "SUCCESS: 1 rules found" in told) == (0, True), told


def test_the_dashboard_explains_itself_and_its_panels_do_not_overlap():
    board = json.loads((DEPLOY / "grafana" / "turnback.json").read_text(encoding="utf-8"))
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    taken = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken
        assert at["x"] + at["w"] <= 24
        taken |= cells
        assert panel["title"]


def test_the_configurations_of_prometheus_and_alertmanager_are_good():
    code, told = run("promtool", "check", "config", "--syntax-only", "prometheus/prometheus.yml")
    assert (code, "SUCCESS" in told) == (0, True), told
    code, told = run("amtool", "check-config", "alertmanager/alertmanager.yml")
    assert (code, "SUCCESS" in told) == (0, True), told


def test_the_containers_mount_what_is_there_and_no_key_is_written_down():
    compose = read(DEPLOY / "compose.yml")
    services = compose["services"]
    assert set(services) == {"turnback", "prometheus", "alertmanager"}
    mounts = [m.split(":")[0] for s in services.values() for m in s.get("volumes", ())]
    assert all(
        (DEPLOY / m).is_dir() if m.startswith(".") else m in compose["volumes"] for m in mounts
    )
    build = services["turnback"]["build"]
    recipe = (DEPLOY / build["context"] / build["dockerfile"]).read_text(encoding="utf-8")
    copied = [
        p
        for line in re.findall(r"^COPY (?!--)(.*) \S+$", recipe, re.MULTILINE)
        for p in line.split()
    ]
    assert [p for p in copied if not (ROOT / p).exists()] == []
    keys = [v for k, v in services["turnback"]["environment"].items() if k.endswith("_KEY")]
    assert all(key.startswith("${") and ":?" in key for key in keys)


def test_the_settings_named_in_the_unit_and_the_containers_exist():
    from guardrails.service_settings import Settings

    known = {f"TURNBACK_{name.upper()}" for name in Settings.model_fields}
    files = ("systemd/turnback.service", "container/Containerfile", "compose.yml")
    text = "\n".join((DEPLOY / name).read_text(encoding="utf-8") for name in files)
    assert set(re.findall(r"\bTURNBACK_[A-Z_]+\b", text)) - known == set()


def test_systemd_understands_the_unit(tmp_path):
    unit = tmp_path / "turnback.service"
    text = (DEPLOY / "systemd" / "turnback.service").read_text(encoding="utf-8")
    unit.write_text(text.replace("/opt/turnback/bin/turnback", "/bin/true"), encoding="utf-8")
    code, told = run("systemd-analyze", "verify", str(unit))
    assert code == 0, told
    assert "Unknown" not in told
