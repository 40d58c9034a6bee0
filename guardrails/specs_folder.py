"""A folder of spec files that the service follows; the last good set stays in force.

The folder is looked at again and again. A change is taken once two looks in a row saw the same
content, so half-written files, editors that replace files and mounts that swap links do no
harm. The whole set is validated together: with one faulty file nothing of the new set is
applied. A file that went away changes nothing: an experiment ends by a decision. What somebody
applied by hand over a file stays, and is told, until the file changes (``specs_drift``).
"""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from threading import Lock
from time import monotonic

from experiments.errors import (
    Problem,
    Severity,
    SpecError,
    StaleWriteError,
    TurnbackError,
    UnknownExperimentError,
)
from experiments.lifecycle import OVER, State
from guardrails.clock import Clock
from guardrails.engine import Engine
from guardrails.problems import and_more, told
from guardrails.spec_file import SpecFile, load_spec
from guardrails.spec_paths import NotRegularError, name_of, read_spec, spec_paths, spec_text
from guardrails.spec_set import check_together
from guardrails.specs_drift import applied_over, drift_words
from guardrails.specs_view import SpecsFile, SpecsView
from guardrails.views import ApplyView, RevisionView
from metrics.catalogue import Catalogue

logger = logging.getLogger("turnback.specs")

ACTOR = "specs folder"
"""Who is recorded as having applied a file of the folder."""

RETRY_LOOKS = 15
"""A refused file is tried again after this many looks: what stood in its way may be over."""

Apply = Callable[[str, str, bool], ApplyView]
"""Applies (text, source, dry run), raising ``TurnbackError`` where it is refused."""


@dataclass(frozen=True, slots=True)
class _Found:
    """One file at one look: its bytes, or what is the trouble with it."""

    content: bytes = b""
    trouble: str = ""

    @property
    def digest(self) -> str:
        if self.trouble:
            return f"trouble: {self.trouble}"
        return sha256(self.content).hexdigest()


@dataclass(frozen=True, slots=True)
class _Good:
    """A file without faults of its own; ``known`` where its very text was applied before."""

    digest: str
    text: str
    spec: SpecFile
    known: bool

    @property
    def key(self) -> str:
        return self.spec.experiment.key


_Set = Mapping[str, _Found]
_Digests = Mapping[str, str]


class SpecsFolder:
    """Follows a folder; safe to be asked from any thread.

    Args:
        folder: The folder; it may come and go.
        apply: Applies a file, or says what that would do.
        catalogue: KPIs that files may name.
        over: Returns whether an experiment has ended: its file may stay, and claims nothing.
        revisions: Returns the applied files of an experiment, oldest first; none when unknown.
        newest: Returns the newest applied file of every experiment that is not over, by key.
        now: The clock.
        late_after: A folder whose newest look began to be this old does not answer any more: a
            mount hangs. ``None`` where nobody looks by himself.
        elapsed: Seconds that have passed since some instant, whatever the clock says.
    """

    def __init__(
        self,
        folder: Path,
        *,
        apply: Apply,
        catalogue: Catalogue,
        over: Callable[[str], bool],
        revisions: Callable[[str], Sequence[RevisionView]],
        newest: Callable[[], Mapping[str, RevisionView]],
        now: Callable[[], datetime],
        late_after: timedelta | None = None,
        elapsed: Callable[[], float] = monotonic,
    ) -> None:
        self._folder = folder
        self._dir = name_of(folder)
        self._late_after = late_after
        self._elapsed = elapsed
        self._looked_at = elapsed()
        self._apply = apply
        self._over = over
        self._revisions = revisions
        self._newest = newest
        self._catalogue = catalogue
        self._now = now
        self._lock = Lock()
        self._seen: _Digests | None = None
        self._taken: _Digests | None = None
        self._wait = 0
        self._good: dict[str, _Good] = {}
        self._applied: dict[str, tuple[str, SpecsFile]] = {}
        self._known: dict[str, str] = {}
        self._gone: dict[str, str] = {}
        self._said: frozenset[str] = frozenset()
        self._view = SpecsView(self._dir)

    @classmethod
    def of(
        cls, folder: Path, engine: Engine, clock: Clock, *, late_after: timedelta | None = None
    ) -> "SpecsFolder":
        """Return what follows a folder for an engine."""

        def apply(text: str, file: str, dry_run: bool) -> ApplyView:  # noqa: FBT001 - as `Apply`
            return engine.apply(text, source=file, actor=ACTOR, dry_run=dry_run)

        def over(key: str) -> bool:
            try:
                return State(engine.experiment(key).state) in OVER
            except UnknownExperimentError:
                return False

        def revisions(key: str) -> tuple[RevisionView, ...]:
            try:
                return engine.revisions(key)
            except UnknownExperimentError:
                return ()

        return cls(
            folder,
            apply=apply,
            catalogue=engine.catalogue,
            over=over,
            revisions=revisions,
            newest=engine.newest,
            now=clock.now,
            late_after=late_after,
        )

    @property
    def view(self) -> SpecsView:
        """How the folder stood at the newest look, or that it does not answer any more."""
        view, limit = self._view, self._late_after
        if limit is None or self._elapsed() - self._looked_at <= limit.total_seconds():
            return view
        problem = Problem(self._dir, 0, 0, "", _silent_words(view.checked_at), _SILENT)
        return replace(view, valid=False, problems=(problem, *view.problems))

    def look(self) -> SpecsView:
        """Look once; take what changed if the look before saw the same.

        The first look takes what it finds: there is nothing better to go on with.
        """
        with self._lock:
            found = self._read()
            digests = {file: one.digest for file, one in found.items()}
            settled = self._seen is None or digests == self._seen
            self._seen = digests
            self._wait -= 1
            if settled and (digests != self._taken or self._wait == 0):
                self._taken, self._wait = digests, 0
                self._view = self._take(found)
            self._view = replace(self._with_drift(self._view), checked_at=self._now())
            self._say()
            self._looked_at = self._elapsed()
            return self._view

    def _read(self) -> _Set:
        try:
            paths = spec_paths(self._folder)
        except OSError as error:
            return {self._dir: _Found(trouble=_folder_trouble(error, self._folder))}
        found: dict[str, _Found] = {}
        for path in paths:
            try:
                found[name_of(path)] = _Found(read_spec(path))
            except OSError as error:
                found[name_of(path)] = _Found(trouble=_trouble(error))
        return found

    def _take(self, found: _Set) -> SpecsView:
        problems = self._validated(found)
        if problems:
            first, left_out = told(problems)
            # what is wrong together may be over without a change: another experiment has ended
            self._wait = RETRY_LOOKS
            files = [self._waiting(file, one) for file, one in found.items()]
            return SpecsView(
                self._dir,
                valid=False,
                problems=tuple(first),
                left_out=left_out,
                files=(*files, *self._missing()),
            )
        self._note_gone()
        files = [self._file(file, good) for file, good in self._good.items()]
        return SpecsView(
            self._dir,
            valid=not any(f.conflict for f in files),
            files=(*files, *self._missing()),
        )

    def _waiting(self, file: str, one: _Found) -> SpecsFile:
        held = self._in_force(file, one.digest)
        if held is not None:
            return held
        good = self._good.get(file)
        return SpecsFile(file, good.key if good is not None else None, None, "waiting")

    def _in_force(self, file: str, digest: str) -> SpecsFile | None:
        """Return what is told of a file whose very text was applied and not refused."""
        applied, held = self._applied.get(file, ("", None))
        return replace(held, result="unchanged") if held is not None and applied == digest else None

    def _validated(self, found: _Set) -> tuple[Problem, ...]:
        """Keep the files that have no fault of their own; return every fault of the whole set."""
        problems: list[Problem] = []
        good: dict[str, _Good] = {}
        for file, one in found.items():
            try:
                good[file] = self._read_one(file, one)
            except SpecError as error:
                problems += error.problems
        self._good = good
        awake = {f: one.spec for f, one in good.items() if not self._sleeps(f, one)}
        problems += check_together(awake)
        return tuple(p for p in problems if p.severity is Severity.ERROR)

    def _read_one(self, file: str, one: _Found) -> _Good:
        held = self._good.get(file)
        if held is not None and held.digest == one.digest:
            return held
        if one.trouble:
            hint = _WITHOUT if file == self._dir else ""
            raise SpecError([Problem(file, 0, 0, "", one.trouble, hint)])
        text = spec_text(file, one.content)
        if isinstance(text, Problem):
            raise SpecError([text])
        spec = load_spec(text, source=file, catalogue=self._catalogue)
        return _Good(one.digest, text, spec, known=self._known_already(text, file))

    def _known_already(self, text: str, file: str) -> bool:
        """Ask what applying a file would do: are there faults that only the service knows?

        Raises:
            SpecError: The service lacks something that the file names.
        """
        try:
            return self._apply(text, file, True).result == "unchanged"
        except SpecError:
            raise
        except Exception as error:  # noqa: BLE001 - it comes again, and is told, when applied
            logger.debug("%s: %s", file, error)
            return False

    def _sleeps(self, file: str, good: _Good) -> bool:
        known = good.known or self._in_force(file, good.digest) is not None
        return known and self._over(good.key)

    def _file(self, file: str, good: _Good) -> SpecsFile:
        """Apply a file unless its very text was applied already."""
        held = self._in_force(file, good.digest)
        if held is not None:
            return held
        if file not in self._applied and not self._over(good.key):
            # a new start, or a new name: the file itself did not change since it was applied
            sha256 = good.spec.sha256
            by_hand = applied_over(sha256, self._revisions(good.key), actor=ACTOR)
            if by_hand is not None:
                held = SpecsFile(file, good.key, None, "unchanged")
                self._applied[file] = good.digest, held
                return held
        self._applied.pop(file, None)
        try:
            done = self._apply(good.text, file, False)
        except StaleWriteError as error:
            return self._refused(file, good.key, "failed", str(error), again=1)
        except TurnbackError as error:
            return self._refused(file, good.key, "refused", str(error), again=RETRY_LOOKS)
        except Exception as error:
            logger.exception("%s: applying it failed; it is tried again", file)
            words = f"applying it failed ({type(error).__name__}); see the service's log"
            return self._refused(file, good.key, "failed", words, again=1)
        for words in done.words:
            logger.info("%s: %s", file, words)
        applied = SpecsFile(file, done.key, done.revision, done.result)
        self._applied[file] = good.digest, applied
        return applied

    def _with_drift(self, view: SpecsView) -> SpecsView:
        """Return a view that tells which files somebody has applied another text over."""
        newest = self._newest() if self._applied else {}
        return replace(view, files=tuple(self._drifted(file, newest) for file in view.files))

    def _drifted(self, file: SpecsFile, newest: Mapping[str, RevisionView]) -> SpecsFile:
        good = self._good.get(file.file)
        held = self._in_force(file.file, good.digest) if good is not None else None
        if good is None or held is None or file.conflict:
            return file
        runs = newest.get(good.key)
        if runs is None or runs.sha256 == good.spec.sha256:
            if file.drift is None:
                return file
            return replace(held, revision=runs.number if runs is not None else held.revision)
        words = drift_words(good.key, file.file, runs)
        return replace(file, result="replaced", revision=None, drift=words)

    def _refused(self, file: str, key: str, result: str, why: str, *, again: int) -> SpecsFile:
        self._wait = again if self._wait <= 0 else min(self._wait, again)
        return SpecsFile(file, key, None, result, why)

    def _note_gone(self) -> None:
        """Keep which files of experiments that go on went away; a renamed file is not gone."""
        keys = {file: good.key for file, good in self._good.items()}
        still = set(keys.values())
        before = {**self._known, **self._gone}
        gone = {f: k for f, k in before.items() if f not in keys and k not in still}
        self._gone = {f: k for f, k in gone.items() if not self._over(k)}
        self._known = keys

    def _missing(self) -> list[SpecsFile]:
        return [SpecsFile(file, key, None, "gone") for file, key in sorted(self._gone.items())]

    def _say(self) -> None:
        """Log what is new since the last time, once; and that all is well again."""
        lines = [str(problem) for problem in self._view.problems]
        if self._view.left_out:
            lines.append(f"{self._dir}: {and_more(self._view.left_out)}")
        if any(problem.file != self._dir for problem in self._view.problems):
            lines.append(f"{self._dir}: nothing of it is applied; what was before goes on")
        elif not lines:
            lines += self._view.attention
        for line in lines:
            if line not in self._said:
                logger.warning("%s", line)
        if self._said and not lines:
            logger.warning("%s: all of it is good and applied", self._dir)
        self._said = frozenset(lines)


_WITHOUT = (
    "the experiments known so far go on without it; mend it, or start the service with another "
    "`--specs`"
)

_SILENT = "is it on a mount that hangs? what was applied before goes on"


def _silent_words(checked_at: datetime | None) -> str:
    if checked_at is None:
        return "has not been looked through yet"
    return f"has not been looked through since {checked_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _folder_trouble(error: OSError, folder: Path) -> str:
    """Return why a folder cannot be looked through; of one in it, with its name."""
    inside = Path(os.fsdecode(error.filename)) if error.filename is not None else folder
    where = "" if inside == folder else f"{name_of(inside)} in it "
    if isinstance(error, FileNotFoundError) and not where:
        return "there is no such folder"
    if isinstance(error, NotADirectoryError) and not where:
        return "is a file, and no folder"
    return f"{where}{_trouble(error)}"


def _trouble(error: OSError) -> str:
    if isinstance(error, NotRegularError):
        return str(error.strerror)
    return f"cannot be read: {(error.strerror or type(error).__name__).lower()}"
