"""How a report begins: the questions of whoever never saw the experiment, each answered. Pure."""

from collections.abc import Mapping
from operator import itemgetter

from console.views import proofs, words
from console.views.comparisons import Comparison, Key, comparisons
from console.views.headlines import culprit, rollback_of
from console.views.lines import KpiText, is_proof
from guardrails.consequences import ENGINE
from guardrails.outcome import Outcome
from guardrails.views import ExperimentView
from metrics.wording import gettext as _
from metrics.wording import ngettext

Answered = tuple[str, tuple[str, ...]]
"""A question and the sentences that answer it."""


def opening(
    view: ExperimentView, texts: Mapping[str, KpiText], *, lead: str, waiting: str
) -> tuple[Answered, ...]:
    """Return what happened, how sure it is, who was affected and what to do next.

    Args:
        view: The experiment.
        texts: How KPIs are shown, by key.
        lead: The paragraph below its headline.
        waiting: What it waits for, as a sentence; empty when it is over.
    """
    found = turned_back_effects(view, texts) or _goal_effects(view, texts)
    told = (
        (_("What happened?"), tuple(filter(None, (lead, *found)))),
        (_("How sure is it?"), _sure(view)),
        (_("Who was affected?"), _affected(view)),
        (_("What to do next?"), _next(view, waiting)),
    )
    return tuple((question, said) for question, said in told if said)


def turned_back_effects(view: ExperimentView, texts: Mapping[str, KpiText]) -> tuple[str, ...]:
    """Return what was measured of each treatment that was turned back, the proven harm first.

    After it come the other guardrails whose interval excludes no difference; where no harm is
    proven, as of a rollback by hand, all guardrails. A KPI of a treatment stands here once.
    """
    told, proven = comparisons(view), _proven(view)
    lines: list[tuple[bool, str]] = []
    for variant in (v.name for v in view.variants if v.state == "rolled_back"):
        sure = any(key[2] == variant for key in proven)
        of_kpi: dict[str, list[Key]] = {}
        for key, each in told.items():
            judged = each.guardrail is not None and (not sure or each.tone != "quiet")
            if key[2] == variant and (judged or key in proven):
                of_kpi.setdefault(key[0], []).append(key)
        for keys in of_kpi.values():
            # the window of the breach, else the longest
            best = max(keys, key=lambda key: (proven.get(key, -1.0), key[1]))
            lines.append((best not in proven, effect_words(best, told[best], texts)))
    lines.sort(key=itemgetter(0))
    return tuple(line for _order, line in lines)


def _proven(view: ExperimentView) -> Mapping[Key, float]:
    """Return the evidence of every proof of harm by KPI, window and treatment."""
    return {
        (g.kpi, w.window, g.treatment): w.evidence
        for g in view.guardrails
        if g.kpi is not None and is_proof(g) and g.outcome is Outcome.BREACH
        for w in g.windows
        if w.outcome is Outcome.BREACH
    }


def _goal_effects(view: ExperimentView, texts: Mapping[str, KpiText]) -> tuple[str, ...]:
    goal = None if view.goal is None else view.goal["kpi"]
    found = [(key, told) for key, told in comparisons(view).items() if key[0] == goal]
    longest = max((key[1] for key, _told in found), default=None)
    return tuple(effect_words(key, told, texts) for key, told in found if key[1] == longest)


def effect_words(key: Key, told: Comparison, texts: Mapping[str, KpiText]) -> str:
    """Return one comparison as a line: KPI, treatment, window, lift, interval and units."""
    kpi, window, variant = key
    text = texts.get(kpi)
    unit = text.unit if text is not None else ""
    title = told.guardrail.title if told.guardrail is not None else kpi
    interval = told.interval_words(unit)
    return _(
        "{title} of {variant}, over {window}: {effect}{interval}, {units} and {treated} units",
        title=text.title if text is not None else title,
        variant=variant,
        window=words.duration(window),
        effect=told.lift_words(unit),
        interval=f" ({interval})" if interval else "",
        units=f"{told.units[0]:,}",
        treated=f"{told.units[1]:,}",
    )


def _sure(view: ExperimentView) -> tuple[str, ...]:
    turned = [v.name for v in view.variants if v.state == "rolled_back"]
    said: list[str] = []
    proven = False
    for variant in turned:
        newest, decisive = rollback_of(view, variant), culprit(view, variant)
        if decisive is None or (newest is not None and newest.actor != ENGINE):
            said.append(proofs.by_hand())
            continue
        breached = [
            g
            for g in view.guardrails
            if g.treatment == variant and g.outcome is Outcome.BREACH and is_proof(g)
        ]
        proven = proven or bool(breached)
        said += [each for g in breached or (decisive,) for each in proofs.of_breach(g)]
    if proven or not turned:
        promise = proofs.promise if proven else proofs.promise_beforehand
        said.append(promise(view.alpha))
    return tuple(dict.fromkeys(said))


def _affected(view: ExperimentView) -> tuple[str, ...]:
    if view.started_at is None or view.last_check_at is None:
        return ()
    return tuple(
        _(
            "{units} ({unit}) had met {variant} since {began}, counted by the check of {at}.",
            at=words.instant(view.last_check_at),
            units=ngettext("{n} unit", "{n} units", variant.exposed),
            unit=view.unit,
            variant=variant.name,
            began=words.instant(view.started_at),
        )
        for variant in view.variants
    )


def _live(view: ExperimentView) -> bool:
    return any(variant.state == "live" for variant in view.variants)


def _next(view: ExperimentView, waiting: str) -> tuple[str, ...]:
    said: list[str] = []
    if view.advice is None and waiting:
        said.append(waiting)
    if "resume" in view.actions:
        turned = words.joined([v.name for v in view.variants if v.state == "rolled_back"])
        if turned:
            said.append(
                _(
                    "When the cause is mended: resume {variant}. Only units that come after count.",
                    variant=turned,
                )
            )
    if "stop" in view.actions and (view.state != "running" or not _live(view)):
        said.append(_("When nothing is left to learn: stop the experiment."))
    if not said:
        said.append(_("Nothing: it is over."))
    return tuple(said)
