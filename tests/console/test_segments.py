"""From an evaluation to the page: what is kept of units, what is said of segments, and forgotten."""

import json
from datetime import timedelta

import pytest

from console.reports.experiment import report_of
from console.reports.sources import from_files
from console.views.segments import segments_part
from guardrails.views import SegmentsView
from metrics.events import Event
from tests.running import KEY, SPEC, START, running
from tests.views import view

FILE = SPEC + "segments: [country, device.type]\n"
PAGE = f"/experiments/{KEY}"
ANNA = "anna@example.com"


def evaluate(it, unit, **attributes):
    context = {"targetingKey": unit, "email": ANNA, **attributes}
    answer = it.http.post(f"/ofrep/v1/evaluate/flags/{KEY}", json={"context": context})
    return answer.json()["variant"]


@pytest.fixture(scope="module")
def it():
    """A service that evaluated 1,800 units of two countries, of which one dislikes the change."""
    with running() as service:
        assert service.apply(FILE).is_success
        store, events = service.services.store, []
        compiled = service.services.engine.serving().experiments[KEY]
        spec, exposures = compiled.spec, service.services.exposures
        for number in range(1800):
            unit, country = f"u{number}", ("DE", "FR")[number % 2]
            arm = compiled.assign({"targetingKey": unit}).variant
            exposures.record(
                KEY,
                spec.seed,
                spec.unit,
                unit,
                arm,
                segments=spec.segments,
                context={"country": country, "email": ANNA},
            )
            score = (2 if (arm, country) == ("treatment", "DE") else 4) + number % 3 % 2
            events.append(
                Event(
                    f"s{number}",
                    "satisfaction_rated",
                    START + timedelta(minutes=5),
                    {"order_id": unit},
                    {"score": score * 10**6},
                )
            )
        evaluate(service, "one", country="LI", device={"type": "phone", "owner": ANNA})
        store.append(events, received_at=START)
        service.services.flush()
        to = (START + timedelta(hours=30)).isoformat()
        assert service.http.post("/api/v1/demo/clock", json={"to": to}).is_success
        yield service


def test_the_page_and_its_twin_say_which_segments_differ(it):
    part = it.http.get(f"{PAGE}.json").json()["segments"]
    assert "of 2 segments differ from the rest" in part["headline"]
    assert any("country is DE" in each for each in part["differing"])
    (table,) = [t for t in part["tables"] if t["kpi"] == "satisfaction"]
    lines = {(line["attribute"], line["level"]): line for line in table["lines"]}
    assert set(lines) == {
        ("country", "DE"),
        ("country", "FR"),
        ("country", "LI"),
        ("device.type", "phone"),
        ("device.type", "not known"),
    }
    assert lines["country", "DE"]["differs"]
    assert lines["country", "LI"]["outcome"] == "not enough units to say"
    assert lines["device.type", "not known"]["outcome"] == "not compared"
    assert any("at most 10% are so by chance" in note for note in part["notes"])
    assert any("1,800 units whose first exposure did not say" in note for note in part["notes"])
    html = it.http.get(PAGE, params={"lang": "en"}).text
    for said in (part["headline"], *part["differing"], "country: DE", part["at"]):
        assert said in html
    chinese = it.http.get(PAGE, params={"lang": "zh"}).text
    assert "与其余有差异" in chinese
    assert "的用户满意度" in chinese
    assert "的Satisfaction" not in chinese


def test_programs_are_told_the_same_numbers(it):
    told = it.http.get(f"/api/v1/experiments/{KEY}").json()["segments"]
    assert told["declared"] == ["country", "device.type"]
    (german,) = [s for s in told["found"] if s["level"] == "DE" and s["kpi"] == "satisfaction"]
    assert (german["outcome"], sum(german["units"]), german["part"]) == ("different", 900, "value")
    assert german["effect"] == pytest.approx(german["value"] / german["control"] - 1)


def test_what_no_file_declares_is_nowhere_in_the_store(it):
    rows = it.services.store._log.rows("SELECT units, fields FROM events WHERE name = 'exposure'")
    assert len(rows) == 1801
    said = [json.loads(fields) for _, fields in rows]
    assert {key for fields in said for key in fields if key.startswith("segment.")} == {
        "segment.country",
        "segment.device.type",
    }
    assert ANNA not in str(rows)


def test_an_experiment_that_declares_none_says_how(it):
    other = SPEC.replace(KEY, "other")
    it.apply(other)
    page = it.http.get("/experiments/other", params={"lang": "en"})
    assert "declares no segments" in page.text
    assert "<code>segments: [country, platform]</code>" in page.text
    assert it.http.get("/api/v1/experiments/other").json()["segments"] is None


def test_a_forgotten_unit_takes_its_segment_along(it):
    assert it.services.store.forget("one", now=START).events
    rows = it.services.store._log.rows("SELECT fields FROM events WHERE name = 'exposure'")
    assert "LI" not in str(rows)
    (country, _) = it.services.engine.count_segments(KEY).attributes
    assert [name for _, name, _ in country.levels] == ["DE", "FR"]


def test_while_nothing_is_counted_the_page_says_so():
    waiting = view(segments=SegmentsView(("country",)))
    assert "being counted" in segments_part(waiting, {}).headline
    written = segments_part(waiting, {}, written=True).headline
    assert written.startswith("By country: not counted yet when this was written")
    broken = view(segments=SegmentsView(("country",), at=START, failure="the disk is gone"))
    assert segments_part(broken, {}).headline == "Segments could not be counted: the disk is gone"
    empty = view(segments=SegmentsView(("country",), at=START))
    assert "no window has closed" in segments_part(empty, {}).headline


def test_a_report_of_files_that_no_service_holds_counts_them_before_it_is_written(tmp_path):
    with running(data=tmp_path) as it:
        assert it.apply(FILE).is_success
        it.http.post("/api/v1/demo/clock", json={"to": (START + timedelta(hours=2)).isoformat()})
    with from_files(tmp_path) as source:
        told = report_of(source.experiment(KEY), source.texts()).segments
    assert told.headline == "By country and device.type: not enough yet, no window has closed."
    assert told.at == "5 Jan 2026, 02:00 UTC"
