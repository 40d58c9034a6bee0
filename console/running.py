"""The commands about experiments of a running service; ``console.cli`` puts them together."""

# ruff: noqa: PLC0415 - help is fast because work is imported when it is done

from typing import Annotated

import typer

from console.arguments import Experiment, Json, Key, Reason, Url, Variant, client_of, example
from console.numbers import whole
from console.output import DEFAULT_URL, reported


def add_to(app: typer.Typer) -> None:
    """Add the commands, in the order in which help lists them."""
    told = (
        (status, ("turnback status", "turnback status three-step-cancel")),
        (explain, ("turnback explain three-step-cancel",)),
        (
            revisions,
            (
                "turnback revisions three-step-cancel",
                "turnback revisions three-step-cancel --show 2",
                "turnback revisions three-step-cancel --diff 1 2",
            ),
        ),
        (start, ('turnback start three-step-cancel --reason "the shop is ready"',)),
        (approve, ('turnback approve three-step-cancel --reason "the first step looks well"',)),
        (pause, ('turnback pause three-step-cancel --reason "a sale begins"',)),
        (
            resume,
            (
                'turnback resume three-step-cancel --reason "the sale is over"',
                'turnback resume three-step-cancel three_step --reason "the defect is mended"',
            ),
        ),
        (roll_back, ('turnback roll-back three-step-cancel --reason "people complain"',)),
        (stop, ('turnback stop three-step-cancel --reason "the page is being replaced"',)),
    )
    for command, lines in told:
        app.command(command.__name__.replace("_", "-"), epilog=example(*lines))(command)


def status(
    *,
    experiment: Annotated[
        str | None, typer.Argument(metavar="KEY", help="One experiment in full.")
    ] = None,
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Show all experiments, or one of them in full."""
    from console.commands.watch import status as run

    with reported(as_json=as_json), client_of(url, key) as client:
        run(experiment, client=client, as_json=as_json)


def explain(
    *, experiment: Experiment, url: Url = DEFAULT_URL, key: Key = None, as_json: Json = False
) -> None:
    """Say in words why an experiment stands where it stands."""
    from console.commands.watch import explain as run

    with reported(as_json=as_json), client_of(url, key) as client:
        run(experiment, client=client, as_json=as_json)


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
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """List every file that was applied: when, by whom, from where."""
    from console.commands.revisions import run

    with reported(as_json=as_json), client_of(url, key) as client:
        run(experiment, show=show, diff=diff, client=client, as_json=as_json)


def start(
    *,
    experiment: Experiment,
    reason: Reason,
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Start a draft now, whatever its file had planned."""
    _act("start", experiment, reason=reason, url=url, key=key, as_json=as_json)


def approve(
    *,
    experiment: Experiment,
    reason: Reason,
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Allow the ramp to leave its present step.

    For a step with `approval: true`. It is left when its hold and its units are in, at once if
    they are.
    """
    _act("approve", experiment, reason=reason, url=url, key=key, as_json=as_json)


def pause(
    *,
    experiment: Experiment,
    reason: Reason,
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Give everybody control for now; checks go on.

    `turnback resume KEY` continues it.
    """
    _act("pause", experiment, reason=reason, url=url, key=key, as_json=as_json)


def resume(
    *,
    experiment: Experiment,
    reason: Reason,
    variant: Variant = None,
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Go on with a paused experiment, or a rolled-back treatment.

    Without a variant a paused experiment goes on where it was. A treatment's units are the same
    as before; only those first exposed from now on count.
    """
    _act("resume", experiment, variant, reason=reason, url=url, key=key, as_json=as_json)


def roll_back(
    *,
    experiment: Experiment,
    reason: Reason,
    variant: Variant = None,
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Put a treatment's units back on control now.

    They stay there until somebody resumes the treatment.
    """
    _act("roll_back", experiment, variant, reason=reason, url=url, key=key, as_json=as_json)


def stop(
    *,
    experiment: Experiment,
    reason: Reason,
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """End an experiment for good: everybody gets control, checks end.

    Only a file with a raised `seed` begins it anew.
    """
    _act("stop", experiment, reason=reason, url=url, key=key, as_json=as_json)


def _act(
    action: str,
    experiment: str,
    variant: str | None = None,
    *,
    reason: str,
    url: str,
    key: str | None,
    as_json: bool,
) -> None:
    from console.commands.actions import act

    with reported(as_json=as_json), client_of(url, key) as client:
        act(action, experiment, variant, reason=reason, client=client, as_json=as_json)
