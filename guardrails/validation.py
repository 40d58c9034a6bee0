"""What a file asks of this service: channels, named queries, room in a layer."""

from collections.abc import Collection

from sqlmodel import Session

from experiments.errors import LayerConflictError, Problem, Severity, SpecError
from experiments.language.source import MappingNode, Mark, parse_yaml
from experiments.lifecycle import OVER, State
from experiments.repository import load_experiment
from experiments.spec import ExperimentSpec
from guardrails.layering import own_buckets, reserve
from guardrails.loaded import Loaded
from guardrails.settings import EngineSettings
from guardrails.shelf import Shelf
from guardrails.spec_file import ServerNames, SpecFile, load_spec
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
    return tuple(
        f"{source}: notify: this service has no channel named `{name}`; messages for it are "
        "not delivered until its settings name one"
        for name in loaded.spec.experiment.notify
        if name not in channels
    )


def problems_of(
    session: Session,
    text: str,
    *,
    source: str,
    settings: EngineSettings,
    channels: Collection[str],
    shelf: Shelf,
    catalogue: Catalogue,
) -> tuple[Problem, ...]:
    """Return every problem of a file on this service, warnings included, in the file's order."""
    server = ServerNames(channels=frozenset(channels), queries=settings.queries)
    try:
        spec = load_spec(text, source=source, catalogue=catalogue, server=server)
    except SpecError as error:
        return error.problems
    full = _no_room(session, spec, shelf, source=source)
    return (*spec.warnings, full) if full is not None else spec.warnings


def _no_room(session: Session, spec: SpecFile, shelf: Shelf, *, source: str) -> Problem | None:
    """Return what is in the way of a file in its layer, ``None`` where nothing is."""
    experiment = spec.experiment
    try:
        reserve(
            session,
            experiment,
            own=_kept(session, experiment),
            unit_of=lambda record: shelf.load(session, record).spec.experiment.unit,
        )
    except LayerConflictError as error:
        at = _place(spec.text, error.path.partition(".")[0])
        return Problem(
            source, at.line, at.column, error.path, error.message, error.hint, Severity.ERROR
        )
    return None


def _kept(session: Session, spec: ExperimentSpec) -> tuple[tuple[int, int], ...]:
    """Return the buckets it would keep if the file were applied now."""
    record = load_experiment(session, spec.key)
    if record is None or spec.layer is None or record.layer != spec.layer.name:
        return ()
    goes_on = State(record.state) not in {State.DRAFT, *OVER} and spec.seed == record.seed
    return own_buckets(record) if goes_on else ()


def _place(text: str, key: str) -> Mark:
    """Return where a key of the top of a file stands."""
    node, _problems = parse_yaml(text, file="")
    entries = node.entries if isinstance(node, MappingNode) else ()
    return next((entry.at for entry in entries if entry.key == key), Mark(1, 1))
