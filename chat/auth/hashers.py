"""Django's password hashers, with a bound on how many run at once. They count attempts
(chat.auth.password_attempts).

Hashing costs memory and time by design, and any request may cause it. With Django's parameters for Argon2, twelve
hashes at once took 1.1 GB. So hashes run on CHAT["HASHES"] threads of their own, first come, first served. A
request that would wait too long is answered with 503. A semaphore would not bound the memory: the C library keeps
what a hash took for each thread, and each request may run on another thread.

A project lists these classes in PASSWORD_HASHERS, in place of Django's of the same names. They read the hashes
that Django's classes made.
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

TURN_TIMEOUT = 5.0
"""Seconds that a hash waits for a free thread."""
QUEUE_LIMIT = 64
"""Most hashes that wait: each of them blocks a request's thread."""
RETRY_AFTER = 3
"""The Retry-After of a refused request, in seconds."""

logger = logging.getLogger("chat.auth")


class HashPool:
    """Runs CHAT["HASHES"] hashes at once on threads of its own. The others wait."""

    def __init__(self) -> None:
        self._warning = RareWarning(logger)
        self._forget()
        # A forked process does not inherit the threads.
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._lock = threading.Lock()
        # Number of hashes that run or wait.
        self._unfinished = 0
        self._size = 0
        self._pool: ThreadPoolExecutor | None = None
        # ``now`` is set in the threads of the pool.
        self._inside = threading.local()

    def run(self, work: Callable[[], T]) -> T:
        """The result of ``work``. Raises AttemptRefused if the wait would be too long."""
        if getattr(self._inside, "now", False):
            return work()
        future, is_next = self._submit(work)
        if is_next:
            return future.result()
        try:
            return future.result(TURN_TIMEOUT)
        except TimeoutError:
            if future.cancel():
                raise self._refusal() from None
            # It started just now.
            return future.result()

    def _submit(self, work: Callable[[], T]) -> tuple["Future[T]", bool]:
        """Queue ``work``. The second result is True if a thread is free for it."""
        size = chat_settings().HASHES
        # Waiting on an event loop would block all its clients.
        queue = 0 if _is_on_a_loop() else QUEUE_LIMIT
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
        self._warning.warn("too many passwords to hash at once: some requests are answered with 503")
        sentence = gettext("Too many people are signing in right now. Please try again in a few seconds.")
        refusal = AttemptRefused(sentence, status=503, wait=RETRY_AFTER)
        tracker = current_tracker()
        if tracker:
            tracker.refusal = refusal
        return refusal


hash_pool = HashPool()


class Bounded:
    """Mixin for a hasher of Django: ``class Mine(Bounded, PBKDF2PasswordHasher)``."""

    def encode(self, *arguments: Any, **options: Any) -> str:
        encoded: str = hash_pool.run(partial(super().encode, *arguments, **options))  # type: ignore[misc]  # the hasher's
        return encoded

    def verify(self, password: str, encoded: str) -> bool:
        tracker = current_tracker()
        attempt = tracker.check(encoded) if tracker else None
        right: bool = hash_pool.run(partial(super().verify, password, encoded))  # type: ignore[misc]  # as above
        if tracker and right:
            tracker.succeeded()
        elif tracker and attempt:
            tracker.failed(attempt)
        return right

    def harden_runtime(self, password: str, encoded: str) -> None:
        hash_pool.run(partial(super().harden_runtime, password, encoded))  # type: ignore[misc]  # as above


class Argon2(Bounded, hashers.Argon2PasswordHasher):
    """Argon2id with OWASP's parameters for little memory (Password Storage Cheat Sheet).

    They are as hard to attack as more memory and less time, and a site can run several hashes at once.
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
