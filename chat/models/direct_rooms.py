"""Direct rooms: their users, titles, and state after an account was deleted. For threads that may use the ORM."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser

from chat.models.fields import account_key
from chat.models.rooms import Membership, Room

Closed = Literal["", "deleted", "deactivated", "left"]
"""The reason why a direct room takes no more messages; "" if it does."""

TITLES: dict[Closed, str] = {
    "": "{name}",
    "left": "{name}",
    "deactivated": "{name} (deactivated account)",
    "deleted": "{name} (deleted account)",
}
TWO = 2
NAMELESS = "Deleted account"
"""The title if the name was deleted with the account."""


@dataclass(frozen=True, slots=True)
class Pair:
    """The users of a direct room."""

    # Names of existing accounts, by the account's key.
    names: dict[str, str]
    # Names of deleted accounts, as far as they were kept.
    former: str
    closed: Closed

    def title_for(self, person: str) -> str:
        """The room's title for one of the two: the other one's name, and the state of that account."""
        others = [name for other, name in self.names.items() if other != person]
        name = others[0] if others else self.former
        return TITLES[self.closed].format(name=name) if name else NAMELESS

    @property
    def title(self) -> str:
        """The room's title for anybody else."""
        names = [*self.names.values(), *([TITLES["deleted"].format(name=self.former)] if self.former else [])]
        return ", ".join(names) or NAMELESS


def pairs_of(rooms: Iterable[Room]) -> dict[int, Pair]:
    """The users of direct rooms, by the room's key: two queries for all of them."""
    direct = {room.pk: room for room in rooms if room.kind == Room.Kind.DIRECT}
    if not direct:
        return {}
    members: dict[int, list[AbstractBaseUser]] = {pk: [] for pk in direct}
    for row in Membership.objects.filter(room__in=list(direct)).select_related("user").order_by("pk"):
        members[row.room_id].append(row.user)
    gone = {account for room in direct.values() for account in _missing(room, members[room.pk])}
    accounts = get_user_model()._base_manager.in_bulk(gone) if gone else {}  # noqa: SLF001 Django's documented manager of all rows
    others: dict[str, AbstractBaseUser] = {str(pk): user for pk, user in accounts.items()}
    return {pk: _pair(room, members[pk], others) for pk, room in direct.items()}


def _missing(room: Room, members: list[AbstractBaseUser]) -> list[str]:
    """Accounts of the pair that have no membership any more."""
    there = {str(user.pk) for user in members}
    return [account for account in (room.pair or "").split() if account not in there]


def _pair(room: Room, members: list[AbstractBaseUser], others: dict[str, AbstractBaseUser]) -> Pair:
    if len(members) >= TWO:
        closed: Closed = "" if all(user.is_active for user in members) else "deactivated"
        return Pair(_names(members), room.former, closed)
    left = [others[account] for account in _missing(room, members) if account in others]
    gone = room.former or len(members) + len(left) < TWO
    return Pair(_names([*members, *left]), room.former, "deleted" if gone else "left")


def _names(users: Iterable[AbstractBaseUser]) -> dict[str, str]:
    return {account_key(user.pk): user.get_username() for user in users}


def pair_key(first: Any, second: Any) -> str:
    """The key of two accounts, the same in either order."""
    return " ".join(sorted((str(first), str(second))))
