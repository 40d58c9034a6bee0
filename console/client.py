"""A running service, as the command line sees it."""

import getpass
import json
import re
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from console.output import DEFAULT_URL, CommandError, ExitCode
from guardrails.problems import and_more

_ERRNO = re.compile(r"^\[Errno -?[0-9]+\] ")


class BusyError(CommandError):
    """The service cannot take this now, and says when to ask again.

    Attributes:
        retry_after: Seconds.
    """

    def __init__(self, message: str, *, hint: str, code: str, retry_after: int) -> None:
        super().__init__(message, hint=hint, code=code)
        self.retry_after = retry_after


class ServiceClient:
    """Asks a running service; every failure becomes a ``CommandError`` that says what to do.

    Args:
        url: Where the service listens.
        key: Admin key; ``None`` where the service has none.
        timeout: Seconds until an answer is given up.

    Raises:
        CommandError: The address is none, or the key cannot be sent.
    """

    def __init__(self, url: str, key: str | None = None, *, timeout: float = 30.0) -> None:
        self.url = url.rstrip("/")
        headers = {"X-Turnback-Actor": _actor()}
        if key:
            headers["Authorization"] = f"Bearer {_header_safe(key)}"
        try:
            self._http = httpx.Client(base_url=self.url, headers=headers, timeout=timeout)
        except (httpx.InvalidURL, UnicodeError) as error:
            raise _no_address(self.url) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def get(self, path: str, *, timeout: float | None = None) -> Any:
        """Return the JSON answer of a GET.

        Args:
            path: With its query.
            timeout: Seconds until the answer is given up, where it takes longer than others.

        Raises:
            CommandError: Nobody answers, or the service refuses.
        """
        return self._ask("GET", path, **({} if timeout is None else {"timeout": timeout}))

    def post(self, path: str, *, json: Any = None, text: str | None = None, **params: str) -> Any:
        """Return the JSON answer of a POST with a JSON or plain-text body.

        Raises:
            CommandError: Nobody answers, or the service refuses.
        """
        if text is None:
            return self._ask("POST", path, json=json, params=params)
        headers = {"Content-Type": "application/yaml"}
        return self._ask("POST", path, content=text.encode(), headers=headers, params=params)

    def send_events(self, body: bytes, *, trusted: bool = True) -> Any:
        """Send events, a JSON object a line; returns what became of them.

        Args:
            body: The lines, gzipped.
            trusted: False counts them as if the client key had sent them.

        Raises:
            BusyError: The service asks for patience; nothing was acknowledged.
            CommandError: Nobody answers, or the service refuses.
        """
        headers = {"Content-Type": "application/x-ndjson", "Content-Encoding": "gzip"}
        if not trusted:
            headers["X-Turnback-Trust"] = "any"
        return self._ask("POST", "/api/v1/events", content=body, headers=headers)

    def long(self, path: str, progress: Callable[[str, int, int], None]) -> Any:
        """Return the result of a POST that tells how far it is, a JSON object a line.

        Raises:
            CommandError: Nobody answers, the service refuses, or it ends without a result.
        """
        try:
            with self._http.stream("POST", path) as response:
                if not response.is_success:
                    response.read()
                    raise _refusal(response)
                for line in response.iter_lines():
                    told = _line(line, self.url)
                    if "progress" not in told:
                        break
                    at = told["progress"]
                    progress(at["what"], at["done"], at["total"])
                else:
                    told = {}
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise _no_address(self.url) from error
        except httpx.HTTPError as error:
            raise _unreachable(self.url, error) from error
        if "result" in told:
            return told["result"]
        error = told.get("error") or {"message": "the service ended before the work was done"}
        raise CommandError(
            error["message"], hint=error.get("hint") or "", code=error.get("code") or "cut_short"
        )

    def _ask(self, method: str, path: str, **kwargs: Any) -> Any:
        try:
            response = self._http.request(method, path, **kwargs)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise _no_address(self.url) from error
        except httpx.HTTPError as error:
            raise _unreachable(self.url, error) from error
        if response.is_success:
            return _body(response, self.url)
        raise _refusal(response)


def experiment_path(key: str) -> str:
    """Return the path of an experiment; what a path would take apart is quoted.

    Raises:
        CommandError: The key is empty.
    """
    if not key:
        raise CommandError(
            "the key of the experiment is empty",
            hint="`turnback status` lists them",
            code="usage",
            exit_code=ExitCode.USAGE,
        )
    # a segment of dots alone would lead out of the folder
    quoted = key.replace(".", "%2E") if not key.strip(".") else quote(key, safe="")
    return f"/api/v1/experiments/{quoted}"


def _no_address(url: str) -> CommandError:
    return CommandError(
        f"{url} is no address",
        hint=f"give one like {DEFAULT_URL} with --url or TURNBACK_URL",
        code="invalid_url",
        exit_code=ExitCode.USAGE,
    )


def _unreachable(url: str, error: httpx.HTTPError) -> CommandError:
    return CommandError(
        f"no service answers at {url} ({_ERRNO.sub('', str(error)).lower() or _silent(error)})",
        hint="start one with `turnback serve`, or say where it is with --url or TURNBACK_URL",
        code="unreachable",
        exit_code=ExitCode.UNREACHABLE,
    )


def _silent(error: httpx.HTTPError) -> str:
    return "it took too long" if isinstance(error, httpx.TimeoutException) else "it went away"


def _line(text: str, url: str) -> dict[str, Any]:
    try:
        return dict(json.loads(text))
    except (ValueError, TypeError) as error:
        raise _not_ours(url) from error


def _header_safe(key: str) -> str:
    """Return a key that a header can carry; errors never show it."""
    if key.isascii() and key.isprintable() and key == key.strip():
        return key
    raise CommandError(
        "the key holds characters that a header cannot carry",
        hint="give it as it was set: printable ASCII, without spaces or line ends around it",
        code="invalid_key",
        exit_code=ExitCode.USAGE,
    )


def _actor() -> str:
    """Return who is asking, for the record: the name of the account."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):
        return "cli"
    plain = "".join(c if c.isascii() and c.isprintable() else "?" for c in name)
    return plain.strip()[:200] or "cli"


def _body(response: httpx.Response, url: str) -> Any:
    try:
        return response.json()
    except ValueError as error:
        raise _not_ours(url) from error


def _not_ours(url: str) -> CommandError:
    return CommandError(
        f"{url} answered, but not as Turnback does",
        hint="is it the address of another service? say the right one with --url",
        code="not_turnback",
        exit_code=ExitCode.UNREACHABLE,
    )


def _refusal(response: httpx.Response) -> CommandError:
    try:
        error = response.json()["error"]
        message, hint = str(error["message"]), error.get("hint") or ""
        code = str(error.get("code") or response.status_code)
        problems = tuple(_problem(p) for p in error.get("problems") or ())
        left_out = int(error.get("left_out") or 0)
        problems += (and_more(left_out),) if left_out else ()
    except (ValueError, KeyError, TypeError, AttributeError):
        message = f"the service answered {response.status_code}"
        hint, code, problems = "", str(response.status_code), ()
    if response.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        hint = "give the admin key with --key or TURNBACK_ADMIN_KEY"
    wait = response.headers.get("retry-after", "")
    if response.status_code == httpx.codes.SERVICE_UNAVAILABLE and wait.isdecimal():
        return BusyError(message, hint=hint, code=code, retry_after=int(wait))
    return CommandError(message, hint=hint, code=code, problems=problems)


def _problem(problem: dict[str, Any]) -> str:
    where = f"{problem['file']}:{problem['line']}:{problem['column']}: "
    path = f"{problem['path']}: " if problem.get("path") else ""
    hint = f"; {problem['hint']}" if problem.get("hint") else ""
    return f"{where}{path}{problem['message']}{hint}"
