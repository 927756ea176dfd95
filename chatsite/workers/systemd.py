"""What systemd is told, by sd_notify(3): a datagram to the socket that it names. Without systemd, nothing."""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable

logger = logging.getLogger("chatsite.workers")

PATIENCE = 1.0
"""Seconds that systemd may take to take a datagram."""
VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC")
"""What systemd sets for the process that it started, and for none below it."""


def notify(*lines: str) -> None:
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        # A name without a file (unix(7)).
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(PATIENCE)
            sender.sendto("\n".join(lines).encode(), address)
    except OSError as error:
        logger.warning("systemd could not be told %s: %s", lines[0], error)


def reloading() -> None:
    """READY=1 says when it is over (``Type=notify-reload``)."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1_000}")


def stopping() -> None:
    notify("STOPPING=1")


def watchdog() -> float | None:
    """Seconds between two signs of life: half of what systemd waits for one. None where it waits for none."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    microseconds = int(os.environ.get("WATCHDOG_USEC") or 0)
    return microseconds / 2_000_000 if microseconds else None


async def keep_informed(is_well: Callable[[], bool] = lambda: True) -> None:
    """Tell it that we are ready, and from then on that we live, while all is well."""
    notify("READY=1")
    pause = watchdog()
    while pause:
        if is_well():
            notify("WATCHDOG=1")
        await asyncio.sleep(pause)
