"""Store engines: one file each, one line in `STORES`; ``tests/contracts`` runs over all."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from metrics.store import MetricStore, StoreError
from metrics.stores.duckdb import DuckDBMetricStore
from metrics.stores.memory import MemoryMetricStore
from metrics.stores.unit_names import AS_KEPT, Units, Wanted

__all__ = [
    "AS_KEPT",
    "STORES",
    "DuckDBMetricStore",
    "MemoryMetricStore",
    "Units",
    "Wanted",
    "on_disk",
    "open_store",
]

STORES: Mapping[str, Callable[[str], MetricStore]] = MappingProxyType(
    {
        "memory": lambda _: MemoryMetricStore(),
        "duckdb": DuckDBMetricStore,
    }
)
"""Engine name to constructor; the argument is the part of the URL after ``engine:``."""


def on_disk(store: MetricStore) -> DuckDBMetricStore:
    """Return a store that keeps its history in files, for copies of it.

    Raises:
        StoreError: It keeps it in memory alone.
    """
    if isinstance(store, DuckDBMetricStore):
        return store
    raise StoreError("this metric store is in memory alone: it has no history that can be copied")


def open_store(url: str | Path, *, units: Wanted = AS_KEPT) -> MetricStore:
    """Open a metric store.

    Args:
        url: ``memory:``, ``duckdb:PATH``, ``duckdb:///absolute/path``, or just a path, which
            means DuckDB.
        units: How unit ids are to be kept, in files; in memory they are as they are.

    Raises:
        StoreLockedError: The file is held by another process.
        StoreError: The engine is unknown, the file cannot be opened, or its unit ids are kept in
            another way.
    """
    text = str(url)
    engine, colon, rest = text.partition(":")
    if text == "memory":
        return MemoryMetricStore()
    if isinstance(url, Path) or not colon or "/" in engine or "\\" in engine:
        return DuckDBMetricStore(text, units=units)
    if rest == ":memory:":
        raise StoreError(f"{text!r} would be a file of that name; `memory:` keeps nothing on disk")
    if engine not in STORES:
        raise StoreError(f"unknown store engine {engine!r} in {text!r}; known: {', '.join(STORES)}")
    return STORES[engine](rest.removeprefix("//"))
