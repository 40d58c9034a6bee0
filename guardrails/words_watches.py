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
from metrics.wording import gettext as _
from metrics.wording import marked

_CODE_WORDS: Final = {
    Code.TOO_FEW: marked("not enough units yet to tell"),
    Code.NOT_SERVED_YET: marked("nobody is served now, so nobody is missed"),
    Code.SHORT_PAST: marked("too little of a past yet to compare with"),
    Code.QUERY_FAILED: marked("the store could not be read"),
}


def watch_title(watch: Watch) -> str:
    """Return what is watched, for people."""
    if isinstance(watch, BaselineWatch):
        return watch.kpi
    return _("Split of units") if isinstance(watch, SplitWatch) else _("Freshness of events")


def watch_promise(watch: Watch | AlertWatch, title: str) -> str:
    """Return what a guardrail promises, in one sentence without its full stop."""
    if isinstance(watch, AlertWatch):
        return alert_promise(watch)
    if isinstance(watch, SplitWatch):
        return _(
            "The split of units between {treatment} and {control} may not differ from {share} to "
            "{rest} (at a level of its own, outside the guarantee)",
            treatment=watch.treatment,
            control=watch.control,
            share=percent(watch.part, digits=2),
            rest=percent(1.0 - watch.part, digits=2),
        )
    if isinstance(watch, BaselineWatch):
        return _(
            _BASELINES[watch.side],
            title=title,
            treatment=watch.treatment,
            control=watch.control,
            sd=amount(watch.sd),
        )
    return _(
        "Events of {treatment} and of {control} may not stay away for more than {length} (a watch "
        "of the data, outside the guarantee)",
        treatment=watch.treatment,
        control=watch.control,
        length=duration(watch.max_age),
    )


_BASELINES: Final = {
    "rise": marked(
        "{title} of {treatment} may not be more than {sd} standard deviations above {control}'s "
        "recent past (a comparison with the past, outside the guarantee)"
    ),
    "drop": marked(
        "{title} of {treatment} may not be more than {sd} standard deviations below {control}'s "
        "recent past (a comparison with the past, outside the guarantee)"
    ),
    None: marked(
        "{title} of {treatment} may not be more than {sd} standard deviations away from "
        "{control}'s recent past (a comparison with the past, outside the guarantee)"
    ),
}


def watch_words(finding: Finding, watch: Watch | AlertWatch, title: str) -> str:
    """Return what a check found, in one sentence."""
    detail = finding.detail
    if isinstance(watch, AlertWatch):
        return alert_words(finding, watch)
    if finding.code in _CODE_WORDS:
        return _(_CODE_WORDS[finding.code])
    if isinstance(watch, SplitWatch):
        return _split(finding, watch, detail)
    if isinstance(watch, BaselineWatch):
        return _baseline(finding, watch, title)
    return _silence(finding, watch, detail)


def _split(finding: Finding, watch: SplitWatch, detail: Mapping[str, Any]) -> str:
    treated = sum(count[0] for count in detail["counts"])
    units = treated + sum(count[1] for count in detail["counts"])
    got = _(
        "{treatment} has {treated} of the {units} units of both arms, {share} (between {low} and "
        "{high}), and {planned} were planned",
        treatment=watch.treatment,
        treated=f"{treated:,}",
        units=f"{units:,}",
        share=percent(treated / units if units else float("nan"), digits=2),
        low=percent(detail["low"], digits=2),
        high=percent(detail["high"], digits=2),
        planned=percent(watch.part, digits=2),
    )
    if finding.code is Code.SPLIT_AS_PLANNED:
        return _("{split}: nothing speaks against the plan", split=got)
    if finding.code is Code.DOUBLE_EXPOSED:
        return _double(detail)
    return _(
        "{split}. A fault of the assignment or of the exposures was proven (evidence {odds} to 1 "
        "now, needed {needed} to 1, at a level of {level} of its own). The arms are not alike: do "
        "not trust what is compared between them. Nobody is turned back by it.",
        split=got,
        odds=odds(detail["e_value"]),
        needed=f"{1 / watch.level:,.0f}",
        level=percent(watch.level, digits=3),
    )


def _double(detail: Mapping[str, Any]) -> str:
    twice, units = detail["conflicted"], detail["exposed"]
    return _(
        "{twice} of {units} units, {share}, were seen in two variants and count in none. Their ids "
        "are not stable, or the variant is not taken from the assignment: who is left in the arms "
        "is no random choice, so do not trust what is compared between them. Nobody is turned back "
        "by it.",
        twice=f"{twice:,}",
        units=f"{units:,}",
        share=percent(twice / units, digits=2),
    )


def _silence(finding: Finding, watch: SilenceWatch, detail: Mapping[str, Any]) -> str:
    ages: Mapping[str, float] = detail["ages_seconds"]
    if finding.code is Code.EVENTS_ARRIVE:
        oldest = _rounded(max(ages.values()))
        return _("events of both arms arrive, the newest of each in the last {age}", age=oldest)
    silent: list[str] = detail["silent"]
    age = _rounded(min(ages[arm] for arm in silent))
    tolerated = duration(watch.max_age)
    if finding.code is Code.ALL_SILENT:
        return _(
            "no events of {treatment} or {control} since {age}; the file tolerates {tolerated}. Is "
            "their source broken? Nobody is turned back by it.",
            treatment=watch.treatment,
            control=watch.control,
            age=age,
            tolerated=tolerated,
        )
    return _(
        "no events of {silent} since {age}, while those of {other} go on arriving; the file "
        "tolerates {tolerated}. Either its data are lost or nothing happens in it any more: what "
        "is compared says nothing until it is known. Nobody is turned back by it.",
        silent=silent[0],
        age=age,
        other=watch.control if silent == [watch.treatment] else watch.treatment,
        tolerated=tolerated,
    )


def _baseline(finding: Finding, watch: BaselineWatch, title: str) -> str:
    detail = finding.detail

    def shown(value: float) -> str:
        return percent(value, digits=2) if watch.share else amount(value)

    low, high = detail["mean"] - detail["usual"], detail["mean"] + detail["usual"]
    usual = {
        "rise": _("up to {high}", high=shown(high)),
        "drop": _("down to {low}", low=shown(low)),
        None: _("{low} to {high}", low=shown(low), high=shown(high)),
    }[watch.side]
    measured = _(
        "{title} of {treatment} is {value} in the newest cohort ({units} units), after {mean} in "
        "the {cohorts} before of {control}, where {usual} was usual",
        title=title,
        treatment=watch.treatment,
        value=shown(detail["value"]),
        units=f"{detail['units']:,}",
        mean=shown(detail["mean"]),
        cohorts=len(detail["past"]),
        control=watch.control,
        usual=usual,
    )
    if finding.code is Code.AS_BEFORE:
        return measured
    beside = detail["control_now"]
    now = ""
    if beside is not None:
        now = _(" {control} is at {value} now.", control=watch.control, value=shown(beside))
    return _(
        "{measured} ({sd} standard deviations).{now} This compares with the past, so nothing is "
        "proven about the treatment. Nobody is turned back by it.",
        measured=measured,
        sd=amount(watch.sd),
        now=now,
    )


def _rounded(seconds: float) -> str:
    """Return an age in whole minutes, at least one."""
    return duration(timedelta(minutes=max(1, round(seconds / 60))))
