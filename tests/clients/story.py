"""What every client goes through: a ramp step, full traffic, rollbacks; compared and measured."""

import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field

from experiments.repository import load_experiment, update_experiment
from tests.clients.contexts import KEY, SPEC, contexts, ours, soon
from tests.running import running

PHASES = ("during a ramp step", "at full traffic", "after a rollback")
UNITS = 12
"""Units that every client meets alone, so that their exposures are its own."""


@dataclass
class Told:
    """What one client did.

    Attributes:
        wrong: By phase: contexts in which it served another arm than our evaluator.
        seconds: From the commit of a rollback, or of its end, to its own changed answer.
        exposed: Units it alone met, with the arm that was kept for them.
        expected: The same as our evaluator says.
    """

    wrong: dict[str, list] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    exposed: dict[str, str] = field(default_factory=dict)
    expected: dict[str, str] = field(default_factory=dict)


@dataclass
class Story:
    """What all of them did, and how often our evaluator served each arm, by phase."""

    told: dict[str, Told] = field(default_factory=dict)
    arms: dict[str, Counter] = field(default_factory=dict)
    quarantined: int = 0


def story(clients, *, count, seed, changes=1):
    """Tell it.

    Args:
        clients: Name to what opens a client, given the address.
        count: Contexts compared in each phase.
        seed: Of the contexts.
        changes: Rollbacks measured for each client.
    """
    given, result = contexts(count, seed), Story()
    # a page says what time it is, so the service has no clock of its own
    with running(demo=False, checks=False) as it, ExitStack() as undo:
        assert it.apply(SPEC).status_code == 201
        opened = {}
        for name, open_one in clients.items():
            opened[name] = open_one(it.url)
            undo.callback(opened[name].close)
        result.told = {name: Told() for name in opened}
        before = _compare(it, opened, given, PHASES[0], result)
        _step_up(it)
        full = _compare(it, opened, given, PHASES[1], result, before=before)
        for name, client in opened.items():
            if client.exposes:
                _expose(it, name, client, result.told[name])
        unit = next(c for c, arm in zip(given, full, strict=True) if arm == "treatment")
        for name, client in opened.items():
            for _ in range(changes):
                result.told[name].seconds += _back_and_on_again(it, client, unit)
        assert it.act("roll_back", variant="treatment").is_success
        _compare(it, opened, given, PHASES[2], result, before=full)
        it.services.flush()
        result.quarantined = it.services.counts.quarantined
    return result


def _compare(it, opened, given, phase, result, *, before=()):
    """Compare all clients with us, each once it has seen the change of the phase."""
    mine = ours(it.services, given)
    result.arms[phase] = Counter(mine)
    moved = next((i for i, (a, b) in enumerate(zip(before, mine, strict=False)) if a != b), None)
    for name, client in opened.items():
        if moved is not None:
            client.until(given[moved], mine[moved])
        theirs = client.arms(given)
        pairs = zip(given, mine, theirs, strict=True)
        result.told[name].wrong[phase] = [pair for pair in pairs if pair[1] != pair[2]]
    return mine


def _step_up(it):
    """Go to the next step, as a check does whose evidence allows it."""
    with it.services.guarding.control.transaction() as session:
        record = load_experiment(session, KEY)
        update_experiment(session, record, step=record.step + 1, step_since=it.services.clock.now())
    it.services.engine._refresh()


def _expose(it, name, client, told):
    alone = [
        {"order_id": f"{name}-{number}", "platform": "ios", "country": "DE"}
        for number in range(UNITS)
    ]
    arms = ours(it.services, alone)
    told.expected = {c["order_id"]: arm for c, arm in zip(alone, arms, strict=True)}
    client.arms(alone)

    def kept():
        it.services.flush()
        store = it.services.store
        stored = store.exposed_units(KEY, 1)
        names = {unit: store.stored_as(unit) for unit in told.expected}
        told.exposed = {unit: stored[name] for unit, name in names.items() if name in stored}
        return len(told.exposed) == UNITS

    soon(kept, every=0.05)


def _back_and_on_again(it, client, unit):
    for action, arm in (("roll_back", "control"), ("resume", "treatment")):
        client.until(unit, "treatment" if arm == "control" else "control")
        committed = _act(it, action)
        yield client.until(unit, arm) - committed


def _act(it, action):
    """Do it; return the time of day at which it was served, before anybody was told."""
    engine, moments = it.services.engine, []
    announce = engine._announce

    def noted():
        moments.append(time.time())
        announce()

    engine.on_served(noted)
    try:
        assert it.act(action, variant="treatment").is_success
    finally:
        engine.on_served(announce)
    return moments[0]
