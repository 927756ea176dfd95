"""Topics in the torture: subscribers, publishers over sockets and through the outbox, and the verdict.

Each published status is unique: "<publisher> <number>". So a loss, a repetition and a wrong order are seen in it.
"""

import asyncio
import json
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from itertools import count, pairwise
from typing import Any

from mirror import Mirror, MissedChangeError
from msgspec import UNSET
from servers import ROOT

from chat.protocol import Ack, AnyOutgoing, Error, ErrorCode, Reconnect
from torture.case import Problem
from torture.connection import Connection
from torture.courier import Courier, Entry, busy_for
from torture.crowd import cancel
from torture.database import Database
from torture.link import PACE, Backoff, Link

PROJECT = {"DJANGO_SETTINGS_MODULE": "shop.settings", "PYTHONPATH": f"{ROOT}:{ROOT / 'tests/e2e'}"}
"""The settings of a site whose topics these are (tests/e2e/shop/)."""
STREAM, STATES, MEMORY = "order:1", ("stock:1", "board:1"), "world:1"
KEPT = (STREAM, *STATES)
KEYS = [f"key{number}" for number in range(6)]
SUBSCRIBERS, PUBLISHERS = 6, 3


class Subscriber(Connection):
    """Keeps a mirror of each topic; is cut, and stops reading, now and then."""

    def __init__(self, urls: Sequence[str], chance: random.Random) -> None:
        super().__init__(urls, {}, PACE, chance)
        self.mirrors = {name: Mirror(name) for name in (*KEPT, MEMORY)}
        # The ids of the stream's entries that came twice, and how often it had to ask for a missing one.
        self.twice: list[int] = []
        self.gaps = 0
        self._waiting: asyncio.Queue[str] = asyncio.Queue()

    def on_open(self, link: Link) -> None:
        self._waiting = asyncio.Queue()
        for name in self.mirrors:
            self._ask(name)
        self.spawn(self._send(link))

    def _ask(self, name: str) -> None:
        mirror = self.mirrors[name]
        place = {"since": mirror.position, "epoch": mirror.epoch} if mirror.epoch else {}
        self._waiting.put_nowait(
            json.dumps({"type": "subscribe", "topic": name, "rewind": 100, "ref": name, **place})
        )

    async def _send(self, link: Link) -> None:
        with suppress(Exception):
            while True:
                await link.send(await self._waiting.get())

    def on_frame(self, frame: AnyOutgoing) -> None:
        if isinstance(frame, Reconnect):
            self.come_back_in(frame.after / 1_000)
        elif isinstance(frame, Error):
            asyncio.get_running_loop().call_later(0.5, self._ask, str(frame.ref))
        elif (mirror := self.mirrors.get(getattr(frame, "topic", UNSET) or "")) is not None:
            try:
                mirror.take(frame)
            except MissedChangeError:
                self.gaps += 1
                self._ask(mirror.topic)

    def on_cut(self) -> None:
        pass

    def on_loss(self, code: int) -> None:
        pass

    def on_nonsense(self, says: str) -> None:
        raise AssertionError(says)

    async def suffer(self) -> None:
        """Until cancelled: stop reading, read on, be cut."""
        while True:
            await asyncio.sleep(self.chance.uniform(0.2, 2.0))
            if self.chance.random() < 0.5:
                self.reading.clear()
                await asyncio.sleep(self.chance.uniform(0.1, 1.5))
                self.reading.set()
            else:
                self.cut()


class Publisher(Connection):
    """Publishes over its socket, one after another, each until it is acknowledged."""

    def __init__(self, name: str, urls: Sequence[str], chance: random.Random) -> None:
        super().__init__(urls, {}, PACE, chance)
        self.name = name
        self.acknowledged: dict[str, list[str]] = defaultdict(list)
        self._numbers = count()
        self._courier = Courier(PACE, chance, lambda _entry: None)
        self._refusals = Backoff(PACE, chance)
        self._refused: asyncio.Queue[str] = asyncio.Queue()

    def put(self, topic: str, *, key: str | None = None) -> None:
        number = next(self._numbers)
        command: dict[str, Any] = {
            "type": "publish",
            "topic": topic,
            "event": "moved",
            "data": {"status": f"{self.name} {number}"},
            "ref": f"{self.name} {number}",
        }
        self._courier.add(Entry(command["ref"], command | ({"key": key} if key else {})))

    async def _subscribe_again(self, link: Link) -> None:
        with suppress(Exception):
            while True:
                name = await self._refused.get()
                await link.send(json.dumps({"type": "subscribe", "topic": name, "ref": name}))

    @property
    def idle(self) -> bool:
        return not self._courier.entries

    def on_open(self, link: Link) -> None:
        self.spawn(self._begin(link))

    async def _begin(self, link: Link) -> None:
        with suppress(Exception):
            for name in KEPT:
                await link.send(json.dumps({"type": "subscribe", "topic": name, "ref": name}))
            self.spawn(self._subscribe_again(link))
            await self._courier.carry(link)

    def on_frame(self, frame: AnyOutgoing) -> None:
        match frame:
            case Ack(ref=str(ref)):
                if entry := self._courier.answered(ref):
                    self.acknowledged[entry.command["topic"]].append(entry.command["data"]["status"])
            case Error(ref=str(ref)) if ref in KEPT:
                # The database is away: as a client does, it asks again.
                asyncio.get_running_loop().call_later(0.3, self._refused.put_nowait, ref)
            case Error(ref=str(ref), code=code, retry_after=after):
                # It may come before its subscription is there again.
                later = code in {ErrorCode.BUSY, ErrorCode.TOO_MANY}
                self._courier.busy(ref, busy_for(after if later and after is not UNSET else None, self._refusals))
            case Reconnect(after=after):
                self.come_back_in(after / 1_000)

    def on_cut(self) -> None:
        pass

    def on_loss(self, code: int) -> None:
        pass

    def on_nonsense(self, says: str) -> None:
        raise AssertionError(says)


@dataclass
class OutboxPublisher:
    """Another program that writes to the outbox, in transactions that it commits or rolls back."""

    name: str
    database: Database
    chance: random.Random
    committed: list[str] = field(default_factory=list)
    undone: list[str] = field(default_factory=list)
    # Nobody knows whether these are committed: the database went away.
    unknown: list[str] = field(default_factory=list)

    def publish(self, number: int) -> None:
        status = f"{self.name} {number}"
        undo = self.chance.random() < 0.2
        try:
            with closing(self.database.connect()) as connection:
                self._insert(connection, status, undo=undo)
        except Exception:  # noqa: BLE001 each driver has its own errors
            self.unknown.append(status)
        else:
            (self.undone if undo else self.committed).append(status)

    def _insert(self, connection: Any, status: str, *, undo: bool) -> None:
        now = "now()" if not self.database.is_file else "datetime('now')"
        sql = (
            "INSERT INTO chat_outbox (topic, event, key, data, gone, author, username, ref, created) "  # noqa: S608 constants
            f"VALUES (?, 'moved', '', ?, {'0' if self.database.is_file else 'false'}, '', '', ?, {now})"
        )
        values = (STREAM, json.dumps({"status": status}), status)
        connection.execute("BEGIN IMMEDIATE" if self.database.is_file else "BEGIN")
        connection.execute(sql if self.database.is_file else sql.replace("?", "%s"), values)
        connection.execute("ROLLBACK" if undo else "COMMIT")


class TopicCrowd:
    """Everybody who subscribes and publishes, in one run."""

    def __init__(self, urls: Sequence[str], database: Database, seed: int) -> None:
        self.database = database
        self.chance = random.Random(f"{seed} topics")
        self.subscribers = [Subscriber(urls, random.Random(f"{seed} s{n}")) for n in range(SUBSCRIBERS)]
        self.publishers = [
            Publisher(f"p{n}.{seed}", urls, random.Random(f"{seed} p{n}")) for n in range(PUBLISHERS)
        ]
        # Runs share a database, and a ref is used once.
        self.outbox = OutboxPublisher(f"outbox.{seed}", database, random.Random(f"{seed} outbox"))
        self._lives: list[asyncio.Task[None]] = []
        self._there: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._there = [asyncio.create_task(each.run()) for each in (*self.subscribers, *self.publishers)]
        self._lives = [
            asyncio.create_task(work)
            for work in (
                *(each.suffer() for each in self.subscribers),
                self._publish_on_sockets(),
                self._publish_by_the_outbox(),
            )
        ]

    async def _publish_on_sockets(self) -> None:
        while True:
            await asyncio.sleep(0.05)
            publisher = self.chance.choice(self.publishers)
            if len(publisher._courier.entries) < 20:
                topic = self.chance.choice(KEPT)
                publisher.put(topic, key=None if topic == STREAM else self.chance.choice(KEYS))

    async def _publish_by_the_outbox(self) -> None:
        for number in count():
            await asyncio.sleep(self.chance.uniform(0.0, 0.2))
            await asyncio.to_thread(self.outbox.publish, number)

    async def judge(self, patience: float) -> list[Problem]:
        """After the faults: all calm down, and what each holds is compared with the database."""
        await cancel(self._lives)
        for each in self.subscribers:
            each.reading.set()
        try:
            async with asyncio.timeout(patience):
                while not await asyncio.to_thread(self._is_settled):  # noqa: ASYNC110 there is no one event for it
                    await asyncio.sleep(0.1)
        except TimeoutError:
            return [Problem("topics", f"not settled: {self._positions()}")]
        return [*self._of_the_log(), *self._of_the_subscribers()]

    def _is_settled(self) -> bool:
        if not all(each.idle for each in self.publishers) or self.database.query(
            "SELECT 1 FROM chat_outbox LIMIT 1"
        ):
            return False
        last = dict(self.database.query("SELECT name, seq FROM chat_topic"))
        return all(each.mirrors[name].position == last.get(name, 0) for each in self.subscribers for name in KEPT)

    def _positions(self) -> str:
        waiting = self.database.query("SELECT count(*) FROM chat_outbox")
        last = dict(self.database.query("SELECT name, seq FROM chat_topic"))
        at = [[each.mirrors[name].position for name in KEPT] for each in self.subscribers]
        return f"{waiting} in the outbox, {last}, subscribers at {at}, idle {[e.idle for e in self.publishers]}"

    # --- The verdict ---

    def _rows(self, name: str) -> list[tuple[int, str, str]]:
        """Each entry's id, key and status, by the number of its last change."""
        rows = self.database.query(
            "SELECT e.number, e.key, e.data FROM chat_entry e JOIN chat_topic t ON t.id = e.topic_id "
            "WHERE t.name = ? ORDER BY e.seq",
            (name,),
        )
        return [(number, key, json.loads(data)["status"]) for number, key, data in rows]

    def _of_the_log(self) -> Iterable[Problem]:
        statuses = [status for _, _, status in self._rows(STREAM)]
        there = set(statuses)
        if len(there) < len(statuses):
            yield Problem("topics", f"{len(statuses) - len(there)} publications are twice in the log")
        wanted = {status for each in self.publishers for status in each.acknowledged[STREAM]}
        if lost := (wanted | set(self.outbox.committed)) - there:
            yield Problem("topics", f"lost: {sorted(lost)[:5]}")
        if risen := there & set(self.outbox.undone):
            yield Problem("topics", f"rolled back, and published: {sorted(risen)[:5]}")
        for name in {status.split()[0] for status in there}:
            numbers = [int(status.split()[1]) for status in statuses if status.split()[0] == name]
            if any(later <= earlier for earlier, later in pairwise(numbers)):
                yield Problem("topics", f"out of order: those of {name}")
        sums = self.database.query(
            "SELECT t.name FROM chat_topic t LEFT JOIN chat_entry e ON e.topic_id = t.id "
            "GROUP BY t.id, t.name, t.seq, t.pruned "
            "HAVING t.seq <> t.pruned + count(e.id) + coalesce(sum(e.changes), 0)"
        )
        if sums:
            yield Problem("topics", f"the numbers of {sums} do not add up")

    def _of_the_subscribers(self) -> Iterable[Problem]:
        stream = [(number, {"status": status}) for number, _, status in self._rows(STREAM)]
        states = {name: {key: {"status": status} for _, key, status in self._rows(name)} for name in STATES}
        for number, each in enumerate(self.subscribers):
            found = each.mirrors[STREAM].entries
            if found != stream[len(stream) - len(found) :]:
                yield Problem("topics", f"subscriber {number} has another stream than the log")
            for name in STATES:
                if each.mirrors[name].state != states[name]:
                    yield Problem("topics", f"subscriber {number} has another state of {name} than the log")

    def counts(self) -> dict[str, int | float]:
        return {
            "publications acknowledged": sum(len(s) for p in self.publishers for s in p.acknowledged.values()),
            "publications committed": len(self.outbox.committed),
            "publications rolled back": len(self.outbox.undone),
            "gaps asked for": sum(each.gaps for each in self.subscribers),
        }

    async def close(self) -> None:
        await cancel([*self._lives, *self._there])


@asynccontextmanager
async def topics(urls: Sequence[str], database: Database, seed: int) -> AsyncIterator[TopicCrowd]:
    """The crowd, started; gone at the end."""
    crowd = TopicCrowd(urls, database, seed)
    crowd.start()
    try:
        yield crowd
    finally:
        await crowd.close()
