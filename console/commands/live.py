"""``status --watch``: what ``status`` shows, again and again until somebody ends it."""

import time
from collections.abc import Callable, Generator, Iterable
from typing import Any

import msgspec
from rich.console import Group
from rich.live import Live
from rich.text import Text

from console.client import ServiceClient
from console.commands.watch import current
from console.output import CommandError, ExitCode, print_json, say
from console.tables import Block, drawn_blocks, show_blocks, table_console

_NEWEST = ("last_check_at", "checks", "watermark")
"""Of an experiment, what changes though nothing happens."""


def watch(
    key: str | None,
    *,
    every: float,
    client: ServiceClient,
    as_json: bool,
    times: int | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Show the same page anew until Ctrl-C.

    On a terminal it is drawn in place; in a pipe or a file it is printed when something happened,
    with ``as_json`` as one object a line. A service that does not answer is asked again.

    Args:
        key: One experiment; all without.
        every: Seconds between two looks.
        client: Of the service.
        as_json: Print objects.
        times: Looks; for ever without.
        sleep: Waits so many seconds.

    Raises:
        CommandError: The first look fails, or the service refuses.
    """
    try:
        if as_json or not table_console().is_terminal:
            _in_lines(key, _looks(every, times, sleep), client, as_json=as_json)
        else:
            _in_place(key, every, _looks(every, times, sleep), client)
    except KeyboardInterrupt:
        return  # that is how it is meant to end


def _in_lines(
    key: str | None, looks: Iterable[int], client: ServiceClient, *, as_json: bool
) -> None:
    before: bytes | None = None
    for look in looks:
        view, blocks = _asked(key, client, first=look == 0, brief=False)
        if view is None:
            continue
        now = _happened(view)
        if now == before:
            continue
        if as_json:
            print_json(view)
        else:
            if before is not None:
                say()
            show_blocks(blocks)
        before = now


def _in_place(key: str | None, every: float, looks: Iterable[int], client: ServiceClient) -> None:
    console = table_console()
    with Live(console=console, screen=False, auto_refresh=False, transient=False) as live:
        blocks: list[Block] = []
        for look in looks:
            view, newest = _asked(key, client, first=look == 0, brief=True)
            blocks = newest if view is not None else blocks
            said = (
                f"asked every {every:g} s; Ctrl-C ends this"
                if view is not None
                else f"{client.url} does not answer; what stands here is older; asked again"
            )
            foot = Text(f"\n{said}", style="dim" if view is not None else "red")
            live.update(Group(drawn_blocks(blocks, console.width), foot), refresh=True)


def _looks(every: float, times: int | None, sleep: Callable[[float], None]) -> Generator[int]:
    """Yield the number of each look, and wait between two."""
    look = 0
    while times is None or look < times:
        if look:
            sleep(every)
        yield look
        look += 1


def _asked(
    key: str | None, client: ServiceClient, *, first: bool, brief: bool
) -> tuple[Any, list[Block]]:
    """Return the newest answer; ``None`` where nobody answers for now."""
    try:
        return current(key, client, brief=brief)
    except CommandError as error:
        if first or error.exit_code != ExitCode.UNREACHABLE:
            raise
        return None, []


def _happened(view: Any) -> bytes:
    """Return what of an answer is news: no counters, no instants of checks."""
    listed = view.get("experiments", [view])
    kept = [
        {name: value for name, value in one.items() if name not in _NEWEST and name != "kpis"}
        | {
            "guardrails": [
                {n: g.get(n) for n in ("guardrail", "treatment", "outcome")}
                for g in one["guardrails"]
            ],
            "variants": [{n: v[n] for n in ("name", "state", "share")} for v in one["variants"]],
            "ramp": [(s["number"], s["state"]) for s in one.get("ramp") or ()],
        }
        for one in listed
    ]
    return msgspec.json.encode(kept, order="deterministic")
