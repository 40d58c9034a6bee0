"""What must hold of how units are dealt, over as many ids as asked for."""

import math
import random
import uuid

import numpy as np
import pyarrow as pa

from experiments.assignment import Serving, compile_experiment
from experiments.batch import assign_many
from experiments.layers import allocate
from experiments.spec import Layer
from metrics.stats.sample_ratio import ALPHA, log_e_value
from tests.specs_of import spec_of

STEPS = (0.01, 0.05, 0.25, 0.5, 1.0)
LOOK = 1_000


def ids_of(kind, count):
    """Ids as shops have them: counted up, or random (36 characters)."""
    if kind == "counted":
        return pa.array([f"order-{i}" for i in range(count)])
    rng = random.Random(20260601)
    return pa.array([str(uuid.UUID(int=rng.getrandbits(128))) for _ in range(count)])


def arms_of(compiled, ids):
    """Index of each unit's arm, -1 outside of it."""
    batch = assign_many(compiled, ids)
    names = [variant.name for variant in compiled.spec.variants]
    index = [names.index(a.assigned) if a.exposed else -1 for a in batch.answers]
    return np.array(index)[batch.codes]


def moved_by_traffic(ids, weights):
    """Units that were exposed at one step of traffic and are in another arm, or none, later."""
    moved, before = 0, None
    for traffic in STEPS:
        now = arms_of(compile_experiment(spec_of(weights), Serving("running", traffic)), ids)
        if before is not None:
            moved += int(((before >= 0) & (now != before)).sum())
        before = now
    return moved


def shared_in_a_layer(ids):
    """Units in two experiments of one layer at once, and exposed units that were moved.

    Three experiments come, one grows, one ends, its buckets are dealt again, another one grows
    into what is left; looked at after each step.
    """
    owned, seen = {}, {}
    shared = moved = 0

    def claim(key, share):
        taken = [i for other, own in owned.items() if other != key for i in own]
        owned[key] = allocate(share, taken=taken, own=owned.get(key, ()))

    def look():
        nonlocal shared, moved
        inside = np.zeros(len(ids), dtype=int)
        for key, own in owned.items():
            spec = spec_of([0.5, 0.5], key=key, layer=Layer("cancel-page", 0.1))
            arms = arms_of(compile_experiment(spec, Serving("running", layer=own)), ids)
            inside += arms >= 0
            if key in seen:
                moved += int(((seen[key] >= 0) & (arms != seen[key])).sum())
            seen[key] = arms
        shared += int((inside > 1).sum())
        return int((inside > 0).sum())

    for key, share in (("first", 0.2), ("second", 0.3), ("third", 0.1), ("second", 0.4)):
        claim(key, share)
    look()
    del owned["first"], seen["first"]
    claim("fourth", 0.35)
    look()
    claim("third", 0.25)
    return shared, moved, look() / len(ids)


def worst_share(ids, weights, *, traffic, keys):
    """Largest distance of an arm's count from its plan, in standard errors, over all keys."""
    count, worst = len(ids), 0.0
    planned = np.array([*(weight * traffic for weight in weights), 1 - traffic])
    planned = planned[planned > 0]
    for key in keys:
        compiled = compile_experiment(spec_of(weights, key=key), Serving("running", traffic))
        arms = arms_of(compiled, ids)
        counts = [*(int((arms == arm).sum()) for arm in range(len(weights))), int((arms < 0).sum())]
        counts = np.array(counts[: len(planned)])
        errors = np.sqrt(count * planned * (1 - planned))
        worst = max(worst, float((np.abs(counts - count * planned) / errors).max()))
    return worst


def units_until_the_alarm(ids, *, real, planned, key):
    """Units after which the sample-ratio test (one look per thousand) alarms, ``None`` never.

    The engine deals by ``real`` weights; the test believes in ``planned`` ones.
    """
    arms = arms_of(compile_experiment(spec_of(real, key=key), Serving("running")), ids)
    looks = np.arange(LOOK, len(ids) + 1, LOOK)
    counts = np.stack([np.cumsum(arms == arm)[looks - 1] for arm in range(len(real))], axis=1)
    crossed = log_e_value(counts, planned) >= math.log(1 / ALPHA)
    return int(looks[crossed.argmax()]) if crossed.any() else None
