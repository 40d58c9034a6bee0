"""``export KEY``: the results of one experiment as tables."""

from pathlib import Path

from console.client import ServiceClient
from console.commands.reporting import source_of
from console.output import print_json, say
from console.reports.results import results_of, write_results


def run(
    key: str,
    to: Path,
    suffix: str,
    *,
    client: ServiceClient | None,
    data: Path | None,
    as_json: bool,
) -> None:
    """Write the tables of an experiment and say which.

    Raises:
        CommandError: The experiment is not there, or nobody answers.
    """
    with source_of(client, data) as source:
        rows = results_of(source.experiment(key))
    written = write_results(rows, to, suffix)
    if as_json:
        print_json({"experiment": key, "to": str(to.absolute()), "rows": written})
        return
    for name, count in written.items():
        say(f"{to / name}: {count:,} row{'' if count == 1 else 's'}")
