"""Random histories of one experiment: everything that makes counting hard, seeded."""

import random
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from metrics.events import Event

NAMES = {
    "cancel_started": {},
    "cancel_step_left": {"step": ["reason", "coupon"], "seconds": (0, 4000)},
    "cancel_finished": {"outcome": ["cancelled", "kept", "abandoned"], "seconds": (0, 4000)},
    "flow_failed": {"code": ["timeout"]},
    "offer_shown": {},
    "offer_accepted": {"cost": (0, 30)},
    "refund_requested": {"amount": (1, 500)},
    "refund_paid": {"amount": (1, 500), "hours": (0, 400)},
    "satisfaction_asked": {},
    "satisfaction_rated": {"score": (1, 5)},
    "complaint_filed": {"case_id": ["a", "b", "c"], "repeat": [True, False]},
    "case_opened": {"case_id": ["a", "b", "c"]},
    "agent_worked": {"case_id": ["a", "b"], "hours": (0, 3)},
    "case_closed": {"case_id": ["a", "b", "c"], "first_contact": [True, False]},
    "case_reopened": {"case_id": ["a", "b", "c"]},
    "order_placed": {"order_id": ["u1", "new"], "amount": (-50, 900), "addon": [True, False]},
    "page_viewed": {"path": ["/"]},
}


@dataclass(frozen=True)
class Step:
    """One batch, then a look at ``now`` (``as_of`` events back when it is not None)."""

    batch: list[Event]
    now: datetime
    back: int | None
    reopen: bool
    phases: int
    until: bool


def events_of(rng: random.Random, start: datetime, units: int, count: int) -> list[Event]:
    made: list[Event] = []
    for number in range(units):
        unit = f"u{number}"
        first = start + timedelta(minutes=rng.randrange(-30, 60 * 24 * 4))
        for repeat in range(rng.choice([0, 1, 1, 1, 1, 2, 3])):
            variant = rng.choice(["control", "treatment"]) if rng.random() < 0.1 else None
            made.append(
                Event(
                    f"x{number}-{repeat}",
                    "exposure",
                    first + timedelta(minutes=rng.randrange(0, 600) * repeat),
                    {"order_id": unit},
                    {
                        "experiment": "x" if rng.random() < 0.95 else "other",
                        "seed": 1 if rng.random() < 0.95 else 2,
                        "variant": variant or ["control", "treatment"][number % 2],
                    },
                    trusted=rng.random() < 0.5,
                )
            )
        busy = rng.random() < 0.08
        name = rng.choice(list(NAMES)) if busy else None
        size = rng.randrange(21, 45) if busy else rng.randrange(count)
        made += [_event(rng, f"{unit}-{position}", name, unit, first) for position in range(size)]
    return made


def _event(rng, event_id, name, unit, first) -> Event:
    name = name or rng.choice(list(NAMES))
    fields = {}
    for key, values in NAMES[name].items():
        if rng.random() < 0.1:
            continue
        if isinstance(values, list):
            fields[key] = rng.choice(values)
        else:
            fields[key] = rng.randrange(values[0] * 10**6, values[1] * 10**6 + 1)
            if rng.random() < 0.01:
                fields[key] = rng.choice([2**62, -(2**62), 2**45])
    spread = rng.choice([5, 90, 60 * 24, 60 * 24 * 20])
    # whole minutes, so that ties and events exactly on a window's edge happen
    when = first + timedelta(minutes=rng.randrange(-3, spread))
    units = {"order_id": unit} if rng.random() < 0.97 else {"user_id": unit}
    return Event(event_id, name, when, units, fields, trusted=rng.random() < 0.9)


def steps_of(rng: random.Random, start: datetime, events: list[Event]) -> list[Step]:
    order = list(events)
    if rng.random() < 0.5:
        order.sort(key=lambda event: event.happened_at)
        for _ in range(len(order) // 10):
            order.append(order.pop(rng.randrange(len(order))))
    else:
        rng.shuffle(order)
    repeats = rng.sample(order, len(order) // 10)
    reused = rng.sample(order, len(order) // 30)
    order += repeats
    order += [replace(e, happened_at=e.happened_at + timedelta(hours=1)) for e in reused]
    now, steps, taken = start, [], 0
    while taken < len(order):
        size = rng.choice([0, 1, 3, 20, 100])
        now += timedelta(minutes=rng.choice([-600, 0, 30, 600, 2000, 5000]))
        steps.append(
            Step(
                order[taken : taken + size],
                now,
                rng.randrange(0, 50) if rng.random() < 0.15 else None,
                rng.random() < 0.05,
                rng.choice([0, 0, 1, 2]) if rng.random() < 0.3 else 0,
                rng.random() < 0.1,
            )
        )
        taken += size
    steps.append(Step([], start + timedelta(days=40), None, True, 0, False))
    return steps
