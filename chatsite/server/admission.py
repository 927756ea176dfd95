"""Limits connections by their address before a byte of them is read."""

import logging
import os
import resource
from collections.abc import Callable
from time import monotonic
from typing import Any

from twisted.internet.protocol import Factory

from chat.conf import chat_settings
from chat.limits import Limits, is_proxy, limit_key
from chat.loops import current
from chat.metrics.counters import RefusalReason, counters

logger = logging.getLogger("chatsite.server")

MINUTE = 60.0
LOGGED_ADDRESSES = 20
"""Addresses that the log names each minute. The others are only counted."""
RESERVED_FILES = 64
"""Open files that connections leave to the rest of the process. SQLite takes three for each thread."""


class AdmissionFactory(Factory):  # type: ignore[misc]  # twisted ships no types
    """Wraps another factory and refuses connections: Twisted closes one that gets no protocol at once.

    It refuses an address that connects too often. While the process has hardly any open files left, it refuses
    every address, so that the connections that exist keep working. It is asked before TLS, so a refusal costs no
    handshake.
    """

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._refusals = RefusalLog()

    def buildProtocol(self, addr: Any) -> Any:
        # Peers of a Unix socket have no address.
        address = getattr(addr, "host", "")
        if is_out_of_files():
            self._refusals.files_ran_out()
            return None
        if seconds_to_wait(address):
            self._refusals.address_refused(address)
            counters.connects_refused[RefusalReason.RATE] += 1
            return None
        return self._inner.buildProtocol(addr)

    def doStart(self) -> None:
        self._inner.doStart()

    def doStop(self) -> None:
        self._inner.doStop()


def seconds_to_wait(address: str) -> float:
    """How long a connection from the address has to wait; 0.0 admits it.

    A trusted proxy is always admitted: ``chatsite.server.http`` limits the clients behind it.
    """
    proxies = chat_settings().PROXIES
    return 0.0 if proxies and is_proxy(address, proxies) else current(Limits).connect(address)


def is_out_of_files() -> bool:
    """True if only the reserve of open files is left.

    The system gives a new file the lowest free number, so all numbers below it are taken.
    """
    try:
        free = os.open(os.devnull, os.O_RDONLY)
    except OSError:
        return True
    os.close(free)
    bound, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return bound != resource.RLIM_INFINITY and free >= bound - RESERVED_FILES


class RefusalLog:
    """Logs each refused address once a minute, and the number of refusals of the minute before."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._minute_began = -MINUTE
        self._count = 0
        # Addresses that this minute's lines name; "" stands for all.
        self._logged: set[str] = set()

    def address_refused(self, address: str) -> None:
        key = limit_key(address)
        self._add(key, "too many connections from %s: refused until they come slower", key)

    def files_ran_out(self) -> None:
        self._add("", "too many open files: connections are refused until some are closed")

    def _add(self, key: str, line: str, *arguments: str) -> None:
        now = self._clock()
        if now - self._minute_began >= MINUTE:
            if self._count:
                logger.warning("refused %d connections in the minute before", self._count)
            self._minute_began, self._count = now, 0
            self._logged.clear()
        self._count += 1
        if key not in self._logged and len(self._logged) < LOGGED_ADDRESSES:
            self._logged.add(key)
            logger.warning(line, *arguments)
