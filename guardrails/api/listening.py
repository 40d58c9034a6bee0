"""The sockets a service listens on; an address that cannot be had is told in words."""

import errno
import resource
import socket
from collections.abc import Generator
from contextlib import contextmanager

from experiments.errors import TurnbackError

_OTHER_PORT = (
    "give another port with --port, or end what listens there: an earlier `turnback serve`?"
)
_HOST = "give an address of this machine with --host, for instance 127.0.0.1"


_OTHERS = 200
"""Open files that are no connections: databases, logs, what is asked of others."""


class AddressError(TurnbackError):
    """The service cannot listen where it is told to."""

    code = "address"


class PortTakenError(AddressError):
    """Something listens there already."""

    code = "port_taken"


@contextmanager
def listening(host: str, port: int) -> Generator[list[socket.socket]]:
    """Hold a socket for every address of a host, bound; a server in the block listens on them.

    Raises:
        AddressError: The address is taken, not of this machine, or may not be used.
    """
    sockets = _bound(host, port)
    try:
        yield sockets
    except OSError as error:
        if error.errno == errno.EADDRINUSE:  # somebody began to listen after it was bound
            raise _refused(host, port, error) from error
        raise
    finally:
        for one in sockets:
            one.close()


def _bound(host: str, port: int) -> list[socket.socket]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise AddressError(f"{host} is no known address", hint=_HOST, path="host") from error
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _name, address in dict.fromkeys(found):
            sockets.append(socket.socket(family, kind, protocol))
            if family == socket.AF_INET6:
                sockets[-1].setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sockets[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sockets[-1].bind(address)
    except OSError as error:
        for one in sockets:
            one.close()
        raise _refused(host, port, error) from error
    return sockets


def _refused(host: str, port: int, error: OSError) -> AddressError:
    where = address_of(host, port)
    if error.errno == errno.EADDRINUSE:
        return PortTakenError(f"{where} is taken", hint=_OTHER_PORT)
    if error.errno == errno.EADDRNOTAVAIL:
        return AddressError(f"{where} is no address of this machine", hint=_HOST)
    if error.errno in {errno.EACCES, errno.EPERM}:
        hint = "ports below 1024 are the system's: give another with --port"
        return AddressError(f"{where} may not be used", hint=hint)
    return AddressError(f"{where} cannot be used ({(error.strerror or str(error)).lower()})")


def address_of(host: str, port: int) -> str:
    """Return an address as it stands in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def room_for(connections: int) -> int:
    """Return how many connections there may be, of as many as are wished for.

    Each is an open file, of which a process may have so many: it asks for as many as it may.
    Without a limit of our own the next connection would wait for a file, and a check too.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _OTHERS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY:
        return connections
    return max(1, min(connections, soft - _OTHERS))
