"""The article's own client, unchanged: open /ws, join with a name, talk. Raw JSON, nothing of ours on its side."""

import asyncio
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from servers import PATIENCE, Server, needs
from websockets.asyncio.client import ClientConnection, connect

JS = Path(__file__).parents[1] / "js"
pytestmark = pytest.mark.e2e


async def _until(socket: ClientConnection, type: str, **fields: object) -> dict[str, Any]:  # noqa: A002
    """The next frame of that type and with those fields."""
    async with asyncio.timeout(PATIENCE):
        while True:
            frame: dict[str, Any] = json.loads(await socket.recv())
            if frame["type"] == type and fields.items() <= frame.items():
                assert isinstance(frame["timestamp"], int), frame
                return frame


async def test_the_articles_conversation(server: Server) -> None:
    """Two clients that know the four types of the article only: join, userList, message, leave."""
    async with connect(server.ws) as ankit, connect(server.ws) as priya:
        await ankit.send('{"type": "join", "username": "Ravi", "timestamp": 1700000000000}')
        await _until(ankit, "join", username="Ravi")
        await priya.send('{"type": "join", "username": "Priya", "timestamp": 1700000000000}')
        await _until(ankit, "join", username="Priya")
        while not {"Ravi", "Priya"} <= set((await _until(ankit, "userList"))["users"]):
            pass

        said = {"type": "message", "username": "Priya", "content": "hello", "timestamp": 1700000000000}
        await priya.send(json.dumps(said))
        for socket in (ankit, priya):
            heard = await _until(socket, "message", username="Priya", content="hello")
            assert heard["timestamp"] > said["timestamp"], "the server's clock, not the client's"

        await priya.close()
        await _until(ankit, "leave", username="Priya")
        assert "Priya" not in (await _until(ankit, "userList"))["users"]


@contextmanager
def _node_client(server: Server, name: str) -> Iterator[subprocess.Popen[str]]:
    """The article's flow in plain Node with `ws`; it prints the frames that it receives, a line each."""
    command = ["node", "article-client.js", server.ws, name]
    process = subprocess.Popen(command, cwd=JS, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _heard(process: subprocess.Popen[str], types: set[str]) -> dict[str, dict[str, Any]]:
    """The client's output, until it has one frame of each type."""
    assert process.stdout
    heard: dict[str, dict[str, Any]] = {}
    for line in process.stdout:
        frame: dict[str, Any] = json.loads(line)
        assert isinstance(frame["timestamp"], int)
        heard[frame["type"]] = frame
        if types <= heard.keys():
            return heard
    raise AssertionError(f"the client ended without {types - heard.keys()}")


async def test_a_killed_node_client_leaves(server: Server) -> None:
    """The article's client in plain Node receives join, userList, message; when it is killed, others see
    `leave`.
    """
    needs((JS / "node_modules" / "ws").is_dir(), "the package ws: npm ci in tests/js")
    async with connect(server.ws) as watcher:
        await watcher.send('{"type": "join", "username": "Watcher"}')
        await _until(watcher, "welcome")
        with _node_client(server, "Ankit") as ankit:
            frames = await asyncio.to_thread(_heard, ankit, {"join", "userList", "message"})
            assert frames["message"]["content"] == "hello from node"
            await _until(watcher, "message", username="Ankit")
            ankit.kill()
            await _until(watcher, "leave", username="Ankit")
