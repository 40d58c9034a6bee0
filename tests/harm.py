"""One experiment whose treatment lets nobody out, told event by event: a breach after an hour."""

from datetime import UTC, datetime, timedelta

from experiments.assignment import bucket_of, bucket_ranges

START = datetime(2026, 1, 5, tzinfo=UTC)
HOUR = timedelta(hours=1)
BREACH, LATER = START + 2 * HOUR, START + 3 * HOUR
KEY = "exp"
UNITS = 130  # of each arm: just above the gate
SPEC = f"""\
experiment: {KEY}
unit: order_id
variants:
  control: {{weight: 50%, flow: {{steps: [confirm]}}}}
  treatment: {{weight: 50%, flow: {{steps: [why, confirm]}}}}
guardrails:
  - {{kpi: cancel_success_rate, max_drop: 5%}}
ends: {{after: 10d, observe_for: 2d}}
check_every: 1h
expect_units: 5000
notify: [ops]
"""


def arms():
    """Return ``UNITS`` order ids of each arm, and 30 more of control, by the hash."""
    ranges = bucket_ranges((0.5, 0.5), 1.0)
    found, number = {"control": [], "treatment": []}, 0
    while len(found["control"]) < UNITS + 30 or len(found["treatment"]) < UNITS:
        unit = f"order-{number}"
        number += 1
        share = bucket_of(f"{KEY}:1", unit) / 10_000
        found["control" if ranges[0][0] <= share < ranges[0][1] else "treatment"].append(unit)
    return found["control"][:UNITS], found["treatment"][:UNITS], found["control"][UNITS:][:30]


def story(begun=START):
    """Return events of two hours: nobody of the treatment gets out; control is met later, too."""
    control, treatment, late = arms()

    def event(unit, name, after, **fields):
        return {
            "id": f"{unit}/{name}",
            "name": name,
            "happened_at": (begun + after).isoformat(),
            "units": {"order_id": unit},
            "fields": fields,
        }

    for arm, units, outcome in (
        ("control", control, "cancelled"),
        ("treatment", treatment, "kept"),
    ):
        for unit in units:
            yield event(unit, "exposure", timedelta(), experiment=KEY, variant=arm)
            yield event(unit, "cancel_started", timedelta(seconds=5))
            yield event(unit, "cancel_finished", timedelta(seconds=60), outcome=outcome, seconds=55)
    for unit in late:
        at = 2.5 * HOUR
        yield event(unit, "exposure", at, experiment=KEY, variant="control")
