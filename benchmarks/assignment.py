"""Decisions a second on one core, beside other Python flag SDKs in the same run.

One experiment with two arms and an audience of two conditions, ids of 36 characters, every unit
in the audience. A second is one of the deciding thread's processor time, so that other programs
and the SDKs' own threads do not count; rounds are interleaved and the medians printed, and still
machines are noisy: the ratios are what counts. Every SDK starts offline; it is first checked
that it deals both arms in halves and gives control outside of the audience. What is not
installed is said.

Usage: ``python benchmarks/assignment.py [--rounds N] [--only WORD]``; the SDKs are the extra
``benchmarks`` of this project.
"""

import argparse
import gc
import os
import platform
import random
import statistics
import sys
import time
import traceback
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib import metadata
from typing import Any

import pyarrow as pa
from flag_sdks import ARMS, FLAG, LEAST, NOT_OFFLINE, PLATFORMS, SDKS, Decide
from growthbook import GrowthBook

from experiments.assignment import CompiledExperiment, Serving, compile_experiment
from experiments.audience import Condition, Operator
from experiments.batch import assign_many
from experiments.exposures import ExposureBuffer
from experiments.growthbook import growthbook_payload
from experiments.spec import Ends, ExperimentSpec, Layer, RampStep, VariantSpec

ATTRIBUTES = {"platform": "ios", "order_value": 25}
OUTSIDE = ({"platform": "web", "order_value": 25}, {"platform": "ios", "order_value": 5})
IDS, BATCH_IDS = 20_000, 500_000
SECONDS = 0.15
FLOOR, GOAL, TIMES = 400_000, 650_000, 25
BATCH_FLOOR = 3_000_000

Run = Callable[[int], float]
"""Make so many decisions and return the seconds of processor time they took."""


@dataclass
class Row:
    """One way to decide, and how fast it was in every round."""

    name: str
    version: str
    run: Run
    reasons: str
    logs: str
    rates: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.rates)


def compiled(**more: Any) -> CompiledExperiment:
    spec = ExperimentSpec(
        key=FLAG,
        title="Cancel page",
        owner="",
        hypothesis="",
        unit="order_id",
        variants=tuple(VariantSpec(arm, 0.5, {"arm": arm}) for arm in ARMS),
        ramp=(RampStep(),),
        goal=None,
        watch=(),
        ends=Ends(timedelta(days=7)),
        audience=(
            Condition("platform", Operator.ANY_OF, PLATFORMS),
            Condition("order_value", Operator.AT_LEAST, (LEAST,)),
        ),
        **more,
    )
    if spec.layer is None:
        return compile_experiment(spec, Serving("running"))
    return compile_experiment(spec, Serving("running", layer=((0, 9_000),), holdout=0.05))


def random_ids(count: int) -> list[str]:
    rng = random.Random(1)
    return [str(uuid.UUID(int=rng.getrandbits(128))) for _ in range(count)]


def timed(decide: Decide, ids: Sequence[str]) -> Run:
    def run(count: int) -> float:
        chosen = (ids * (count // len(ids) + 1))[:count]
        begun = time.thread_time()
        for unit in chosen:
            decide(unit, ATTRIBUTES)
        return time.thread_time() - begun

    return run


def ours(ids: list[str]) -> list[Row]:
    plain, everything = compiled(), compiled(layer=Layer("page", 0.9), force={"qa-1": "treatment"})
    contexts = [{"order_id": unit, **ATTRIBUTES} for unit in ids]

    def at_hand(assign: Callable[[Mapping[str, Any]], Any]) -> Run:
        def run(count: int) -> float:
            chosen = (contexts * (count // len(contexts) + 1))[:count]
            begun = time.thread_time()
            for context in chosen:
                assign(context)
            return time.thread_time() - begun

        return run

    def built(unit: str, attributes: Mapping[str, Any]) -> str:
        return plain.assign({"order_id": unit, **attributes}).variant

    version = metadata.version("turnback") if _installed("turnback") else "here"
    rows = [
        Row("Turnback", version, at_hand(plain.assign), "yes", "nothing"),
        Row("Turnback, context built", version, timed(built, ids), "yes", "nothing"),
        Row("Turnback, exposures noted", version, noting(plain, ids), "yes", "each, once"),
        Row("Turnback, layer and holdout", version, at_hand(everything.assign), "yes", "nothing"),
    ]
    batch = random_ids(BATCH_IDS)
    for name, array in (("list", batch), ("Arrow", pa.array(batch))):
        rows.append(Row(f"assign_many, {name}", version, many(plain, array), "yes", "nothing"))
    return rows


def noting(experiment: CompiledExperiment, ids: list[str]) -> Run:
    """Decide and note each first exposure in the service's buffer, which is emptied by nobody."""

    def never(_events: Any) -> "Future[Any]":
        raise RuntimeError("nothing is written here")

    def run(count: int) -> float:
        at = datetime(2026, 1, 1, tzinfo=UTC)
        buffer = ExposureBuffer(never, now=lambda: at, capacity=count + 1)
        chosen = (ids * (count // len(ids) + 1))[:count]
        assign, spec = experiment.assign, experiment.spec
        begun = time.thread_time()
        for unit in chosen:
            answer = assign({"order_id": unit, **ATTRIBUTES})
            if answer.exposed:
                buffer.record(spec.key, spec.seed, spec.unit, unit, answer.variant)
        return time.thread_time() - begun

    return run


def many(experiment: CompiledExperiment, ids: Any) -> Run:
    def run(count: int) -> float:
        begun = time.thread_time()
        assign_many(experiment, ids, attributes=ATTRIBUTES)
        return (time.thread_time() - begun) * count / len(ids)  # as if they had been so many

    return run


def growthbook_rows(ids: list[str]) -> list[Row]:
    features = growthbook_payload([compiled()])["features"]
    version = metadata.version("growthbook")
    reused = GrowthBook(features=features)

    def per_request(unit: str, attributes: Mapping[str, Any]) -> str:
        client = GrowthBook(attributes={"order_id": unit, **attributes}, features=features)
        return client.eval_feature(FLAG).value["arm"]

    def set_again(unit: str, attributes: Mapping[str, Any]) -> str:
        reused.set_attributes({"order_id": unit, **attributes})
        return reused.eval_feature(FLAG).value["arm"]

    check(per_request, ids)
    check(set_again, ids)
    return [
        Row("growthbook, per request", version, timed(per_request, ids), "yes", "callback"),
        Row("growthbook, reused", version, timed(set_again, ids), "yes", "callback"),
    ]


def sdk_rows(ids: list[str], only: str) -> tuple[list[Row], list[str]]:
    rows: list[Row] = []
    missing: list[str] = []
    for sdk in SDKS:
        if only not in sdk.name.lower():
            continue
        if not _installed(sdk.package):
            missing.append(f"{sdk.name}: not installed ({sdk.package})")
            continue
        try:
            decide = sdk.make()
            check(decide, ids)
        except Exception as error:  # noqa: BLE001 - whatever another SDK raises is said, not hidden
            missing.append(
                f"{sdk.name}: did not start: {traceback.format_exception_only(error)[-1]}"
            )
            continue
        reasons = "yes" if sdk.reasons else "no"
        version = metadata.version(sdk.package)
        rows.append(Row(sdk.name, version, timed(decide, ids), reasons, sdk.logs))
    return rows, missing


def check(decide: Decide, ids: list[str]) -> None:
    """Make sure that a contender decides: halves inside of the audience, control outside."""
    inside = [decide(unit, ATTRIBUTES) for unit in ids[:2_000]]
    if set(inside) != set(ARMS) or abs(inside.count("control") - 1_000) > 120:
        raise RuntimeError(f"does not deal halves: {inside.count('control')} of 2,000 in control")
    outside = {decide(unit, attributes) for unit in ids[:50] for attributes in OUTSIDE}
    if outside != {"control"}:
        raise RuntimeError(f"gives {outside} outside of the audience")


def _installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def measure(rows: Sequence[Row], rounds: int) -> None:
    counts: list[int] = []
    for row in rows:
        first = max(50, int(SECONDS * 200 / row.run(200)))
        counts.append(max(50, int(SECONDS * first / row.run(first))))
    turns = list(zip(rows, counts, strict=True))
    for number in range(rounds):
        # another order every round, so that nobody always follows the same one
        for row, count in [*turns[number % len(rows) :], *turns[: number % len(rows)]]:
            row.rates.append(count / row.run(count))


def show(rows: Sequence[Row], missing: Sequence[str]) -> None:
    own = rows[0].median
    print(
        f"Python {platform.python_version()}, {platform.machine()}, medians of interleaved rounds"
    )
    heads = f"{'version':>9}{'a second':>12}{'min':>12}{'max':>12}{'Turnback is':>13}"
    print(f"{'':32}{heads}  reasons  notes")
    for row in rows:
        ratio = f"{own / row.median:.1f} x"
        print(
            f"{row.name:32}{row.version[:8]:>9}{row.median:12,.0f}{min(row.rates):12,.0f}"
            f"{max(row.rates):12,.0f}{ratio:>13}  {row.reasons:7}  {row.logs}"
        )
    for line in [*missing, NOT_OFFLINE]:
        print(line)
    medians = {row.name: row.median for row in rows}
    per_request = medians.get("growthbook, per request")
    print(f"floor of {FLOOR:,} a second: {own / FLOOR:.1f} x; goal of {GOAL:,}: {own / GOAL:.1f} x")
    if per_request:
        print(f"{own / per_request:.0f} times the growthbook client per request (at least {TIMES})")
    for name in ("list", "Arrow"):
        if f"assign_many, {name}" in medians:
            rate = medians[f"assign_many, {name}"]
            print(f"assign_many of {name}: {rate / BATCH_FLOOR:.1f} x its floor of {BATCH_FLOOR:,}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", default="", help="compare only SDKs whose name has this word")
    chosen = parser.parse_args()
    ids = random_ids(IDS)
    peers, missing = sdk_rows(ids, chosen.only.lower())
    rows = [*ours(ids), *growthbook_rows(ids), *peers]
    gc.collect()
    gc.freeze()  # what all of them together hold is no burden of each
    measure(rows, chosen.rounds)
    show(rows, missing)
    sys.stdout.flush()
    os._exit(0)  # some SDKs keep threads that wait for a network


if __name__ == "__main__":
    main()
