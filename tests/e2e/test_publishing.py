"""A Django project publishes: in a view, a task, an async view, a command of another process; and is killed."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http.client import HTTPException

import pytest
import zygote
from helpers import SocketPersona, over_socket
from mirror import Mirror
from servers import PATIENCE, ROOT, SHOP, Server, Start, get

from chat.protocol import Subscribed

pytestmark = [pytest.mark.e2e, pytest.mark.on_services]


@asynccontextmanager
async def subscriber(server: Server, mirror: Mirror) -> AsyncIterator[SocketPersona]:
    """A client of the order's topic that goes on from the mirror's position."""
    position = {"since": mirror.position, "epoch": mirror.epoch} if mirror.epoch else {}
    async with over_socket(server.ws, "Ann") as ann:
        await ann.send("subscribe", topic="order:1", **position)
        mirror.take(await ann.expect(Subscribed))
        yield ann


async def until(ann: SocketPersona, mirror: Mirror, number: int) -> list[str]:
    """The statuses, when there are so many."""
    while len(mirror.entries) < number:
        mirror.take(await ann.next())
    return [data["status"] for _, data in mirror.entries]


def command(server: Server, *statuses: str) -> None:
    """Publish from another process."""
    zygote.run(["manage.py", "ship", *statuses], {**os.environ, **server.variables}, ROOT)


async def test_a_project_publishes_from_everywhere(start: Start) -> None:
    """Each publication that is committed comes once and in order; of what is rolled back comes nothing."""
    mirror = Mirror("order:1")
    server = start("daphne", **SHOP)
    async with subscriber(server, mirror) as ann:
        for path, number in (("view/a", 1), ("view/undone-1", 1), ("task/b", 2), ("async/c", 3)):
            await asyncio.to_thread(get, server, f"/{path}")
            await until(ann, mirror, number)
        await asyncio.to_thread(command, server, "d", "undone-2", "e", "f")
        assert await until(ann, mirror, 6) == ["a", "b", "c", "d", "e", "f"]
        assert await ann.silence() == []


async def test_a_commit_whose_process_was_killed_is_delivered(start: Start) -> None:
    """The process ends between the commit and the hint. The next one delivers, from the client's position."""
    mirror = Mirror("order:1")
    server = start("daphne", **SHOP)
    async with subscriber(server, mirror) as ann:
        await asyncio.to_thread(get, server, "/view/first")
        await until(ann, mirror, 1)
        with pytest.raises((HTTPException, OSError)):
            await asyncio.to_thread(get, server, "/killed/last")
        server.process.wait(PATIENCE)
    async with subscriber(start("daphne", **SHOP), mirror) as ann:
        assert await until(ann, mirror, 2) == ["first", "last"]


async def test_two_processes_share_the_topics(start: Start) -> None:
    """Subscribers of both get everything, in one order, whichever numbers it."""
    here, there = Mirror("order:1"), Mirror("order:1")
    first, second = start("daphne", **SHOP), start("daphne", **SHOP)
    async with subscriber(first, here) as ann, subscriber(second, there) as ben:
        for number in range(10):
            await asyncio.to_thread(get, (first, second)[number % 2], f"/view/{number}")
        await asyncio.to_thread(command, first, "last")
        assert sorted(await until(ann, here, 11)) == sorted([*map(str, range(10)), "last"])
        await until(ben, there, 11)
    assert here.entries == there.entries
