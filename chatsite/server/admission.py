"""The door: how many connections come in from where, before a byte of them is read."""

import logging
import os
import resource
from collections.abc import Callable
from time import monotonic
from typing import Any

from twisted.internet.protocol import Factory

from chat.conf import chat_settings
from chat.limits import Limits, is_proxy, limited_as
from chat.loops import of_this_loop
from chat.tally import Reason, tally

logger = logging.getLogger("chatsite.server")

MINUTE = 60.0
LINES = 20
"""Addresses that are named in the log each minute; the others are only counted."""
RESERVE = 64
"""Open files that sockets leave to the rest of the process: SQLite takes three for each thread that uses it."""


class AdmissionFactory(Factory):  # type: ignore[misc]  # twisted ships no types
    """A factory before another. Who connects too often gets no protocol: Twisted closes the connection at once. So
    does everybody while the process has hardly any open files left: those who are in could not speak any more.

    It stands before TLS too, so a refusal costs no handshake.
    """

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._refusals = Refusals()

    def buildProtocol(self, addr: Any) -> Any:
        # A Unix socket's peers have no address.
        address = getattr(addr, "host", "")
        if is_full():
            self._refusals.add_everybody()
            return None
        if wait(address):
            self._refusals.add(address)
            tally.connects_refused[Reason.RATE] += 1
            return None
        return self._inner.buildProtocol(addr)

    def doStart(self) -> None:
        self._inner.doStart()

    def doStop(self) -> None:
        self._inner.doStop()


def wait(address: str) -> float:
    """Seconds that a connection from there has to wait; 0.0: it may come in. A proxy's clients are asked later."""
    proxies = chat_settings().PROXIES
    return 0.0 if proxies and is_proxy(address, proxies) else of_this_loop(Limits).connect(address)


def is_full() -> bool:
    """Are there open files for the reserve only? A new one gets the lowest free number: all below are taken."""
    try:
        free = os.open(os.devnull, os.O_RDONLY)
    except OSError:
        return True
    os.close(free)
    bound, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return bound != resource.RLIM_INFINITY and free >= bound - RESERVE


class Refusals:
    """Tells the log who is refused: each address once a minute, and how many there were in all."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._since = -MINUTE
        self._count = 0
        # Who was told of, since then.
        self._told: set[str] = set()

    def add(self, address: str) -> None:
        key = limited_as(address)
        self._add(key, "too many connections from %s: refused until they come slower", key)

    def add_everybody(self) -> None:
        self._add("", "too many open files: connections are refused until some are closed")

    def _add(self, key: str, says: str, *about: str) -> None:
        now = self._clock()
        if now - self._since >= MINUTE:
            if self._count:
                logger.warning("refused %d connections in the minute before", self._count)
            self._since, self._count = now, 0
            self._told.clear()
        self._count += 1
        if key not in self._told and len(self._told) < LINES:
            self._told.add(key)
            logger.warning(says, *about)
