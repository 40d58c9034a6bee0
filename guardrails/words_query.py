"""Queries of Prometheus in words, and what the codes of findings mean. Pure."""

import math
from collections.abc import Mapping
from typing import Final

from guardrails.judge_query import QueryWatch
from guardrails.outcome import Code, Finding, Outcome
from guardrails.plain_words import amount, duration
from metrics.wording import gettext as _
from metrics.wording import marked, recorded

_CODE_WORDS: Final = {
    Code.PROVEN_HARM: marked("harm is proven"),
    Code.PROVEN_SAFE: marked("proven to be inside the margin"),
    Code.WINDOW_OPEN: marked("no unit's window has closed yet"),
    Code.TOO_FEW: marked("not enough units yet for a decision"),
    Code.INSIDE_MARGIN: marked("the estimate is inside the margin, nothing is proven"),
    Code.UNDECIDED: marked("the estimate is beyond the margin, nothing is proven yet"),
    Code.CONTROL_NOT_POSITIVE: marked(
        "control's value is not positive, so a relative margin says nothing"
    ),
    Code.NO_VALUES: marked("units arrive, but an arm has no value at all: is its source broken?"),
    Code.EVENTS_STOPPED: marked("events no longer arrive: is their source broken?"),
    Code.QUERY_FAILED: marked("the store could not be read"),
    Code.CONTROL_BEYOND: marked(
        "control is beyond the limit too, so the treatment is not the reason"
    ),
    Code.LIKE_CONTROL: marked(
        "beyond the limit, but not clearly worse than control, so the treatment may "
        "not be the reason"
    ),
    Code.BEYOND_LIMIT: marked("the query is beyond its limit"),
    Code.WITHIN_LIMIT: marked("the query is within its limit"),
    Code.NOT_SERVED_YET: marked("it has not been served for as long as the query must hold"),
    Code.NOT_HELD: marked("the query is beyond its limit, but not for the whole time"),
    Code.SOURCE_FAILED: marked("the query could not be judged"),
}


def query_promise(watch: QueryWatch) -> str:
    """Return what a query promises, in one sentence without its full stop."""
    told = {
        "query": watch.query,
        "limit": amount(watch.limit),
        "length": duration(watch.hold),
    }
    if watch.side == "rise":
        return _(
            "{query} may not stay above {limit} for {length} (a query of Prometheus, outside the "
            "guarantee)",
            **told,
        )
    return _(
        "{query} may not stay below {limit} for {length} (a query of Prometheus, outside the "
        "guarantee)",
        **told,
    )


def query_breach(finding: Finding, watch: QueryWatch) -> str:
    """Return why a query is breached."""
    detail = finding.detail
    told: dict[str, object] = {
        "query": watch.query
        if watch.shared
        else _("{title} of {treatment}", title=watch.query, treatment=finding.treatment),
        "limit": amount(watch.limit),
        "samples": detail.get("samples", 0),
        "length": duration(watch.hold),
        "value": amount(_number(detail, "value")),
    }
    if watch.side == "rise":
        said = _(
            "{query} was above {limit} at all {samples} evaluations over {length}, and is {value} "
            "now. This is a query of Prometheus: nothing is proven, and it is no part of the "
            "guarantee.",
            **told,
        )
    else:
        said = _(
            "{query} was below {limit} at all {samples} evaluations over {length}, and is {value} "
            "now. This is a query of Prometheus: nothing is proven, and it is no part of the "
            "guarantee.",
            **told,
        )
    if not watch.shared:
        return said
    return _("{said} It asks about the whole service and blames no variant.", said=said)


def _number(detail: Mapping[str, object], name: str) -> float:
    value = detail.get(name)
    return float(value) if isinstance(value, (int, float)) else math.nan


def coded(code: Code) -> str:
    """Return what a code means."""
    known = _CODE_WORDS.get(code)
    return code.value.replace("_", " ") if known is None else _(known)


def query_words(finding: Finding, watch: QueryWatch) -> str:
    """Return what a check of a query found, in one sentence."""
    detail = finding.detail
    if "message" in detail:
        why = str(detail["message"])
        return _("{what}: {message}", what=coded(Code.SOURCE_FAILED), message=recorded(why) or why)
    if "value" not in detail:
        return coded(finding.code)
    told: dict[str, object] = {
        "query": watch.query,
        "value": amount(_number(detail, "value")),
        "limit": amount(watch.limit),
        "samples": detail.get("samples", 0),
        "beyond": detail.get("beyond", 0),
        "length": duration(watch.hold),
    }
    if finding.outcome is Outcome.PASS:
        return _(
            "{query} is {value}, and within {limit} at all {samples} evaluations over {length}",
            **told,
        )
    if watch.side == "rise":
        return _(
            "{query} is {value}, and was above {limit} at {beyond} of {samples} evaluations over "
            "{length}",
            **told,
        )
    return _(
        "{query} is {value}, and was below {limit} at {beyond} of {samples} evaluations over "
        "{length}",
        **told,
    )
