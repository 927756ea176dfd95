"""Django's password hashers, bounded in how many run at once; they count attempts (chat.auth.password_attempts).

Hashing is made to cost memory and time, and each request may ask for it. With Django's parameters for Argon2,
twelve at once took 1.1 GB. So hashes run on CHAT["HASHES"] threads of their own, first come, first served. A
request that would wait too long is answered with 503. A semaphore would not do: the C library keeps for each
thread what a hash there took, and each request may have another thread.

A project names these in PASSWORD_HASHERS, in place of Django's of the same names. Hashes that those made are read.
"""

import asyncio
import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from django.contrib.auth import hashers
from django.utils.translation import gettext

from chat.auth.password_attempts import AttemptRefused, current_tracker
from chat.conf import chat_settings
from chat.limits.rare_warning import RareWarning

T = TypeVar("T")

PATIENCE = 5.0
"""Seconds that a hash waits for its turn."""
QUEUE = 64
"""Hashes that wait at most: for each of them a request's thread waits."""
RETRY_AFTER = 3
"""Seconds after which a browser that was sent away may try again."""

logger = logging.getLogger("chat.auth")


class Turns:
    """So many at once, on threads of their own; the others wait."""

    def __init__(self) -> None:
        self._seldom = RareWarning(logger)
        self._forget()
        # A process that is forked off has none of the threads.
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._lock = threading.Lock()
        # Hashes that run or wait.
        self._unfinished = 0
        self._size = 0
        self._pool: ThreadPoolExecutor | None = None
        # Is this thread one of the pool's?
        self._inside = threading.local()

    def run(self, work: Callable[[], T]) -> T:
        """The result of ``work``. Raises Refused where the wait would be too long."""
        if getattr(self._inside, "now", False):
            return work()
        future, is_next = self._submit(work)
        if is_next:
            return future.result()
        try:
            return future.result(PATIENCE)
        except TimeoutError:
            if future.cancel():
                raise self._refusal() from None
            # It has begun in this moment.
            return future.result()

    def _submit(self, work: Callable[[], T]) -> tuple["Future[T]", bool]:
        """And whether a thread is free for it."""
        size = chat_settings().HASHES
        # An event loop stands still while it waits, and everybody with it.
        queue = 0 if _is_on_a_loop() else QUEUE
        with self._lock:
            if self._unfinished >= size + queue:
                raise self._refusal()
            if self._pool is None or self._size != size:
                self._size = size
                self._pool = ThreadPoolExecutor(size, "chat-hash", initializer=self._enter)
            is_next = self._unfinished < size
            self._unfinished += 1
            future = self._pool.submit(work)
        future.add_done_callback(self._done)
        return future, is_next

    def _enter(self) -> None:
        self._inside.now = True

    def _done(self, _: "Future[Any]") -> None:
        with self._lock:
            self._unfinished -= 1

    def _refusal(self) -> AttemptRefused:
        self._seldom.warn("too many passwords at once: some requests are answered with 503")
        sentence = gettext("Too many people sign in at this moment. Please try again in a few seconds.")
        refusal = AttemptRefused(sentence, status=503, wait=RETRY_AFTER)
        tracker = current_tracker()
        if tracker:
            tracker.refusal = refusal
        return refusal


turns = Turns()


class Bounded:
    """To be put before a hasher of Django's: ``class Mine(Bounded, PBKDF2PasswordHasher)``."""

    def encode(self, *arguments: Any, **options: Any) -> str:
        encoded: str = turns.run(partial(super().encode, *arguments, **options))  # type: ignore[misc]  # the hasher's
        return encoded

    def verify(self, password: str, encoded: str) -> bool:
        tracker = current_tracker()
        attempt = tracker.check(encoded) if tracker else None
        right: bool = turns.run(partial(super().verify, password, encoded))  # type: ignore[misc]  # as above
        if tracker and right:
            tracker.succeeded()
        elif tracker and attempt:
            tracker.failed(attempt)
        return right

    def harden_runtime(self, password: str, encoded: str) -> None:
        turns.run(partial(super().harden_runtime, password, encoded))  # type: ignore[misc]  # as above


class Argon2(Bounded, hashers.Argon2PasswordHasher):
    """Argon2id with OWASP's parameters for small memory (Password Storage Cheat Sheet): as hard to guess as more
    memory and less time, and a site may hash several at once.
    """

    time_cost = 2
    # KiB.
    memory_cost = 19_456
    parallelism = 1


class PBKDF2(Bounded, hashers.PBKDF2PasswordHasher):
    pass


class PBKDF2SHA1(Bounded, hashers.PBKDF2SHA1PasswordHasher):
    pass


class BCryptSHA256(Bounded, hashers.BCryptSHA256PasswordHasher):
    pass


class Scrypt(Bounded, hashers.ScryptPasswordHasher):
    pass


def _is_on_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
