"""The server through its lives: always on one port and one database, each life with a log of its own."""

import asyncio
import re
import signal
import time
from contextlib import ExitStack
from pathlib import Path

from databases import manage
from servers import Server, free_port, running

from torture.database import SQLITE, Database
from torture.engines import Cable
from torture.on_topics import PROJECT

CATCH_UP = 600
SETTINGS = {
    # Small, so that a few seconds reach them: then the log is read from the database, or a client starts over.
    "CHAT_RING": "60",
    "CHAT_CATCH_UP": str(CATCH_UP),
    "CHAT_OUTBOX": "65536",
    "CHAT_STUCK": "2",
    "CHAT_PIPELINE": "8",
    # All names are shown, so that they can be compared.
    "CHAT_USER_LIST_NAMES": "2000",
    "CHAT_GRACE": "1",
    "LOG_LEVEL": "WARNING",
}
TRACEBACK = re.compile(r"Traceback.*?(?=\n\S*\d{4}-|\Z)", re.DOTALL)


class Site:
    """A server that may be killed and started again."""

    def __init__(self, folder: Path, database: Database, cable: Cable | None = None, **settings: str) -> None:
        self.folder, self.database, self.settings = folder, database, settings
        # To the Redis that it shares with others, where there is one.
        self.cable = cable
        self.address = f"127.0.0.1:{free_port()}"
        self.logs: list[Path] = []
        # How the server ended when it was asked to, and after how many seconds.
        self.exits: list[tuple[int, float]] = []
        # Seconds in which nobody listened.
        self.away = 0.0
        # Held by who ends it, until it is there again.
        self.turn = asyncio.Lock()
        self._life = ExitStack()
        self.server: Server | None = None

    @property
    def url(self) -> str:
        return f"ws://{self.address}/ws"

    async def start(self) -> None:
        self.server = await asyncio.to_thread(self._start)

    def _start(self) -> Server:
        _, _, port = self.address.rpartition(":")
        variables = {**PROJECT, **SETTINGS, **self.settings, "DATABASE_URL": self.database.url, "PORT": port}
        if self.cable:
            variables["REDIS_URL"] = f"redis://{self.cable.address}/0"
        server = self._life.enter_context(running("daphne", self.folder, self.database.url, **variables))
        # Tracebacks are looked for in all lives together.
        server.clean = False
        self.logs.append(server.log)
        return server

    async def kill(self, pause: float = 0.0) -> None:
        """SIGKILL, and a new life."""
        await self._again(signal.SIGKILL, pause)

    async def drain(self, pause: float = 0.0) -> None:
        """SIGTERM, which tells everybody, and a new life."""
        self.exits.append(await self._again(signal.SIGTERM, pause))

    async def _again(self, how: signal.Signals, pause: float) -> tuple[int, float]:
        """How the life before ended, and after how many seconds."""
        assert self.server
        async with self.turn:
            asked = time.monotonic()
            self.server.process.send_signal(how)
            code = await asyncio.to_thread(self.server.process.wait)
            ended = time.monotonic()
            await asyncio.to_thread(self._life.close)
            await asyncio.sleep(pause)
            await self.start()
            self.away += time.monotonic() - ended
            return code, ended - asked

    def freeze(self, *, frozen: bool) -> None:
        """SIGSTOP, as a machine that is overloaded or asleep; and SIGCONT."""
        assert self.server
        self.server.process.send_signal(signal.SIGSTOP if frozen else signal.SIGCONT)

    def tracebacks(self) -> list[str]:
        return [found for log in self.logs for found in TRACEBACK.findall(log.read_text(errors="replace"))]

    def close(self) -> None:
        self._life.close()


def migrated(url: str) -> Database:
    """The database, with its tables."""
    manage(url, "migrate", "--verbosity", "0")
    return Database(url)


def a_file(folder: Path) -> str:
    """The URL of an SQLite database that is not there yet."""
    return f"{SQLITE}{folder / 'torture.sqlite3'}"
