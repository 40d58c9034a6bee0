"""``demo``: choose how a run is shown, run it, say how it ended."""

from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from console.demo import Watcher, run
from console.output import print_json, say, warn
from console.story import Picture, Plain, Silent
from metrics.simulate import Scenario


def run_demo(
    *, port: int, data: Path, seed: int, scenario: str, keep: bool, view: bool, as_json: bool
) -> bool:
    """Run a scenario; return whether it ended as it should."""
    with ExitStack() as stack:
        watcher = _watcher(stack, view=view, as_json=as_json)
        result, verdict, kept = run(
            scenario=Scenario(scenario),
            seed=seed,
            port=port,
            data=data,
            keep=keep,
            watcher=watcher,
        )
    if as_json:
        print_json(result)
        if verdict:
            warn(f"turnback: {verdict}")
    else:
        say(f"{result.wall_seconds:.1f} s")
    if kept is not None:
        tell = warn if as_json else say
        tell(f"open {kept.page}")
        tell(f"the service goes on at {kept.url}/ with TURNBACK_ADMIN_KEY={kept.key}")
        tell("its clock stands still where the story ended: no units, no checks, no ramp any more")
        tell(f"`turnback status --url {kept.url}` asks it, `kill {kept.pid}` ends it")
    return not verdict


def _watcher(stack: ExitStack, *, view: bool, as_json: bool) -> Watcher:
    if as_json:
        return Silent()
    console = Console(highlight=False)
    if view and console.is_terminal:
        return stack.enter_context(Picture(console))
    return Plain(console)
