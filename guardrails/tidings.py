"""What a message says beside its reason: numbers, what clients get, what to do. Pure."""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from guardrails.judge_alert import AlertWatch
from guardrails.judge_query import QueryWatch
from guardrails.levels import (
    AnyComparison,
    CatastropheComparison,
    Comparison,
    LimitComparison,
)
from guardrails.loaded import Loaded
from guardrails.outcome import Finding, WindowFinding
from guardrails.watches import Watch
from guardrails.words import (
    amount,
    command,
    duration,
    effect_words,
    main_window,
    margin_words,
    odds,
    percent,
    value_words,
)
from guardrails.words_watches import watch_title
from metrics.wording import gettext as _
from metrics.wording import marked

OUTSIDE = "none: it is outside the guarantee"

_BECOMES: Final = {
    "stopped": marked("{experiment} was stopped: everybody gets control"),
    "observing": marked("{experiment} takes nobody new any more, and is observed"),
    "paused": marked("{experiment} is paused: everybody gets control for now"),
    "running": marked("{experiment} goes on"),
}


def explain_command(key: str) -> str:
    """Return the command that says more; it changes nothing."""
    return f"turnback explain {key}"


def facts_of(loaded: Loaded, finding: Finding) -> dict[str, str]:
    """Return the numbers of a finding in short, by name; what is not known is left out.

    Args:
        loaded: The revision it was judged under.
        finding: What a check found.
    """
    judged = loaded.comparison(finding.guardrail, finding.treatment)
    if judged is None:
        return {}
    title = watch_title(judged) if isinstance(judged, Watch) else loaded.title(finding.kpi)
    if isinstance(judged, Watch):
        return {"kpi": title, "budget": OUTSIDE}
    if isinstance(judged, AlertWatch):
        said = str(finding.detail.get("summary", ""))
        facts = {"kpi": f"{judged.name}, an alert of Alertmanager", "value": said}
        return {name: text for name, text in facts.items() if text} | {"budget": OUTSIDE}
    if isinstance(judged, QueryWatch):
        return _of_query(finding.detail, judged)
    window = main_window(finding)
    if window is None:
        return {"kpi": title}
    acts = loaded.rules[finding.guardrail]
    outside = acts.dry_run or acts.action != "rollback"
    facts = {
        "kpi": f"{title}, over {duration(window.window)}",
        **_measured(window, judged),
        "units": f"{window.units[1]:,} of {judged.treatment}, {window.units[0]:,} of "
        f"{judged.control}",
        "look": f"{window.look}" if window.look > 0 else "every check is one",
        "evidence": _evidence(window, judged),
        "budget": _budget(window, loaded.spec.experiment.alpha, outside=outside),
        "margin": _margin(judged),
    }
    return {name: text for name, text in facts.items() if text}


def _of_query(detail: Mapping[str, Any], watch: QueryWatch) -> dict[str, str]:
    value = detail.get("value")
    number = float(value) if isinstance(value, int | float) else math.nan
    side = "at most" if watch.side == "rise" else "at least"
    return {
        "kpi": f"{watch.query}, a query of Prometheus",
        "value": value_words(watch, number),
        "evidence": f"{detail.get('samples', 0)} evaluations over {duration(watch.hold)}",
        "budget": OUTSIDE,
        "margin": f"{side} {value_words(watch)}",
    }


def _measured(window: WindowFinding, judged: AnyComparison) -> dict[str, str]:
    treated, beside = window.treatment_value, window.control_value

    def values(shown: Callable[[float], str]) -> str:
        return f"{shown(treated)} in {judged.treatment}, {shown(beside)} in {judged.control}"

    if isinstance(judged, LimitComparison):
        bound = value_words(judged, window.bound)
        more = "or more" if judged.side == "rise" else "or less"
        return {
            "value": values(lambda number: value_words(judged, number)),
            "interval": "" if bound == "unknown" else f"{bound} {more}",
        }
    effect, _, interval = effect_words(window).partition(" (")
    shown = percent if isinstance(judged, CatastropheComparison) else amount
    return {"effect": effect, "interval": interval.rstrip(")"), "value": values(shown)}


def _evidence(window: WindowFinding, judged: AnyComparison) -> str:
    if isinstance(judged, Comparison) and window.boundary > 0 and math.isfinite(window.boundary):
        if window.z >= window.boundary or not math.isfinite(window.e_value):
            return f"z {window.z:.2f} against a boundary of {window.boundary:.2f}"
        needed = f"needed {2 / window.level:,.0f} to 1"
        return f"{odds(window.e_value)} to 1 among the units that came later, {needed}"
    if math.isfinite(window.e_value):
        return f"{odds(window.e_value)} to 1, needed {1 / window.level:,.0f} to 1"
    return ""


def _budget(window: WindowFinding, alpha: float, *, outside: bool) -> str:
    whole = f"of {percent(alpha, digits=2)} for the whole experiment"
    level = percent(window.level, digits=3)
    if outside:
        return f"none: it only alerts, at a level of {level}"
    if window.spent > 0:
        return f"{percent(window.spent, digits=3)} spent of {level} for this comparison, {whole}"
    return f"{level} for this comparison, {whole}"


def _margin(judged: AnyComparison) -> str:
    if isinstance(judged, LimitComparison):
        return f"{'at most' if judged.side == 'rise' else 'at least'} {value_words(judged)}"
    if isinstance(judged, CatastropheComparison):
        return f"{amount(judged.max_times)} times {judged.control}'s rate"
    return f"{margin_words(judged)} ({judged.side})"


def after_rollback(key: str, variant: str, transition: int | None) -> dict[str, str]:
    """Return what clients get after a rollback, and what to do next.

    Args:
        key: Of the experiment.
        variant: What was turned back.
        transition: What can be computed again, ``None`` where a person decided.
    """
    resume = command("resume", f"{key} {variant}")
    replay = "" if transition is None else f"turnback replay t{transition}; "
    return {
        "now": f"whoever had {variant} gets control, from now on and until a person resumes it",
        "next": f"{explain_command(key)}; {replay}once the cause is mended: {resume}",
    }


def after_breach(key: str, variant: str) -> dict[str, str]:
    """Return what clients get after a breach that is told and not acted on."""
    return {
        "now": f"nothing changed: {variant} is served as before",
        "next": f"{explain_command(key)}; {command('roll-back', f'{key} {variant}')}",
    }


def after_change(key: str, after: str) -> dict[str, str]:
    """Return what clients get after a change of an experiment's state, and what to do next."""
    now = {"now": "everybody gets control"} if after in {"stopped", "paused"} else {}
    return {**now, "next": explain_command(key)}


def after_approval(key: str, number: int) -> dict[str, str]:
    """Return what an approval of a step of the ramp changes, and what says more."""
    now = f"step {number} is left as soon as its hold, its units and the guardrails allow"
    return {"now": now, "next": explain_command(key)}


def after_extension(key: str, before: str) -> dict[str, str]:
    """Return what a later end changes, and what says more.

    Args:
        key: The experiment.
        before: The end so far, in words.
    """
    now = f"the end was {before}; levels, windows and looks stay, and so does the guarantee"
    return {"now": now, "next": explain_command(key)}


def become_title(key: str, after: str) -> str:
    """Return the title of the message that an experiment changed its state."""
    known = _BECOMES.get(after)
    if known is None:
        return _("{experiment} is {state}", experiment=key, state=after)
    return _(known, experiment=key)
