"""``turnback plan``: table, JSON, chart, what it rests on, and its errors."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from console import cli
from console.numbers import number, whole
from tests.running import KEY, SPEC, START, running

ROOT = Path(__file__).parents[2]
GOOD = str(ROOT / "examples" / "three-step-cancel.yaml")
DAILY = ("--units-per-day", "4000", "--paths", "200")


def turnback(*arguments, **env):
    return CliRunner(env={"COLUMNS": "100", **env}).invoke(cli.app, list(arguments))


def test_the_table_fits_100_columns_and_marks_what_is_assumed():
    result = turnback("plan", GOOD, *DAILY, "--baseline", "satisfaction=4.4,sd=0.9,answering=40%")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].startswith("This run ")
    table = [line for line in lines[1:] if not line.startswith(("goal:", "three-step-cancel:"))]
    assert max(map(len, table)) <= 100
    assert "4.4" in result.stdout
    assert "4.4*" not in result.stdout  # given, not assumed
    assert "36*" in result.stdout  # refund hours, assumed
    assert "* assumed" in result.stdout
    assert "satisfaction (three_step)" in result.stdout
    assert "goal: Save rate of three_step" in result.stdout
    assert "14 d gets no alpha" in result.stderr


def test_at_80_columns_no_word_of_a_table_is_broken():
    wide = turnback("plan", GOOD, *DAILY, COLUMNS="200").stdout
    narrow = turnback("plan", GOOD, *DAILY, COLUMNS="80").stdout
    shown = narrow.splitlines()
    below = shown[next(n for n, line in enumerate(shown) if line.startswith("guardrail ")) :]
    tables = [line for line in below if not line.startswith(("goal:", "* "))]
    assert max(len(line.rstrip()) for line in tables) <= 80
    known = set(wide.split())
    assert [word for line in tables for word in line.split() if word not in known] == []


def test_json_is_one_object_with_every_number_and_its_source():
    result = turnback("plan", GOOD, *DAILY, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    body = json.loads(result.stdout)
    assert body["verdict"]["protects"] == "partly"
    assert body["verdict"]["words"].startswith("This run protects in part: ")
    assert body["units_per_day"] == {"value": 4000.0, "source": "given"}
    first = body["guardrails"][0]
    assert first["windows"][0]["baseline"]["value"] == {"value": 4.2, "source": "assumed"}
    assert 0 <= first["at_margin"]["probability"] <= first["at_twice"]["probability"] <= 1
    assert first["at_twice"]["median"]["after"].startswith("P")
    assert body["goal"][0]["kpi"] == "save_rate"
    assert {w["code"] for w in body["warnings"]} >= {"window_dropped"}


def test_what_is_planned_is_told_on_a_terminal_alone():
    assert "planning" not in turnback("plan", GOOD, *DAILY).stderr
    result = turnback("plan", GOOD, *DAILY, "--json", TTY_COMPATIBLE="1", TERM="xterm")
    assert "planning" in result.stderr
    assert json.loads(result.stdout)["experiment"] == "three-step-cancel"


@pytest.mark.parametrize(
    ("ending", "begins"), [(".png", b"\x89PNG"), (".svg", b"<svg"), (".html", b"<!DOCTYPE html>")]
)
def test_a_chart_is_written_as_its_ending_says(tmp_path, ending, begins):
    path = tmp_path / f"plan{ending}"
    result = turnback("plan", GOOD, *DAILY, "--chart", str(path))
    assert result.exit_code == 0, result.stderr
    assert path.read_bytes().startswith(begins)
    if ending == ".html":
        assert b'src="http' not in path.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        pytest.param((), 2, "nobody says how many units come", id="no traffic"),
        pytest.param((*DAILY, "--chart", "plan.pdf"), 2, "a chart ends in .png", id="ending"),
        pytest.param((*DAILY, "--baseline", "x=1"), 1, "the file has no KPI 'x'", id="KPI"),
        pytest.param(
            ("--measured", "e", "--url", "http://127.0.0.1:9"), 3, "no service answers", id="nobody"
        ),
    ],
)
def test_what_cannot_be_planned_is_told_with_what_to_do(arguments, code, says):
    result = turnback("plan", GOOD, *arguments)
    assert result.exit_code == code
    assert result.stderr.startswith("turnback: ")
    assert says in result.stderr
    assert len(result.stderr.splitlines()) == 2 or code == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--units-per-day", "3k"), "'3k' is no number; write 3000"),
        (("--units-per-day", "2,400"), "'2,400' is no number; write 2400"),
        (("--units-per-day", "nan"), "'nan' is no number; write a number from 1 to 1000000000000"),
        (("--units-per-day", "0"), "0 is out of range; write a number from 1 to 1000000000000"),
        (("--seed", "1.5"), "'1.5' is no whole number; write a whole number of 0 or more"),
        (("--seed", "-1"), "-1 is out of range; write a whole number of 0 or more"),
        (("--paths", "1e4"), "'1e4' is no whole number; write 10000"),
        (("--paths", "10"), "10 is out of range; write a whole number from 100 to 100000"),
    ],
)
def test_a_number_that_is_none_is_refused_with_what_to_write(arguments, says):
    result = turnback("plan", GOOD, *arguments)
    assert result.exit_code == 2
    assert f"{arguments[0]}: {says}" in result.stderr
    assert "Input should" not in result.stderr


def test_other_commands_refuse_numbers_alike():
    for arguments in (
        ("demo", "--port", "http"),
        ("serve", "--port", "http"),
        ("revisions", "x", "--show", "http"),
        ("revisions", "x", "--diff", "1", "http"),
        ("backtest", GOOD, "--events", "x", "--seed", "http"),
    ):
        assert "'http' is no whole number; write a" in turnback(*arguments).stderr


def test_a_number_may_be_written_in_any_usual_way():
    assert [whole(1, 10)(text) for text in ("7", " 7 ", "+7", 7)] == [7, 7, 7, 7]
    assert number(1, 1e12)("2.5e3") == 2500.0


def test_a_faulty_file_is_told_like_everywhere(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text("experiment: e\n")
    result = turnback("plan", str(path), *DAILY)
    assert result.exit_code == 1
    assert "bad.yaml:1:1: " in result.stderr


def at(hours):
    return (START + timedelta(hours=hours)).isoformat()


def two_days(units):
    """Return exposures of two days and what control's customers answered."""
    for index in range(units):
        variant = "control" if index % 2 else "treatment"
        unit, hour = {"order_id": f"u{index}"}, 48 * index / units
        yield {
            "id": f"x{index}",
            "name": "exposure",
            "happened_at": at(hour),
            "units": unit,
            "fields": {"experiment": KEY, "seed": 1, "variant": variant},
        }
        if index % 4 > 1:
            yield {
                "id": f"s{index}",
                "name": "satisfaction_rated",
                "happened_at": at(hour + 0.2),
                "units": unit,
                "fields": {"score": 3 + index % 3},
            }


def test_a_running_service_knows_traffic_and_control(tmp_path):
    path = tmp_path / "next.yaml"
    path.write_text(SPEC.replace("cancel-page", "cancel-page-two"))
    with running() as it:
        assert it.apply().status_code == 201
        units = list(two_days(2000))
        variants = {}
        for event in units:
            if event["name"] == "exposure":
                # the service assigns: a recorded variant that is not the hash's is refused
                compiled = it.services.engine.serving().experiments[KEY]
                unit = event["units"]["order_id"]
                variants[unit] = compiled.assign({"targetingKey": unit}).assigned
                event["fields"]["variant"] = variants[unit]
        moved = it.http.post("/api/v1/demo/clock", json={"to": at(50)})
        assert moved.status_code == 200, moved.text
        answer = it.http.post("/api/v1/events", json=units)
        assert answer.json()["accepted"] == len(units), answer.text
        body = it.http.get(f"/api/v1/experiments/{KEY}/baselines").json()
        result = turnback(
            "plan", str(path), "--measured", KEY, "--paths", "200", "--url", it.url, "--json"
        )
        assert it.http.get("/api/v1/experiments/nobody/baselines").status_code == 404
    assert body["units_per_day"] == pytest.approx(2000 / 50 * 24, rel=0.1)
    hour = next(r for r in body["kpis"] if r["kpi"] == "satisfaction" and r["window"] == "PT3600S")
    assert hour["answering"] == pytest.approx(0.5, abs=0.05)
    assert hour["value"] == pytest.approx(4.0, abs=0.1)
    assert hour["sd"] == pytest.approx((2 / 3) ** 0.5, abs=0.05)
    assert result.exit_code == 0, result.stderr
    plan = json.loads(result.stdout)
    assert plan["units_per_day"]["source"] == "measured"
    known = plan["guardrails"][0]["windows"][0]["baseline"]
    assert {known[name]["source"] for name in ("value", "sd", "answering")} == {"measured"}
