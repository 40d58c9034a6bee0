"""The simulated shop's side of the demo: evaluations and events over HTTP, fast."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Self

import aiohttp
import msgspec

from console.output import CommandError
from metrics.simulate import Order

IN_FLIGHT = 24
"""Requests at a time: enough to keep two cores busy."""

_BATCH = 5_000
_RETRIES = 20
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client was served: variant, OFREP reason, and the flag's value."""

    variant: str
    reason: str
    value: Any


class Driver:
    """One shop talking to one service.

    Args:
        url: Address of the service.
        key: Admin key, for the stepped clock and for applying the file.
        experiment: Flag that is evaluated.
    """

    def __init__(self, url: str, key: str, experiment: str) -> None:
        self._admin = {"Authorization": f"Bearer {key}"}
        self._flag = f"/ofrep/v1/evaluate/flags/{experiment}"
        self._experiment = f"/api/v1/experiments/{experiment}"
        self._http = aiohttp.ClientSession(
            url,
            connector=aiohttp.TCPConnector(limit=IN_FLIGHT),
            timeout=aiohttp.ClientTimeout(total=60),
            headers={"Content-Type": "application/json"},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._http.close()

    async def apply(self, text: str, *, source: str) -> dict[str, Any]:
        """Apply a spec file; return what it did."""
        headers = {**self._admin, "Content-Type": "application/yaml"}
        path = f"/api/v1/experiments?source={source}"
        return await self._post(path, text.encode(), headers=headers)

    async def evaluate(self, orders: Sequence[Order]) -> list[Answer]:
        """Evaluate the flag for each order, many at a time; answers in the order given."""
        answers: list[Answer | None] = [None] * len(orders)
        waiting = iter(enumerate(orders))

        async def work() -> None:
            for index, order in waiting:
                answers[index] = await self.answer(order)

        await asyncio.gather(*(work() for _ in range(min(IN_FLIGHT, len(orders)))))
        return [answer for answer in answers if answer is not None]

    async def answer(self, order: Order) -> Answer:
        """Return what the client of one order is served now."""
        context = {
            "targetingKey": order.order_id,
            "order_id": order.order_id,
            "user_id": order.user_id,
            **order.attributes,
        }
        body = await self._post(self._flag, _encode({"context": context}))
        return Answer(body["variant"], body["reason"], body.get("value"))

    async def send(self, events: Sequence[bytes]) -> int:
        """Send encoded events in batches; return how many were accepted.

        Raises:
            CommandError: The service rejected one: the simulated shop sends good events only.
        """
        accepted = 0
        for batch in _batches(events):
            body = await self._post("/api/v1/events", b"[" + b",".join(batch) + b"]")
            if body["rejected"]:
                first = body["rejected"][0]
                raise CommandError(
                    f"{len(body['rejected'])} events were rejected, the first: {first['reason']}",
                    code="rejected_events",
                )
            accepted += body["accepted"]
        return accepted

    async def step(self, to: datetime) -> Mapping[str, Any]:
        """Move the service's clock; return when everything due until then is done."""
        body = _encode({"to": to.isoformat()})
        return await self._post("/api/v1/demo/clock", body, headers=self._admin)

    async def experiment(self) -> dict[str, Any]:
        """Return everything shown of the experiment."""
        return await self._asked("GET", self._experiment, None, self._admin)

    async def _post(
        self, path: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        return await self._asked("POST", path, body, headers)

    async def _asked(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str] | None
    ) -> dict[str, Any]:
        for _ in range(_RETRIES):
            try:
                async with self._http.request(method, path, data=body, headers=headers) as response:
                    text = await response.read()
                    if response.status == 503:  # noqa: PLR2004 - HTTP's "come back later"
                        await asyncio.sleep(int(response.headers.get("Retry-After", "1")))
                        continue
            except aiohttp.ClientError as error:
                raise CommandError(
                    f"the service stopped answering at {path} ({error})", code="unreachable"
                ) from error
            if not response.ok:
                words = text.decode(errors="replace")[:400]
                raise CommandError(f"{path} answered {response.status}: {words}", code="refused")
            return _decode(text)
        raise CommandError(f"{path} was busy {_RETRIES} times in a row", code="unreachable")


def _batches(events: Sequence[bytes]) -> list[Sequence[bytes]]:
    return [events[i : i + _BATCH] for i in range(0, len(events), _BATCH)]
