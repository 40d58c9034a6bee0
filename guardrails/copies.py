"""Copies while the service runs: a backup of both files, and the history as Parquet."""

import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Generator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from threading import Lock
from typing import Any

import msgspec

from experiments.database import ControlPlane
from experiments.errors import ConflictError, ControlPlaneError, InvalidRequestError
from experiments.migrations import NEWEST
from guardrails.build import build_version
from guardrails.files import CONTROL, STORE
from guardrails.repository import newest_watermark
from metrics.store import MetricStore
from metrics.stores import on_disk
from metrics.stores.copying import copy_store, durable
from metrics.stores.export import Exported, digest, export_days
from metrics.stores.schema import SCHEMA_VERSION

logger = logging.getLogger("turnback.copies")

MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class BackupView:
    """What a backup holds.

    Attributes:
        to: The folder.
        made_at: When it was begun.
        turnback: Version that made it.
        control_revision: Of the control plane's tables.
        store_schema: Of the store's tables.
        control_watermark: Sequence number up to which the checks in it have counted.
        watermark: Sequence number of the newest event in it, never lower.
        bytes: Of all files.
        files: Digest (SHA-256) by name.
    """

    to: str
    made_at: datetime
    turnback: str
    control_revision: str
    store_schema: int
    control_watermark: int
    watermark: int
    bytes: int
    files: Mapping[str, str]


class Copies:
    """Makes copies while everything goes on, one at a time.

    Args:
        control: The control plane.
        store: The metric store.
        now: The clock.
        flush: Called first, so that exposures which wait are in the copy.
    """

    def __init__(
        self,
        control: ControlPlane,
        store: MetricStore,
        *,
        now: Callable[[], datetime],
        flush: Callable[[], None] = lambda: None,
    ) -> None:
        self._control = control
        self._store = store
        self._now = now
        self._flush = flush
        self._busy = Lock()

    def back_up(self, to: Path) -> BackupView:
        """Copy the control plane, then the store, into a new folder, which appears when whole.

        Every event acknowledged before the call is in it. In this order the store is never
        older than the decisions that rest on it.

        Raises:
            InvalidRequestError: The folder is there already, or cannot be written.
            ConflictError: Another copy is being made.
            StoreError: The store could not be copied.
        """
        _require_usable(to)
        with self._alone(), _writing(to):
            if to.exists() and (not to.is_dir() or any(to.iterdir())):
                raise InvalidRequestError(
                    f"{to} is there already", hint="give a new folder for every backup", path="to"
                )
            self._flush()
            to.parent.mkdir(parents=True, exist_ok=True)
            partial = Path(tempfile.mkdtemp(prefix=f".{to.name}.", dir=to.parent))
            try:
                view = self._copied(partial, to)
                partial.replace(to)
                durable(to.parent)
            except BaseException:
                shutil.rmtree(partial, ignore_errors=True)
                raise
        return view

    def export(self, to: Path, *, since: date | None, until: date | None) -> Exported:
        """Write whole days of events as Parquet, each in place of what is there of that day.

        Args:
            to: The folder; it may hold an earlier export.
            since: First day (UTC); ``None`` for all there are.
            until: The day after the last one; ``None`` for all there are.

        Raises:
            InvalidRequestError: No such period, or the folder cannot be written.
            ConflictError: Another copy is being made.
            StoreError: The store could not be read.
        """
        _require_usable(to)
        if since is not None and until is not None and since >= until:
            raise InvalidRequestError(
                f"no day is from {since} to before {until}",
                hint="until is the day after the last one",
                path="until",
            )
        with self._alone(), _writing(to):
            self._flush()
            with on_disk(self._store).frozen() as frozen:
                return export_days(frozen, to, since=since, until=until, now=self._now())

    def _copied(self, folder: Path, to: Path) -> BackupView:
        made_at = self._now()
        self._control.copy_to(folder / CONTROL)
        with on_disk(self._store).frozen() as frozen:
            copy_store(frozen, folder / STORE)
            watermark = frozen.watermark
        counted = _watermark_of(folder / CONTROL)
        files = sorted(each for each in folder.rglob("*") if each.is_file())
        for each in files:
            durable(each)
        view = BackupView(
            to=str(to),
            made_at=made_at,
            turnback=build_version(),
            control_revision=NEWEST,
            store_schema=SCHEMA_VERSION,
            control_watermark=counted,
            watermark=watermark,
            bytes=sum(each.stat().st_size for each in files),
            files={str(each.relative_to(folder)): digest(each) for each in files},
        )
        _write_manifest(folder / MANIFEST, view)
        return view

    @contextmanager
    def _alone(self) -> Generator[None]:
        if not self._busy.acquire(blocking=False):
            raise ConflictError("a copy is being made already", hint="wait until it is done")
        try:
            yield
        finally:
            self._busy.release()


def require_match(control: ControlPlane, store: MetricStore) -> None:
    """Refuse a control plane that has counted events which the store does not hold.

    Raises:
        ControlPlaneError: The store is the older one of the two.
    """
    with control.reading() as session:
        counted = newest_watermark(session)
    held = store.watermark()
    if counted > held:
        raise ControlPlaneError(
            f"the control plane rests on {counted:,} events, and the metric store beside it holds "
            f"only {held:,}: it is older, and its numbers would begin to be given out again",
            hint=f"put back {CONTROL} and {STORE} of one backup, both of them; `turnback backup` "
            "copies them in the right order. Where the events are lost for good, move "
            f"{CONTROL} away and apply the spec files anew",
        )


def warn_alone(control: Path, store: MetricStore) -> None:
    """Warn when a metric store with events is about to get a new, empty control plane."""
    known = control.is_file() and control.stat().st_size > 0
    if known or not store.watermark():
        return
    logger.warning(
        "%s is %s, and the metric store beside it holds %s events: the service starts with no "
        "experiment and no decision. If that is not meant, stop it and put back %s and %s of one "
        "backup, both of them; if it is, apply the spec files",
        control,
        "empty" if control.is_file() else "not there",
        f"{store.watermark():,}",
        CONTROL,
        STORE,
    )


def check_backup(folder: Path) -> BackupView:
    """Return what a backup holds, when every file of it is as it was written.

    Raises:
        InvalidRequestError: It is no whole backup; the message says what is wrong.
    """
    try:
        told = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=dict[str, Any])
        view = msgspec.convert({**told, "to": str(folder)}, BackupView)
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        raise InvalidRequestError(
            f"{folder} is no whole backup: its {MANIFEST} cannot be read",
            hint="the manifest is written last; make the backup again",
        ) from error
    wrong = [
        name
        for name, expected in view.files.items()
        if not (folder / name).is_file() or digest(folder / name) != expected
    ]
    if wrong:
        raise InvalidRequestError(
            f"{folder}: {', '.join(wrong)}: not as it was written",
            hint="use another backup; a folder that was served from is no backup any more",
        )
    return view


@contextmanager
def _writing(to: Path) -> Generator[None]:
    """Say which file could not be written."""
    try:
        yield
    except OSError as error:
        raise InvalidRequestError(
            f"{error.filename or to}: cannot be written ({error.strerror})",
            hint="give a folder with room that the service may write",
            path="to",
        ) from error


def _require_usable(to: Path) -> None:
    if not to.is_absolute() or not to.name or ".." in to.parts:
        raise InvalidRequestError(
            f"{to} is no absolute path",
            hint="give the whole path of a folder, on the service's machine",
            path="to",
        )
    if not str(to).isprintable():
        raise InvalidRequestError(
            f"{str(to)!r} holds characters that cannot be seen",
            hint="give a path that can be read and typed",
            path="to",
        )
    if "\\" in str(to):
        raise InvalidRequestError(
            f"{to} holds a backslash, which the databases take for a slash",
            hint="give a path without one",
            path="to",
        )


def _watermark_of(path: Path) -> int:
    with closing(ControlPlane(f"sqlite:///{path}")) as copy, copy.reading() as session:
        return newest_watermark(session)


def _write_manifest(path: Path, view: BackupView) -> None:
    told: dict[str, Any] = {"format": 1, **msgspec.to_builtins(view)}
    del told["to"]  # where it is: a copy of it is as good
    partial = path.with_name(f".{path.name}")
    partial.write_bytes(msgspec.json.format(msgspec.json.encode(told), indent=1) + b"\n")
    durable(partial)
    os.replace(partial, path)  # noqa: PTH105 - the name says that it is atomic
    durable(path.parent)
