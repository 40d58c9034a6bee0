"""The rule ``alert`` in words. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from guardrails.judge_alert import AlertWatch
from guardrails.outcome import Code, Finding
from guardrails.plain_words import duration, instant
from metrics.wording import gettext as _


def alert_promise(watch: AlertWatch) -> str:
    """Return what a guardrail promises, in one sentence without its full stop."""
    name = watch.name
    if watch.labels:
        name = _("{name} with {labels}", name=name, labels=_labels(watch.labels))
    if watch.hold:
        return _(
            "The alert {alert} may not fire for {length} (an alert of Alertmanager, outside the "
            "guarantee)",
            alert=name,
            length=duration(watch.hold),
        )
    return _(
        "The alert {alert} may not fire (an alert of Alertmanager, outside the guarantee)",
        alert=name,
    )


def _labels(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in labels.items())


def alert_words(finding: Finding, watch: AlertWatch) -> str:
    """Return what a check found, in one sentence."""
    detail = finding.detail
    if finding.code is Code.NO_ALERT:
        return _(
            "nobody has posted {alert} so far; that proves nothing, also not that anybody would",
            alert=watch.name,
        )
    if finding.code is Code.ALERT_RESOLVED:
        return _("{alert} was resolved on {at}", alert=watch.name, at=_at(detail, "ended_at"))
    if finding.code is Code.ALERT_FROM_BEFORE:
        return _(
            "{alert} fires since {at}, before {variant} was served: it counts once it is posted "
            "again",
            alert=watch.name,
            at=_at(detail, "received_at"),
            variant=finding.treatment,
        )
    if finding.code is Code.ALERT_NOT_HELD:
        return _(
            "{alert} fires since {at}, and {length} are asked for",
            alert=watch.name,
            at=_at(detail, "received_at"),
            length=duration(watch.hold),
        )
    return _breach(finding, watch, detail)


def _breach(finding: Finding, watch: AlertWatch, detail: Mapping[str, Any]) -> str:
    more = detail["alerts"] - 1
    name = watch.name
    if more > 0:
        name = _("{name} (and {number} more of this name)", name=name, number=more)
    told = {"alert": name, "at": _at(detail, "starts_at"), "told": _at(detail, "received_at")}
    if detail["shared"]:
        fires = _("The alert {alert} fires since {at}; Turnback was told on {told}.", **told)
    else:
        fires = _(
            "The alert {alert}, about {variant}, fires since {at}; Turnback was told on {told}.",
            variant=finding.treatment,
            **told,
        )
    if detail["summary"]:
        fires = _("{said} It says: {summary}.", said=fires, summary=detail["summary"].rstrip("."))
    said = _(
        "{said} This is an alert of Alertmanager: nothing is proven, and it is no part of the "
        "guarantee.",
        said=fires,
    )
    if detail["shared"]:
        return _("{said} It names no variant and so blames none.", said=said)
    if detail["action"] != watch.action.value:
        return _("{said} It asks for no more than `{action}`.", said=said, action=detail["action"])
    return said


def _at(detail: Mapping[str, Any], name: str) -> str:
    text = detail[name]
    return _("an unknown day") if text is None else instant(datetime.fromisoformat(text))
