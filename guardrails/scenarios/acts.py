"""What can happen in a scenario: one function per word of the timeline."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from io import StringIO
from typing import Any, Final

from ruamel.yaml import YAML

from experiments.lifecycle import Move
from guardrails.scenarios.values import Longer, Lost, PostedAlert, Sent
from guardrails.scenarios.world import World

PERSON: Final = "a person"


def _traffic(world: World, value: float) -> None:
    world.traffic = value


def _store(world: World, value: str) -> None:
    world.store.broken = value == "fails"


def _events(world: World, value: timedelta | str) -> None:
    world.silent = value == "stop"
    world.copies = 2 if value == "twice" else 1
    world.delay = value if isinstance(value, timedelta) else timedelta(0)


def _lose(world: World, value: Lost) -> None:
    world.lost = value


def _clients(world: World, value: str) -> None:
    world.stale = value == "stale"


def _send(world: World, sent: Sent) -> None:
    """Send events by hand; they arrive at once."""
    unit_type = world.scenario.spec.experiment.unit
    now = world.clock.true
    if sent.units == "new":
        units = [f"by-hand-{now:%d%H%M}-{index}" for index in range(sent.count)]
    else:
        units = world.met.get(sent.units, [])[-sent.count :]
    for index, unit in enumerate(units):
        fields = dict(sent.fields)
        if sent.event == "exposure":
            fields.setdefault("experiment", world.scenario.key)
        event = {
            "id": f"by-hand-{now:%d%H%M}-{sent.event}-{index}",
            "name": sent.event,
            "happened_at": now.isoformat(),
            "units": {unit_type: unit},
            "fields": fields,
        }
        world.put(event, now, trusted=sent.trusted)
    world.deliver()


def _prometheus(world: World, value: Mapping[str, Any]) -> None:
    now = world.clock.true
    for name, answer in value.items():
        if not world.scenario.queries.get(name, False):
            world.prometheus.tell(name, now, answer)
            continue
        for arm in world.scenario.spec.experiment.treatments:
            each = answer.get(arm, "none") if isinstance(answer, dict) else answer
            world.prometheus.tell(f'{name}{{variant="{arm}"}}', now, each)


def _alert(world: World, posted: PostedAlert) -> None:
    """Let Alertmanager post an alert, as a cluster does: every instance tells it."""
    world.post_alert(posted)


def _channels(world: World, value: str) -> None:
    world.mailbox.broken = value == "fail"


def _service(world: World, value: str) -> None:
    if value == "restarts":
        world.restart(engines=len(world.engines))
    world.asleep = value == "sleeps"


def _engines(world: World, value: int) -> None:
    world.restart(engines=value)


def _clock(world: World, value: timedelta) -> None:
    world.clock.off = value


def _apply(world: World, changes: Mapping[str, Any]) -> None:
    text = changed_text(world.text, changes)
    world.engine.apply(text, source=f"{world.scenario.key}.yaml", actor=PERSON)
    world.text = text


def changed_text(text: str, changes: Mapping[str, Any]) -> str:
    """Return a spec file with other values of some keys; null removes one."""
    if not changes:
        return text
    yaml = YAML()
    yaml.width = 10_000
    document = yaml.load(text)
    for key, value in changes.items():
        if value is None:
            document.pop(key, None)
        else:
            document[key] = value
    out = StringIO()
    yaml.dump(document, out)
    return out.getvalue()


def _mover(step: Move) -> Callable[[World, str], None]:
    def act(world: World, reason: str) -> None:
        world.engine.move(world.scenario.key, step, reason=reason, actor=PERSON)

    return act


def _approve(world: World, reason: str) -> None:
    world.engine.approve(world.scenario.key, reason=reason, actor=PERSON)


def _extend(world: World, value: Longer) -> None:
    world.engine.extend(world.scenario.key, by=value.by, reason=value.because, actor=PERSON)


def _roll_back(world: World, value: Mapping[str, str]) -> None:
    world.engine.roll_back(
        world.scenario.key, value["variant"], reason=value["because"], actor=PERSON
    )


def _resume(world: World, value: Mapping[str, str]) -> None:
    world.engine.resume(world.scenario.key, value["variant"], reason=value["because"], actor=PERSON)


def _suspend(world: World, reason: str) -> None:
    world.engine.suspend(reason=reason, actor=PERSON)


def _wake(world: World, reason: str) -> None:
    world.engine.suspend(on=False, reason=reason, actor=PERSON)


def _note(world: World, text: str) -> None:
    world.engine.note(world.scenario.key, text, actor=PERSON)


ACTS: Final[Mapping[str, Callable[[World, Any], None]]] = {
    "traffic": _traffic,
    "events": _events,
    "lose": _lose,
    "send": _send,
    "clients": _clients,
    "store": _store,
    "prometheus": _prometheus,
    "alert": _alert,
    "channels": _channels,
    "service": _service,
    "engines": _engines,
    "clock": _clock,
    "apply": _apply,
    "start": _mover(Move.START),
    "pause": _mover(Move.PAUSE),
    "continue": _mover(Move.CONTINUE),
    "stop": _mover(Move.STOP),
    "approve": _approve,
    "extend": _extend,
    "roll_back": _roll_back,
    "resume": _resume,
    "suspend": _suspend,
    "wake": _wake,
    "note": _note,
}
"""What can happen, by its word in the file; a new one is a function, a line here and a key."""
