"""Who may look and who may change, and which query parameters a route knows."""

from typing import Any
from urllib.parse import urlsplit

from fastapi import Request
from starlette.datastructures import Headers

from experiments.errors import InvalidRequestError
from metrics.access import LOOPBACK, Access, AccessError, Role, foreign

FORWARDING = frozenset({"forwarded", "via", "x-real-ip"})
"""Headers of proxies, beside everything that begins with ``x-forwarded-``."""


class Guard:
    """Who may look and who may change, outside of the hot routes.

    Args:
        keys: The keys in force.
        local: Whether only this machine can reach the service.
    """

    def __init__(self, keys: Access, *, local: bool) -> None:
        self._keys = keys
        self._local = local

    def admit(self, request: Request) -> None:
        """Let pass who may do what a request asks for.

        Raises:
            AccessError: Nobody who may.
        """
        if request.method in {"GET", "HEAD", "OPTIONS"}:
            self.may_read(request)
        else:
            self.may_change(request)

    def may_read(self, request: Request) -> None:
        """Let pass who may look: programs of this machine on a local address, and secret keys.

        Where keys are in force, what reaches a local address through a proxy, or by another name
        than this machine's own, comes from elsewhere. A key that is sent has to be a right one.

        Raises:
            AccessError: A caller from elsewhere has no key, or the key is not one that may look.
        """
        headers = request.headers
        if headers.get("authorization") or headers.get("x-api-key") or not self._local:
            self._require(request, Role.INGEST)
        elif self._keys.anyone is not Role.ADMIN and not _direct(headers):
            raise AccessError(
                401,
                "unauthorized",
                "this needs a key: it came through a proxy, or by a name from elsewhere",
                "send a key of the scope 'ingest' or 'admin' as 'Authorization: Bearer KEY' or "
                "'X-API-Key: KEY', or ask 127.0.0.1 from this machine itself",
            )

    def may_change(self, request: Request) -> None:
        """Let pass who may change something.

        Without keys a page of another site open in the same browser could reach a local
        service: such requests carry that site's origin and are refused.
        """
        self._require(request, Role.ADMIN)
        origin = request.headers.get("origin")
        if origin and not self._keys.protected and urlsplit(origin).hostname not in LOOPBACK:
            raise AccessError(
                403, "forbidden", f"pages of {origin} may not change anything here", "use a key"
            )

    def may_report(self, request: Request) -> None:
        """Let pass who may tell what happened: whoever may send events that turn a variant back.

        What is told acts only as far as the file of an experiment says, so this asks for no more
        than events do; a page of another site has no key, and may not.
        """
        headers = request.headers
        self._keys.require(
            Role.INGEST,
            headers.get("authorization"),
            headers.get("x-api-key"),
            origin=headers.get("origin"),
        )

    def _require(self, request: Request, role: Role) -> None:
        headers = request.headers
        self._keys.require(role, headers.get("authorization"), headers.get("x-api-key"))


def _direct(headers: Headers) -> bool:
    """Return whether a request was meant for this machine by a program that runs on it.

    A page of another site may let its name stand for this machine, but its browser then sends
    that name; a proxy here serves people elsewhere, and says so.
    """
    hosts = headers.getlist("host")
    if not hosts or any(not host or foreign(f"http://{host}") for host in hosts):
        return False
    return not any(name in FORWARDING or name.startswith("x-forwarded-") for name in headers)


class UnknownParameterError(InvalidRequestError):
    """A query parameter that the route does not know: a typing error is no default."""

    code = "unknown_parameter"


def known_parameters(request: Request) -> None:
    """Refuse query parameters that the route does not know."""
    dependant: Any = getattr(request.scope.get("route"), "dependant", None)
    known = {p.alias for p in dependant.query_params} if dependant is not None else set[str]()
    for name in request.query_params:
        if name not in known:
            listed = ", ".join(sorted(known)) or "none"
            raise UnknownParameterError(
                f"unknown query parameter '{name}'", hint=f"known here: {listed}", path=name
            )
