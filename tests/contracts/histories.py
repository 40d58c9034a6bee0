"""Random histories of one experiment: everything that makes counting hard, seeded."""

import random
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

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


class Restart(StrEnum):
    """How a store comes back."""

    CLOSED = "closed"  # in order: the totals are saved
    FORGETFUL = "forgetful"  # in order, and somebody removed what could be made again
    CRASHED = "crashed"  # as the files are at this moment


@dataclass(frozen=True)
class Step:
    """One batch, then what is done to the store, then a look at ``now``.

    ``back``: the look is as of so many events ago. ``retain``: what happened earlier is removed;
    ``running`` frames (a bit each) are carried over. ``forget``: this unit.
    """

    batch: list[Event]
    now: datetime
    back: int | None
    restart: Restart | None
    phases: int
    until: bool
    save: bool
    rebuild: bool
    retain: datetime | None
    running: int
    forget: str | None


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
                    _units(rng, unit),
                    {
                        "experiment": "x" if rng.random() < 0.95 else "other",
                        "seed": 1 if rng.random() < 0.95 else 2,
                        "variant": variant or ["control", "treatment"][number % 2],
                        **_said(f"{number}-{repeat}"),
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
    units = _units(rng, unit) if rng.random() < 0.97 else {"user_id": unit}
    return Event(event_id, name, when, units, fields, trusted=rng.random() < 0.9)


def _said(exposure) -> dict[str, str | int]:
    """Return what an exposure says of its unit: now and then nothing, or no text."""
    rng = random.Random(exposure)
    said = {
        "segment.country": rng.choice(["DE", "DE", "FR", "", None, 7]),
        "segment.a/b~c": rng.choice([None, f"v{rng.randrange(40)}"]),
    }
    return {key: value for key, value in said.items() if value is not None}


def _units(rng, unit) -> dict[str, str]:
    """Return the order, and often its customer, who has others too."""
    if rng.random() < 0.5:
        return {"order_id": unit}
    return {"order_id": unit, "user_id": f"c{int(unit[1:]) // 3}"}


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
    erasing = rng.random() < 0.5  # else every event stays, and all of the past can be read
    now, steps, taken = start, [], 0
    while taken < len(order):
        size = rng.choice([0, 1, 3, 20, 100])
        now += timedelta(minutes=rng.choice([-600, 0, 30, 600, 2000, 5000]))
        steps.append(_step(rng, order[taken : taken + size], now, start, erasing=erasing))
        taken += size
    late = start + timedelta(days=40)
    closed = Restart.CLOSED
    end = Step([], late, None, closed, 0, False, False, True, None, 0, None)
    return [*steps, end]


def _step(rng, batch, now, start, *, erasing) -> Step:
    day = timedelta(minutes=rng.randrange(-60, 60 * 24 * 5))
    number = rng.randrange(15)
    return Step(
        batch,
        now,
        back=rng.randrange(0, 50) if rng.random() < 0.15 else None,
        restart=rng.choice(list(Restart)) if rng.random() < 0.2 else None,
        phases=rng.choice([0, 0, 1, 2]) if rng.random() < 0.3 else 0,
        until=rng.random() < 0.1,
        save=rng.random() < 0.2,
        rebuild=rng.random() < 0.1,
        retain=start + day if erasing and rng.random() < 0.12 else None,
        running=rng.randrange(8),
        forget=rng.choice([f"u{number}", f"c{number // 3}"])
        if erasing and rng.random() < 0.12
        else None,
    )
