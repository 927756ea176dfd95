"""A server's processes, as the system knows them (Linux)."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")


def children(pid: int) -> list[int]:
    """Those that it started and that live, in the order of their start."""
    started = (PROC / f"{pid}/task/{pid}/children").read_text().split()
    return [child for child in map(int, started) if lives(child)]


def lives(pid: int) -> bool:
    """Is it there, and not only its name, for a parent that has not asked for its end?"""
    try:
        return (PROC / f"{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def served_by(pids: Iterable[int]) -> dict[int, int]:
    """Which of these processes has the connection from each port of this machine."""
    owners = {inode: pid for pid in pids for inode in _sockets(pid)}
    found: dict[int, int] = {}
    for line in (PROC / "net/tcp").read_text().splitlines()[1:]:
        _, _, peer, *_, inode = line.split()[:10]
        if inode in owners:
            found[int(peer.partition(":")[2], 16)] = owners[inode]
    return found


def _sockets(pid: int) -> set[str]:
    """The inodes of a process's sockets."""
    inodes = set()
    for entry in (PROC / f"{pid}/fd").iterdir():
        # It may have been closed meanwhile.
        with suppress(FileNotFoundError):
            kind, _, inode = str(entry.readlink()).partition(":[")
            if kind == "socket":
                inodes.add(inode.rstrip("]"))
    return inodes


def variables(pid: int) -> dict[str, str]:
    """Its environment, as it was started with."""
    lines = (PROC / f"{pid}/environ").read_text().split("\0")
    return dict(line.split("=", 1) for line in lines if "=" in line)
