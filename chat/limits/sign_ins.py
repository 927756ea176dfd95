"""How often passwords may be tried: by network, by name in each network, and by known browser.

A budget that one side alone can empty must not be another side's. So no budget is a name's over all networks:
whoever tries Alice's password elsewhere cannot keep Alice out.
"""

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from chat.conf import chat_settings
from chat.limits.addresses import limit_key, site_of
from chat.limits.buckets import Bucket, Holders
from chat.limits.sharing import News, spent
from chat.protocol import name_key

NAMED = 150
"""Characters of a name that count: Django's names are no longer, and what is sent may be."""


class Attempt(NamedTuple):
    """One try of a password."""

    # The client's address; empty where nobody knows it.
    address: str = ""
    # The account's name as it was typed, whether there is such an account or not; empty where none was given.
    name: str = ""
    # A browser in which this account has signed in before (chat.auth.browsers); empty where it is not known.
    device: str = ""
    # Does the try also count for all names together that this address tries?
    counts_for_network: bool = True


class SignInLimits:
    """The process's tries. Views run in threads, so each try takes a lock.

    A known browser pays from a budget of its own and from no other. Any other try pays from its network's, and
    from the name's in this network. The name's budget over all networks refuses nobody: once it is empty, a
    network must have made good its own tries of the name before the next one.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self.clear()

    def clear(self) -> None:
        """Forget all tries: for tests."""
        self._networks, self._names = Holders(_bucket), Holders(_bucket)
        self._pairs, self._devices = Holders(_bucket), Holders(_bucket)
        # By the word that other processes know them by.
        self._told = {"name": self._names, "pair": self._pairs, "device": self._devices}

    def take(self, attempt: Attempt) -> float:
        """Pay for one try. The seconds to wait; 0.0 where it may be made, else nothing is paid."""
        if not chat_settings().LIMITS:
            return 0.0
        with self._lock:
            now = self._clock()
            if attempt.device:
                return self._device(attempt, now).take(1, now)
            network = self._network(attempt, now)
            wait = network.wait(1, now) if network else 0.0
            # A network without budget makes no entries for names: it could push out those of others.
            wait = wait or self._take_name(attempt, now)
            if network and not wait:
                network.pay(1, now)
            return wait

    def give_back(self, attempt: Attempt) -> None:
        """The password was right: only wrong ones count."""
        if not chat_settings().LIMITS:
            return
        with self._lock:
            now = self._clock()
            for bucket in self._paid(attempt, now):
                bucket.give_back(1)

    def news(self) -> News:
        """Tries that other processes do not know of: (0 for a network, else 1; the key; how many).

        The word before the key says what it is of. Processes of the version before take it for a part of a name.
        """
        with self._lock:
            now = self._clock()
            networks = [(0, *each) for each in spent(self._networks, now)]
            others = [
                (1, f"{word} {key}", tries)
                for word, holders in self._told.items()
                for key, tries in spent(holders, now)
            ]
            return (*networks, *others)

    def hear(self, news: News) -> None:
        """Pay for the tries of another process."""
        with self._lock:
            now = self._clock()
            for which, key, tries in news:
                word, _, rest = key.partition(" ")
                holders, whose = (self._told.get(word), rest) if which else (self._networks, key)
                if holders is not None:
                    holders.find(whose, now).bucket.owe(tries, now)

    def _take_name(self, attempt: Attempt, now: float) -> float:
        """Pay from the name's budget in this network, and from its budget over all while that lasts."""
        if not attempt.name:
            return 0.0
        everywhere, here = self._everywhere(attempt, now), self._here(attempt, now)
        wait = here.wait(1, now)
        slowed = everywhere.wait(1, now)
        if slowed:
            wait = max(wait, min(slowed, here.debt(now)))
        if not wait:
            here.pay(1, now)
            if not slowed:
                everywhere.pay(1, now)
        return wait

    def _paid(self, attempt: Attempt, now: float) -> list[Bucket]:
        if attempt.device:
            return [self._device(attempt, now)]
        network = self._network(attempt, now)
        names = [self._everywhere(attempt, now), self._here(attempt, now)] if attempt.name else []
        return [network, *names] if network else names

    # --- Buckets ---

    def _network(self, attempt: Attempt, now: float) -> Bucket | None:
        if not attempt.address or not attempt.counts_for_network:
            return None
        return self._networks.find(limit_key(attempt.address), now).bucket

    def _device(self, attempt: Attempt, now: float) -> Bucket:
        return self._devices.find(attempt.device, now).bucket

    def _everywhere(self, attempt: Attempt, now: float) -> Bucket:
        return self._names.find(_key(attempt), now).bucket

    def _here(self, attempt: Attempt, now: float) -> Bucket:
        # The network stands first: a name may have any character, also one that separates.
        return self._pairs.find(f"{site_of(attempt.address)} {_key(attempt)}", now).bucket


def _key(attempt: Attempt) -> str:
    return name_key(attempt.name[:NAMED])


def _bucket() -> Bucket:
    return Bucket(chat_settings().SIGN_IN_RATE, chat_settings().SIGN_IN_BURST)


sign_in_limits = SignInLimits()
