"""Channels over HTTP: how their messages fare, and a test message through one of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from guardrails.api import examples
from guardrails.api.access import Guard
from guardrails.api.acting import Text
from guardrails.api.answers import described, refusals, to_json
from guardrails.channel_views import ChannelTest, ChannelView, Letter
from guardrails.engine import Engine


@dataclass(frozen=True, slots=True)
class ChannelsAnswer:
    """Every channel."""

    channels: tuple[ChannelView, ...]


class Digest(BaseModel):
    """What is sent: text for people, as `turnback digest` writes it."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [examples.DIGEST]})

    key: Text = Field(
        min_length=1, max_length=200, description="The same for every delivery of one digest."
    )
    title: Text = Field(max_length=300, pattern=r"\S", description="One line.")
    text: Text = Field(max_length=200_000, pattern=r"\S", description="All of it.")


def channels_router(engine: Callable[[], Engine], guard: Callable[[], Guard]) -> APIRouter:
    """Return the routes that list channels and try one: for admins alone.

    Where messages go is nobody else's business, and a test message is sent to people.

    Args:
        engine: Returns the running engine.
        guard: Returns who may do what.
    """

    def admit(request: Request) -> None:
        guard().may_change(request)

    api = APIRouter(
        prefix="/api/v1/channels",
        tags=["operation"],
        responses=refusals(),
        dependencies=[Depends(admit)],
    )
    listed = described(ChannelsAnswer, {"channels": [examples.CHANNEL]})
    passed_on = described(ChannelTest, examples.DIGEST_SENT, what="What became of it")
    tried = described(ChannelTest, examples.CHANNEL_TEST, what="What became of it")

    @api.get("", summary="Where messages go, and how they fare", responses=listed)
    def channels() -> Response:
        return to_json(ChannelsAnswer(engine().channel_list()))

    @api.post("/{name}/test", summary="Send one test message through a channel", responses=tried)
    def test(
        name: Annotated[str, Path(min_length=1, max_length=200, description="The channel.")],
    ) -> Response:
        return to_json(engine().try_channel(name))

    @api.post("/{name}/digests", summary="Send a digest through a channel", responses=passed_on)
    def digest(
        name: Annotated[str, Path(min_length=1, max_length=200, description="The channel.")],
        sent: Digest,
    ) -> Response:
        return to_json(engine().send_letter(name, Letter(sent.key, sent.title, sent.text)))

    _ = (channels, test, digest)
    return api
