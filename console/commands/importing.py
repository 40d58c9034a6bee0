"""``import``: public data sets into event files."""

from pathlib import Path

import msgspec

from console.output import CommandError, ExitCode, print_json, say
from console.progress import working
from metrics.importers.files import EventFileError, check_suffix, write_events
from metrics.importers.online_retail import SourceError, Summary, read


def online_retail(folder: Path, out: Path, *, as_json: bool) -> None:
    """Write the events of the Online Retail files and print what they contain."""
    try:
        check_suffix(out)
    except EventFileError as error:
        raise CommandError(str(error), code="event_file", exit_code=ExitCode.USAGE) from error
    try:
        with working("reading a year of orders", as_json=as_json):
            imported = read(folder)
            write_events(imported.events, out)
    except SourceError as error:
        raise CommandError(str(error), code="source") from error
    except EventFileError as error:
        raise CommandError(str(error), code="event_file") from error
    if as_json:
        print_json({"out": str(out), **msgspec.to_builtins(imported.summary)})
    else:
        _show(imported.summary, out)


def _show(s: Summary, out: Path) -> None:
    say(f"{out}: {s.events:,} events of {s.orders:,} orders, {s.customers:,} customers")
    say(f"  from {s.first_at:%Y-%m-%d} to {s.last_at:%Y-%m-%d}; {s.zero_value} orders of value 0")
    say(
        f"  cancelled: {s.cancelled:.2%} ever, {s.cancelled_7d:.2%} within 7 days, "
        f"{s.cancelled_30d:.2%} within 30 days"
    )
    say(
        f"  ordered again within 30 days: {s.repurchase_30d:.2%} of {s.followed_30d:,} orders "
        "with 30 days after them"
    )
    say(
        f"  hours to refund: median {s.refund_hours_median:,.0f}, "
        f"90% within {s.refund_hours_p90:,.0f}"
    )
    say(
        f"  {s.matched:,} of {s.credits:,} credited lines belong to an order; "
        f"{s.skipped:,} left out"
    )
    say("  no variant in the data: whatever a backtest assigns is a true A/A")
