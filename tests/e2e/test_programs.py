"""The client programs in docs/protocol.md run as they stand there."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import over_socket
from servers import PATIENCE, ROOT, Server, needs

from chat.protocol import Message

pytestmark = pytest.mark.e2e

PROGRAM = re.compile(r"<!-- program: (?P<file>\S+) URL NAME TEXT -->\n\n```\w+\n(?P<text>.*?)```", re.DOTALL)
PROGRAMS = dict(PROGRAM.findall((ROOT / "docs/protocol.md").read_text()))
MODULES = ROOT / "tests/js/node_modules"


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
