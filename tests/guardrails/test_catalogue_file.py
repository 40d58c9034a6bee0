"""Catalogue files: checked like spec files, and never changing what a run measures."""

from pathlib import Path

import pytest

from experiments.database import ControlPlane
from experiments.errors import ConflictError, Severity, SpecError
from guardrails.catalogue_reading import read_catalogue, read_catalogue_file
from guardrails.clock import SteppedClock
from guardrails.engine import Engine
from guardrails.meanings import listed
from guardrails.spec_file import load_spec
from metrics.catalogue import load_catalogue
from tests.engine_world import SPEC, PlantedStore, T

HELP = """\
events:
  help_opened: {page: text, seconds: number}
kpis:
  help_rate:
    title: Help page rate
    kind: proportion
    better: lower
    unit: share
    windows: {1h: 50%, 1d: 50%}
    words: Share of units that opened the help page.
    measures:
      opened: {event: help_opened}
    value: opened > 0
"""
ONLY_FAQ = HELP.replace("{event: help_opened}", "{event: help_opened, where: {page: faq}}")
REWORDED = HELP.replace("Share of units that opened", "How many units opened")
GUARDED = SPEC.replace("flow_failure_rate, max_rise: 10%", "help_rate, max_rise: 10%")
COMMENTED = GUARDED.replace("title: A test", "title: A test  # of the cancel page")


def catalogue_of(text):
    return read_catalogue(text, source="our.yaml")[0]


def test_a_catalogue_file_adds_to_the_built_in_kpis():
    catalogue, warnings = read_catalogue(HELP, source="our.yaml")
    assert warnings == ()
    assert set(catalogue.keys()) == {*load_catalogue().keys(), "help_rate"}
    assert catalogue.events["help_opened"] == {"page": "text", "seconds": "number"}
    assert "help_rate" in load_spec(GUARDED, catalogue=catalogue).kpis


def test_every_problem_of_a_catalogue_file_is_told_at_its_place():
    text = """\
events:
  help_opened: {page: txt}
  cancel_finished: {outcome: number, page: text}
kpis:
  satisfaction: {kind: mean, better: higher, windows: [1d], measures: {a: {event: b}}, value: a}
  help_rate:
    kind: proportions
    betterr: lower
    better: lower
    windows: {1h: 50%, soon: 60%}
    measures:
      opened: {event: help_opened, cap: 3}
    value: opened > 0
kpi: {}
"""
    with pytest.raises(SpecError) as caught:
        read_catalogue(text, source="our.yaml")
    told = """\
our.yaml:2:23: events.help_opened.page: got `txt`; did you mean `text`?
our.yaml:3:30: events.cancel_finished.outcome: is text in the built-in catalogue; it cannot change
our.yaml:5:17: kpis.satisfaction: is the key of a built-in KPI; give yours another key
our.yaml:7:11: kpis.help_rate.kind: got `proportions`; did you mean `proportion`?
our.yaml:8:5: kpis.help_rate.betterr: unknown key `betterr`; did you mean `better`?
our.yaml:10:30: kpis.help_rate.windows.soon: expected a duration such as 30m, 6h or 14d, at most ten years; got `soon`
our.yaml:12:41: kpis.help_rate.measures.opened.cap: only a sum has a cap; add `sum: FIELD`
our.yaml:14:1: kpi: unknown key `kpi`; did you mean `kpis`?
"""
    assert "".join(f"{problem}\n" for problem in caught.value.problems) == told


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "our.yaml:1:1: the file is empty; start it with `kpis:`"),
        ("- a\n", "our.yaml:1:1: the file must be keys and values; begin with `kpis:`"),
        ("kpis: 3\n", "our.yaml:1:7: kpis: expected keys and values, got 3"),
        ("kpis: {\n", "our.yaml:2:1: this cannot be read as YAML"),
    ],
)
def test_a_file_that_is_no_catalogue_says_what_to_write(text, problem):
    with pytest.raises(SpecError) as caught:
        read_catalogue(text, source="our.yaml")
    assert str(caught.value.problems[0]).startswith(problem)


def test_a_catalogue_file_that_cannot_be_read_says_so(tmp_path):
    for path, words in ((tmp_path / "no.yaml", "no such file"), (tmp_path, "no regular file")):
        with pytest.raises(SpecError, match=words):
            read_catalogue_file(path)


def test_an_event_that_is_nearly_known_is_a_warning_in_catalogues_and_specs():
    text = HELP.replace("{event: help_opened}", "{event: help_opend, where: {page: faq}}")
    _, (warning,) = read_catalogue(text, source="our.yaml")
    assert warning.severity is Severity.WARNING
    assert str(warning) == (
        "our.yaml:12:23: kpis.help_rate.measures.opened.event: no event `help_opend` is known; "
        "did you mean `help_opened`?"
    )
    own = SPEC + HELP[HELP.index("kpis:") :].replace("help_opened", "cancel_startd")
    (warning,) = load_spec(own, source="spec.yaml").warnings
    assert "no event `cancel_startd` is known; did you mean `cancel_started`?" in str(warning)


class Running:
    """An engine that is restarted with another catalogue on the same control plane."""

    def __init__(self, folder: Path):
        self.url = f"sqlite:///{folder / 'control.db'}"
        self.engine = None

    def start(self, text):
        if self.engine is not None:
            self.engine.close()
        self.engine = Engine(
            control=ControlPlane(self.url),
            store=PlantedStore(),
            clock=SteppedClock(T),
            catalogue=catalogue_of(text) if text else None,
        )
        return self.engine

    def meaning(self):
        """Return the first measure of the KPI as the run measures it."""
        with self.engine._control.reading() as session:
            _, loaded = self.engine._shelf.known(session, "cancel-page")
        frame = {kpi.key: kpi for kpi, _ in loaded.measured}
        assert frame["help_rate"] == loaded.spec.kpis["help_rate"]
        return frame["help_rate"].measures[0]


@pytest.fixture
def running(tmp_path):
    world = Running(tmp_path)
    yield world
    world.engine.close()


def test_a_run_goes_on_with_the_meaning_it_was_applied_with(running):
    running.start(HELP).apply(GUARDED, source="s", actor="a")
    applied = running.meaning()
    engine = running.start(ONLY_FAQ)
    assert running.meaning() == applied
    assert catalogue_of(ONLY_FAQ).get("help_rate").measures[0] != applied
    (words,) = engine.experiment("cancel-page").attention
    assert words == (
        "help_rate means something else in the catalogue now: this run goes on with the meaning "
        "it was applied with; raise `seed` to begin anew with today's"
    )


def test_applying_the_file_again_or_with_small_changes_keeps_the_meaning(running):
    running.start(HELP).apply(GUARDED, source="s", actor="a")
    applied = running.meaning()
    engine = running.start(ONLY_FAQ)
    again = engine.apply(GUARDED, source="s", actor="a")
    assert (again.result, running.meaning()) == ("unchanged", applied)
    assert "means something else in the catalogue now" in again.warnings[0]
    changed = engine.apply(COMMENTED, source="s", actor="a")
    assert (changed.result, running.meaning()) == ("updated", applied)
    running.start(ONLY_FAQ)
    assert running.meaning() == applied


def test_a_raised_seed_begins_anew_with_todays_meaning(running):
    running.start(HELP).apply(GUARDED, source="s", actor="a")
    engine = running.start(ONLY_FAQ)
    engine.apply(GUARDED + "seed: 2\n", source="s", actor="a")
    assert running.meaning() == catalogue_of(ONLY_FAQ).get("help_rate").measures[0]
    assert engine.experiment("cancel-page").attention == ()


def test_a_kpi_that_is_gone_from_the_catalogue_is_still_measured_for_its_run(running):
    running.start(HELP).apply(GUARDED, source="s", actor="a")
    applied = running.meaning()
    engine = running.start(None)
    assert running.meaning() == applied
    (words,) = engine.experiment("cancel-page").attention
    assert words.startswith("help_rate is no longer in the catalogue")
    with pytest.raises(SpecError, match="there is no KPI `help_rate`"):
        engine.apply(COMMENTED, source="s", actor="a")


def test_a_catalogue_that_takes_the_key_of_a_files_own_kpi_does_not_disturb_its_run(running):
    own = GUARDED + HELP[HELP.index("kpis:") :]
    running.start(None).apply(own, source="s", actor="a")
    applied = running.meaning()
    engine = running.start(ONLY_FAQ)
    assert running.meaning() == applied
    with pytest.raises(SpecError, match="is the key of a KPI of the catalogue"):
        engine.apply(own + "lag: 6m\n", source="s", actor="a")


def test_other_words_are_no_other_meaning(running):
    running.start(HELP).apply(GUARDED, source="s", actor="a")
    assert running.start(REWORDED).experiment("cancel-page").attention == ()


def test_a_guarded_kpi_of_the_files_own_still_cannot_change_its_meaning(running):
    own = GUARDED + HELP[HELP.index("kpis:") :]
    engine = running.start(None)
    engine.apply(own, source="s", actor="a")
    with pytest.raises(ConflictError, match="budget of false rollbacks"):
        engine.apply(GUARDED + ONLY_FAQ[ONLY_FAQ.index("kpis:") :], source="s", actor="a")


def test_a_run_of_a_version_that_kept_no_meanings_is_kept_from_its_first_start(running):
    engine = running.start(HELP)
    engine.apply(GUARDED, source="s", actor="a")
    applied = running.meaning()
    with engine._control.transaction() as session:
        session.connection().exec_driver_sql("DELETE FROM meaning")
    running.start(HELP)
    running.start(ONLY_FAQ)
    assert running.meaning() == applied


def test_kpis_are_listed_with_where_they_come_from(running):
    engine = running.start(HELP)
    engine.apply(GUARDED + OWN, source="s", actor="a")
    sources = {}
    for each in running.start(ONLY_FAQ).kpis():
        sources.setdefault(each.kpi.key, []).append(each.source)
    assert sources["satisfaction"] == ["built-in"]
    assert sources["help_rate"] == ["catalogue file", "cancel-page (kept)"]
    assert sources["coupon_rate"] == ["cancel-page"]
    core = [each.kpi.core for each in listed(catalogue_of(HELP), load_catalogue(), [])]
    assert core == [True] * 12 + [False] * 9


OWN = """\
kpis:
  coupon_rate:
    kind: proportion
    better: higher
    windows: [1d]
    measures: {used: {event: coupon_used}}
    value: used > 0
"""
