"""The files of a stopped service, opened by a command itself."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import service
from console.output import CommandError
from console.store_errors import store_told
from guardrails.engine import Engine
from guardrails.files import CONTROL, STORE
from metrics.catalogue import Catalogue, load_catalogue
from metrics.store import Frame, MetricStore
from metrics.stores import open_store


@dataclass(frozen=True, slots=True)
class Files:
    """What a command works with while no service runs.

    Attributes:
        store: The metric store, opened.
        frames: Of the experiments that run; none where there are no experiments.
        engine: What is known of experiments, ``None`` where there is no control plane.
        catalogue: KPIs that files may name.
    """

    store: MetricStore
    frames: Sequence[Frame]
    engine: Engine | None = None
    catalogue: Catalogue = field(default_factory=load_catalogue)

    @staticmethod
    def now() -> datetime:
        """Return the current instant."""
        return datetime.now(UTC)


@contextmanager
def opened(data: Path) -> Generator[Files]:
    """Open the files of a folder, with the settings a service would have.

    Raises:
        CommandError: There is no store, or somebody else holds it.
    """
    if not (data / STORE).is_file():
        raise CommandError(
            f"{data}: no metric store is here ({STORE})",
            hint="give the folder that `turnback serve --data` was given",
            code="no_store",
        )
    with store_told(held="leave out --data to ask the running service, or stop that process"):
        if not (data / CONTROL).is_file():
            store = open_store(data / STORE)
            try:
                yield Files(store, ())
            finally:
                store.close()
            return
        here: dict[str, Any] = {"data": data, "host": "127.0.0.1", "specs": None}
        services = service.build(service.Settings(**here))
        try:
            yield Files(
                services.store, services.engine.frames(), services.engine, services.catalogue
            )
        finally:
            services.close()
