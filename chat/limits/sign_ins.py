"""How often somebody may try to sign in: by address, and by name."""

import threading
import time
from collections.abc import Callable

from chat.conf import chat_settings
from chat.limits.addresses import limited_as
from chat.limits.buckets import Bucket, Holders, take_all
from chat.limits.sharing import News, spent
from chat.protocol import name_key

NAMED = 150
"""Characters of a name that count: Django's names are no longer, and what is sent may be."""


class SignIns:
    """The process's tries. Views run in threads, so each try takes a lock."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self.clear()

    def clear(self) -> None:
        """Forget all tries: for tests."""
        self._addresses, self._names = Holders(_bucket), Holders(_bucket)

    def take(self, address: str, name: str) -> float:
        """Take one try from both. The seconds to wait; 0.0 where it may be made, else nothing is taken.

        ``address`` may be empty where nobody knows it, ``name`` where none was given: they don't count then.
        """
        if not chat_settings().LIMITS:
            return 0.0
        with self._lock:
            now = self._clock()
            buckets = []
            if address:
                buckets.append(self._addresses.find(limited_as(address), now).bucket)
            if name:
                buckets.append(self._names.find(name_key(name[:NAMED]), now).bucket)
            return take_all(buckets, 1, now)

    def news(self) -> News:
        """What was taken here and is not known elsewhere: (0 for an address, 1 for a name; the key; tries)."""
        with self._lock:
            now = self._clock()
            return tuple(
                (which, *each)
                for which, holders in enumerate((self._addresses, self._names))
                for each in spent(holders, now)
            )

    def hear(self, news: News) -> None:
        """What was taken in another process."""
        with self._lock:
            now = self._clock()
            for which, key, tries in news:
                (self._addresses, self._names)[which].find(key, now).bucket.owe(tries, now)


def _bucket() -> Bucket:
    return Bucket(chat_settings().SIGN_IN_RATE, chat_settings().SIGN_IN_BURST)


sign_ins = SignIns()
