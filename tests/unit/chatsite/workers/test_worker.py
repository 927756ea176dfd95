"""A worker's end of the control socket."""

import asyncio
import select
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from doubles import until

from chat.loops import close_current, install
from chat.presence import Presence
from chatsite.workers.supervisor import STOP_TIMEOUT
from chatsite.workers.worker import follow


async def settled() -> None:
    """Let everybody do what they can do now."""
    for _ in range(10):
        await asyncio.sleep(0)


class Site:
    """The server of a worker, and what it is told to do."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def roll(self, within: float) -> None:
        self.told.append(f"roll within {within:g} s")

    def stop(self) -> None:
        self.told.append("stop")


class Dead(list[int]):
    """Stands in for presence: receives the names of dead processes."""

    def process_died(self, pid: int) -> None:
        self.append(pid)

    async def close(self) -> None:
        pass


@pytest.fixture
async def worker() -> AsyncIterator[tuple[socket.socket, Site, "asyncio.Task[None]"]]:
    """The master's end of the line, the worker's server, and what goes on between them."""
    master, line = socket.socketpair()
    master.settimeout(STOP_TIMEOUT)
    site: Any = Site()
    following = asyncio.create_task(follow(line, site))
    yield master, site, following
    master.close()
    await following
    assert site.told[-1] == "stop"


Line = tuple[socket.socket, Site, "asyncio.Task[None]"]


async def test_a_worker_tells_that_it_serves_and_lives(worker: Line) -> None:
    """From its event loop: one that is stuck says nothing."""
    master, _, _ = worker
    said = b""
    while said.count(b"alive\n") < 2:
        said += await asyncio.to_thread(master.recv, 100)
    assert said == b"ready\nalive\nalive\n"


async def test_a_worker_does_what_it_is_told(worker: Line) -> None:
    """And passes over what it does not know: its master may be older."""
    master, site, _ = worker
    dead = Dead()
    install({Presence: dead})
    master.send(b"died 12\nsing\n\nroll\ndied 3456\n")
    await until(lambda: len(dead) == 2)
    assert dead == [12, 3_456]
    assert site.told == ["roll within 30 s"]
    await close_current()


@pytest.mark.parametrize("unread", [False, True], ids=["all read", "not all read"])
async def test_a_worker_without_a_master_ends(worker: Line, unread: bool) -> None:
    """However that ended."""
    master, site, following = worker
    await until(lambda: select.select([master], [], [], 0)[0])
    if not unread:
        master.recv(100)
    master.close()
    await following
    assert site.told == ["stop"]
