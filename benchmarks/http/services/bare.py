"""A plain Starlette route that reads the body and answers with one fixed flag."""

import sys

from serving import run
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

ANSWER = b'{"key":"three-step-cancel","value":true,"reason":"SPLIT","variant":"control"}'


async def answer(request: Request) -> Response:
    await request.body()
    return Response(ANSWER, media_type="application/json")


run(
    Starlette(routes=[Route("/ofrep/v1/evaluate/flags/{key}", answer, methods=["POST"])]),
    port=int(sys.argv[1]),
)
