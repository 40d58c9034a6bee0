"""What a file may not change while an experiment runs, in words. Pure.

One rule stands behind all of it: a unit keeps the arm it has met, an arm keeps what it shows, and
the promise of the budget is that of one plan. Everything else waits for a raised ``seed``, which
begins a new run with new units. What brings new units in (a wider audience, more traffic, a larger
share of the layer) moves nobody and is allowed.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from experiments.audience import Clause, Condition, Operator
from experiments.layers import BUCKETS, buckets_of
from experiments.spec import ExperimentSpec, Layer
from guardrails.differences import differences
from guardrails.levels import AnyComparison, cohort_length
from guardrails.loaded import Loaded
from guardrails.words import percent


@dataclass(frozen=True, slots=True)
class Refusal:
    """One change that is refused.

    Attributes:
        words: What changes and why that is no good.
        path: Key of the file.
        moves: Whether exposed units would move to another arm.
        hint: What else can be done, empty for nothing but a raised seed.
    """

    words: str
    path: str
    moves: bool = True
    hint: str = ""


def refusals(
    old: Loaded, new: Loaded, *, rolled_back: Collection[str], held: int
) -> tuple[Refusal, ...]:
    """Return everything a file may not change in a run that has started.

    Args:
        old: Newest revision.
        new: File that is applied, with the same seed.
        rolled_back: Treatments that nobody is shown: what they show may be mended.
        held: Buckets of its layer the experiment owns.
    """
    before, after = old.spec.experiment, new.spec.experiment
    changed = differences(old.spec, new.spec)
    found = [*_units(before, after), *_layer(before.layer, after.layer, held)]
    if not found:
        found += _flows(before, after, rolled_back)
    if not _widens(before.audience, after.audience):
        found.append(
            Refusal(
                "the audience changes in a way that may shut out units that take part"
                f"{_of(changed, 'audience')}",
                "audience",
                hint="values may be added to a list, bounds loosened and lines removed at any time",
            )
        )
    if before.exposure is not after.exposure:
        found.append(
            Refusal(
                f"exposure: {before.exposure.value} becomes {after.exposure.value}: units so far "
                "were counted in another way",
                "exposure",
                moves=False,
            )
        )
    found += _segments(before, after)
    plan = ", ".join(words for words in changed if words.startswith(_PLANNED))
    # another split may follow from what is refused already
    if promised(old) != promised(new) and (plan or not found):
        found.append(
            Refusal(
                "the budget of false rollbacks was split over another plan, which holds until the "
                f"end: {plan or 'its guardrails change'}",
                "guardrails",
                moves=False,
                hint="guardrails with `action: alert` may change at any time",
            )
        )
    return tuple(found)


def _segments(old: ExperimentSpec, new: ExperimentSpec) -> list[Refusal]:
    """Return attributes that would be known of some units alone."""
    more = [name for name in new.segments if name not in old.segments]
    if not more:
        return []
    return [
        Refusal(
            f"segments: {', '.join(more)} {'is' if len(more) == 1 else 'are'} new, and nothing "
            "was kept of units so far",
            "segments",
            moves=False,
            hint="attributes may be removed from `segments` at any time",
        )
    ]


def promised(loaded: Loaded) -> frozenset[tuple[str, ...]]:
    """Return what the budget was split over: every comparison that can turn a treatment back.

    With the meaning of its KPI and the lag: evidence so far was of that statistic. With the length
    of its cohorts, too: another one would watch for harm from other restarts than those that were
    paid for. Levels are rounded, since the same split written with other weights differs in the
    last digit.
    """
    return frozenset(_meaning(loaded, c) for c in loaded.comparisons if c.acts)


def renewed(old: Loaded, new: Loaded) -> frozenset[str]:
    """Return guardrails whose states say nothing any more: they mean something else now.

    Those that can turn back never are among them once a change was accepted: their plan is the
    same (``promised``), and forgetting their looks would spend the budget twice.
    """
    before, after = _meanings(old), _meanings(new)
    return frozenset(g for g in before.keys() | after.keys() if before.get(g) != after.get(g))


def _meanings(loaded: Loaded) -> dict[str, frozenset[tuple[str, ...]]]:
    told: dict[str, set[tuple[str, ...]]] = {g.id: set() for g in loaded.spec.guardrails}
    for comparison in loaded.comparisons:
        told[comparison.guardrail].add(_meaning(loaded, comparison))
    for watch in (*loaded.queries, *loaded.watches):
        told.setdefault(watch.guardrail, set()).add((repr(watch),))
    return {guardrail: frozenset(meanings) for guardrail, meanings in told.items()}


def _meaning(loaded: Loaded, comparison: AnyComparison) -> tuple[str, ...]:
    windows = tuple(replace(w, level=float(f"{w.level:.12g}")) for w in comparison.windows)
    kpi = replace(loaded.kpis[comparison.kpi], title="", title_zh="", words="")
    spec = loaded.spec.experiment
    cohort = cohort_length(spec.ends.after)
    return repr(replace(comparison, windows=windows)), repr(kpi), repr(spec.lag), repr(cohort)


_PLANNED = ("guardrail", "alpha", "starts", "ends", "ramp", "expect_units", "kpis", "lag")


def _of(changed: Sequence[str], key: str) -> str:
    """Return the changes of one key as a clause, empty where none is told."""
    told = [words for words in changed if words.startswith(key)]
    return f" ({', '.join(told)})" if told else ""


def _units(old: ExperimentSpec, new: ExperimentSpec) -> list[Refusal]:
    found: list[Refusal] = []
    if old.unit != new.unit:
        found.append(Refusal(f"unit {old.unit} becomes {new.unit}", "unit"))
    if [(v.name, v.weight) for v in old.variants] != [(v.name, v.weight) for v in new.variants]:
        found.append(Refusal(_variants_words(old, new), "variants"))
    if old.holdout != new.holdout:
        moves = "joins" if new.holdout else "leaves"
        found.append(Refusal(f"the experiment {moves} the global holdout", "holdout"))
    return found


def _variants_words(old: ExperimentSpec, new: ExperimentSpec) -> str:
    """Return how the variants differ: ``weight of map: 50% becomes 40%``, ``list is new``."""
    was, now = ({v.name: v.weight for v in spec.variants} for spec in (old, new))
    words = [f"variant {name} is new" for name in now if name not in was]
    words += [f"variant {name} is gone" for name in was if name not in now]
    words += [
        f"weight of {name}: {_percent(was[name])} becomes {_percent(now[name])}"
        for name in now
        if name in was and was[name] != now[name]
    ]
    return ", ".join(words) or f"the order of the variants changes to {', '.join(now)}"


def _percent(share: float) -> str:
    return percent(share, digits=3)


def _layer(old: Layer | None, new: Layer | None, held: int) -> list[Refusal]:
    if (old.name if old else None) != (new.name if new else None):
        return [Refusal(f"layer {_name(old)} becomes {_name(new)}", "layer")]
    if new is not None and buckets_of(new.share) < held:
        share = f"{_percent(held / BUCKETS)} becomes {_percent(new.share)}"
        return [Refusal(f"its share of the layer shrinks: {share}", "layer.share")]
    return []


def _name(layer: Layer | None) -> str:
    return layer.name if layer is not None else "(none)"


def _flows(old: ExperimentSpec, new: ExperimentSpec, rolled_back: Collection[str]) -> list[Refusal]:
    """Return arms that would show something else to units that count already."""
    changed = [
        v.name
        for v in new.variants
        if v.name not in rolled_back and _canonical(v.flow) != _canonical(old.variant(v.name).flow)
    ]
    return [
        Refusal(
            f"the flow of {name} changes: units so far have met another one",
            f"variants.{name}.flow",
            moves=False,
            hint=""
            if name == old.control
            else f"or turn it back first (turnback roll-back {old.key} {name}), apply, and resume "
            "it: then only units that come later count",
        )
        for name in changed
    ]


def _canonical(flow: Any) -> str:
    """Return JSON as text that is the same for the same value: the order of keys says nothing."""
    return json.dumps(flow, sort_keys=True)


def _widens(old: Sequence[Clause], new: Sequence[Clause]) -> bool:
    """Return whether everybody of the old audience is certainly in the new one.

    Every new line must follow from an old one; what cannot be told counts as narrower.
    """
    return all(any(_follows(condition, known) for known in old) for condition in new)


def _follows(new: Clause, old: Clause) -> bool:
    if repr(new) == repr(old):  # written out, since 1 and true are equal to Python
        return True
    if not isinstance(new, Condition) or not isinstance(old, Condition):
        return False
    return new.attribute == old.attribute and _looser(new, old)


def _looser(new: Condition, old: Condition) -> bool:
    before, after = _typed(old.values), _typed(new.values)
    if new.operator is Operator.ANY_OF:
        return old.operator in {Operator.IS, Operator.ANY_OF} and before <= after
    if new.operator is not old.operator:
        return False
    if new.operator is Operator.NOT:
        return after <= before
    if new.operator in {Operator.AT_LEAST, Operator.ABOVE}:
        return _bound(new) <= _bound(old)
    return new.operator in {Operator.AT_MOST, Operator.BELOW} and _bound(new) >= _bound(old)


def _typed(values: Sequence[Any]) -> frozenset[tuple[str, Any]]:
    """Return values that are told apart as the audience does: text, numbers, truth values."""
    return frozenset(
        ("bool" if isinstance(v, bool) else "text" if isinstance(v, str) else "number", v)
        for v in values
    )


def _bound(condition: Condition) -> float:
    return cast("float", condition.values[0])
