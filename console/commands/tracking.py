"""``events``: the tracking plan, for whoever builds the application."""

from console.output import print_json, say
from console.tables import add, table, table_console
from metrics.catalogue import load_catalogue
from metrics.tracking import EventPlan, markdown, tracking_plan


def run(*, as_markdown: bool, as_json: bool) -> None:
    """Print every event: when it is sent, its fields, and the KPIs it feeds."""
    plan = tracking_plan(load_catalogue())
    if as_json:
        print_json({"events": plan})
    elif as_markdown:
        say(markdown(plan))
    else:
        _show(plan)


def _show(plan: tuple[EventPlan, ...]) -> None:
    rows = table("event", "fields", "feeds", whole=("event",))
    for event in plan:
        fields = ", ".join(f"{each.name} ({each.type})" for each in event.fields)
        add(rows, event.name, fields or "-", ", ".join(event.feeds) or "-")
    table_console().print(rows)
    say()
    say("`turnback events --markdown` says when each is sent, with an example")
