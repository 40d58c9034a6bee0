"""View objects of one experiment, as the engine shows them, for tests of what shows them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from guardrails.views import (
    ExperimentView,
    GuardrailView,
    KpiView,
    TransitionView,
    VariantView,
)

T = datetime(2026, 3, 1, 12, tzinfo=UTC)


def kpi(variant, window, value):
    length = timedelta(hours=window)
    return KpiView("satisfaction", "Satisfaction", "higher", variant, length, value, 7, 9, None)


def view(**changes):
    before = ExperimentView(
        key="x",
        title="X",
        owner="",
        hypothesis="",
        state="running",
        mode="live",
        unit="order_id",
        seed=1,
        revision=1,
        started_at=T,
        ends_at=T + timedelta(days=7),
        observe_until=None,
        traffic=1.0,
        step=0,
        steps=1,
        alpha=0.05,
        check_every=timedelta(hours=1),
        last_check_at=None,
        checks=0,
        watermark=0,
        conflicted=0,
        goal=None,
        variants=(
            VariantView("control", "control", 0.5, 0.5, 10, 1, None),
            VariantView("b", "live", 0.5, 0.5, 11, 1, None),
        ),
        guardrails=(
            GuardrailView(
                guardrail="satisfaction",
                rule="regression",
                kpi="satisfaction",
                title="Satisfaction",
                treatment="b",
                limit="",
                side="drop",
                margin=0.03,
                absolute=False,
                prove_past=0.5,
                action="rollback",
                dry_run=False,
                level=0.05,
                outcome=None,
                code=None,
                words="",
                evidence=0.0,
                checked_at=None,
            ),
        ),
        kpis=(kpi("control", 24, 1.0), kpi("control", 1, 4.5), kpi("b", 1, None)),
        transitions=(),
        rollbacks=(),
        attention=(),
    )
    return replace(before, **changes)


def rolled_back(at=T):
    return TransitionView(1, "x", "b", "live", "rolled_back", at, "turnback", "", None, None)
