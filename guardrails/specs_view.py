"""How a followed folder of spec files stands, as it is shown and told."""

from dataclasses import dataclass
from datetime import datetime

from experiments.errors import Problem
from metrics.wording import gettext as _
from metrics.wording import ngettext


@dataclass(frozen=True, slots=True)
class SpecsFile:
    """One file of the folder.

    Attributes:
        file: Its path.
        experiment: Key of its experiment, ``None`` while the file cannot be read.
        revision: Revision that its text is, ``None`` while it is none.
        result: ``created``, ``updated`` or ``unchanged`` when it was applied last; ``replaced``
            while a text runs that somebody else applied over it; ``waiting`` for the faults of
            the set to be mended; ``refused``; ``failed`` and tried again; ``gone`` while its
            experiment goes on.
        conflict: Why it was refused or failed, ``None`` otherwise.
        drift: What runs instead of it, since when, and what to do; ``None`` where it runs.
    """

    file: str
    experiment: str | None
    revision: int | None
    result: str
    conflict: str | None = None
    drift: str | None = None


@dataclass(frozen=True, slots=True)
class SpecsView:
    """How a followed folder stands.

    Attributes:
        dir: The folder, ``None`` when the service follows none.
        valid: Whether the newest set is good and was taken, all of it. What people applied over
            it by hand is their decision and no fault: it is told, and this stays true.
        checked_at: Instant of the newest look, ``None`` before the first.
        problems: Faults of the newest set; of many the first. One whose file is the folder
            itself says why it cannot be looked at.
        left_out: How many more there are.
        files: Every file, sorted; those that went away last.
    """

    dir: str | None
    valid: bool = True
    checked_at: datetime | None = None
    problems: tuple[Problem, ...] = ()
    left_out: int = 0
    files: tuple[SpecsFile, ...] = ()

    @property
    def attention(self) -> tuple[str, ...]:
        """What a person should look at, one sentence each."""
        words: list[str] = []
        words += [str(p) for p in self.problems if p.file == self.dir]
        inside = [p for p in self.problems if p.file != self.dir]
        if inside:
            count = len(inside) + self.left_out
            words.append(
                ngettext(
                    "{dir} holds {n} problem; what was applied before stays in force. The first: "
                    "{problem}",
                    "{dir} holds {n} problems; what was applied before stays in force. The first: "
                    "{problem}",
                    count,
                    dir=self.dir,
                    problem=inside[0],
                )
            )
        words += [f"{f.file}: {f.conflict}" for f in self.files if f.conflict]
        words += [f"{f.file}: {f.drift}" for f in self.files if f.drift]
        words += [
            gone_words(f.file, f.experiment)
            for f in self.files
            if f.result == "gone" and f.experiment
        ]
        return tuple(words)


def gone_words(file: str, experiment: str) -> str:
    """Return what is said of a file that went away."""
    return _(
        "{file} is gone; its experiment {experiment} goes on. Stop it with {command}, or bring the "
        "file back",
        file=file,
        experiment=experiment,
        command=f"`turnback stop {experiment}`",
    )
