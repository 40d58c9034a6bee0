import json
import math
from datetime import timedelta

from guardrails.outcome import Code, Finding, Outcome, WindowFinding, WindowState
from guardrails.repository import (
    finding_from_json,
    finding_to_json,
    state_from_json,
    state_to_json,
)


def test_a_state_survives_json_bit_for_bit():
    state = WindowState(
        looks=3,
        information=123.456,
        spent=1e-300,
        boundary=2.9876543210123456,
        grid=(0.1, -8.5, math.pi),
        mass=(1e-12, 0.3, 5e-324),
        crossed=True,
        watermark=99,
    )
    assert state_from_json(json.loads(json.dumps(state_to_json(state)))) == state
    fresh = WindowState()
    assert state_from_json(json.loads(json.dumps(state_to_json(fresh), allow_nan=False))) == fresh


def test_a_finding_survives_strict_json_with_what_is_not_finite():
    window = WindowFinding(
        window=timedelta(days=14),
        level=0.001,
        outcome=Outcome.INCONCLUSIVE,
        code=Code.TOO_FEW,
        effect=-0.05,
        effect_high=math.inf,
        restart=3,
    )
    finding = Finding("g", "satisfaction", "t", Outcome.INCONCLUSIVE, Code.TOO_FEW, (window,))
    text = json.dumps(finding_to_json(finding), allow_nan=False)
    back = finding_from_json(json.loads(text))
    (again,) = back.windows
    assert (again.window, again.effect, again.effect_high) == (timedelta(days=14), -0.05, math.inf)
    assert math.isnan(again.z)
    assert again.restart == 3
    assert back.code is Code.TOO_FEW
