"""``suspend`` and ``note``: the engine acts on nothing, and words on the timeline."""

from console.client import ServiceClient, experiment_path
from console.output import instant, print_json, say
from console.tables import folded


def suspend(*, off: bool, reason: str, client: ServiceClient, as_json: bool) -> None:
    """Let the engine act on nothing, or act again."""
    body = {"suspended": not off, "reason": reason}
    view = client.post("/api/v1/suspension", json=body)
    if as_json:
        print_json(view)
    elif view["suspended"]:
        say(view["words"])
        say(folded("checks go on and breaches are told, but nobody is turned back by itself"))
    else:
        say("the engine acts again: the next checks decide and do")


def note(key: str, text: str, *, client: ServiceClient, as_json: bool) -> None:
    """Write on the timeline of an experiment."""
    done = client.post(f"{experiment_path(key)}/notes", json={"text": text})
    if as_json:
        print_json(done)
        return
    say(f"{key}: noted as t{done['id']}, {instant(done['at'])}")
    say(f"  {done['reason']} ({done['actor']})")
