"""The Dockerfile, without Docker: what it copies is laid out and used as it says.

It shows that nothing is missing in the image and that nothing is written to it. That Docker builds and runs it no
test here shows.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.request import ProxyHandler, build_opener

import msgspec
import pytest
from helpers import over_socket
from servers import PATIENCE, ROOT, free_port

pytestmark = pytest.mark.e2e

# Nothing of ours: neither settings nor where our modules are.
PLAIN = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}


class Step(NamedTuple):
    """An instruction of the Dockerfile."""

    name: str
    rest: str


def steps() -> Iterator[Step]:
    text = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text())
    for line in text.splitlines():
        if line and not line.startswith("#"):
            yield Step(*line.split(maxsplit=1))


def words_of(name: str) -> list[str]:
    """The list of words that an instruction has, or ends with."""
    (rest,) = [step.rest for step in steps() if step.name == name]
    return msgspec.json.decode(rest[rest.index("[") :], type=list[str])


def commands() -> list[tuple[dict[str, str], list[str]]]:
    """Variables and arguments of commands with the site's own Python."""
    found = []
    for step in steps():
        if step.name == "RUN" and ("manage.py" in step.rest or "compileall" in step.rest):
            words = shlex.split(step.rest)
            variables = [word for word in words if re.match(r"[A-Z_]+=", word)]
            environment = dict(variable.split("=", 1) for variable in variables)
            found.append((environment, [sys.executable, *words[len(variables) + 1 :]]))
    return found


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the image has, made as the Dockerfile makes it; Python and the packages are ours."""
    folder = tmp_path_factory.mktemp("image")
    for step in steps():
        if step.name == "COPY" and "--from" not in step.rest:
            source, target = step.rest.split()
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, folder / target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / source, folder / target)
    assert len(commands()) == 2
    for variables, words in commands():
        subprocess.run(words, cwd=folder, env={**PLAIN, **variables}, check=True, timeout=60)
    return folder


def contents(folder: Path) -> dict[str, float]:
    """All files, and when they were written."""
    return {str(path): path.stat().st_mtime for path in folder.rglob("*") if path.is_file()}


@contextmanager
def served(image: Path, database: Path) -> Iterator[str]:
    """Run the container's command until its own health check passes, and return the address."""
    port = str(free_port())
    environment = {**PLAIN, "SECRET_KEY": "k" * 32, "DATABASE_URL": f"sqlite:///{database}"}
    migrate = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
    subprocess.run(migrate, cwd=image, env=environment, check=True, timeout=60)
    command = [sys.executable, "manage.py", *words_of("CMD"), "--host", "127.0.0.1", "--port", port]
    asking = [sys.executable, *words_of("HEALTHCHECK")[1:], "/healthz", port]
    with subprocess.Popen(command, cwd=image, env=environment) as process:
        try:
            deadline = time.monotonic() + PATIENCE
            while subprocess.run(asking, cwd=image, env=PLAIN, check=False, capture_output=True).returncode:
                assert process.poll() is None
                assert time.monotonic() < deadline
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()
    assert process.returncode == 0


def ask(url: str) -> bytes:
    """The response's body. Raises HTTPError."""
    with build_opener(ProxyHandler({})).open(url, timeout=PATIENCE) as response:
        body: bytes = response.read()
        return body


async def test_the_image_serves_and_is_not_written_to(image: Path, tmp_path: Path) -> None:
    """The copied files create their tables, serve pages, static files and sockets, and pass their own health
    check.
    """
    before = contents(image)
    with served(image, tmp_path / "db.sqlite3") as address:
        page = ask(f"http://{address}/").decode()
        css = re.search(r'href="(/static/chat/chat\.[0-9a-f]{12}\.css)"', page)
        assert css
        assert ask(f"http://{address}{css[1]}")
        async with over_socket(f"ws://{address}/ws", "Alice") as alice:
            await alice.join()
            await alice.say("hi")
    assert contents(image) == before


def test_a_server_that_is_not_there_is_not_healthy() -> None:
    """The health check fails, and says why."""
    asking = [sys.executable, *words_of("HEALTHCHECK")[1:], "/healthz", str(free_port())]
    # The image has the same file; it takes seconds to build.
    asked = subprocess.run(asking, cwd=ROOT, env=PLAIN, check=False, capture_output=True, text=True)
    assert asked.returncode == 1
    assert "no answer" in asked.stderr
