"""Examples for the description of the service; a test sends and compares them."""

from typing import Any, Final

SPEC: Final = """\
experiment: cancel-page
unit: order_id
variants:
  control: {weight: 50%}
  treatment: {weight: 50%}
guardrails:
  - {kpi: satisfaction, max_drop: 3%}
ends: {after: 14d}
expect_units: 50000
"""

APPLIED: Final[dict[str, Any]] = {
    "key": "cancel-page",
    "result": "created",
    "revision": 1,
    "words": ["cancel-page starts now with revision 1"],
    "warnings": [],
    "dry_run": False,
}

ACTIONS: Final[dict[str, Any]] = {
    "start": {"action": "start", "reason": "the shop is ready"},
    "pause": {"action": "pause", "reason": "a sale begins"},
    "continue": {"action": "continue", "reason": "the sale is over"},
    "approve": {"action": "approve", "reason": "the first step looks well"},
    "extend": {"action": "extend", "by": "7d", "reason": "a holiday fell into it"},
    "stop": {"action": "stop", "reason": "the page is being replaced"},
    "roll_back": {"action": "roll_back", "variant": "treatment", "reason": "people complain"},
    "resume": {"action": "resume", "variant": "treatment", "reason": "the defect is mended"},
}

NAMED_ACTIONS: Final[dict[str, Any]] = {name: {"value": body} for name, body in ACTIONS.items()}

TRANSITION: Final[dict[str, Any]] = {
    "id": 7,
    "experiment": "cancel-page",
    "variant": None,
    "before": "running",
    "after": "paused",
    "at": "2026-01-05T10:00:00Z",
    "actor": "ada",
    "reason": "a sale begins",
    "evidence": None,
    "evaluation": None,
}

ROLLED_BACK: Final[dict[str, Any]] = {
    **TRANSITION,
    "variant": "treatment",
    "before": "live",
    "after": "rolled_back",
    "reason": "people complain",
}
WHY: Final[dict[str, Any]] = {"reason": "people complain"}

REVISION: Final[dict[str, Any]] = {
    "number": 1,
    "sha256": "9f2b5c0c1f0f4b6f2d4a7f6f3f1f5f0b6a3d1e9c8b7a6958473625140f1e2d3c",
    "source": "specs/cancel-page.yaml",
    "actor": "ada",
    "at": "2026-01-05T09:00:00Z",
    "text": SPEC,
}

EXPLANATION: Final[dict[str, Any]] = {
    "key": "cancel-page",
    "at": "2026-01-05T10:00:00Z",
    "headline": "cancel-page: running, nothing was turned back.",
    "paragraphs": ["Satisfaction may not drop by more than 3% against control; nothing is proven."],
    "evidence": None,
}

_PROBLEM: Final[dict[str, Any]] = {
    "file": "specs/cancel-page.yaml",
    "line": 7,
    "column": 26,
    "path": "guardrails[0].max_dropp",
    "message": "unknown key",
    "hint": "did you mean `max_drop`?",
    "severity": "error",
}

VALIDATION: Final[dict[str, Any]] = {"ok": False, "problems": [_PROBLEM], "left_out": 0}

SPEC_SET: Final[dict[str, Any]] = {"files": [{"source": "specs/cancel-page.yaml", "text": SPEC}]}

REHEARSAL: Final[dict[str, Any]] = {
    "ok": True,
    "files": [
        {
            "source": "specs/cancel-page.yaml",
            "ok": True,
            "problems": [],
            "left_out": 0,
            "error": None,
            "applied": {**APPLIED, "dry_run": True},
        }
    ],
}

FAULTY: Final[dict[str, Any]] = {
    "code": "invalid_spec",
    "message": (
        "specs/cancel-page.yaml:7:26: guardrails[0].max_dropp: unknown key; "
        "did you mean `max_drop`?"
    ),
    "hint": None,
    "path": "guardrails[0].max_dropp",
    "problems": [_PROBLEM],
}

ILLEGAL: Final[dict[str, Any]] = {
    "code": "illegal_transition",
    "message": "cannot continue while running",
    "hint": "possible now: pause, stop, observe",
    "path": None,
}

SPECS: Final[dict[str, Any]] = {
    "dir": "specs",
    "valid": True,
    "checked_at": "2026-01-05T10:00:00Z",
    "problems": [],
    "left_out": 0,
    "files": [
        {
            "file": "specs/cancel-page.yaml",
            "experiment": "cancel-page",
            "revision": 1,
            "result": "unchanged",
            "conflict": None,
            "drift": None,
        }
    ],
}

BACKUP: Final[dict[str, Any]] = {
    "to": "/backups/2026-01-05",
    "made_at": "2026-01-05T10:00:00Z",
    "turnback": "0.1.0",
    "control_revision": "0003",
    "store_schema": 2,
    "control_watermark": 48_210,
    "watermark": 48_377,
    "bytes": 9_445_376,
    "files": {"control.db": "5f70bf18a086007016e948b04aed3b82", "metrics.duckdb": "cb2a6d47c2dc"},
}

EXPORT: Final[dict[str, Any]] = {
    "to": "/exports/events",
    "watermark": 48_377,
    "events": 12_004,
    "days": ["2026-01-04"],
    "removed": [],
    "incomplete_before": None,
}

UNKNOWN_DECISION: Final[dict[str, Any]] = {
    "code": "unknown_decision",
    "message": "no decision has the id t7",
    "hint": "`turnback status KEY` and `explain KEY` show ids",
    "path": None,
}

REPLAYED: Final[dict[str, Any]] = {
    "id": "t7",
    "check": "c118",
    "experiment": "cancel-page",
    "at": "2026-01-05T10:00:00Z",
    "watermark": 48_210,
    "revision": 1,
    "verdict": "equal",
    "engine": "0.1.0",
    "replayed_with": "0.1.0",
    "exact": True,
    "decision": "turn back treatment: satisfaction is breached",
    "recomputed": "turn back treatment: satisfaction is breached",
    "cells": 3,
    "findings": 1,
    "looks": None,
    "differences": [],
    "gone": [],
    "notes": [],
}

NOTE: Final[dict[str, Any]] = {"text": "the app's version 3.2 reaches everybody"}

NOTED: Final[dict[str, Any]] = {
    **TRANSITION,
    "before": "running",
    "after": "note",
    "reason": NOTE["text"],
}

SUSPEND: Final[dict[str, Any]] = {"suspended": True, "reason": "the data team moves the store"}

SUSPENSION: Final[dict[str, Any]] = {
    "suspended": True,
    "by_setting": False,
    "words": "the engine is suspended since 2026-01-05 10:00 UTC by ada (the data team moves the "
    "store): it watches and acts on nothing; `turnback suspend --off` ends it",
    "history": [
        {
            "suspended": True,
            "at": "2026-01-05T10:00:00Z",
            "actor": "ada",
            "reason": SUSPEND["reason"],
        }
    ],
}

CHANNEL: Final[dict[str, Any]] = {
    "name": "ops",
    "type": "slack",
    "where": "https://hooks.slack.com",
    "waiting": 0,
    "failing": 0,
    "given_up": 1,
    "delivered_at": "2026-01-05T10:00:00Z",
    "error": "https://hooks.slack.com answered 403: invalid_token",
}

CHANNEL_TEST: Final[dict[str, Any]] = {
    "channel": "ops",
    "type": "slack",
    "delivered": False,
    "words": "https://hooks.slack.com answered 403: invalid_token",
    "hint": "the receiver does not allow it: has the address or the key been withdrawn?",
    "key": "test:ops/0f3a9c1b2d4e",
}

DIGEST: Final[dict[str, Any]] = {
    "key": "digest:20260105T000000:20260119T000000:product",
    "title": "Experiments from 5 Jan 2026 to 19 Jan 2026",
    "text": "One treatment was turned back.",
}
DIGEST_SENT: Final[dict[str, Any]] = {
    "channel": "product",
    "type": "slack",
    "delivered": True,
    "words": "delivered in 0.21 s",
    "hint": "",
    "key": DIGEST["key"],
}

KEY: Final[dict[str, Any]] = {
    "name": "shop-backend",
    "scope": "ingest",
    "created_at": "2026-01-05T09:00:00Z",
    "created_by": "ada",
    "last_used_at": "2026-01-05T10:00:00Z",
    "revoked_at": None,
}

CALL: Final[dict[str, Any]] = {
    "at": "2026-01-05T10:00:00Z",
    "key": "ops",
    "actor": "ada",
    "method": "POST",
    "path": "/api/v1/experiments/cancel-page/actions",
    "status": 200,
    "request": "0f3a9c1b2d4e4f6f8a0b1c2d3e4f5a6b",
}

HEALTH: Final[dict[str, Any]] = {"status": "ok", "version": "0.1.0"}

READY: Final[dict[str, Any]] = {
    "status": "ready",
    "watermark": 48_377,
    "experiments": 3,
    "instance": None,
    "demo": False,
}

MOVED: Final[dict[str, Any]] = {
    "now": "2026-01-05T10:00:00Z",
    "checks": 1,
    "transitions": [TRANSITION],
}

SERIES: Final = """\
# HELP turnback_variant_share_ratio Share of all units that are served a variant.
# TYPE turnback_variant_share_ratio gauge
turnback_variant_share_ratio{experiment="cancel-page",variant="treatment"} 0.5
"""
