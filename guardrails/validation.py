"""What a file asks of this service by itself: channels and named queries."""

from collections.abc import Collection

from experiments.errors import Severity, SpecError
from guardrails.language.spec_rules import LIST_CHANNELS
from guardrails.loaded import Loaded
from guardrails.rehearsal import Draft
from guardrails.settings import EngineSettings
from guardrails.shelf import Shelf
from guardrails.spec_file import ServerNames, load_spec
from metrics.catalogue import Catalogue


def refuse_unknown_queries(
    loaded: Loaded, settings: EngineSettings, catalogue: Catalogue, *, source: str
) -> None:
    """Refuse a file that names a query this service does not have.

    Channels are no matter here: an unknown one is warned of, not refused.

    Raises:
        SpecError: With every such query.
    """
    if all(g.rule != "promql" for g in loaded.spec.guardrails):
        return
    named = frozenset(loaded.spec.experiment.notify)
    server = ServerNames(channels=named, queries=settings.queries)
    load_spec(loaded.spec.text, source=source, catalogue=catalogue, server=server)


def unknown_channels(loaded: Loaded, channels: Collection[str], *, source: str) -> tuple[str, ...]:
    """Return a warning for every channel that a file names and this service does not have."""
    there = ", ".join(channels)
    return tuple(
        f"{source}: notify: this service has no channel named `{name}` (it has: {there}); messages "
        f"for it are not delivered until its settings name one; {LIST_CHANNELS}"
        for name in loaded.spec.experiment.notify
        if name not in channels
    )


def drafted(
    text: str,
    *,
    source: str,
    settings: EngineSettings,
    channels: Collection[str],
    shelf: Shelf,
    catalogue: Catalogue,
) -> Draft:
    """Return a file ready to be rehearsed, with every problem it has on this service by itself.

    A channel that is not known is a problem here, though applying the file only warns of it.
    """
    server = ServerNames(channels=frozenset(channels), queries=settings.queries)
    try:
        problems = load_spec(text, source=source, catalogue=catalogue, server=server).warnings
    except SpecError as error:
        problems = error.problems
        own = [problem for problem in problems if not problem.path.startswith("notify[")]
        if any(problem.severity is Severity.ERROR for problem in own):
            return Draft(source, text, problems, SpecError(own))
    try:
        loaded = shelf.parse(text, source=source)
        refuse_unknown_queries(loaded, settings, catalogue, source=source)
    except SpecError as error:
        return Draft(source, text, problems, error)
    warnings = unknown_channels(loaded, channels, source=source)
    return Draft(source, text, problems, loaded, warnings)
