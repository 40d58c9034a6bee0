"""``demo``: choose how a run is shown, run it, say how it ended."""

import sys
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from console.demo import DemoResult, Kept, Watcher, run
from console.output import print_json, say, warn
from console.story import Picture, Plain, Silent
from metrics.simulate import Scenario


def run_demo(
    *,
    port: int,
    data: Path,
    seed: int,
    scenario: str,
    keep: bool | None,
    view: bool,
    as_json: bool,
) -> bool:
    """Run a scenario; return whether it ended as it should.

    Args:
        port: Where the service listens.
        data: Folder of the run.
        seed: Of the simulated shop.
        scenario: What is planted.
        keep: Whether the service goes on when the command is over; ``None`` holds command and
            service until Ctrl-C where somebody looks on, and ends both elsewhere.
        view: Whether a live view may be shown.
        as_json: Whether the result alone is printed.
    """
    looked_at = keep is None and not as_json and sys.stdout.isatty()
    with ExitStack() as stack:
        watcher = _watcher(stack, view=view, as_json=as_json)
        result, verdict, kept = run(
            scenario=Scenario(scenario),
            seed=seed,
            port=port,
            data=data,
            keep=bool(keep),
            watcher=watcher,
            held=_show if looked_at else None,
        )
    if as_json:
        print_json(result)
        if verdict:
            warn(f"turnback: {verdict}")
    elif not looked_at:
        _took(result)
    if kept is not None:
        tell = warn if as_json else say
        tell(f"open {kept.page}")
        tell(f"the service goes on at {kept.url}/ with TURNBACK_ADMIN_KEY={kept.key}")
        tell("its clock stands still where the story ended: no units, no checks, no ramp any more")
        tell(f"`turnback status --url {kept.url}` asks it, `kill {kept.pid}` ends it")
    return not verdict


def _took(result: DemoResult) -> None:
    say(f"{result.wall_seconds:.1f} s")


def _show(result: DemoResult, shown: Kept) -> None:
    """Say where to look while the service goes on; the address is the last thing printed."""
    _took(result)
    say(f"TURNBACK_URL={shown.url} TURNBACK_ADMIN_KEY={shown.key}")
    say("let `turnback` ask and act on it, from another terminal; the page asks for the key")
    say("its clock stands still where the story ended: no units, no checks, no ramp any more")
    say(f"Look at it: {shown.page} ; Ctrl-C ends it")


def _watcher(stack: ExitStack, *, view: bool, as_json: bool) -> Watcher:
    if as_json:
        return Silent()
    console = Console(highlight=False)
    if view and console.is_terminal:
        return stack.enter_context(Picture(console))
    return Plain(console)
