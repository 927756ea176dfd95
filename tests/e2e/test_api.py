"""The project's code uses the chat from another process than the server's: with Redis and without."""

import asyncio
import os
from pathlib import Path

import msgspec
import pytest
import zygote
from helpers import SocketPersona, over_socket
from servers import ROOT, Server, Start, free_port, needs, redis

from chat.protocol import CloseCode, Message, RoomEvent

pytestmark = [pytest.mark.e2e]

PROJECT = {"DJANGO_SETTINGS_MODULE": "shop.settings", "PYTHONPATH": f"{ROOT}:{ROOT / 'tests/e2e'}"}


def talk(server: Server, *words: str) -> str:
    """Run the command in a process of its own; what it printed."""
    return zygote.run(["manage.py", "talk", *words], {**os.environ, **server.variables}, ROOT)


async def texts(persona: SocketPersona, number: int) -> list[str]:
    return [(await persona.expect(Message)).content for _ in range(number)]


@pytest.mark.on_services
async def test_a_command_posts(start: Start) -> None:
    """Each message comes once and in order, also those of transactions; those rolled back never come."""
    server = start("daphne", **PROJECT)
    async with over_socket(server.ws, "Ann") as ann:
        await ann.join()
        await asyncio.to_thread(
            talk, server, "post", "a", "undone-1", "held-b", "c", "held-d", "a", "undone-2", "e"
        )
        assert await texts(ann, 5) == ["a", "held-b", "c", "held-d", "e"]
        await asyncio.to_thread(talk, server, "post", "held-f", "held-g")
        assert await texts(ann, 2) == ["held-f", "held-g"]
        assert await ann.silence() == []


async def test_with_redis_a_command_reaches_users(start: Start, tmp_path: Path) -> None:
    """It knows who is online in two servers, sends events, and ends an account's connections in both."""
    needs(redis, "redis-server")
    port = free_port()
    with redis(tmp_path, port):
        shared = {**PROJECT, "REDIS_URL": f"redis://127.0.0.1:{port}/0"}
        first = start("daphne", **shared)
        second = start("daphne", **shared)
        token = await asyncio.to_thread(signed_up, first)
        async with over_socket(first.ws, "Ann") as ann, over_socket(second.ws, "Ben") as ben:
            await ann.join(token=token)
            await ben.join()
            assert await asyncio.to_thread(talk, second, "who") == "['Ann', 'Ben'] True\n"
            for persona, times in ((ann, 1), (ben, 1), (ann, 2)):
                assert msgspec.json.decode((await persona.expect(RoomEvent)).data) == {"times": times}
            assert await ann.closed() == CloseCode.FORBIDDEN
            await asyncio.to_thread(talk, first, "post", "bye")
            assert (await ben.expect(Message)).content == "bye"


def signed_up(server: Server) -> str:
    """Make Ann's account; a token for it."""
    environment = {**os.environ, **server.variables, "DJANGO_SUPERUSER_PASSWORD": "x"}
    words = ["manage.py", "createsuperuser", "--noinput", "--username", "Ann", "--email", "ann@example.com"]
    zygote.run(words, environment, ROOT)
    return zygote.run(["manage.py", "chat_token", "Ann"], environment, ROOT).strip()
