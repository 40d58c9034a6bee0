"""Rules that watch the data, and alerts of others, in words. Pure."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from guardrails.judge_alert import AlertWatch
from guardrails.judge_baseline import BaselineWatch
from guardrails.judge_freshness import SilenceWatch
from guardrails.judge_sample_ratio import SplitWatch
from guardrails.outcome import Code, Finding
from guardrails.plain_words import amount, duration, odds, percent
from guardrails.watches import Watch
from guardrails.words_alerts import alert_promise, alert_words

_CODE_WORDS: Final = {
    Code.TOO_FEW: "not enough units yet to tell",
    Code.NOT_SERVED_YET: "nobody is served now, so nobody is missed",
    Code.SHORT_PAST: "too little of a past yet to compare with",
    Code.QUERY_FAILED: "the store could not be read",
}


def watch_title(watch: Watch) -> str:
    """Return what is watched, for people."""
    if isinstance(watch, BaselineWatch):
        return watch.kpi
    return "Split of units" if isinstance(watch, SplitWatch) else "Freshness of events"


def watch_promise(watch: Watch | AlertWatch, title: str) -> str:
    """Return what a guardrail promises, in one sentence without its full stop."""
    if isinstance(watch, AlertWatch):
        return alert_promise(watch)
    if isinstance(watch, SplitWatch):
        return (
            f"The split of units between {watch.treatment} and {watch.control} may not differ from "
            f"{percent(watch.part, digits=2)} to {percent(1.0 - watch.part, digits=2)} (at a level "
            "of its own, outside the guarantee)"
        )
    if isinstance(watch, BaselineWatch):
        moves = {"rise": "above", "drop": "below", None: "away from"}[watch.side]
        return (
            f"{title} of {watch.treatment} may not be more than {amount(watch.sd)} standard "
            f"deviations {moves} {watch.control}'s recent past (a comparison with the past, "
            "outside the guarantee)"
        )
    return (
        f"Events of {watch.treatment} and of {watch.control} may not stay away for more than "
        f"{duration(watch.max_age)} (a watch of the data, outside the guarantee)"
    )


def watch_words(finding: Finding, watch: Watch | AlertWatch, title: str) -> str:
    """Return what a check found, in one sentence."""
    detail = finding.detail
    if isinstance(watch, AlertWatch):
        return alert_words(finding, watch)
    if finding.code in _CODE_WORDS:
        return _CODE_WORDS[finding.code]
    if isinstance(watch, SplitWatch):
        return _split(finding, watch, detail)
    if isinstance(watch, BaselineWatch):
        return _baseline(finding, watch, title)
    return _silence(finding, watch, detail)


def _split(finding: Finding, watch: SplitWatch, detail: Mapping[str, Any]) -> str:
    treated = sum(count[0] for count in detail["counts"])
    units = treated + sum(count[1] for count in detail["counts"])
    got = (
        f"{watch.treatment} has {treated:,} of the {units:,} units of both arms, "
        f"{percent(treated / units if units else float('nan'), digits=2)} (between "
        f"{percent(detail['low'], digits=2)} and {percent(detail['high'], digits=2)}), and "
        f"{percent(watch.part, digits=2)} were planned"
    )
    if finding.code is Code.SPLIT_AS_PLANNED:
        return f"{got}: nothing speaks against the plan"
    if finding.code is Code.DOUBLE_EXPOSED:
        return _double(detail)
    return (
        f"{got}. A fault of the assignment or of the exposures was proven (evidence "
        f"{odds(detail['e_value'])} to 1 now, needed {1 / watch.level:,.0f} to 1, at a level of "
        f"{percent(watch.level, digits=3)} of its own). The arms are not alike: do not trust what "
        "is compared between them. Nobody is turned back by it."
    )


def _double(detail: Mapping[str, Any]) -> str:
    twice, units = detail["conflicted"], detail["exposed"]
    return (
        f"{twice:,} of {units:,} units, {percent(twice / units, digits=2)}, were seen in two "
        "variants and count in none. Their ids are not stable, or the variant is not taken from "
        "the assignment: who is left in the arms is no random choice, so do not trust what is "
        "compared between them. Nobody is turned back by it."
    )


def _silence(finding: Finding, watch: SilenceWatch, detail: Mapping[str, Any]) -> str:
    ages: Mapping[str, float] = detail["ages_seconds"]
    if finding.code is Code.EVENTS_ARRIVE:
        oldest = _rounded(max(ages.values()))
        return f"events of both arms arrive, the newest of each in the last {oldest}"
    silent: list[str] = detail["silent"]
    age = _rounded(min(ages[arm] for arm in silent))
    tolerated = f"the file tolerates {duration(watch.max_age)}"
    if finding.code is Code.ALL_SILENT:
        return (
            f"no events of {watch.treatment} or {watch.control} since {age}; {tolerated}. Is their "
            "source broken? Nobody is turned back by it."
        )
    other = watch.control if silent == [watch.treatment] else watch.treatment
    return (
        f"no events of {silent[0]} since {age}, while those of {other} go on arriving; "
        f"{tolerated}. Either its data are lost or nothing happens in it any more: what is "
        "compared says nothing until it is known. Nobody is turned back by it."
    )


def _baseline(finding: Finding, watch: BaselineWatch, title: str) -> str:
    detail = finding.detail

    def shown(value: float) -> str:
        return percent(value, digits=2) if watch.share else amount(value)

    low, high = detail["mean"] - detail["usual"], detail["mean"] + detail["usual"]
    usual = {
        "rise": f"up to {shown(high)}",
        "drop": f"down to {shown(low)}",
        None: f"{shown(low)} to {shown(high)}",
    }[watch.side]
    measured = (
        f"{title} of {watch.treatment} is {shown(detail['value'])} in the newest cohort "
        f"({detail['units']:,} units)"
    )
    before = (
        f"{shown(detail['mean'])} in the {len(detail['past'])} before of {watch.control}, where "
        f"{usual} was usual"
    )
    if finding.code is Code.AS_BEFORE:
        return f"{measured}, after {before}"
    beside = detail["control_now"]
    now = "" if beside is None else f" {watch.control} is at {shown(beside)} now."
    return (
        f"{measured}, after {before} ({amount(watch.sd)} standard deviations).{now} This compares "
        "with the past, so nothing is proven about the treatment. Nobody is turned back by it."
    )


def _rounded(seconds: float) -> str:
    """Return an age in whole minutes, at least one."""
    return duration(timedelta(minutes=max(1, round(seconds / 60))))
