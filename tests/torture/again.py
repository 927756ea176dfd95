"""One message, sent a hundred times: by several tabs of one browser, before and after the server was killed."""

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path

from helpers import SocketPersona, over_socket

from chat.protocol import Ack
from torture.case import Problem
from torture.database import Database
from torture.report import Report
from torture.site import Site

TIMES = 100
TABS = 5
REF = "the same"
RIGHT = {"acks": TIMES, "ids in them": 1, "messages in the log": 1}


async def many_times(folder: Path, database: Database, seed: int) -> Report:
    """There must be one row, one id, and an ack for each."""
    site, room, began = Site(folder, database), f"again-{seed}", time.monotonic()
    key = database.session("Ann")
    try:
        await site.start()
        acks = await _say_it(site, key, room, TIMES // 2)
        await site.kill()
        acks += await _say_it(site, key, room, TIMES // 2)
    finally:
        site.close()
    found = {
        "acks": len(acks),
        "ids in them": len({ack.id for ack in acks}),
        "messages in the log": len(database.log(room).rows),
    }
    problems = [
        Problem("again", f"{name}: {found[name]}, not {right}")
        for name, right in RIGHT.items()
        if found[name] != right
    ]
    return Report(seed=seed, seconds=time.monotonic() - began, counts={**found}, problems=problems)


async def _say_it(site: Site, key: str, room: str, times: int) -> list[Ack]:
    """All tabs at once, each without waiting for its answers."""
    async with AsyncExitStack() as stack:
        options = {"additional_headers": {"Cookie": f"sessionid={key}"}, "origin": f"http://{site.address}"}
        tabs = [await stack.enter_async_context(over_socket(site.url, "Ann", **options)) for _ in range(TABS)]
        for tab in tabs:
            await tab.join(room)
        acks = await asyncio.gather(*(_pipelined(tab, room, times // TABS) for tab in tabs))
    return [ack for some in acks for ack in some]


async def _pipelined(tab: SocketPersona, room: str, times: int) -> list[Ack]:
    for _ in range(times):
        await tab.send("message", room=room, content="once", ref=REF)
    return [await tab.expect(Ack, ref=REF) for _ in range(times)]
