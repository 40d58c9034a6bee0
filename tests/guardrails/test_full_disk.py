"""A control plane that cannot be written: checks say so and are tried again, assignment goes on."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

CHILD = """
import json, resource, sys
from datetime import timedelta
from pathlib import Path
sys.path[:0] = [sys.argv[1]]
import service
from experiments.errors import UnavailableError
from tests.running import KEY, SPEC

folder = Path(sys.argv[2])
services = service.build(service.Settings(data=folder, demo=True))
engine, clock = services.engine, services.clock
engine.apply(SPEC, source="s.yaml", actor="ann")

def hour():
    clock.move_to(clock.now() + timedelta(hours=1))
    return [report.result for report in engine.run_due()]

def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

def served():
    compiled = engine.serving().experiments[KEY]
    return [compiled.assign({"targetingKey": f"u{n}"}).variant for n in range(50)]

told = {"before": hour(), "served": served()}
limit((folder / "control.db-wal").stat().st_size)
told["full"] = [hour(), hour()]
told["attention"] = engine.experiment(KEY).attention
told["served_while_full"] = served()
try:
    engine.roll_back(KEY, "treatment", reason="a test", actor="ann")
except UnavailableError as error:
    told["refused"] = [error.status, str(error)]
limit(resource.RLIM_INFINITY)
told["room"] = hour()
told["attention_after"] = engine.experiment(KEY).attention
engine.roll_back(KEY, "treatment", reason="a test", actor="ann")
told["served_after"] = served()
services.close()
services = service.build(service.Settings(data=folder, demo=True))
told["checks"] = services.engine.experiment(KEY).checks
told["moves"] = [t.after for t in services.engine.transitions(KEY)]
services.close()
print(json.dumps(told))
"""


def asked(attention):
    """Return what needs somebody, but that nobody asks for the flag in this world."""
    return [said for said in attention if "no application has asked" not in said]


def test_a_check_that_cannot_be_recorded_says_so_and_is_tried_again(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", CHILD, ROOT, tmp_path],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    assert told["before"] == ["ok"]
    assert told["full"] == [["error"], ["error"]]
    (attention,) = asked(told["attention"])
    assert "checks fail since 2026-01-05 02:00" in attention
    assert "the control plane cannot be used now" in attention
    assert "Traceback" not in attention
    assert told["served_while_full"] == told["served"]
    assert set(told["served"]) == {"control", "treatment"}
    status, words = told["refused"]
    assert status == 503
    assert "nothing was changed; make room on its disk" in words
    assert told["room"] == ["ok"]
    assert asked(told["attention_after"]) == []
    assert set(told["served_after"]) == {"control"}
    assert told["checks"] == 2
    assert told["moves"] == ["running", "rolled_back"]
