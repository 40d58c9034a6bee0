"""One world for every client: its file, random contexts, and what our evaluator answers."""

import random
import time

from experiments.hashing import unit_id

KEY = "cancel-page"
SPEC = """\
experiment: cancel-page
title: Cancel page
unit: order_id
audience:
  platform: [ios, android]
  any_of: [{country: DE}, {segments: [vip]}, {version: {version_at_least: "3.10.2"}}]
variants:
  control: {weight: 40%, flow: {arm: control, steps: [confirm]}}
  short: {weight: 30%, flow: {arm: short, steps: []}}
  treatment: {weight: 30%, flow: {arm: treatment, steps: [why, confirm]}}
force: {qa-1: treatment, 17: control}
ramp:
  - {traffic: 30%, hold: 1h}
  - {traffic: 100%}
guardrails:
  - {kpi: satisfaction, max_drop: 3%}
ends: {after: 10d, observe_for: 1d}
check_every: 1h
expect_units: 50000
"""
FULL = SPEC.replace("  - {traffic: 30%, hold: 1h}\n", "")
"""The same at full traffic."""

NOBODY = {"arm": "the code's own default"}


def contexts(count, seed):
    """Random contexts with the id of the unit; text and numbers, ASCII and not."""
    rng = random.Random(seed)
    return [_context(rng) for _ in range(count)]


def _context(rng):
    unit = rng.choice(
        [
            f"o-{rng.randrange(10**9)}",
            f"订单-{rng.randrange(10**6)}",
            f"ü😀{rng.randrange(10**6)}",
            rng.randrange(1, 10**9),
            round(rng.uniform(1, 1000), 3),
            rng.choice(["qa-1", 17, f"o-{rng.randrange(99)}"]),
        ]
    )
    context = {
        "order_id": unit,
        "platform": rng.choice(["ios", "ios", "android", "android", "web"]),
        "country": rng.choice(["DE", "DE", "FR"]),
        "segments": rng.choice([["vip"], [], ["new", "b2b"]]),
        "version": rng.choice(["3.9", "3.10.2", "3.11.0", "10.0"]),
    }
    if rng.random() < 0.05:
        del context[rng.choice(["platform", "country", "segments", "version"])]
    return context


def ours(services, given):
    """The arm our evaluator serves for every context."""
    compiled = services.engine.serving().experiments[KEY]
    return [compiled.assign(context).variant for context in given]


def targeting_key(context):
    """The key an OpenFeature client sends beside the id."""
    return unit_id(context["order_id"])


def soon(ask, *, within=60.0, every=0.002):
    """Ask until the answer is true; return the time of day it first was."""
    until = time.monotonic() + within
    while not ask():
        assert time.monotonic() < until, "the client never saw the change"
        time.sleep(every)
    return time.time()
