"""Forms that change something: read, and let through only where a person of this page sent them."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from fastapi import Request, Response
from starlette.concurrency import run_in_threadpool

from console.dashboard.sessions import Sessions
from experiments.errors import TurnbackError
from guardrails.audit import Call
from guardrails.logs import request_id
from metrics.access import LOOPBACK, AccessError, Role
from metrics.asgi import read_body
from metrics.wording import gettext as _
from service import Services

COOKIE: Final = "turnback_session"
TOKEN: Final = "csrf"  # noqa: S105 - the name of a field
LARGEST: Final = 64 * 1024
_MOST_FIELDS: Final = 20


class ForgedError(TurnbackError):
    """A form that was not sent from a page that this service gave to this browser."""

    code = "forged"
    status = 403


class NotSignedInError(TurnbackError):
    """An action wants an admin key."""

    code = "unauthorized"
    status = 401


async def fields(request: Request) -> Mapping[str, str]:
    """Return the fields of a form.

    Raises:
        ForgedError: It is no form.
        BodyTooLargeError: It is too large.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise ForgedError(_("this is no form of this page"), hint=_("open the page and send it"))
    body = await read_body(request.receive, LARGEST)
    try:
        pairs = parse_qsl(
            body.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS
        )
    except ValueError:
        raise ForgedError(
            _("this form cannot be read"), hint=_("open the page and send it")
        ) from None
    # browsers end the lines of a text with CR LF
    return {name: value.replace("\r\n", "\n") for name, value in pairs}


def session_of(request: Request) -> str:
    """Return the id that the browser holds, empty for none."""
    return request.cookies.get(COOKIE, "")


def keep(request: Request, answer: Response, session: str) -> None:
    """Let the browser hold a session's id."""
    answer.set_cookie(
        COOKIE, session, httponly=True, samesite="strict", secure=request.url.scheme == "https"
    )


def of_forms(answer: Response) -> Response:
    """Let browsers say where a form was sent from: without a referrer they say ``null``."""
    answer.headers["Referrer-Policy"] = "same-origin"
    answer.headers["Cache-Control"] = "no-store"
    return answer


def require_own(request: Request, given: Mapping[str, str], sessions: Sessions) -> None:
    """Let pass a form that this browser was given by this service.

    Raises:
        ForgedError: Another site may have sent it, or it is older than the service.
    """
    if not _same_site(request):
        raise ForgedError(
            _("this form was sent from another site"), hint=_("open the page here and send it")
        )
    if not sessions.carries(session_of(request), given.get(TOKEN, "")):
        raise ForgedError(
            _("this form is too old, or cookies are blocked"),
            hint=_("nothing was done; what you typed is still here: send it again"),
        )


def _same_site(request: Request) -> bool:
    if request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        return False
    origin = request.headers.get("origin")
    if origin is None:
        return True  # then the token decides
    try:
        sent, here = urlsplit(origin), request.headers.get("host", "")
    except ValueError:
        return False
    return bool(here) and sent.netloc.lower() == here.lower()


class Signing:
    """Who may act from a page.

    Args:
        services: Everything that runs.
        sessions: Of the pages.
    """

    def __init__(self, services: Services, sessions: Sessions) -> None:
        self._services = services
        self.sessions = sessions

    @property
    def open(self) -> bool:
        """Whether anybody on this machine may act: there are no keys."""
        return self._services.admission.ring.anyone >= Role.ADMIN

    def who(self, request: Request) -> str | None:
        """Return the name of the key of whoever asks; empty without keys, ``None`` for nobody."""
        signed = self.sessions.signed(session_of(request))
        if signed is not None:
            return signed.name
        if self.open:
            # a name that leads here from elsewhere is no local page
            host = urlsplit(f"//{request.headers.get('host', '')}").hostname
            return "" if host in LOOPBACK or not self._services.settings.local else None
        held = request.headers.get("authorization"), request.headers.get("x-api-key")
        if not any(held):
            return None
        try:
            self._services.admission.ring.require(Role.ADMIN, *held)
        except AccessError:
            return None
        return self._services.admission.key_name(*held)

    async def record(self, request: Request, *, key: str, actor: str, status: int) -> None:
        """Keep a form that was let in, as calls of the API are kept."""
        services = self._services
        call = Call(
            at=services.clock.now(),
            key=key,
            actor=actor,
            method=request.method,
            path=request.url.path[:200],
            status=status,
            request=request_id.get(),
        )
        await run_in_threadpool(services.admission.record, call)
