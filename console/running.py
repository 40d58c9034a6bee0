"""The commands about experiments of a running service; ``console.cli`` puts them together."""

# ruff: noqa: PLC0415 - help is fast because work is imported when it is done

from collections.abc import Callable
from dataclasses import dataclass
from inspect import Signature, signature
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from console.arguments import (
    AnExperiment,
    Data,
    Experiment,
    Json,
    Key,
    Reason,
    ReasonToStart,
    Url,
    Variant,
    client_of,
    example,
)
from console.numbers import number, whole
from console.output import DEFAULT_URL, CommandError, ExitCode, reported

if TYPE_CHECKING:
    from console.client import ServiceClient


@dataclass(frozen=True, slots=True)
class _Action:
    """A command by which a person decides something, with a reason.

    Attributes:
        name: Its name on the command line.
        help: What it does.
        examples: Command lines.
        of_a_treatment: Whether a treatment may be named.
    """

    name: str
    help: str
    examples: tuple[str, ...]
    of_a_treatment: bool = False


_ACTIONS: Final = (
    _Action(
        "start",
        "Start a draft now, whatever its file had planned.",
        ('turnback start three-step-cancel --reason "the shop is ready"',),
    ),
    _Action(
        "approve",
        "Allow the ramp to leave its present step.\n\n"
        "For a step with `approval: true`. It is left when its hold and its units are in, at "
        "once if they are.",
        ('turnback approve three-step-cancel --reason "the first step looks well"',),
    ),
    _Action(
        "pause",
        "Give everybody control for now; checks go on.\n\n`turnback resume KEY` continues it.",
        ('turnback pause three-step-cancel --reason "a sale begins"',),
    ),
    _Action(
        "resume",
        "Go on with a paused experiment, or a rolled-back treatment.\n\n"
        "Without a variant a paused experiment goes on where it was. A treatment's units are the "
        "same as before; only those first exposed from now on count.",
        (
            'turnback resume three-step-cancel --reason "the sale is over"',
            'turnback resume three-step-cancel three_step --reason "the defect is mended"',
        ),
        of_a_treatment=True,
    ),
    _Action(
        "stop",
        "End an experiment for good: everybody gets control, checks end.\n\n"
        "Only a file with a raised `seed` begins it anew.",
        ('turnback stop three-step-cancel --reason "the page is being replaced"',),
    ),
)


def add_to(app: typer.Typer) -> None:
    """Add the commands, in the order in which help lists them."""
    told = (
        (
            status,
            (
                "turnback status",
                "turnback status three-step-cancel",
                "turnback status --watch",
            ),
        ),
        (
            explain,
            (
                "turnback explain three-step-cancel",
                "turnback explain three-step-cancel --at 2026-12-01T09:00Z",
            ),
        ),
        (
            revisions,
            (
                "turnback revisions three-step-cancel",
                "turnback revisions three-step-cancel --show 2",
                "turnback revisions three-step-cancel --diff 1 2",
            ),
        ),
    )
    for command, lines in told:
        app.command(command.__name__, epilog=example(*lines))(_asking(command))
    app.command(
        "replay",
        epilog=example(
            "turnback replay t7",
            "turnback replay t7 --from-start",
            "turnback replay t7 --data data/",
        ),
    )(replay)
    back = example(
        'turnback roll-back three-step-cancel --reason "people complain"',
        'turnback roll-back three-step-cancel --all --reason "the shop is down"',
    )
    for action in _ACTIONS:
        command = _asking(_deciding(action))
        app.command(action.name, help=action.help, epilog=example(*action.examples))(command)
        if action.name == "resume":
            app.command("roll-back", epilog=back)(_asking(roll_back))
    longer = example(
        'turnback extend three-step-cancel --by 7d --reason "a holiday fell into it"',
        "turnback extend three-step-cancel --until 2026-12-01T09:00Z "
        '--reason "the sale ends later"',
    )
    app.command("extend", epilog=longer)(_asking(extend))
    written = example('turnback note three-step-cancel "version 3.2 reaches everybody"')
    app.command("note", epilog=written)(_asking(note))
    suspending = example(
        'turnback suspend --reason "the data team moves the store"',
        'turnback suspend --off --reason "it is moved"',
    )
    app.command("suspend", epilog=suspending)(_asking(suspend))


def status(
    *,
    experiment: AnExperiment = None,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Go on until Ctrl-C; in a pipe: when it changes.")
    ] = False,
    every: Annotated[
        float,
        typer.Option(parser=number(0.1, 3600), metavar="SECONDS", help="With --watch: how often."),
    ] = 2.0,
    client: "ServiceClient",
    as_json: bool,
) -> None:
    """Show all experiments, or one of them in full."""
    if watch:
        from console.commands.live import watch as follow

        follow(experiment, every=every, client=client, as_json=as_json)
        return
    from console.commands.watch import status as run

    run(experiment, client=client, as_json=as_json)


def explain(
    *,
    experiment: Experiment,
    at: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="As of this instant: 2026-12-01T09:00Z."),
    ] = None,
    client: "ServiceClient",
    as_json: bool,
) -> None:
    """Say in words why an experiment stands where it stands, or stood at an instant."""
    from console.commands.watch import explain as run

    run(experiment, at, client=client, as_json=as_json)


def note(
    *,
    experiment: Experiment,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="It is kept, and shown.")],
    client: "ServiceClient",
    as_json: bool,
) -> None:
    """Write on the timeline of an experiment; nothing else changes."""
    from console.commands.suspending import note as run

    run(experiment, text, client=client, as_json=as_json)


def roll_back(
    *,
    experiment: Experiment,
    variant: Variant = None,
    every: Annotated[
        bool, typer.Option("--all", help="Every live treatment: all of them, or none.")
    ] = False,
    reason: Reason,
    client: "ServiceClient",
    as_json: bool,
) -> None:
    """Put a treatment's units back on control now.

    They stay there until somebody resumes the treatment.
    """
    from console.commands import actions

    if not every:
        actions.act("roll_back", experiment, variant, reason=reason, client=client, as_json=as_json)
        return
    if variant is not None:
        raise CommandError(
            f"--all is every treatment, {variant} one",
            hint="leave one of them out",
            code="usage",
            exit_code=ExitCode.USAGE,
        )
    actions.roll_back_all(experiment, reason=reason, client=client, as_json=as_json)


def extend(
    *,
    experiment: Experiment,
    until: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="When the last unit enters: 2026-12-01T09:00Z."),
    ] = None,
    by: Annotated[
        str | None, typer.Option(metavar="LENGTH", help="How much later than so far: 7d.")
    ] = None,
    reason: Reason,
    client: "ServiceClient",
    as_json: bool,
) -> None:
    """Let a running experiment take units in for longer than planned.

    The guarantee stays: levels, windows and the horizon of looks are those of the file. Later, or
    for another plan, raise `seed` in the file and apply it.
    """
    from console.commands.extending import extend as run

    run(experiment, until=until, by=by, reason=reason, client=client, as_json=as_json)


def suspend(
    *,
    off: Annotated[bool, typer.Option("--off", help="End it: the engine acts again.")] = False,
    reason: Reason,
    client: "ServiceClient",
    as_json: bool,
) -> None:
    """Let the engine watch and act on nothing, until `turnback suspend --off`.

    No experiment's treatment is turned back by itself meanwhile, and no ramp goes on.
    """
    from console.commands.suspending import suspend as run

    run(off=off, reason=reason, client=client, as_json=as_json)


def replay(
    *,
    decision: Annotated[
        str,
        typer.Argument(
            metavar="ID", help="As status and explain show it: t7, f12 (finding), c12 (check)."
        ),
    ],
    from_start: Annotated[
        bool, typer.Option("--from-start", help="Compute every look before it again too.")
    ] = False,
    data: Data = None,
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Compute a decision again from the log of events, and compare.

    Says `equal`, or what differs, or what has left the log since. Nothing is changed.
    """
    from console.commands import replaying

    with reported(as_json=as_json):
        if data is not None:
            good = replaying.replay_files(decision, data, from_start=from_start, as_json=as_json)
        else:
            with client_of(url, key) as client:
                good = replaying.replay(
                    decision, from_start=from_start, client=client, as_json=as_json
                )
    if not good:
        raise typer.Exit(ExitCode.PROBLEM)


def revisions(
    *,
    experiment: Experiment,
    show: Annotated[
        int | None,
        typer.Option(parser=whole(1), metavar="N", help="Print the file of one revision."),
    ] = None,
    diff: Annotated[
        tuple[int, int] | None,
        typer.Option(
            parser=whole(1), metavar="A B", help="Print what differs between two revisions."
        ),
    ] = None,
    client: "ServiceClient",
    as_json: bool,
) -> None:
    """List every file that was applied: when, by whom, from where."""
    from console.commands.revisions import run

    run(experiment, show=show, diff=diff, client=client, as_json=as_json)


def _deciding(action: _Action) -> Callable[..., None]:
    """Return the command of an action."""

    def with_variant(
        *,
        experiment: Experiment,
        variant: Variant = None,
        reason: Reason,
        client: "ServiceClient",
        as_json: bool,
    ) -> None:
        from console.commands.actions import act

        name = action.name.replace("-", "_")
        act(name, experiment, variant, reason=reason, client=client, as_json=as_json)

    def alone(
        *, experiment: Experiment, reason: Reason, client: "ServiceClient", as_json: bool
    ) -> None:
        with_variant(experiment=experiment, reason=reason, client=client, as_json=as_json)

    def starting(
        *,
        experiment: Experiment,
        reason: ReasonToStart = None,
        client: "ServiceClient",
        as_json: bool,
    ) -> None:
        from console.commands.actions import start

        start(experiment, reason=reason, client=client, as_json=as_json)

    if action.name == "start":
        return starting
    return with_variant if action.of_a_treatment else alone


def _asking(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command with the options of all that ask a service: where, its key, ``--json``.

    Args:
        command: Gets ``client`` and ``as_json`` for them.
    """

    def run(*, url: str, key: str | None, as_json: bool, **given: Any) -> None:
        with reported(as_json=as_json), client_of(url, key) as client:
            command(client=client, as_json=as_json, **given)

    def asked(*, url: Url = DEFAULT_URL, key: Key = None, as_json: Json = False) -> None:
        """Lend its options."""

    own = [p for p in signature(command).parameters.values() if p.name not in {"client", "as_json"}]
    options = [*own, *signature(asked).parameters.values()]
    # the signature is what makes the command line: see ``typer``
    run.__signature__ = Signature(options)  # pyright: ignore[reportFunctionMemberAccess]
    run.__annotations__ = {option.name: option.annotation for option in options}
    run.__doc__ = command.__doc__
    return run
