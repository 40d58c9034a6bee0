"""Prometheus as a source: range queries over HTTP, with bounded patience."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any

import httpx
import msgspec

from guardrails.settings import QueryError
from metrics.wording import gettext as _

MAX_ANSWER_BYTES = 4_000_000
"""Longest answer that is read; one series of a thousand samples has 30,000."""

PATIENCE = 10.0
"""Seconds of waiting that may be used up at once, over all queries and experiments."""

RECOVERY = 0.2
"""Seconds of patience that come back in every second."""

_REFUSED = 400


class PrometheusClient:
    """Answers PromQL through ``/api/v1/query_range``: a ``QuerySource``.

    A query waits for at most about ``timeout``. All queries together share a stock of patience:
    a Prometheus that is slow or dead costs every fifth second at most, however many experiments
    ask, because queries that would wait without patience are refused at once.

    Args:
        url: Where Prometheus is, for instance ``http://127.0.0.1:9090``. It may hold a password:
            it is never logged nor part of an error.
        timeout: Seconds one query may take.
        clock: Monotonic seconds.
    """

    def __init__(
        self, url: str, *, timeout: float = 5.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._url = f"{url.rstrip('/')}/api/v1/query_range"
        self._timeout = timeout
        self._clock = clock
        self._lock = Lock()
        self._patience = PATIENCE
        self._counted_at = clock()
        self._client = httpx.Client(timeout=httpx.Timeout(timeout / 2))

    def __repr__(self) -> str:
        return "PrometheusClient(url=***)"

    def _late(self) -> str:
        return _("Prometheus did not answer within {length} s", length=f"{self._timeout:g}")

    def values(
        self, query: str, *, start: datetime, stop: datetime, step: timedelta
    ) -> Sequence[Sequence[tuple[datetime, float]]]:
        """Return every series of a range query, each as (instant, value) ascending.

        Raises:
            QueryError: It could not be answered, or there is no patience left to ask.
        """
        begun = self._begin()
        try:
            return _series(self._ask(query, start, stop, step))
        finally:
            self._end(begun)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _begin(self) -> float:
        with self._lock:
            now = self._clock()
            earned = RECOVERY * (now - self._counted_at)
            self._patience = min(PATIENCE, self._patience + max(0.0, earned))
            self._counted_at = now
            missing = min(self._timeout, PATIENCE) - self._patience
        if missing > 0.0:
            raise QueryError(
                _(
                    "Prometheus was too slow lately: it is asked again in {number} s",
                    number=math.ceil(missing / RECOVERY),
                )
            )
        return now

    def _end(self, begun: float) -> None:
        with self._lock:
            self._patience -= max(0.0, self._clock() - begun)

    def _ask(self, query: str, start: datetime, stop: datetime, step: timedelta) -> bytes:
        form = {
            "query": query,
            "start": f"{start.timestamp():.3f}",
            "end": f"{stop.timestamp():.3f}",
            "step": f"{step.total_seconds():.3f}",
            "timeout": f"{self._timeout:.3f}",
        }
        deadline = self._clock() + self._timeout
        try:
            with self._client.stream("POST", self._url, data=form) as answer:
                body = self._read(answer, deadline)
        except httpx.TimeoutException:
            raise QueryError(self._late()) from None
        except httpx.HTTPError as error:
            why = type(error).__name__
            raise QueryError(_("Prometheus cannot be reached ({error})", error=why)) from None
        if answer.status_code >= _REFUSED:
            raise QueryError(_refusal(answer.status_code, body))
        return body

    def _read(self, answer: httpx.Response, deadline: float) -> bytes:
        body = bytearray()
        for chunk in answer.iter_bytes():
            body += chunk
            if len(body) > MAX_ANSWER_BYTES:
                most = f"{MAX_ANSWER_BYTES:,}"
                raise QueryError(_("Prometheus answers more than {number} bytes", number=most))
            if self._clock() > deadline:
                raise QueryError(self._late())
        return bytes(body)


def _refusal(status: int, body: bytes) -> str:
    """Return why a query was refused, in Prometheus' own words where it gives any."""
    try:
        told = msgspec.json.decode(body)
        reason = str(told["error"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return _("Prometheus answered {status}", status=status)
    return _(
        "Prometheus refused the query ({status}): {reason}", status=status, reason=reason[:300]
    )


def _series(body: bytes) -> Sequence[Sequence[tuple[datetime, float]]]:
    try:
        answer: Mapping[str, Any] = msgspec.json.decode(body)
        data = answer["data"]
        if answer["status"] != "success" or data["resultType"] != "matrix":
            raise QueryError(_("the answer is none to a range query: is this Prometheus?"))
        return tuple(
            tuple((datetime.fromtimestamp(at, UTC), float(text)) for at, text in one["values"])
            for one in data["result"]
        )
    except (msgspec.DecodeError, KeyError, TypeError, ValueError, OverflowError, OSError):
        raise QueryError(_("the answer cannot be read: is this Prometheus?")) from None
