"""`turnback kpis`: every KPI in words, readable on a narrow terminal, with and without a service."""

import json

import pytest
from typer.testing import CliRunner

from console import cli
from metrics.catalogue import load_catalogue, parse_kpi
from tests.guardrails.test_catalogue_file import HELP
from tests.running import KEY, SPEC, running

OWN = """\
kpis:
  coupon_rate:
    title: Coupon rate
    kind: proportion
    better: higher
    unit: share
    windows: [1d]
    measures: {used: {event: coupon_used, where: {kind: [gift, sale]}}}
    value: used > 0
"""


def turnback(*arguments):
    return CliRunner().invoke(cli.app, ["kpis", *arguments])


@pytest.fixture
def our(tmp_path):
    path = tmp_path / "our.yaml"
    path.write_text(HELP, encoding="utf-8")
    return str(path)


def test_every_kpi_is_listed_core_ones_first_with_its_definition_in_words():
    result = turnback()
    assert result.exit_code == 0
    words = " ".join(result.stdout.split())
    places = [words.index(f"{kpi.key} {kpi.kind}") for kpi in load_catalogue()]
    assert places == sorted(places)
    for kpi in load_catalogue():
        assert " ".join(kpi.words.split()) in words
    assert "satisfaction ratio, higher is better 1h 50%, 1d 30%, 14d 20%; unit score" in words
    assert "cancellation_rate proportion, either way" in words


@pytest.mark.parametrize("arguments", [[], ["--full"], ["refund_hours"]])
def test_no_line_is_longer_than_80_columns(arguments):
    lines = turnback(*arguments).stdout.splitlines()
    assert max(map(len, lines)) <= 80


def test_one_kpi_is_told_in_full():
    text = " ".join(turnback("refund_hours").stdout.split())
    for part in (
        "refund_hours · Hours until the refund 退款时长",
        "ratio (sum over units / sum over units), lower is better",
        "windows 3d 50%, 14d 50%",
        "server: events sent with a secret key",
        "events refund_requested; refund_paid (hours)",
        "requested count of refund_requested",
        "hours sum of hours of refund_paid, at most the window's hours each",
        "sum of (hours + max(0, requested - paid) * window) / sum of (max(0, requested - unknown))",
    ):
        assert part in text


def test_a_catalogue_file_is_listed_with_the_built_in_ones(our):
    words = " ".join(turnback("--catalogue", our).stdout.split())
    assert "Other KPIs (9)" in words
    assert "help_rate proportion, lower is better" in words
    assert "from catalogue file" in words


def test_json_holds_definitions_that_can_be_read_again(our):
    found = json.loads(turnback("--catalogue", our, "--json").stdout)["kpis"]
    read = {kpi["key"]: parse_kpi(kpi["key"], kpi["written"]) for kpi in found}
    assert {kpi.key: read[kpi.key] for kpi in load_catalogue()} == dict(load_catalogue().kpis)
    (help_rate,) = [kpi for kpi in found if kpi["source"] == "catalogue file"]
    assert help_rate["events"] == {"help_opened": []}
    assert help_rate["measures"] == {"opened": "count of help_opened"}


def test_an_unknown_kpi_names_the_nearest():
    result = turnback("refund_hors")
    assert result.exit_code == 2
    assert "there is no KPI 'refund_hors'" in result.stderr
    assert "did you mean 'refund_hours'?" in result.stderr


def test_a_faulty_catalogue_file_is_told_with_its_lines(tmp_path):
    path = tmp_path / "our.yaml"
    path.write_text(HELP.replace("proportion", "proportions"), encoding="utf-8")
    for command in (["kpis"], ["validate"], ["serve", "--data", str(tmp_path / "data")]):
        result = CliRunner().invoke(cli.app, [*command, "--catalogue", str(path)])
        assert result.exit_code == 1
        assert f"{path}:6:11: kpis.help_rate.kind: got `proportions`; did you mean" in result.stderr
    assert not (tmp_path / "data").exists()


def test_validate_knows_the_kpis_of_a_catalogue_file(tmp_path, our):
    spec = tmp_path / "spec.yaml"
    spec.write_text(
        SPEC.replace("satisfaction, max_drop: 3%", "help_rate, max_rise: 3%"), encoding="utf-8"
    )
    without = CliRunner().invoke(cli.app, ["validate", str(spec)])
    assert (without.exit_code, "there is no KPI `help_rate`" in without.stderr) == (1, True)
    known = CliRunner().invoke(cli.app, ["validate", str(spec), "--catalogue", our])
    assert known.exit_code == 0
    assert f"{our}: ok (a catalogue, 21 KPIs with the built-in ones)" in known.stdout
    by_variable = CliRunner().invoke(
        cli.app, ["validate", str(spec)], env={"TURNBACK_CATALOGUE": our}
    )
    assert by_variable.exit_code == 0


def test_editors_are_offered_the_kpis_of_a_catalogue_file(our):
    plain, ours = (
        CliRunner().invoke(cli.app, ["schema", *more]).stdout for more in ([], ["--catalogue", our])
    )
    assert ("help_rate" in plain, "help_rate" in ours) == (False, True)


def test_validate_without_anything_to_check_says_what_to_give():
    result = CliRunner().invoke(cli.app, ["validate"])
    assert result.exit_code == 2
    assert "give spec files or folders of them, or --catalogue FILE" in result.stderr


def test_the_service_lists_its_own_kpis_and_those_of_its_files(tmp_path, our):
    with running(data=tmp_path / "data", catalogue=our) as it:
        it.apply(SPEC + OWN)
        text = turnback("--live", "--url", it.url).stdout
        found = json.loads(turnback("--live", "--url", it.url, "--json").stdout)["kpis"]
        assert it.http.get("/api/v1/kpis").json()["kpis"] == found
    assert f"from {KEY}" in text
    sources = {kpi["key"]: kpi["source"] for kpi in found}
    assert sources["coupon_rate"] == KEY
    assert sources["help_rate"] == "catalogue file"
    assert sources["satisfaction"] == "built-in"


def test_events_of_a_catalogue_file_must_have_the_types_it_declares(tmp_path, our):
    with running(data=tmp_path / "data", catalogue=our) as it:
        sent = {
            "id": "1",
            "name": "help_opened",
            "happened_at": it.services.clock.now().isoformat(),
            "units": {"order_id": "o"},
            "fields": {"seconds": "many"},
        }
        (refused,) = it.http.post("/api/v1/events", json=[sent]).json()["rejected"]
    assert refused["reason"] == "fields.seconds: expected number, got text; send for instance 4.5"
