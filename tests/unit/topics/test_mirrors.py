"""Each client ends with the state that the log has, for each way to keep a topic and each way to lose one."""

import asyncio
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest
from doubles import Ear, ear_and_socket
from mirror import Mirror
from shelf import BoardTopic, GaugeTopic, Moved, OrderTopic, Reading, WorldTopic
from thorough import THOROUGH

from chat import loops
from chat.hub import Hub, Socket
from chat.loops import current
from chat.protocol import Subscribe, decode_outgoing
from chat.topics import Topic, apublish, aremove
from chat.topics.subscriptions import Subscriptions

KEYS = [f"key{number}" for number in range(5)]
STEPS = 60
SEEDS = range(40 if THOROUGH else 6)


@dataclass
class Client:
    """Reads its socket's frames into a mirror; may stall, be cut, and come back."""

    mirror: Mirror
    ear: Ear
    socket: Socket
    read: int = 0

    def take(self) -> None:
        for frame in self.ear.frames[self.read :]:
            self.mirror.take(decode_outgoing(frame))
        self.read = len(self.ear.frames)


class World:
    def __init__(self, kind: type[Topic], seed: int) -> None:
        self.topic = kind("all")
        self.random = Random(seed)
        self.hub, self.subscriptions = current(Hub), current(Subscriptions)
        self.clients: list[Client] = []
        self.number = 0

    async def come(self, mirror: Mirror | None = None) -> None:
        ear, socket = ear_and_socket()
        self.hub.add(socket)
        client = Client(mirror or Mirror(self.topic.name), ear, socket)
        since: dict[str, Any] = (
            {"since": mirror.position, "epoch": mirror.epoch} if mirror and mirror.epoch else {}
        )
        await self.subscriptions.subscribe(socket, Subscribe(topic=self.topic.name, rewind=100, **since))
        self.clients.append(client)

    async def step(self) -> None:
        client = self.random.choice(self.clients)
        match self.random.randrange(12):
            case 0 | 1 | 2 | 3:
                await self.put()
            case 4:
                await aremove(self.topic, self.random.choice(KEYS))
            case 5 if not isinstance(self.topic, GaugeTopic):
                self.number += 1
                await apublish(self.topic, Moved("note", self.number))
            case 6:
                await asyncio.gather(*(self.put() for _ in range(20)))
            case 7:
                client.ear.open.clear()
            case 8:
                client.ear.open.set()
            case 9:
                await self.cut(client)
            case 10 if len(self.clients) < 6:
                await self.come()
            case _:
                for _ in range(self.random.randrange(10)):
                    await asyncio.sleep(0)

    async def put(self) -> None:
        self.number += 1
        label = "x" * self.random.choice((0, 10, 400))
        event = Moved(label, self.number) if isinstance(self.topic, OrderTopic) else Reading(self.number, label)
        await apublish(self.topic, event, key=self.random.choice(KEYS))

    async def cut(self, client: Client) -> None:
        """The client has read a part, is cut off, and comes back with its position."""
        client.take()
        self.subscriptions.leave_all(client.socket)
        self.hub.remove(client.socket)
        client.socket.transport.detach()
        self.clients.remove(client)
        await self.come(client.mirror)

    async def end(self) -> list[Mirror]:
        """Everybody reads everything."""
        room = self.hub.room(self.topic.name)
        assert room
        async with asyncio.timeout(20):
            while True:
                for client in self.clients:
                    client.ear.open.set()
                    client.take()
                row = (await room.source.positions([room.log]))[room.log.pk]
                if all(client.mirror.position == row.seq for client in self.clients):
                    return [client.mirror for client in self.clients]
                await asyncio.sleep(0.01)

    async def truth(self) -> Mirror:
        """A mirror of the log itself."""
        room = self.hub.room(self.topic.name)
        assert room
        mirror = Mirror(self.topic.name, epoch=room.log.epoch)
        for change in (await room.source.since(room.log, 0, 10_000)).changes:
            mirror.take(decode_outgoing(change.fresh))
        return mirror


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", [OrderTopic, GaugeTopic, BoardTopic, WorldTopic])
async def test_every_client_ends_with_the_log_s_state(
    rooms: None, settings: Any, kind: type[Topic], seed: int
) -> None:
    settings.CHAT = {"OUTBOX": 1_024, "RING": 5}
    world = World(kind, seed)
    try:
        await world.come()
        for _ in range(STEPS):
            await world.step()
        mirrors = await world.end()
        truth = await world.truth()
        for mirror in mirrors:
            assert mirror.state == truth.state
            assert [entry for entry in mirror.entries if entry in truth.entries] == mirror.entries
    finally:
        await loops.close_current()
