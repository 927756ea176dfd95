"""A worker: the server of a single process, on the master's listening socket. Only this module imports Twisted."""

import asyncio
import logging
import socket
from contextlib import suppress
from typing import Any

from chat.loops import current
from chat.presence import Presence
from chatsite.server import ChatServer
from chatsite.workers.process import ALIVE, DIED, DRAIN_SECONDS, HEARTBEAT, READY, ROLL

logger = logging.getLogger("chatsite.workers")


def work(application: Any, listener: socket.socket, control: socket.socket, drain_seconds: float | None) -> None:
    """Serve until the master or a signal ends it."""
    server = ChatServer(
        application,
        listener=listener,
        companion=lambda server: follow(control, server),
        drain_seconds=drain_seconds,
    )
    server.run()


async def follow(control: socket.socket, server: ChatServer) -> None:
    """Send the master READY and heartbeats, carry out its commands, and stop the server when it is gone."""
    reader, writer = await asyncio.open_connection(sock=control)
    writer.write(READY + b"\n")
    heartbeat = asyncio.create_task(_send_heartbeats(writer))
    try:
        # The connection is reset if the master left something unread.
        with suppress(ConnectionError):
            while line := await reader.readline():
                _carry_out(line, server)
        logger.error("the master is gone: this worker ends")
        server.stop()
    finally:
        heartbeat.cancel()
        writer.close()


async def _send_heartbeats(writer: asyncio.StreamWriter) -> None:
    while True:
        await asyncio.sleep(HEARTBEAT)
        writer.write(ALIVE + b"\n")


def _carry_out(line: bytes, server: ChatServer) -> None:
    match line.split():
        case [command] if command == ROLL:
            server.roll(DRAIN_SECONDS)
        case [command, pid] if command == DIED:
            current(Presence).process_died(int(pid))
