"""``channels``: where messages go, and whether they arrive."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from console.client import ServiceClient
from console.output import instant, print_json, say
from console.tables import folded


def show(client: ServiceClient, *, as_json: bool) -> None:
    """Print every channel, and how its messages fare."""
    answer = client.get("/api/v1/channels")
    if as_json:
        print_json(answer)
        return
    for channel in answer["channels"]:
        say(folded("\n".join(_lines(channel)), indent="    "))


def test(name: str | None, *, client: ServiceClient, as_json: bool) -> bool:
    """Send a test message through one channel, or through all, and print what became of it.

    Returns:
        Whether every one of them took it.
    """
    names = [name] if name is not None else _names(client)
    done = [client.post(f"/api/v1/channels/{quote(one, safe='')}/test") for one in names]
    if as_json:
        print_json({"tests": done})
    for one in () if as_json else done:
        say(folded(f"{one['channel']} ({one['type']}): {one['words']}"))
        if one["hint"]:
            say(folded(f"  {one['hint']}"))
    return all(one["delivered"] for one in done)


def _names(client: ServiceClient) -> list[str]:
    listed = client.get("/api/v1/channels")["channels"]
    return [channel["name"] for channel in listed if channel["type"] != "missing"]


def _lines(channel: Mapping[str, Any]) -> list[str]:
    where = f", {channel['where']}" if channel["where"] else ""
    counts = [
        f"newest delivery {instant(channel['delivered_at'])}",
        f"{channel['waiting']:,} waiting",
        f"{channel['given_up']:,} given up within a day",
    ]
    lines = [f"{channel['name']} ({channel['type']}{where})", f"  {', '.join(counts)}"]
    if channel["type"] == "missing":
        lines.append("  the settings of the service have no such channel: TURNBACK_CHANNELS")
    if channel["error"]:
        lines.append(f"  {channel['error']}")
    return lines
