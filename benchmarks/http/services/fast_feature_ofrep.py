"""fast-feature-ofrep as its guide mounts it, one flag of two equal arms in memory."""

import sys

from fast_feature.core import Flag, FlagRepository
from fast_feature.ofrep import OfrepRouter
from fastapi import FastAPI
from serving import run

FLAG = Flag(
    "three-step-cancel",
    variants={
        "control": {"steps": ["confirm"]},
        "three_step": {"steps": ["points_lost", "coupon_returned", "confirm"]},
    },
    default_variant="control",
    targeting={"fractional": [["control", 50], ["three_step", 50]]},
)


class OneFlag(FlagRepository):
    async def get(self, key: str) -> Flag | None:
        return FLAG if key == FLAG.key else None

    async def list_all(self) -> list[Flag]:
        return [FLAG]

    async def create(self, flag: Flag) -> Flag:
        raise NotImplementedError

    async def update(self, flag: Flag) -> Flag:
        raise NotImplementedError

    async def delete(self, key: str) -> None:
        raise NotImplementedError


app = FastAPI()
app.include_router(OfrepRouter.build(OneFlag()))
run(app, port=int(sys.argv[1]))
