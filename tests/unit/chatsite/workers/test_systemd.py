"""The notifications to systemd, at a socket like its own."""

import asyncio
import os
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from doubles import returns_at_once, until

from chatsite.workers import systemd


@pytest.fixture(params=["file", "abstract"])
def ear(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    """systemd's socket, a file or a name without one, and nothing else of it in the environment."""
    for name in systemd.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    name = str(tmp_path / "notify") if request.param == "file" else f"@chat-{os.getpid()}"
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as ear:
        ear.bind(name.replace("@", "\0"))
        ear.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield ear


def test_it_hears_what_it_is_told(ear: socket.socket) -> None:
    """A line each."""
    systemd.notify("READY=1", "STATUS=well")
    assert ear.recv(100) == b"READY=1\nSTATUS=well"
    systemd.stopping()
    assert ear.recv(100) == b"STOPPING=1"


def test_a_reload_has_its_time(ear: socket.socket) -> None:
    """In microseconds of the monotonic clock: systemd compares it with its own."""
    before = time.monotonic()
    systemd.reloading()
    word, moment = ear.recv(100).split(b"\nMONOTONIC_USEC=")
    assert word == b"RELOADING=1"
    assert before <= int(moment) / 1e6 + 1e-6 <= time.monotonic() + 1e-6


async def test_it_hears_that_we_live(ear: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice as often as it wants to, while all is well."""
    monkeypatch.setenv("WATCHDOG_USEC", "20000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    assert systemd.watchdog_interval() == 0.01
    well = [True, False, True, False, False, True]
    informing = asyncio.create_task(systemd.report(lambda: bool(well) and well.pop()))
    await until(lambda: not well)
    assert [ear.recv(100) for _ in range(4)] == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1", b"WATCHDOG=1"]
    ear.settimeout(0)
    with pytest.raises(BlockingIOError):
        ear.recv(100)
    informing.cancel()


@pytest.mark.parametrize(
    "variables", [{}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "20000", "WATCHDOG_PID": "1"}]
)
async def test_nobody_looks_for_signs_of_life(
    ear: socket.socket, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    """Not at all, or not for this process: then it receives READY, and nothing more."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    await systemd.report()
    assert ear.recv(100) == b"READY=1"


async def test_without_systemd_nothing_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No socket is opened, nothing waits for signs of life, and nothing fails."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    opened: list[object] = []
    monkeypatch.setattr(socket, "socket", lambda *kind: opened.append(kind))
    assert returns_at_once(systemd.report())
    systemd.reloading()
    systemd.stopping()
    assert (opened, caplog.text) == ([], "")


def test_a_socket_that_is_gone_is_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The site goes on."""
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere/notify")
    systemd.notify("READY=1")
    assert "systemd could not be told READY=1" in caplog.text
