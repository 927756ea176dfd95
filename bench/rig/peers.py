"""The servers that are compared. To add one: a program in peers/, one row here, its versions in the lock."""

import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rig.places import BENCH, BIN, PEERS, PROJECT

PYTHON = str(BIN / "python")


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """The arguments for a server's start."""

    port: int
    clients: int
    # There are several rooms, or only clients that joined may receive: the article's broadcast knows neither.
    separate_rooms: bool
    in_flight: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    name: str
    title: str
    # Its protocol: a row in load/dialects.c.
    dialect: str
    command: Callable[[Start], list[str]]
    cwd: Path = PEERS
    environment: Mapping[str, str] = field(default_factory=dict)
    # Required packages; the report has their versions.
    python_packages: tuple[str, ...] = ()
    node_packages: tuple[str, ...] = ()
    # Does every client in a room receive each join?
    announces: bool = False
    # With one room: do clients that only receive have to join?
    listeners_join: bool = True
    ours: bool = False
    # Not a server: it shows the kernel's share alone.
    floor: bool = False
    note: str = ""

    def missing(self) -> str | None:
        """Why it can't run here; None when it can."""
        for package in self.python_packages:
            if not list(BENCH.glob(f".venv/lib/python*/site-packages/{package.replace('-', '_')}-*.dist-info")):
                return f"the Python package {package} is not installed: {_install_errors()}"
        for package in self.node_packages:
            if not shutil.which("node"):
                return "there is no node on this machine"
            if not (BENCH / "node_modules" / package).exists():
                return f"the npm package {package} is not installed"
        return None


def _install_errors() -> str:
    log = BENCH / ".venv" / "peers.log"
    errors = [line for line in log.read_text().splitlines() if "ERROR" in line] if log.exists() else []
    return errors[-1] if errors else "bench/setup says why"


# The product as it is deployed: its own defaults, all features on. GRACE: users who left don't stay listed. The
# limits are on, and above the load generator's rate: it is one address, and sends more than people do.
HIGH = "1000000"
LIMITS = {
    f"CHAT_{name}": HIGH
    for name in (
        *("SOCKET_RATE", "SOCKET_BURST", "PERSON_RATE", "PERSON_BURST", "ADDRESS_RATE", "ADDRESS_BURST"),
        *("CONNECT_RATE", "CONNECT_BURST", "SOCKETS", "SOCKETS_PER_PERSON", "SOCKETS_PER_ADDRESS"),
        *("REQUEST_RATE", "REQUEST_BURST", "GUEST_RATE", "GUEST_BURST", "ROOM_RATE", "ROOM_BURST"),
    )
}
OURS = {"SECRET_KEY": secrets.token_hex(32), "CHAT_GRACE": "0", **LIMITS}


def _node(program: str) -> list[str]:
    return [shutil.which("node") or "node", str(PEERS / program)]


def _uvicorn(application: str, port: int) -> list[str]:
    options = ["--loop", "uvloop", "--backlog", "4096", "--log-level", "warning"]
    return [PYTHON, "-m", "uvicorn", application, "--port", str(port), *options]


def _article(start: Start) -> list[str]:
    return [*_node("article.mjs"), str(start.port), *(["rooms"] if start.separate_rooms else [])]


PEERS_TABLE = (
    Peer(
        name="ours",
        title="this project, `manage.py serve` (Daphne)",
        dialect="chat",
        command=lambda start: [PYTHON, "manage.py", "serve", "--port", str(start.port)],
        cwd=PROJECT,
        environment=OURS,
        python_packages=("django", "channels", "daphne", "twisted", "autobahn", "msgspec"),
        announces=True,
        ours=True,
    ),
    Peer(
        name="ours-uvicorn",
        title="this project on uvicorn (uvloop)",
        dialect="chat",
        command=lambda start: _uvicorn("chatsite.asgi:application", start.port),
        cwd=PROJECT,
        environment=OURS,
        python_packages=("uvicorn", "uvloop"),
        announces=True,
        ours=True,
    ),
    Peer(
        name="article",
        title="the article's server (Node, `ws`)",
        dialect="article",
        command=_article,
        node_packages=("ws",),
        announces=True,
        listeners_join=False,
        note="Its joins cost in proportion to the square of the members, so where one room is measured only those "
        "who speak join; it broadcasts to all who are connected.",
    ),
    Peer(
        name="socketio",
        title="Socket.IO (Node)",
        dialect="socketio",
        command=lambda start: [*_node("socketio.mjs"), str(start.port)],
        node_packages=("socket.io",),
    ),
    Peer(
        name="channels",
        title="the Channels tutorial on stock Daphne",
        dialect="tutorial",
        command=lambda start: [
            *[PYTHON, "-m", "daphne", "-b", "127.0.0.1", "-p", str(start.port), "-v", "0"],
            "channels_tutorial:application",
        ],
        python_packages=("channels", "daphne"),
        note="In-memory layer with its capacity raised, so that it drops nothing.",
    ),
    Peer(
        name="socketio-python",
        title="python-socketio on uvicorn (uvloop)",
        dialect="socketio",
        command=lambda start: _uvicorn("socketio_python:application", start.port),
        python_packages=("python-socketio", "uvicorn", "uvloop"),
    ),
    Peer(
        name="websockets",
        title="`websockets` broadcast (uvloop)",
        dialect="plain",
        command=lambda start: [PYTHON, "websockets_broadcast.py", str(start.port)],
        python_packages=("websockets", "uvloop"),
    ),
    Peer(
        name="uwebsockets",
        title="uWebSockets (socketify)",
        dialect="plain",
        command=lambda start: [PYTHON, "uwebsockets.py", str(start.port)],
        python_packages=("socketify",),
        note="It drops messages for a client that has more than 64 KiB to read (its default).",
    ),
    Peer(
        name="floor",
        title="the floor: send(2) alone, one a delivery",
        dialect="floor",
        command=lambda start: [str(BIN / "floor"), str(start.port), str(start.clients), "1"],
        floor=True,
    ),
    Peer(
        name="floor-joined",
        title="the floor: send(2) alone, all in flight in one",
        dialect="floor",
        command=lambda start: [str(BIN / "floor"), str(start.port), str(start.clients), str(start.in_flight)],
        floor=True,
    ),
)

PEERS_BY_NAME = {peer.name: peer for peer in PEERS_TABLE}


def environment_of(peer: Peer, database: Path) -> dict[str, str]:
    """The variables of the peer's process: ours has a database of its own, and none has this shell's settings."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
    return {
        **kept,
        "PYTHONPATH": str(peer.cwd),
        "NODE_ENV": "production",
        **({"DATABASE_URL": f"sqlite:///{database}"} if peer.ours else {}),
        **peer.environment,
    }
