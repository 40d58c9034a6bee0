"""Everything people, the clock and crashes may do to experiments, in any order, and what must hold.

Two engines work on one database on disk; either may crash between two steps or in the middle of
one, and be opened again. After every step everything is compared with the rows themselves.
"""

import json
import sqlite3
import tempfile
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from hypothesis import event
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import event as database

from experiments.database import ControlPlane
from experiments.errors import IllegalTransitionError, SpecError, TurnbackError
from experiments.lifecycle import Move, State, possible
from guardrails.clock import SteppedClock
from guardrails.engine import Engine
from guardrails.settings import EngineSettings
from tests.engine_world import HOUR, PlantedStore, Recording, T

KEYS = ("a", "b", "c")
TREATMENTS = ("one", "two")
PLATFORMS = ("ios", "android", "web")
UNITS = tuple((f"u{n}", {"targetingKey": f"u{n}", "platform": PLATFORMS[n % 3]}) for n in range(90))
RAMPS = (
    "[{traffic: 100%}]",
    "[{traffic: 20%, hold: 5h}, {traffic: 100%}]",
    "[{traffic: 20%, hold: 3h}, {traffic: 100%}]",
    "[{traffic: 20%, hold: 5h, approval: true}, {traffic: 60%, hold: 3h}, {traffic: 100%}]",
    "[{traffic: 10%, hold: 1h}, {traffic: 20%, hold: 5h, approval: true}, {traffic: 100%}]",
    "[{traffic: 30%, hold: 2h, min_units: 500}, {traffic: 60%, hold: 2h}]",
    "[{traffic: 60%, hold: 2h, approval: true}, {traffic: 100%}]",
)
SHARES = (None, 20, 40, 60, 90)
STATES = {state.value for state in State} | {"new"}
TOTALS = Counter()
"""What all runs of this process did together: evidence that the machine goes everywhere."""


class Crash(BaseException):
    """The process is gone; nothing may catch it."""


@dataclass(frozen=True)
class Knobs:
    """A spec file in numbers, so that it can be changed here and there."""

    key: str
    seed: int = 1
    title: int = 0
    unit: str = "order_id"
    weights: tuple[int, int, int] = (40, 30, 30)
    flow: int = 0
    platforms: int = 2
    share: int | None = None
    ramp: int = 0
    margin: int = 10
    weight: int = 1
    alert: int = 10
    starts: str = ""
    holdout: bool = True
    shadow: bool = False
    force: bool = False
    broken: bool = False

    def text(self):
        control, one, two = self.weights
        lines = [
            f"experiment: {self.key}",
            f"title: Title {self.title}",
            f"seed: {self.seed}",
            f"unit: {self.unit}",
            f"audience: {{platform: [{', '.join(PLATFORMS[: self.platforms])}]}}",
            "variants:",
            f"  control: {{weight: {control}%, flow: {{page: old}}}}",
            f"  one: {{weight: {one}%, flow: {{page: {self.flow}}}}}",
            f"  two: {{weight: {two}%, flow: {{page: two}}}}",
            f"ramp: {RAMPS[self.ramp]}",
            "guardrails:",
            f"  - {{kpi: flow_failure_rate, max_rise: {self.margin}%, weight: {self.weight}}}",
            f"  - {{kpi: cancellation_rate, max_rise: {self.alert}%, action: alert}}",
            "ends: {after: 3d, observe_for: 1d}",
            "check_every: 1h",
            "expect_units: 20000",
            f"holdout: {str(self.holdout).lower()}",
            f"mode: {'shadow' if self.shadow else 'live'}",
        ]
        if self.share is not None:
            lines.append(f"layer: {{name: page, share: {self.share}%}}")
        if self.starts:
            lines.append(f"starts: {self.starts}")
        if self.force:
            lines.append("force: {qa-1: one}")
        if self.broken:
            lines.append("no_such_key: 1")
        return "\n".join(lines) + "\n"


CHANGES = st.one_of(
    st.builds(lambda v: {"title": v}, st.integers(0, 5)),
    st.builds(lambda v: {"alert": v}, st.sampled_from((10, 20))),
    st.builds(lambda v: {"ramp": v}, st.integers(0, len(RAMPS) - 1)),
    st.builds(lambda v: {"share": v}, st.sampled_from(SHARES)),
    st.builds(lambda v: {"platforms": v}, st.integers(1, 3)),
    st.builds(lambda v: {"flow": v}, st.integers(0, 2)),
    st.builds(lambda v: {"weights": v}, st.sampled_from(((40, 30, 30), (50, 25, 25)))),
    st.builds(lambda v: {"unit": v}, st.sampled_from(("order_id", "user_id"))),
    st.builds(lambda v: {"margin": v}, st.sampled_from((10, 12))),
    st.builds(lambda v: {"weight": v}, st.integers(1, 3)),
    st.builds(lambda v: {"holdout": v}, st.booleans()),
    st.builds(lambda v: {"shadow": v}, st.booleans()),
    st.builds(lambda v: {"force": v}, st.booleans()),
    st.builds(lambda v: {"starts": v}, st.sampled_from(("", "manual", "later"))),
    st.just({"broken": True}),
)


RAISE = st.sampled_from((0, 0, 0, 0, 1))
WHO = st.integers(0, 1)
ASKED = st.sampled_from(
    (Move.START, Move.STOP)
    + 2 * (Move.PAUSE, Move.CONTINUE)
    + 2 * ("approve",)
    + 4 * ("roll_back", "resume", "resume")
)
ASKED_OF_PAUSED = st.one_of(st.just(Move.CONTINUE), ASKED)
WEIGHTS = (
    7 * ("apply",)
    + 7 * ("act",)
    + 7 * ("time_passes",)
    + 2 * ("plant", "crash_in_the_middle")
    + ("crash", "reopen_with_another_holdout")
)


def first(key):
    return st.builds(
        Knobs,
        key=st.just(key),
        ramp=st.sampled_from((1, 2, 3, 4, 5, 6)),
        share=st.sampled_from((None, 20, 40)),
        starts=st.sampled_from(("", "", "", "manual", "later")),
    )


class HarmStore(PlantedStore):
    """Failing rates by experiment and variant."""

    def _cell(self, frame, variant, hours, until):
        self.rates = {variant: 0.5 if (frame.experiment, variant) in self.harm else 0.1}
        return super()._cell(frame, variant, hours, until)

    def __init__(self):
        super().__init__()
        self.harm = set()


@dataclass
class Memory:
    """What was seen so far and must stay true."""

    back: set = field(default_factory=set)  # (key, seed, variant, attempt) turned back
    over: dict = field(default_factory=dict)  # (key, seed) to its final state
    met: dict = field(default_factory=dict)  # (key, seed, unit) to the arm it has met
    traffic: dict = field(default_factory=dict)  # (key, seed) to the most that was served
    asked: dict = field(default_factory=dict)  # (key, seed) to what its step asks for
    revisions: dict = field(default_factory=dict)  # (key, number) to the row
    resumed: set = field(default_factory=set)  # (key, seed, variant, attempt) by a person
    looks: dict = field(default_factory=dict)  # monitor and window to its looks and what was spent
    noted: set = field(default_factory=set)  # what is counted once


class Lifecycle(RuleBasedStateMachine):
    """Experiments that share a layer, two engines on one file, people, time and crashes."""

    def __init__(self):
        super().__init__()
        memory = Path("/dev/shm")  # noqa: S108 - a folder of its own is made in it
        self.folder = tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None)
        self.file = Path(self.folder.name) / "control.db"
        self.clock = SteppedClock(T)
        self.store = HarmStore()
        self.holdout = 0.1
        self.controls = []
        self.knobs = {}
        self.applied = {}
        self.memory = Memory()
        self.engines = []

    @initialize(data=st.data())
    def open_both(self, data):
        self.engines = [self.opened(), self.opened()]
        self.reader = sqlite3.connect(self.file, isolation_level=None)
        self.reader.row_factory = sqlite3.Row
        for key in KEYS[:2]:
            self.knobs[key] = data.draw(first(key))
            self.apply(data, key=key)

    def opened(self):
        control = ControlPlane(f"sqlite:///{self.file}")
        self.controls.append(control)
        settings = EngineSettings(
            cooldown=timedelta(0),
            channels={"log": Recording()},
            show_core=False,
            holdout=self.holdout,
        )
        return Engine(control=control, store=self.store, clock=self.clock, settings=settings)

    def teardown(self):
        self.reader.close()
        for control in self.controls:
            control.close()
        self.folder.cleanup()

    # what may happen

    @rule(what=st.sampled_from(WEIGHTS), data=st.data())
    def something_happens(self, what, data):
        # one rule that chooses: rules of their own would be switched off for whole runs
        getattr(self, what)(data)

    def apply(self, data, key=None):
        changes = [] if key else data.draw(st.lists(CHANGES, min_size=1, max_size=2))
        key, engine = key or data.draw(st.sampled_from(KEYS)), self.engine(data)
        knobs = self.changed(key, changes, data.draw(RAISE))
        rehearse = data.draw(st.booleans())
        engine.deliver()  # what a crash left untold would be told by the next who acts
        before = self.commits()
        rehearsed = self.attempt(engine, knobs, dry_run=True) if rehearse else None
        if rehearse:
            assert self.commits() == before, "a dry run wrote something"
        done = self.attempt(engine, knobs)
        if rehearsed is not None:
            assert rehearsed == done, "a dry run says something else than what happens"
        self.note(f"apply {done[0]}")
        if done[0] in {"created", "updated"}:
            self.knobs[key] = self.applied[key] = knobs
            self.is_served(engine)
        else:
            assert self.commits() == before, f"{done} changed something"

    def changed(self, key, changes, up):
        knobs = self.knobs.get(key, Knobs(key))
        for change in changes:
            knobs = replace(knobs, **change)
        if knobs.starts == "later":
            later = self.clock.now() + timedelta(hours=7)
            knobs = replace(knobs, starts=later.strftime("%Y-%m-%dT%H:%M:%SZ"))
        return replace(knobs, seed=knobs.seed + up)

    def attempt(self, engine, knobs, **options):
        try:
            view = engine.apply(knobs.text(), source="x", actor="p", **options)
        except SpecError:
            assert knobs.broken
            return ("broken",)
        except TurnbackError as refused:
            return (type(refused).__name__, str(refused))
        return (view.result, view.revision, view.words)

    def act(self, data):
        if not self.applied:
            return
        key = data.draw(st.sampled_from(sorted(self.applied)))
        rows = self.rows()
        record = rows["experiment"][key]
        # a pause is soon over otherwise: stopped, finished or begun anew
        paused = record["state"] == State.PAUSED
        action = data.draw(ASKED_OF_PAUSED if paused else ASKED)
        variant = data.draw(st.sampled_from(TREATMENTS))
        engine, before = self.engine(data), self.commits()
        asked, refused = {"reason": "because", "actor": "p"}, None
        try:
            if isinstance(action, Move):
                engine.move(key, action, **asked)
            elif action == "approve":
                engine.approve(key, **asked)
            elif action == "roll_back":
                engine.roll_back(key, variant, **asked)
            else:
                engine.resume(key, variant, **asked)
        except TurnbackError as error:
            refused = error
        state = State(record["state"])
        allowed = str(action) in possible(state)
        if action == "roll_back" and state is State.FINISHED:
            allowed = record["shipped"] == variant  # nobody gets any other one any more
        if refused is not None:
            illegal = isinstance(refused, IllegalTransitionError)
            assert illegal is not allowed
            assert not illegal or refused.legal == engine.experiment(key).actions
            assert not illegal or set(refused.legal) <= set(possible(state))
            assert self.commits() == before
        else:
            assert allowed
            self.note(str(action))
            if action == "resume":
                newest = self.newest(self.rows(), key, record["seed"])[variant]
                self.memory.resumed.add((key, record["seed"], variant, newest["attempt"]))
            self.is_served(engine)

    def time_passes(self, data):
        rings, engines = data.draw(st.sampled_from((1, 2, 4))), [self.engine(data)]
        length = data.draw(st.sampled_from((1, 1, 3, 10)))
        if data.draw(st.sampled_from((True, False, False))):
            engines = self.engines
        for _ in range(rings):
            before = self.rows()["experiment"]
            self.clock.move_to(self.clock.now() + length * HOUR)
            for engine in engines:
                engine.run_due()
                self.is_served(engine)
            self.ramps_waited(before)

    def ramps_waited(self, before):
        """Check that a step was left by the clock only when all it asks for was there."""
        for key, record in self.rows()["experiment"].items():
            was = before[key]
            if record["step"] == was["step"]:
                continue
            step = self.step_of(self.applied[key], was["step"])
            waited = self.clock.now() - self.instant(was["step_since"])
            assert record["step"] == was["step"] + 1
            assert waited >= timedelta(hours=step["hold"])
            assert not step["approval"] or was["approved"] == was["step"], "nobody approved it"
            assert was["state"] == "running"
            assert record["approved"] == -1
            self.note("the ramp advanced")

    def plant(self, data):
        place = data.draw(st.sampled_from(KEYS)), data.draw(st.sampled_from(TREATMENTS))
        self.store.harm ^= {place}

    def reopen_with_another_holdout(self, data):
        self.holdout = data.draw(st.sampled_from((0.0, 0.1, 0.3)))
        self.engines[data.draw(WHO)] = self.opened()

    def crash(self, data):
        self.engines[data.draw(WHO)] = self.opened()
        self.note("crash")

    def crash_in_the_middle(self, data):
        """Break the database connection after some statements of whatever happens next."""
        who = data.draw(WHO)
        engine, left = self.engines[who], data.draw(st.integers(1, 60))
        control = engine._control

        def count(*_arguments):
            nonlocal left
            left -= 1
            if left <= 0:
                raise Crash

        key = data.draw(st.sampled_from(KEYS))
        knobs = self.changed(key, data.draw(st.lists(CHANGES, max_size=2)), 0)
        applies = data.draw(st.booleans())
        for name in ("before_cursor_execute", "commit"):
            database.listen(control.engine, name, count)
        before = self.rows()["revision"]
        try:
            if applies:
                self.attempt(engine, knobs)
            else:
                self.clock.move_to(self.clock.now() + HOUR)
                engine.run_due()
        except Crash:
            self.note("crash in the middle")
        finally:
            for name in ("before_cursor_execute", "commit"):
                database.remove(control.engine, name, count)
        if self.rows()["revision"] != before:
            self.knobs[key] = self.applied[key] = knobs
        self.engines[who] = self.opened()

    # what must hold

    @invariant()
    def everything_holds(self):
        if not self.engines:
            return
        rows = self.rows()
        for engine in self.engines:
            engine._refresh()
            self.is_served(engine)
        for key, record in rows["experiment"].items():
            self.latches_hold(rows, key, record)
            self.ends_are_ends(key, record)
            self.steps_go_on_asking(key, record)
            self.units_keep_their_arm(key, record)
            self.transitions_lead_here(rows, key, record)
        self.layers_share_no_unit(rows)
        self.revisions_stay(rows)
        self.looks_stay_taken(rows)

    def looks_stay_taken(self, rows):
        """What a guardrail that acts has looked at and spent is never given back."""
        now = {}
        for m in rows["monitor"]:
            if m["guardrail"] == "flow_failure_rate":
                place = m["experiment"], m["seed"], m["treatment"], m["attempt"]
                for window, state in json.loads(m["states"]).items():
                    now[*place, window] = state["looks"], state["spent"]
        for place, taken in self.memory.looks.items():
            assert place in now, f"the looks of {place} are forgotten"
            assert now[place] >= taken, f"the looks of {place} were given back"
        self.memory.looks |= now

    def latches_hold(self, rows, key, record):
        seed, memory = record["seed"], self.memory
        newest = self.newest(rows, key, seed)
        for variant, treatment in newest.items():
            latch = (key, seed, variant)
            back = {a for *place, a in memory.back if tuple(place) == latch}
            if treatment["state"] == "live" and back:
                assert treatment["attempt"] > max(back), f"{latch} is live again by itself"
                assert (*latch, treatment["attempt"]) in memory.resumed
            if treatment["state"] == "rolled_back":
                memory.back.add((*latch, treatment["attempt"]))
        told = Counter(t["latch"] for t in rows["transition"] if t["latch"])
        turned = [
            f"{t['experiment']}/{t['variant']}/{t['seed']}/{t['attempt']}"
            for t in rows["treatment"]
            if t["state"] == "rolled_back"
        ]
        assert told == Counter(turned), "one transition for each latch, and none besides"
        for t in rows["transition"]:
            if t["latch"] and t["actor"] == "turnback":
                self.note("the engine turned back", once=t["latch"])

    def ends_are_ends(self, key, record):
        place = key, record["seed"]
        if record["state"] in {"finished", "stopped"}:
            assert self.memory.over.setdefault(place, record["state"]) == record["state"]
            self.note(record["state"], once=place)
        assert self.memory.over.get(place, record["state"]) == record["state"]
        if record["state"] != "draft":
            traffic = self.step_of(self.applied[key], record["step"])["traffic"]
            assert traffic >= self.memory.traffic.get(place, 0.0), "traffic fell"
            self.memory.traffic[place] = traffic

    def steps_go_on_asking(self, key, record):
        """Check that what a step waits for stays, whatever file is applied meanwhile."""
        place = key, record["seed"]
        if record["state"] == "draft":
            return
        step = self.step_of(self.applied[key], record["step"])
        last = record["step"] + 1 == self.steps_in(self.applied[key])
        given = record["approved"] == record["step"]
        was = self.memory.asked.pop(place, None)
        if not last:
            wanted = step["approval"] and not given
            self.memory.asked[place] = (step["traffic"], step["hold"], wanted)
            if was is not None and was[0] == step["traffic"]:
                assert step["hold"] >= was[1], "a hold was shortened"
                assert wanted or given or not was[2], "an approval was dropped"

    def units_keep_their_arm(self, key, record):
        experiment = self.engines[0].serving().experiments[key]
        serving = experiment.serving
        for unit, context in UNITS:
            answer = experiment.assign(context)
            met = self.memory.met.get((key, record["seed"], unit))
            if answer.exposed:
                assert record["state"] == "running"
                assert met in {None, answer.variant}, f"{unit} met {met}, now {answer.variant}"
                assert answer.variant not in serving.rolled_back
                self.memory.met[key, record["seed"], unit] = answer.variant
            else:
                assert answer.variant == "control"
                if met is not None:
                    assert record["state"] != "running" or met in serving.rolled_back, (
                        f"{unit} met {met} and is shut out"
                    )

    def transitions_lead_here(self, rows, key, record):
        path = [
            (t["before"], t["after"])
            for t in rows["transition"]
            if t["experiment"] == key and t["variant"] is None and t["after"] in STATES
        ]
        assert path[0] in {("draft", "running"), ("new", "draft")}
        for (_, reached), (left, _) in pairwise(path):
            assert left == reached
        assert path[-1][1] == record["state"]
        resumed = [
            t for t in rows["transition"] if t["experiment"] == key and t["before"] == "rolled_back"
        ]
        again = [t for t in rows["treatment"] if t["experiment"] == key and t["attempt"] > 1]
        assert len(resumed) == len(again)

    def layers_share_no_unit(self, rows):
        taken = {}
        for key, record in rows["experiment"].items():
            if record["layer"] is None or record["state"] in {"finished", "stopped"}:
                continue
            for start, stop in json.loads(record["layer_buckets"]):
                for bucket in range(start, stop):
                    assert taken.setdefault(bucket, key) == key

    def revisions_stay(self, rows):
        numbers = {}
        for row in rows["revision"]:
            numbers.setdefault(row["experiment"], []).append(row["number"])
            place = row["experiment"], row["number"]
            assert self.memory.revisions.setdefault(place, row) == row
        for key, found in numbers.items():
            assert sorted(found) == list(range(1, len(found) + 1))
            assert rows["experiment"][key]["revision"] == len(found)

    def is_served(self, engine):
        """Compare what an engine serves with the rows."""
        rows, served = self.rows(), engine.serving().experiments
        assert set(served) == set(rows["experiment"])
        for key, record in rows["experiment"].items():
            serving = served[key].serving
            newest = self.newest(rows, key, record["seed"])
            back = {v for v, t in newest.items() if t["state"] == "rolled_back"}
            assert (serving.state, serving.rolled_back) == (record["state"], back)
            assert served[key].spec.seed == record["seed"]
            assert [list(pair) for pair in serving.layer] == json.loads(record["layer_buckets"])
            assert serving.holdout == record["holdout"]
            assert set(newest) == set(TREATMENTS)

    def engine(self, data):
        return self.engines[data.draw(WHO)]

    # reading the file itself

    def rows(self):
        found = {
            name: [dict(row) for row in self.reader.execute(f"select * from {name}")]  # noqa: S608
            for name in ("experiment", "revision", "treatment", "transition", "monitor")
        }
        found["experiment"] = {row["key"]: row for row in found["experiment"]}
        found["transition"].sort(key=lambda row: row["id"])
        return found

    def commits(self):
        """Return a number that changes whenever anybody else commits anything to the file."""
        return self.reader.execute("pragma data_version").fetchone()[0]

    @staticmethod
    def newest(rows, key, seed):
        mine = [t for t in rows["treatment"] if (t["experiment"], t["seed"]) == (key, seed)]
        return {t["variant"]: t for t in sorted(mine, key=lambda t: t["attempt"])}

    @staticmethod
    def step_of(knobs, index):
        steps = [
            {
                "traffic": float(step.partition("%")[0]) / 100,
                "hold": int(step.partition("hold: ")[2].partition("h")[0] or 0),
                "approval": "approval: true" in step,
            }
            for step in RAMPS[knobs.ramp].split("traffic: ")[1:]
        ]
        return steps[index]

    @staticmethod
    def steps_in(knobs):
        return RAMPS[knobs.ramp].count("traffic")

    @staticmethod
    def instant(text):
        return datetime.fromisoformat(text).replace(tzinfo=UTC)

    def note(self, what, once=None):
        if once is not None:
            if (what, once) in self.memory.noted:
                return
            self.memory.noted.add((what, once))
        TOTALS[what] += 1
        event(what)
