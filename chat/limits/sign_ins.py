"""Limits on password attempts: by network, by name within a network, and by known browser.

An attacker must not be able to use up a budget that the account's owner needs. So no budget covers a name over all
networks: an attacker who tries Alice's password from another network cannot lock Alice out.
"""

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from chat.conf import chat_settings
from chat.limits.addresses import limit_key, site_key
from chat.limits.buckets import Bucket, Holders
from chat.limits.sharing import LimitsReport, unreported
from chat.protocol import name_key

NAME_LENGTH = 150
"""Characters of a name that are compared. Django's names are no longer; a client may send any length."""


class Attempt(NamedTuple):
    """One password attempt."""

    # The client's address; "" if unknown.
    address: str = ""
    # The account's name as typed, whether such an account exists or not; "" if none was given.
    name: str = ""
    # A browser in which this account has signed in before (chat.auth.browsers); "" if unknown.
    device: str = ""
    # True if the attempt also counts for the budget of all names tried from this address.
    counts_for_network: bool = True


class SignInLimits:
    """The process's password attempts. Views run in threads, so each call takes a lock.

    A known browser pays from a budget of its own and from no other. Any other attempt pays from its network's
    budget and from the name's budget in that network. The name's budget over all networks refuses nobody. Once it
    is empty, a network may try the name again only when its own budget for the name is full again.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self.clear()

    def clear(self) -> None:
        """Forget all attempts. For tests."""
        self._networks, self._names = Holders(_bucket), Holders(_bucket)
        self._names_by_network, self._devices = Holders(_bucket), Holders(_bucket)
        # By the word that reports to other processes use.
        self._reported = {"name": self._names, "pair": self._names_by_network, "device": self._devices}

    def take(self, attempt: Attempt) -> float:
        """Pay for one attempt and return 0.0, or pay nothing and return the seconds to wait."""
        if not chat_settings().LIMITS:
            return 0.0
        with self._lock:
            now = self._clock()
            if attempt.device:
                return self._device(attempt, now).take(1, now)
            network = self._network(attempt, now)
            wait = network.wait(1, now) if network else 0.0
            # A network without budget adds no entries for names: they could push out the entries of others.
            wait = wait or self._take_name(attempt, now)
            if network and not wait:
                network.pay(1, now)
            return wait

    def refund(self, attempt: Attempt) -> None:
        """Undo ``take``: the password was right, and only wrong ones count."""
        if not chat_settings().LIMITS:
            return
        with self._lock:
            now = self._clock()
            for bucket in self._paid(attempt, now):
                bucket.refund(1)

    def report(self) -> LimitsReport:
        """Attempts not yet reported to other processes: (0 for a network, else 1; the key; how many).

        A word before the key says which budget it is. Processes of the previous version read the word as a part of
        a name.
        """
        with self._lock:
            now = self._clock()
            networks = [(0, *each) for each in unreported(self._networks, now)]
            others = [
                (1, f"{word} {key}", attempts)
                for word, holders in self._reported.items()
                for key, attempts in unreported(holders, now)
            ]
            return (*networks, *others)

    def receive(self, report: LimitsReport) -> None:
        """Pay for the attempts that another process reported."""
        with self._lock:
            now = self._clock()
            for which, key, attempts in report:
                word, _, rest = key.partition(" ")
                holders, holder = (self._reported.get(word), rest) if which else (self._networks, key)
                if holders is not None:
                    holders.find(holder, now).bucket.charge(attempts, now)

    def _take_name(self, attempt: Attempt, now: float) -> float:
        """Pay from the name's budget in this network, and from its budget over all networks while that lasts."""
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
        # The network comes first: a name may contain any character, also the separator.
        return self._names_by_network.find(f"{site_key(attempt.address)} {_key(attempt)}", now).bucket


def _key(attempt: Attempt) -> str:
    return name_key(attempt.name[:NAME_LENGTH])


def _bucket() -> Bucket:
    return Bucket(chat_settings().SIGN_IN_RATE, chat_settings().SIGN_IN_BURST)


sign_in_limits = SignInLimits()
