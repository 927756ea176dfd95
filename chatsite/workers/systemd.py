"""Notifications to systemd, by sd_notify(3): datagrams to the socket that it names. Without systemd, none."""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable

logger = logging.getLogger("chatsite.workers")

SEND_TIMEOUT = 1.0
"""Seconds that systemd may take to receive a datagram."""
VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC")
"""Variables that systemd sets for the process that it starts, and that no child process may inherit."""


def notify(*lines: str) -> None:
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        # An abstract socket: a name without a file (unix(7)).
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(SEND_TIMEOUT)
            sender.sendto("\n".join(lines).encode(), address)
    except OSError as error:
        logger.warning("systemd could not be told %s: %s", lines[0], error)


def reloading() -> None:
    """Announce a reload (``Type=notify-reload``). ``notify("READY=1")`` ends it."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1_000}")


def stopping() -> None:
    notify("STOPPING=1")


def watchdog_interval() -> float | None:
    """Seconds between two heartbeats: half of systemd's timeout. None if it has none for this process."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    microseconds = int(os.environ.get("WATCHDOG_USEC") or 0)
    return microseconds / 2_000_000 if microseconds else None


async def report(is_healthy: Callable[[], bool] = lambda: True) -> None:
    """Tell systemd that the site is ready; then send it heartbeats, as long as ``is_healthy`` returns True."""
    notify("READY=1")
    interval = watchdog_interval()
    while interval:
        if is_healthy():
            notify("WATCHDOG=1")
        await asyncio.sleep(interval)
