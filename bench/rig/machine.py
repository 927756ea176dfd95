"""The machine, and the versions of all measured software."""

import os
import platform
import re
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from rig.peers import PEERS_TABLE
from rig.places import BENCH, PROJECT

CPUS = Path("/sys/devices/system/cpu")


def describe(cores: tuple[int, int]) -> dict[str, Any]:
    return {
        "cpu": _field("/proc/cpuinfo", r"^model name\s*: (.+)$"),
        "cores": os.cpu_count(),
        "server_core": cores[0],
        "load_core": cores[1],
        "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "system": _field("/etc/os-release", r'^PRETTY_NAME="?([^"\n]+)'),
        "project": _said("git", "-C", str(PROJECT), "describe", "--always", "--dirty"),
        "versions": _versions(),
    }


def two_cores() -> tuple[int, int]:
    """One for the server, one for the load generator: not two threads of one core, if there is a choice."""
    cores = sorted(os.sched_getaffinity(0))
    first = cores[0]
    others = [core for core in cores if core not in _siblings(first)] or cores[1:] or cores
    return first, others[0]


def _siblings(core: int) -> set[int]:
    path = CPUS / f"cpu{core}" / "topology" / "thread_siblings_list"
    found: set[int] = set()
    for part in path.read_text().strip().split(",") if path.exists() else [str(core)]:
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found


def _versions() -> dict[str, str]:
    packages = sorted({package for peer in PEERS_TABLE for package in peer.python_packages})
    versions = {"Python": platform.python_version(), "Node": _said("node", "--version").removeprefix("v")}
    for package in packages:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "missing"
    for package in sorted({package for peer in PEERS_TABLE for package in peer.node_packages}):
        manifest = BENCH / "node_modules" / package / "package.json"
        versions[package] = _field(str(manifest), r'"version": "([^"]+)"') or "missing"
    versions["C compiler"] = _said("cc", "--version").partition("\n")[0]
    return versions


def _field(path: str, pattern: str) -> str:
    try:
        text = Path(path).read_text()
    except OSError:
        return ""
    found = re.search(pattern, text, re.MULTILINE)
    return found[1] if found else ""


def _said(*command: str) -> str:
    if not shutil.which(command[0]):
        return "missing"
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
