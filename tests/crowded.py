"""What pages cost with many experiments: processor seconds, which other work does not lengthen."""

import time

from tests.running import SPEC, running

PATHS = ("/", "/overview.json", "/?q=9", "/experiments/e9", "/kpis", "/events", "/audit", "/health")
MORE = """guardrails:
  - {kpi: refund_hours, max_rise: 10%}
  - {kpi: cancel_success_rate, max_drop: 5%}
  - {kpi: repeat_complaint_rate, max_rise: 10%}
"""


def page_costs(experiments, *, times=5):
    """Return the middle cost of each page, asked and answered; ``first`` is with nothing known."""
    with running() as it:
        for number in range(experiments):
            text = SPEC.replace("cancel-page", f"e{number}").replace("guardrails:\n", MORE)
            assert it.apply(text).status_code == 201
        to = {"to": "2026-01-05T02:00:00Z"}
        assert it.http.post("/api/v1/demo/clock", json=to, timeout=300).status_code == 200

        def cost(path):
            begun = time.process_time()
            assert it.http.get(path).status_code == 200
            return time.process_time() - begun

        it.http.get("/docs")  # the templates are read
        it.http.get("/experiments/e1")
        found = {"first": cost("/")}
        return found | {
            path: sorted(cost(path) for _ in range(times))[times // 2] for path in PATHS
        }
