"""Every error Turnback raises on purpose.

    TurnbackError
    ├── SpecError                  422  a spec file has problems (all of them, with positions)
    ├── UnknownExperimentError     404  no experiment of that key
    ├── UnknownVariantError        404  the experiment has no such variant
    ├── ConflictError              409  what was asked does not fit what is running
    │   ├── ReshuffleError         409  it would move exposed units to another arm
    │   ├── LayerConflictError     409  its layer has no room for it, or another unit
    │   ├── IllegalTransitionError 409  the lifecycle has no such step from here
    │   └── StaleWriteError        409  someone else wrote first
    ├── InvalidRequestError        400  a request that makes no sense
    ├── UnauthorizedError          401  no key, or an unknown one
    ├── ForbiddenError             403  a key that may not do this
    ├── ControlPlaneError          500  the control plane's database cannot be used as it is
    └── UnavailableError           503  not now; try again

The service answers each as ``{"error": {"code", "message", "hint", "path"}}`` with ``status``.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

from metrics.wording import gettext as _


class TurnbackError(Exception):
    """Something Turnback refuses or cannot do, in words for the person who asked.

    Attributes:
        code: Stable word for machines.
        message: What is wrong, with what was given.
        hint: What to do, empty when there is nothing to add.
        path: Where in the request or file, empty when it is about the whole.
        status: HTTP status the service answers with.
    """

    code: ClassVar[str] = "turnback_error"
    status: ClassVar[int] = 500

    def __init__(self, message: str = "", *, hint: str = "", path: str = "") -> None:
        self.message = message or (type(self).__doc__ or "").partition("\n")[0]
        self.hint = hint
        self.path = path
        super().__init__(self.message)

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        return f"{where}{self.message}; {self.hint}" if self.hint else f"{where}{self.message}"

    def to_json(self) -> dict[str, Any]:
        """Return the one error shape of every interface."""
        return {
            "error": {
                "code": self.code,
                "message": self.message,
                "hint": self.hint or None,
                "path": self.path or None,
            }
        }


class Severity(StrEnum):
    """Whether a problem refuses the file."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to mend in a spec file, in the words of the file.

    Attributes:
        file: Name of the file, as given.
        line: Line, from 1; 0 where it has none: the file, or its folder, cannot be read.
        column: Column, from 1; 0 where there is no line.
        path: Keys from the top of the file, ``guardrails[0].max_drop``; empty for the whole file.
        message: What is wrong.
        hint: What to do.
        severity: An error refuses the file; a warning is shown and the file accepted.
    """

    file: str
    line: int
    column: int
    path: str
    message: str
    hint: str = ""
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}: " if self.line else f"{self.file}: "
        path = f"{self.path}: " if self.path else ""
        hint = f"; {self.hint}" if self.hint else ""
        return f"{where}{path}{self.message}{hint}"


class SpecError(TurnbackError, ValueError):
    """The spec file has problems.

    Attributes:
        problems: All errors of the file in the order of its lines (warnings included).
    """

    code = "invalid_spec"
    status = 422

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        first = self.problems[0] if self.problems else None
        super().__init__(
            "\n".join(map(str, self.problems)),
            hint="",
            path=first.path if first is not None else "",
        )

    def __str__(self) -> str:
        return self.message

    def to_json(self) -> dict[str, Any]:
        """Return the error shape, with every problem beside it."""
        body = super().to_json()
        body["error"]["problems"] = [
            {
                "file": p.file,
                "line": p.line,
                "column": p.column,
                "path": p.path,
                "message": p.message,
                "hint": p.hint,
                "severity": p.severity.value,
            }
            for p in self.problems
        ]
        return body


class UnknownExperimentError(TurnbackError):
    """There is no experiment of that key."""

    code = "unknown_experiment"
    status = 404


class UnknownVariantError(TurnbackError):
    """The experiment has no such variant."""

    code = "unknown_variant"
    status = 404


class ConflictError(TurnbackError):
    """What was asked does not fit what is running."""

    code = "conflict"
    status = 409


class ReshuffleError(ConflictError):
    """This would move exposed units to another arm."""

    code = "reshuffle"

    def __init__(self, message: str = "", *, hint: str = "", path: str = "") -> None:
        super().__init__(
            message,
            hint=hint or "raise `seed` to start the analysis over, or leave it as it is",
            path=path,
        )


class LayerConflictError(ConflictError):
    """The layer has no room for this experiment, or deals another type of unit."""

    code = "layer_conflict"


class IllegalTransitionError(ConflictError):
    """The lifecycle has no such step from the present state.

    Attributes:
        state: Present state.
        action: What was asked.
        legal: Actions that are possible now.
    """

    code = "illegal_transition"

    def __init__(self, *, state: str, action: str, legal: Sequence[str], path: str = "") -> None:
        self.state = state
        self.action = action
        self.legal = tuple(legal)
        choices = ", ".join(map(_as_typed, self.legal)) if self.legal else _("nothing")
        super().__init__(
            _(
                "cannot {action} while {state}",
                action=action.replace("_", " "),
                state=state.replace("_", " "),
            ),
            hint=_("possible now: {choices}", choices=choices),
            path=path,
        )


def _as_typed(action: str) -> str:
    """Return an action, with the command that asks for it where that is called otherwise."""
    commands = {"continue": "resume", "roll_back": "roll-back"}
    return f"{action} (turnback {commands[action]})" if action in commands else action


class StaleWriteError(ConflictError):
    """Someone else changed this first; read it again and decide anew."""

    code = "stale_write"


class InvalidRequestError(TurnbackError):
    """The request makes no sense."""

    code = "invalid_request"
    status = 400


class UnauthorizedError(TurnbackError):
    """A key is needed."""

    code = "unauthorized"
    status = 401


class ForbiddenError(TurnbackError):
    """This key may not do that."""

    code = "forbidden"
    status = 403


class ControlPlaneError(TurnbackError):
    """The control plane's database cannot be used as it is."""

    code = "control_plane"


class UnavailableError(TurnbackError):
    """Not possible just now; try again.

    Attributes:
        retry_after: Whole seconds to wait, at least 1.
    """

    code = "unavailable"
    status = 503

    def __init__(self, message: str = "", *, hint: str = "", retry_after: int = 1) -> None:
        self.retry_after = max(1, retry_after)
        super().__init__(message, hint=hint)
