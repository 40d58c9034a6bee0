"""Findings in words a product manager forwards. Pure text from numbers, nothing invented."""

import math
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
from guardrails.words_query import coded, query_breach, query_promise, query_words
from guardrails.words_watches import watch_promise, watch_words
from metrics.wording import gettext as _
from metrics.wording import marked

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
        return query_promise(comparison)
    if isinstance(comparison, LimitComparison):
        told = {"title": title, "limit": value_words(comparison)}
        if comparison.side == "rise":
            return _("{title} may not be above {limit}", **told)
        return _("{title} may not be below {limit}", **told)
    if isinstance(comparison, CatastropheComparison):
        return catastrophe_promise(comparison, title)
    return _promise(comparison, title)


def _promise(comparison: Comparison, title: str) -> str:
    drops, told = comparison.side == "drop", {"title": title, "control": comparison.control}
    if comparison.margin == 0:
        if drops:
            return _("{title} may not drop at all against {control}", **told)
        return _("{title} may not rise at all against {control}", **told)
    margin = margin_words(comparison)
    if drops:
        return _(
            "{title} may not drop by more than {margin} against {control}", margin=margin, **told
        )
    return _("{title} may not rise by more than {margin} against {control}", margin=margin, **told)


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
        return query_breach(finding, comparison)
    window = main_window(finding)
    if window is None:
        return _("{title} breached its guardrail", title=title)
    if isinstance(comparison, LimitComparison):
        return _limit_breach(finding.treatment, window, comparison, title)
    if isinstance(comparison, CatastropheComparison):
        return catastrophe_breach(finding.treatment, window, comparison, title)
    return _regression_breach(finding.treatment, window, comparison, title)


def _regression_breach(
    treatment: str, window: WindowFinding, comparison: Comparison, title: str
) -> str:
    proven = margin_words(comparison, part=comparison.prove_past)
    none = comparison.prove_past * comparison.margin == 0
    told: dict[str, object] = {
        "title": title,
        "treatment": treatment,
        "effect": effect_words(window),
        "control": comparison.control,
        "before": amount(window.control_value),
        "after": amount(window.treatment_value),
        "units": f"{window.units[0]:,}",
        "treated": f"{window.units[1]:,}",
        "window": duration(window.window),
        "margin": margin_words(comparison),
        "harm": _("any harm") if none else _("more than {size}", size=proven),
        "look": window.look,
        "proof": _proof(window),
        "level": percent(window.level, digits=3),
    }
    if window.boundary > 0 and window.z >= window.boundary:
        return _(
            "{title} of {treatment} is {effect} than {control} ({before} → {after}, {units} and "
            "{treated} units with a value whose window of {window} has closed). The file tolerates "
            "{margin}; harm of {harm} is proven at look {look} ({proof}), at a level of {level} "
            "for this comparison.",
            **told,
        )
    return _(
        "{title} of {treatment} is {effect} than {control} over the whole run ({before} → {after}, "
        "{units} and {treated} units with a value whose window of {window} has closed). The file "
        "tolerates {margin}; among the units that came later, harm of {harm} is proven at look "
        "{look} ({proof}), at a level of {level} for this comparison.",
        **told,
    )


def _limit_breach(
    treatment: str, window: WindowFinding, comparison: LimitComparison, title: str
) -> str:
    rises, bound = comparison.side == "rise", value_words(comparison, window.bound)
    said = ""
    if math.isfinite(window.bound):
        more, less = (
            _("it is {bound} or more; ", bound=bound),
            _("it is {bound} or less; ", bound=bound),
        )
        said = more if rises else less
    told: dict[str, object] = {
        "title": title,
        "treatment": treatment,
        "value": value_words(comparison, window.treatment_value),
        "treated": f"{window.units[1]:,}",
        "window": duration(window.window),
        "limit": value_words(comparison),
        "bound": said,
        "odds": odds(window.e_value),
        "needed": f"{1 / window.level:,.0f}",
        "level": percent(window.level, digits=3),
        "control": comparison.control,
        "beside": value_words(comparison, window.control_value),
        "units": f"{window.units[0]:,}",
    }
    if rises:
        return _(
            "{title} of {treatment} is {value} ({treated} units whose window of {window} has "
            "closed). The file tolerates at most {limit}; more than {limit} is proven "
            "({bound}evidence {odds} to 1, needed {needed} to 1), at a level of {level} for this "
            "comparison. {control} is at {beside} ({units} units), and is not proven to be beyond "
            "it.",
            **told,
        )
    return _(
        "{title} of {treatment} is {value} ({treated} units whose window of {window} has closed). "
        "The file tolerates at least {limit}; less than {limit} is proven ({bound}evidence {odds} "
        "to 1, needed {needed} to 1), at a level of {level} for this comparison. {control} is at "
        "{beside} ({units} units), and is not proven to be beyond it.",
        **told,
    )


def _proof(window: WindowFinding) -> str:
    whole = window.z / window.boundary if window.boundary > 0 else math.nan
    if math.isfinite(whole) and whole >= 1:
        return _(
            "z {z} against a boundary of {boundary}",
            z=f"{window.z:.2f}",
            boundary=f"{window.boundary:.2f}",
        )
    if math.isfinite(window.e_value):
        return _(
            "evidence {odds} to 1, needed {needed} to 1",
            odds=f"{window.e_value:,.0f}",
            needed=f"{2 / window.level:,.0f}",
        )
    return _("evidence {evidence} of 1", evidence=f"{window.evidence:.2f}")


_LIMIT_WORDS: Final = {
    Code.PROVEN_SAFE: marked("proven to be within the limit"),
    Code.INSIDE_MARGIN: marked("the estimate is within the limit, nothing is proven"),
    Code.UNDECIDED: marked("the estimate is beyond the limit, nothing is proven yet"),
}

_CATASTROPHE_WORDS: Final = {
    Code.PROVEN_SAFE: marked("proven to be less than tolerated"),
    Code.INSIDE_MARGIN: marked("no more than tolerated, nothing is proven"),
    Code.UNDECIDED: marked("more than tolerated, nothing is proven yet"),
    Code.TOO_FEW: marked("nothing to count yet"),
}


def outcome_words(finding: Finding, comparison: Judged, title: str) -> str:
    """Return what a check found, in one sentence."""
    if finding.outcome is Outcome.BREACH:
        return breach_words(finding, comparison, title)
    if isinstance(comparison, Watch | AlertWatch):
        return watch_words(finding, comparison, title)
    if isinstance(comparison, QueryWatch):
        return query_words(finding, comparison)
    deciding = next((w for w in finding.windows if w.code is finding.code), None)
    passed = [w for w in finding.windows if w.outcome is Outcome.PASS]
    text = _code_words(finding.code, comparison)
    if deciding is None:
        return text
    if finding.outcome is Outcome.PASS or not passed:
        return _measured(deciding, comparison, title, text)
    over = _(" and ").join(duration(w.window) for w in passed)
    safe_words = _code_words(Code.PROVEN_SAFE, comparison)
    proven = _("{proven} over {windows}", proven=safe_words, windows=over)
    return _(
        "{safe}; over {window}: {rest}",
        safe=_measured(passed[0], comparison, title, proven, windowed=False),
        window=duration(deciding.window),
        rest=text,
    )


def _code_words(code: Code, comparison: AnyComparison) -> str:
    if isinstance(comparison, CatastropheComparison) and code in _CATASTROPHE_WORDS:
        return _(_CATASTROPHE_WORDS[code])
    if isinstance(comparison, LimitComparison) and code in _LIMIT_WORDS:
        return _(_LIMIT_WORDS[code])
    return coded(code)


def _beside_limit(window: WindowFinding, comparison: LimitComparison, title: str, text: str) -> str:
    if not math.isfinite(window.treatment_value):
        return text
    value = value_words(comparison, window.treatment_value)
    if window.code in {Code.CONTROL_BEYOND, Code.LIKE_CONTROL}:
        beside = value_words(comparison, window.control_value)
        return _(
            "{title} is {value}, and {beside} in {control}: {text}",
            title=title,
            value=value,
            beside=beside,
            control=comparison.control,
            text=text,
        )
    return _("{title} is {value}; {text}", title=title, value=value, text=text)


def _measured(
    window: WindowFinding,
    comparison: AnyComparison,
    title: str,
    text: str,
    *,
    windowed: bool = True,
) -> str:
    if isinstance(comparison, LimitComparison):
        return _beside_limit(window, comparison, title, text)
    if isinstance(comparison, CatastropheComparison):
        return catastrophe_words(window, comparison, title, text)
    if not math.isfinite(window.effect):
        return text
    value = effect_words(window)
    if not windowed:
        return _("{title} is {value}; {text}", title=title, value=value, text=text)
    return _(
        "{title} over {window} is {value}; {text}",
        title=title,
        window=duration(window.window),
        value=value,
        text=text,
    )
