"""The client programs in docs/protocol.md run as they stand there, and so does the browser's client in Node."""

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from helpers import over_socket
from servers import PATIENCE, ROOT, SHOP, Server, Start, free_port, get, needs

from chat.protocol import Message

pytestmark = pytest.mark.e2e

PROGRAM = re.compile(r"<!-- program: (?P<file>\S+) URL [A-Z ]+ -->\n\n```\w+\n(?P<text>.*?)```", re.DOTALL)
PROGRAMS = dict(PROGRAM.findall((ROOT / "docs/protocol.md").read_text()))
JS = ROOT / "tests/js"
MODULES = JS / "node_modules"
NUMBERS = 30


@pytest.mark.parametrize("name", ["client.py", "client.mjs"])
async def test_a_program_of_the_docs_talks(server: Server, tmp_path: Path, name: str) -> None:
    """It joins, sends its text, prints it when it receives it, and ends with success."""
    program = tmp_path / name
    program.write_text(PROGRAMS[name])
    interpreter = sys.executable
    if name.endswith("mjs"):
        needs((MODULES / "ws").is_dir(), "the package ws: npm ci in tests/js")
        (tmp_path / "node_modules").symlink_to(MODULES)
        interpreter = "node"
    async with over_socket(server.ws, "Alice") as alice:
        await alice.join()
        command = [interpreter, str(program), server.ws, "Docs", "as written"]
        done = await asyncio.to_thread(run, command)
        assert (done.returncode, done.stdout) == (0, "Docs: as written\n"), done.stderr
        await alice.expect(Message, username="Docs", content="as written")


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)


# --- Topics ---


@contextmanager
def node(folder: Path, *command: str) -> Iterator[subprocess.Popen[str]]:
    needs((MODULES / "ws").is_dir(), "the package ws: npm ci in tests/js")
    process = subprocess.Popen(["node", *command], cwd=folder, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE)


def facts(process: subprocess.Popen[str], until: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
    """The facts that the program prints, up to the one that is waited for."""
    assert process.stdout
    found = []
    for line in process.stdout:
        found.append(json.loads(line))
        if until(found[-1]):
            return found
    raise AssertionError(f"the program ended after {found[-3:]}")


def test_a_publication_is_made_once_through_the_server_s_end(start: Start) -> None:
    """The server is killed while a client publishes. Each number arrives once and in order, on both sides."""
    port = str(free_port())
    server = start("daphne", PORT=port, **SHOP)
    with node(JS, "topic-client.js", server.ws, "note:1", str(NUMBERS)) as client:
        before = facts(client, lambda fact: fact.get("status") == str(NUMBERS // 3))
        server.process.kill()
        server.process.wait(PATIENCE)
        start("daphne", PORT=port, **SHOP)
        told = before + facts(client, lambda fact: "signal" in fact)
    assert [fact["status"] for fact in told if "status" in fact] == [str(number) for number in range(NUMBERS)]
    assert [fact["seq"] for fact in told if "seq" in fact] == list(range(1, NUMBERS + 1))
    assert [fact["code"] for fact in told if "code" in fact] == ["bad_field"]
    assert {"history": [str(NUMBERS - 2), str(NUMBERS - 1)]} in told
    assert {"signal": "waves"} in told
    assert {"reset": True} not in told
    assert {"states": [{"cursor": 1}], "entries": NUMBERS} in told
    assert {fact["live"] for fact in told if "live" in fact} == {True, False}


def test_the_program_of_the_docs_follows_a_topic(start: Start, tmp_path: Path) -> None:
    """It prints what is committed, once, also after the server was killed."""
    (tmp_path / "topic.mjs").write_text(PROGRAMS["topic.mjs"])
    (tmp_path / "client.js").symlink_to(ROOT / "chat/static/chat/client.js")
    (tmp_path / "node_modules").symlink_to(MODULES)
    port = str(free_port())
    server = start("daphne", PORT=port, **SHOP)
    get(server, "/view/a")
    with node(tmp_path, "topic.mjs", server.ws, "order:1") as program:
        assert program.stdout
        assert program.stdout.readline() == "a\n"
        get(server, "/view/undone")
        get(server, "/task/b")
        assert program.stdout.readline() == "b\n"
        server.process.kill()
        server.process.wait(PATIENCE)
        get(start("daphne", PORT=port, **SHOP), "/view/c")
        assert program.stdout.readline() == "c\n"
