"""Histories for ``store.py``: logs written in bulk, events that follow them, and plain SQL."""

import random
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from metrics.catalogue import Condition, KpiDefinition, Measure, Test, load_catalogue
from metrics.events import Event, exposure
from metrics.store import Frame
from metrics.stores.duckdb import DuckDBMetricStore
from metrics.values import microseconds

START = datetime(2026, 3, 2, tzinfo=UTC)
DAYS = 40
SPAN = DAYS * 86_400_000_000
HOUR = 3_600_000_000
ARMS = ("control", "one_step", "three_step")
PARTS = 20
NAMES = """
    cancel_started        {}
    cancel_step_left      {"step":"$word","seconds":$small}
    cancel_step_left      {"step":"reason","seconds":$small}
    cancel_finished       {"outcome":"cancelled","seconds":$small,"reason":"$word"}
    cancel_finished       {"outcome":"kept","seconds":$small,"reason":"$word"}
    flow_failed           {"code":"$word"}
    offer_accepted        {"offer":"$word","cost":$small}
    refund_requested      {"amount":$large}
    refund_paid           {"amount":$large,"hours":$small}
    satisfaction_rated    {"score":$score}
    complaint_filed       {"case_id":"case-$case","repeat":false}
    case_opened           {"case_id":"case-$case","channel":"$word"}
    agent_worked          {"case_id":"case-$case","hours":$small}
    case_closed           {"case_id":"case-$case","first_contact":true}
    order_placed          {"order_id":"order-$case","amount":$large,"addon":true}
    page_viewed           {"path":"/$word"}
"""
KINDS = tuple(tuple(line.split(maxsplit=1)) for line in NAMES.strip().splitlines())
WORDS = ("price", "late", "other", "broken", "found-better", "no-reason")


def frame() -> Frame:
    """Return the question: the twelve core KPIs, three arms, all their windows."""
    return Frame(
        experiment="bench",
        seed=1,
        unit="order_id",
        variants=ARMS,
        origin=START,
        cohort=timedelta(days=1),
        until=None,
        phases=(),
        kpis=tuple(
            (kpi, tuple(window.length for window in kpi.windows)) for kpi in load_catalogue().core
        ),
    )


def unit_of(number: int) -> str:
    return f"order-{number:010d}"


def _fields(template: str) -> str:
    """Return SQL text that fills a template of fields for row ``i``."""
    words = ", ".join(f"'{word}'" for word in WORDS)
    values = {
        "$word": f"([{words}])[1 + r2 % {len(WORDS)}]",
        "$small": "(r3 % 60000000)",
        "$large": "(r3 % 900000000)",
        "$score": "(1000000 * (1 + r3 % 5))",
        "$case": "(unit * 3 + r2 % 3)",
    }
    text = "'" + template + "'"
    for mark, value in values.items():
        text = text.replace(mark, f"' || {value} || '")
    return text


def write_history(path: Path, events: int, units: int) -> float:
    """Write a log of so many events, beside the exposures, in bulk; returns the seconds.

    Units are exposed evenly over 40 days; half of a unit's events fall into its first hour,
    three tenths into its first day and the others into 30 days, in the order of time.
    """
    begun = time.perf_counter()
    store = DuckDBMetricStore(path)
    connection = store._log._connection  # noqa: SLF001 - the bulk way in is no part of the store
    begin = int(START.timestamp()) * 1_000_000
    of_name = " ".join(f"WHEN {n} THEN '{name}'" for n, (name, _) in enumerate(KINDS))
    of_fields = " ".join(f"WHEN {n} THEN {_fields(text)}" for n, (_, text) in enumerate(KINDS))
    arms = ", ".join(f"'{arm}'" for arm in ARMS)
    seq = 0
    for part in range(PARTS):
        low, high = units * part // PARTS, units * (part + 1) // PARTS
        connection.execute(f"""
            INSERT INTO events SELECT {seq} + i - {low} + 1, 'exposure:' || lpad(hex(i), 32, '0'),
                {begin} + i * {SPAN} // {units}, {begin} + {SPAN}, 'exposure',
                '{{"order_id":"order-' || lpad(i::VARCHAR, 10, '0') || '"}}',
                '{{"experiment":"bench","seed":1,"variant":"' || ([{arms}])[1 + i % 3]
                    || '","source":"evaluation"}}', TRUE
            FROM range({low}, {high}) t(i)""")  # noqa: S608 - our own numbers
        seq += high - low
        low, high = events * part // PARTS, events * (part + 1) // PARTS
        connection.execute(f"""
            INSERT INTO events
            WITH drawn AS (SELECT i, (hash(i) % 1000000007)::BIGINT AS r1,
                (hash(i * 7 + 1) % 1000000007)::BIGINT AS r2,
                (hash(i * 11 + 2) % 1000000007)::BIGINT AS r3,
                {SPAN}::HUGEINT * i // {events} AS instant FROM range({low}, {high}) t(i)),
            placed AS (SELECT *, greatest(0, instant - CASE WHEN r1 % 10 < 5 THEN r2 * 3
                WHEN r1 % 10 < 8 THEN r2 * 86 ELSE r2 * 2592 END) AS first FROM drawn),
            owned AS (SELECT *, least({units} - 1, first * {units} // {SPAN})::BIGINT AS unit
                FROM placed)
            SELECT {seq} + i - {low} + 1, 'event-' || lpad(hex(i), 26, '0'),
                ({begin} + instant)::BIGINT, {begin} + {SPAN}, CASE r3 % {len(KINDS)} {of_name} END,
                '{{"order_id":"order-' || lpad(unit::VARCHAR, 10, '0') || '"}}',
                CASE r3 % {len(KINDS)} {of_fields} END, TRUE
            FROM owned ORDER BY i""")  # noqa: S608 - as above
        seq += high - low
    store.close()
    return time.perf_counter() - begun


def new_events(
    count: int, units: int, hour: int, rng: random.Random, *, all_late: bool
) -> list[Event]:
    """Return the events of one more hour after the history.

    As they come: one in sixty is a first exposure, one in twenty is up to two days late, the
    others happened within the hour to units of the last 14 days. Or all of them are late:
    every one happened in the first hour of its unit, at any time of the history, so that it
    changes a value in every window that has closed since.
    """
    begun = SPAN + hour * HOUR
    each = SPAN // units
    made: list[Event] = []
    for number in range(count):
        at = begun + rng.randrange(HOUR)
        if not all_late and number % 60 == 0:
            unit = unit_of(units + hour * count + number)
            when = START + timedelta(microseconds=at)
            made.append(exposure("bench", 1, "order_id", unit, ARMS[number % 3], when))
            continue
        if all_late:
            chosen = rng.randrange(units)
            at = chosen * each + rng.randrange(HOUR)
        else:
            chosen = rng.randrange(units * (DAYS - 14) // DAYS, units)
            at -= rng.randrange(48 * HOUR) if number % 20 == 1 else 0
        name, fields = _drawn(rng, chosen)
        when = START + timedelta(microseconds=at)
        made.append(Event(f"n{hour}-{number}", name, when, {"order_id": unit_of(chosen)}, fields))
    return made


def _drawn(rng: random.Random, unit: int) -> tuple[str, dict]:
    name, text = rng.choice(KINDS)
    values = {
        '"$word"': rng.choice(WORDS),
        "$small": rng.randrange(60_000_000),
        "$large": rng.randrange(900_000_000),
        "$score": 1_000_000 * rng.randrange(1, 6),
        '"case-$case"': f"case-{unit * 3 + rng.randrange(3)}",
        '"order-$case"': f"order-{unit * 3 + rng.randrange(3)}",
        '"reason"': "reason",
        '"cancelled"': "cancelled",
        '"kept"': "kept",
        '"/$word"': "/",
        "true": True,
        "false": False,
    }
    parts = [part.split(":") for part in text.strip("{}").split(",") if part]
    return name, {key.strip('"'): values[value] for key, value in parts}


# --- plain SQL -------------------------------------------------------------------------------


def query_of(kpi: KpiDefinition, now: datetime) -> str:
    """Return one KPI over its longest window as warehouse tools ask it: from the events alone.

    First exposures, a join with the events, totals by unit, moments by arm. Neither caps nor
    formulas are applied, so it does less than a check.
    """
    window = microseconds(kpi.windows[-1].length)
    names = ", ".join(f"'{name}'" for name in sorted({m.event for m in kpi.measures}))
    totals = ", ".join(f'{_measure(m)} AS "{m.name}"' for m in kpi.measures)
    moments = ", ".join(
        f'sum("{m.name}"), sum("{m.name}"::DOUBLE ** 2), sum("{m.name}"::DOUBLE ** 3)'
        for m in kpi.measures
    )
    closed = int(now.timestamp()) * 1_000_000 - window - 300_000_000
    return f"""
        WITH exposed AS (
            SELECT json_extract_string(units, '$.order_id') AS unit, min(happened_at) AS first,
                min(json_extract_string(fields, '$.variant')) AS arm
            FROM events WHERE name = 'exposure'
                AND json_extract_string(fields, '$.experiment') = 'bench'
                AND json_extract(fields, '$.seed')::BIGINT = 1
            GROUP BY 1 HAVING count(DISTINCT json_extract_string(fields, '$.variant')) = 1),
        happened AS (
            SELECT json_extract_string(units, '$.order_id') AS unit, happened_at, name, fields
            FROM events WHERE name IN ({names})),
        totals AS (
            SELECT exposed.unit, any_value(arm) AS arm, {totals}
            FROM exposed LEFT JOIN happened ON exposed.unit = happened.unit
                AND happened_at BETWEEN first - 60000000 AND first + {window}
            WHERE first <= {closed} GROUP BY exposed.unit)
        SELECT arm, count(*), {moments} FROM totals GROUP BY arm"""  # noqa: S608 - our own names


def _measure(measure: Measure) -> str:
    tests = [f"name = '{measure.event}'", *(_test(each) for each in measure.where)]
    value = "1"
    if measure.field is not None:
        value = f"json_extract(fields, '$.{measure.field}')::BIGINT"
        value = value if measure.cap is None else f"least({value}, {measure.cap})"
    return f"coalesce(sum({value}) FILTER ({' AND '.join(tests)}), 0)"


def _test(condition: Condition) -> str:
    text = f"json_extract_string(fields, '$.{condition.field}')"
    if condition.test is Test.IS:
        values = (str(v).lower() if isinstance(v, bool) else str(v) for v in condition.values)
        return f"{text} IN ({', '.join(map(repr, values))})"
    if condition.test is Test.OTHER_THAN_UNIT:
        return f"{text} <> happened.unit"
    return f"{text} IS {'NOT ' if condition.test is Test.PRESENT else ''}NULL"
