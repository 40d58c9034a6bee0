"""The pages on which a person acts: confirm with a reason, sign in, sign out."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from fastapi import Request, Response
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse

from console.dashboard.forms import (
    ForgedError,
    NotSignedInError,
    Signing,
    fields,
    keep,
    of_forms,
    require_own,
    session_of,
)
from console.dashboard.sessions import Sessions
from console.dashboard.shell import Page, Shell
from console.views.acting import (
    ALL,
    SHOWN,
    Refused,
    Typed,
    action_page,
    path_of,
    refused,
    until_of,
)
from experiments.errors import InvalidRequestError, TurnbackError
from guardrails.api import Action, act
from guardrails.clock import SystemClock
from guardrails.views import TransitionView
from metrics.wording import ENGLISH, speaking
from metrics.wording import gettext as _

LONGEST_NAME = 200
SETTINGS = "TURNBACK_"
"""What the names of the settings' keys begin with: such a key is nobody's name."""


def action_pages(shell: Shell) -> Sequence[Page]:
    """Return the pages of actions and of signing in."""
    sessions = Sessions(shell.services.admission.ring, SystemClock().now)
    actions, signing = _Actions(shell, sessions), _SignIn(shell, sessions)
    base = "/experiments/{key}/actions/{action}"
    return (
        Page(f"{base}/{{variant}}", actions.answer, methods=("GET", "POST")),
        Page(base, actions.answer, methods=("GET", "POST")),
        Page("/session", signing.answer, methods=("GET", "POST")),
    )


class _Formed:
    """What pages with a form share."""

    def __init__(self, shell: Shell, sessions: Sessions) -> None:
        self._shell = shell
        self._services = shell.services
        self._sessions = sessions
        self._signing = Signing(shell.services, sessions)

    def _render(
        self, request: Request, template: str, *, status: int = 200, **values: Any
    ) -> Response:
        """Render a page with a form: it carries the token of the browser's session."""
        session = session_of(request) or self._sessions.new_id()
        who = self._signing.who(request)
        answer = self._shell.html(
            request,
            template,
            status=status,
            csrf=self._sessions.token(session),
            who=who,
            person="" if who is None or who.startswith(SETTINGS) else who,
            open=self._signing.open,
            **values,
        )
        if session != session_of(request):
            keep(request, answer, session)
        return of_forms(answer)

    def _signed(self, request: Request, key: str) -> tuple[str, str | None]:
        """Return the name of whoever asks, and the id of a new session where a key was typed.

        Raises:
            NotSignedInError: Nobody who may act.
        """
        if key:
            session = self._sessions.sign_in(key)
            signed = self._sessions.signed(session) if session is not None else None
            if signed is None:
                raise NotSignedInError(
                    _("this is no admin key of this service"), hint="", path="admin_key"
                )
            return signed.name, session
        who = self._signing.who(request)
        if who is None:
            raise NotSignedInError(_("this wants an admin key"), path="admin_key")
        return who, None


class _Actions(_Formed):
    async def answer(self, request: Request) -> Response:
        params = request.path_params
        if params["action"] not in SHOWN:
            error = InvalidRequestError(_("there is no such action"), hint=", ".join(SHOWN))
            return self._shell.html(request, "missing.html", status=404, error=error)
        if request.method == "POST":
            return await self._post(request)
        return await self._page(request, Typed())

    async def _page(
        self, request: Request, typed: Typed, error: Refused | None = None, *, status: int = 200
    ) -> Response:
        params = request.path_params
        variant = params.get("variant", "")
        try:
            view = await run_in_threadpool(self._services.engine.experiment, params["key"])
        except TurnbackError as unknown:
            return self._shell.html(request, "missing.html", status=unknown.status, error=unknown)
        page = action_page(view, params["action"], variant, typed=typed, error=error)
        return self._render(request, "action.html", status=status, page=page)

    async def _post(self, request: Request) -> Response:
        typed, who, session = Typed(), None, None
        try:
            given = await fields(request)
            typed = _typed(given)
            require_own(request, given, self._sessions)
            who, session = self._signed(request, given.get("admin_key", ""))
            done = await run_in_threadpool(self._do, request.path_params, typed, who)
        except TurnbackError as error:
            if who is not None:
                await self._record(request, who, typed, error.status)
            answer = await self._page(request, typed, refused(error), status=error.status)
        else:
            await self._record(request, who, typed, 303)
            key = quote(request.path_params["key"], safe="")
            answer = RedirectResponse(f"/experiments/{key}?done=t{done[-1].id}", 303)
        if session is not None:
            self._sessions.sign_out(session_of(request))
            keep(request, answer, session)
        return answer

    async def _record(self, request: Request, who: str, typed: Typed, status: int) -> None:
        actor = typed.actor or who or "page"
        await self._signing.record(request, key=who, actor=actor, status=status)

    def _do(self, params: Mapping[str, str], typed: Typed, who: str) -> tuple[TransitionView, ...]:
        """Do what the form asks for, on every live treatment where it says so."""
        key, name, variant = params["key"], params["action"], params.get("variant", "")
        actor = typed.actor or who
        if not actor:
            raise InvalidRequestError(
                _("your name is missing"), hint=_("it is kept with what you did"), path="actor"
            )
        engine = self._services.engine
        if variant == ALL and name == "roll_back":
            asked = _asked(name, "", typed)
            with speaking(ENGLISH):  # what is recorded and sent is English, whoever looks
                return engine.roll_back_all(key, reason=asked.reason, actor=actor)
        asked = _asked(name, variant, typed)
        with speaking(ENGLISH):
            return (act(engine, key, asked, actor),)


def _typed(given: Mapping[str, str]) -> Typed:
    return Typed(
        reason=given.get("reason", ""),
        actor=given.get("actor", "").strip()[:LONGEST_NAME],
        by=given.get("by", "").strip(),
        until=given.get("until", "").strip(),
    )


def _asked(name: str, variant: str, typed: Typed) -> Action:
    until = until_of(typed.until) if typed.until else None
    if typed.until and until is None:
        raise InvalidRequestError(_("this is no date and time"), path="until")
    try:
        return Action(
            action=name,  # pyright: ignore[reportArgumentType] - pydantic makes it a name
            variant=variant or None,
            reason=typed.reason,
            until=until,
            by=typed.by or None,
        )
    except ValidationError as error:
        first = error.errors()[0]
        path = str(first["loc"][0]) if first["loc"] else ""
        raise InvalidRequestError(
            _("this is too long, or no text"), hint=_("shorten it"), path=path
        ) from None


class _SignIn(_Formed):
    async def answer(self, request: Request) -> Response:
        if request.method == "POST":
            return await self._post(request)
        return self._page(request)

    def _page(
        self, request: Request, error: Refused | None = None, *, status: int = 200
    ) -> Response:
        signed = self._sessions.signed(session_of(request))
        return self._render(request, "session.html", status=status, signed=signed, error=error)

    async def _post(self, request: Request) -> Response:
        try:
            given = await fields(request)
            require_own(request, given, self._sessions)
            do: Callable[[Request, Mapping[str, str]], Response] = (
                self._out if given.get("out") else self._in
            )
            return do(request, given)
        except (ForgedError, NotSignedInError) as error:
            return self._page(request, refused(error), status=error.status)

    def _in(self, request: Request, given: Mapping[str, str]) -> Response:
        key = given.get("admin_key", "")
        if not key:
            raise NotSignedInError(_("this wants an admin key"), path="admin_key")
        _name, session = self._signed(request, key)
        answer = RedirectResponse("/session", 303)
        self._sessions.sign_out(session_of(request))  # an id from before is worth nothing now
        keep(request, answer, session or "")
        return answer

    def _out(self, request: Request, _given: Mapping[str, str]) -> Response:
        self._sessions.sign_out(session_of(request))
        answer = RedirectResponse("/session", 303)
        keep(request, answer, self._sessions.new_id())
        return answer


def action_path(key: str, action: str, variant: str = "") -> str:
    """Return the address of the page of an action."""
    return quote(path_of(key, action, variant))
