"""Findings in words a product manager forwards. Pure text from numbers, nothing invented."""

import math
from collections.abc import Mapping
from typing import Final

from guardrails.judge_alert import AlertWatch
from guardrails.judge_query import QueryWatch
from guardrails.levels import (
    AnyComparison,
    CatastropheComparison,
    Comparison,
    LimitComparison,
)
from guardrails.outcome import Code, Finding, Outcome, WindowFinding
from guardrails.plain_words import (
    again_words,
    amount,
    command,
    duration,
    effect_words,
    instant,
    odds,
    percent,
    points,
)
from guardrails.watches import Watch
from guardrails.words_catastrophe import (
    catastrophe_breach,
    catastrophe_promise,
    catastrophe_words,
)
from guardrails.words_watches import watch_promise, watch_words

__all__ = [
    "Judged",
    "again_words",
    "amount",
    "breach_words",
    "command",
    "duration",
    "effect_words",
    "goal_words",
    "instant",
    "limit_words",
    "main_window",
    "margin_words",
    "odds",
    "outcome_words",
    "percent",
    "points",
    "value_words",
]

Judged = AnyComparison | QueryWatch | AlertWatch | Watch
"""Whatever a guardrail of a treatment judges."""


def goal_words(title: str, expect: float | None, *, absolute: bool) -> str:
    """Return what should improve: ``Save rate +10%``, ``Save rate +2pp``, ``Save rate``.

    Args:
        title: Of the KPI.
        expect: The change hoped for, as a share, with its sign; ``None`` where nobody says it.
        absolute: Whether that is in percentage points.
    """
    if expect is None:
        return title
    size = percent(abs(expect), digits=2)
    size = size.replace("%", "pp") if absolute else size
    return f"{title} {'-' if expect < 0 else '+'}{size}"


def margin_words(comparison: Comparison, *, part: float = 1.0) -> str:
    """Return a part of the margin: ``3%`` or ``5 percentage points``."""
    size = comparison.margin * part
    if comparison.absolute:
        return points(size)
    return percent(size, digits=2)


def limit_words(comparison: Judged, title: str) -> str:
    """Return what a guardrail promises, in one sentence without its full stop."""
    if isinstance(comparison, Watch | AlertWatch):
        return watch_promise(comparison, title)
    if isinstance(comparison, QueryWatch):
        return (
            f"{comparison.query} may not stay {_side(comparison)} {value_words(comparison)} for "
            f"{duration(comparison.hold)} (a query of Prometheus, outside the guarantee)"
        )
    if isinstance(comparison, LimitComparison):
        return f"{title} may not be {_side(comparison)} {value_words(comparison)}"
    if isinstance(comparison, CatastropheComparison):
        return catastrophe_promise(comparison, title)
    verb = "drop" if comparison.side == "drop" else "rise"
    if comparison.margin == 0:
        return f"{title} may not {verb} at all against {comparison.control}"
    return (
        f"{title} may not {verb} by more than {margin_words(comparison)} "
        f"against {comparison.control}"
    )


def _side(comparison: LimitComparison | QueryWatch) -> str:
    return "above" if comparison.side == "rise" else "below"


def value_words(comparison: LimitComparison | QueryWatch, value: float | None = None) -> str:
    """Return a value as its limit is written; the limit itself where none is given."""
    number = comparison.limit if value is None else value
    if isinstance(comparison, LimitComparison) and comparison.share:
        return percent(number, digits=2)
    return amount(number)


def main_window(finding: Finding) -> WindowFinding | None:
    """Return the window that says most: the one with the strongest evidence."""
    return max(finding.windows, key=lambda w: w.evidence, default=None)


def breach_words(finding: Finding, comparison: Judged, title: str) -> str:
    """Return why a guardrail is breached: effect, interval, units, look, budget."""
    if isinstance(comparison, Watch | AlertWatch):
        return watch_words(finding, comparison, title)
    if isinstance(comparison, QueryWatch):
        return _query_breach(finding, comparison)
    window = main_window(finding)
    if window is None:
        return f"{title} breached its guardrail"
    if isinstance(comparison, LimitComparison):
        return _limit_breach(finding.treatment, window, comparison, title)
    if isinstance(comparison, CatastropheComparison):
        return catastrophe_breach(finding.treatment, window, comparison, title)
    proven = margin_words(comparison, part=comparison.prove_past)
    beyond = "any harm" if comparison.prove_past * comparison.margin == 0 else f"more than {proven}"
    whole = window.boundary > 0 and window.z >= window.boundary
    where = "" if whole else "among the units that came later, "
    span = "" if whole else " over the whole run"
    return (
        f"{title} of {finding.treatment} is {effect_words(window)} than "
        f"{comparison.control}{span} "
        f"({amount(window.control_value)} → {amount(window.treatment_value)}, "
        f"{window.units[0]:,} and {window.units[1]:,} units whose window of "
        f"{duration(window.window)} has closed). The file tolerates {margin_words(comparison)}; "
        f"{where}harm of {beyond} is proven at look {window.look} "
        f"({_proof(window)}), at a level of {percent(window.level, digits=3)} for this comparison."
    )


def _limit_breach(
    treatment: str, window: WindowFinding, comparison: LimitComparison, title: str
) -> str:
    rises = comparison.side == "rise"
    limit, value = value_words(comparison), value_words(comparison, window.treatment_value)
    bound = value_words(comparison, window.bound)
    said = "" if bound == "unknown" else f"it is {bound} or {'more' if rises else 'less'}; "
    return (
        f"{title} of {treatment} is {value} ({window.units[1]:,} units whose window of "
        f"{duration(window.window)} has closed). The file tolerates at "
        f"{'most' if rises else 'least'} {limit}; {'more' if rises else 'less'} than {limit} is "
        f"proven ({said}evidence {odds(window.e_value)} to 1, needed "
        f"{1 / window.level:,.0f} to 1), at a level of {percent(window.level, digits=3)} for this "
        f"comparison. {comparison.control} is at "
        f"{value_words(comparison, window.control_value)} ({window.units[0]:,} units), and is not "
        "proven to be beyond it."
    )


def _query_breach(finding: Finding, watch: QueryWatch) -> str:
    detail = finding.detail
    whose = "" if watch.shared else f" of {finding.treatment}"
    blames = " It asks about the whole service and blames no variant." if watch.shared else ""
    return (
        f"{watch.query}{whose} was {_side(watch)} {value_words(watch)} at all "
        f"{detail.get('samples', 0)} evaluations over {duration(watch.hold)}, and is "
        f"{value_words(watch, _number(detail, 'value'))} now. This is a query of Prometheus: "
        f"nothing is proven, and it is no part of the guarantee.{blames}"
    )


def _number(detail: Mapping[str, object], name: str) -> float:
    value = detail.get(name)
    return float(value) if isinstance(value, (int, float)) else math.nan


def _proof(window: WindowFinding) -> str:
    whole = window.z / window.boundary if window.boundary > 0 else math.nan
    if math.isfinite(whole) and whole >= 1:
        return f"z {window.z:.2f} against a boundary of {window.boundary:.2f}"
    if math.isfinite(window.e_value):
        return f"evidence {window.e_value:,.0f} to 1, needed {2 / window.level:,.0f} to 1"
    return f"evidence {window.evidence:.2f} of 1"


_CODE_WORDS: Final = {
    Code.PROVEN_HARM: "harm is proven",
    Code.PROVEN_SAFE: "proven to be inside the margin",
    Code.WINDOW_OPEN: "no unit's window has closed yet",
    Code.TOO_FEW: "not enough units yet for a decision",
    Code.INSIDE_MARGIN: "the estimate is inside the margin, nothing is proven",
    Code.UNDECIDED: "the estimate is beyond the margin, nothing is proven yet",
    Code.CONTROL_NOT_POSITIVE: "control's value is not positive, so a relative margin says nothing",
    Code.NO_VALUES: "units arrive, but none of one arm has a value: is its source broken?",
    Code.EVENTS_STOPPED: "events no longer arrive: is their source broken?",
    Code.QUERY_FAILED: "the store could not be read",
    Code.CONTROL_BEYOND: "control is beyond the limit too, so the treatment is not the reason",
    Code.LIKE_CONTROL: "beyond the limit, but not clearly worse than control, so the treatment may "
    "not be the reason",
    Code.BEYOND_LIMIT: "the query is beyond its limit",
    Code.WITHIN_LIMIT: "the query is within its limit",
    Code.NOT_SERVED_YET: "it has not been served for as long as the query must hold",
    Code.NOT_HELD: "the query is beyond its limit, but not for the whole time",
    Code.SOURCE_FAILED: "the query could not be judged",
}
_LIMIT_WORDS: Final = {
    Code.PROVEN_SAFE: "proven to be within the limit",
    Code.INSIDE_MARGIN: "the estimate is within the limit, nothing is proven",
    Code.UNDECIDED: "the estimate is beyond the limit, nothing is proven yet",
}

_CATASTROPHE_WORDS: Final = {
    Code.PROVEN_SAFE: "proven to be less than tolerated",
    Code.INSIDE_MARGIN: "no more than tolerated, nothing is proven",
    Code.UNDECIDED: "more than tolerated, nothing is proven yet",
    Code.TOO_FEW: "nothing to count yet",
}


def outcome_words(finding: Finding, comparison: Judged, title: str) -> str:
    """Return what a check found, in one sentence."""
    if finding.outcome is Outcome.BREACH:
        return breach_words(finding, comparison, title)
    if isinstance(comparison, Watch | AlertWatch):
        return watch_words(finding, comparison, title)
    if isinstance(comparison, QueryWatch):
        return _query_words(finding, comparison)
    deciding = next((w for w in finding.windows if w.code is finding.code), None)
    passed = [w for w in finding.windows if w.outcome is Outcome.PASS]
    text = _code_words(finding.code, comparison)
    if deciding is None:
        return text
    if finding.outcome is Outcome.PASS or not passed:
        return _measured(deciding, comparison, title, text)
    over = " and ".join(duration(w.window) for w in passed)
    proven = f"{_code_words(Code.PROVEN_SAFE, comparison)} over {over}"
    safe = _measured(passed[0], comparison, title, proven)
    return f"{safe}; over {duration(deciding.window)}: {text}"


def _code_words(code: Code, comparison: AnyComparison) -> str:
    if isinstance(comparison, CatastropheComparison) and code in _CATASTROPHE_WORDS:
        return _CATASTROPHE_WORDS[code]
    if isinstance(comparison, LimitComparison) and code in _LIMIT_WORDS:
        return _LIMIT_WORDS[code]
    return _CODE_WORDS.get(code, code.value.replace("_", " "))


def _measured(window: WindowFinding, comparison: AnyComparison, title: str, text: str) -> str:
    if isinstance(comparison, LimitComparison):
        if not math.isfinite(window.treatment_value):
            return text
        value = value_words(comparison, window.treatment_value)
        if window.code in {Code.CONTROL_BEYOND, Code.LIKE_CONTROL}:
            beside = value_words(comparison, window.control_value)
            return f"{title} is {value}, and {beside} in {comparison.control}: {text}"
        return f"{title} is {value}; {text}"
    if isinstance(comparison, CatastropheComparison):
        return catastrophe_words(window, comparison, title, text)
    if not math.isfinite(window.effect):
        return text
    return f"{title} is {effect_words(window)}; {text}"


def _query_words(finding: Finding, watch: QueryWatch) -> str:
    detail = finding.detail
    if "message" in detail:
        return f"{_CODE_WORDS[Code.SOURCE_FAILED]}: {detail['message']}"
    if "value" not in detail:
        return _CODE_WORDS.get(finding.code, finding.code.value.replace("_", " "))
    span = f"{detail.get('samples', 0)} evaluations over {duration(watch.hold)}"
    value = value_words(watch, _number(detail, "value"))
    if finding.outcome is Outcome.PASS:
        return f"{watch.query} is {value}, and within {value_words(watch)} at all {span}"
    return (
        f"{watch.query} is {value}, and was {_side(watch)} {value_words(watch)} at "
        f"{detail.get('beyond', 0)} of {span}"
    )
