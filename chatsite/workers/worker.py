"""A worker: the server of a single process, on the master's socket. Only here is Twisted."""

import asyncio
import logging
import socket
from contextlib import suppress
from typing import Any

from chat.loops import of_this_loop
from chat.presence import Presence
from chatsite.server import ChatServer
from chatsite.workers.process import ALIVE, BEAT, DIED, LET_GO, READY, ROLL

logger = logging.getLogger("chatsite.workers")


def work(application: Any, listener: socket.socket, line: socket.socket, drain_within: float | None) -> None:
    """Serve until the master or a signal says otherwise."""
    server = ChatServer(
        application,
        listener=listener,
        beside=lambda server: follow(line, server),
        drain_within=drain_within,
    )
    server.run()


async def follow(line: socket.socket, server: ChatServer) -> None:
    """Tell the master that we serve, and that we live, and do what it says. Without it, end."""
    reader, writer = await asyncio.open_connection(sock=line)
    writer.write(READY + b"\n")
    beating = asyncio.create_task(_beat(writer))
    try:
        # The line breaks so where the master left something unread.
        with suppress(ConnectionError):
            while said := await reader.readline():
                _obey(said, server)
        logger.error("the master is gone: this worker ends")
        server.stop()
    finally:
        beating.cancel()
        writer.close()


async def _beat(writer: asyncio.StreamWriter) -> None:
    while True:
        await asyncio.sleep(BEAT)
        writer.write(ALIVE + b"\n")


def _obey(said: bytes, server: ChatServer) -> None:
    match said.split():
        case [word] if word == ROLL:
            server.roll(LET_GO)
        case [word, pid] if word == DIED:
            of_this_loop(Presence).process_died(int(pid))
