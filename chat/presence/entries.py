"""A user's entry in the registry: what one process tells the others of a user in a room."""

from collections.abc import Iterable
from typing import NamedTuple

from chat.auth import Identity


class RegistryEntry(NamedTuple):
    """One user in one process. Redis keeps it as a JSON list, and common.lua reads it by position."""

    # The key of the user's Identity.
    identity_key: str
    name: str
    lasting: bool
    staff: bool
    # Seconds since 1970.
    since: float
    # True if the user's last socket is gone and only the grace is left.
    in_grace: bool
    # The addresses of the user's sockets. Moderators may ban a guest by address.
    addresses: tuple[str, ...]

    @property
    def identity(self) -> Identity:
        return Identity(
            key=self.identity_key, name=self.name if self.lasting else None, lasting=self.lasting, staff=self.staff
        )


Place = tuple[str, str, RegistryEntry]
"""(node, key, entry): a user in one process."""


def sorted_by_arrival(places: Iterable[Place]) -> list[Place]:
    """The users who came first stand first."""
    return sorted(places, key=lambda place: place[2].since)
