"""The rule ``alert`` in words. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from guardrails.judge_alert import AlertWatch
from guardrails.outcome import Code, Finding
from guardrails.plain_words import duration, instant


def alert_promise(watch: AlertWatch) -> str:
    """Return what a guardrail promises, in one sentence without its full stop."""
    held = f" for {duration(watch.hold)}" if watch.hold else ""
    only = f" with {_labels(watch.labels)}" if watch.labels else ""
    return (
        f"The alert {watch.name}{only} may not fire{held} (an alert of Alertmanager, outside the "
        "guarantee)"
    )


def _labels(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in labels.items())


def alert_words(finding: Finding, watch: AlertWatch) -> str:
    """Return what a check found, in one sentence."""
    detail = finding.detail
    if finding.code is Code.NO_ALERT:
        return (
            f"nobody has posted {watch.name} so far; that proves nothing, also not that anybody "
            "would"
        )
    if finding.code is Code.ALERT_RESOLVED:
        return f"{watch.name} was resolved on {_at(detail, 'ended_at')}"
    if finding.code is Code.ALERT_FROM_BEFORE:
        return (
            f"{watch.name} fires since {_at(detail, 'received_at')}, before {finding.treatment} "
            "was served: it counts once it is posted again"
        )
    if finding.code is Code.ALERT_NOT_HELD:
        return (
            f"{watch.name} fires since {_at(detail, 'received_at')}, and {duration(watch.hold)} "
            "are asked for"
        )
    return _breach(finding, watch, detail)


def _breach(finding: Finding, watch: AlertWatch, detail: Mapping[str, Any]) -> str:
    more = detail["alerts"] - 1
    others = f" (and {more} more of this name)" if more > 0 else ""
    says = f" It says: {detail['summary'].rstrip('.')}." if detail["summary"] else ""
    blames = ""
    if detail["shared"]:
        blames = " It names no variant and so blames none."
    elif detail["action"] != watch.action.value:
        blames = f" It asks for no more than `{detail['action']}`."
    whose = "" if detail["shared"] else f", about {finding.treatment},"
    return (
        f"The alert {watch.name}{others}{whose} fires since {_at(detail, 'starts_at')}; Turnback "
        f"was told on {_at(detail, 'received_at')}.{says} This is an alert of Alertmanager: "
        f"nothing is proven, and it is no part of the guarantee.{blames}"
    )


def _at(detail: Mapping[str, Any], name: str) -> str:
    text = detail[name]
    return "an unknown day" if text is None else instant(datetime.fromisoformat(text))
