"""Accounts that are renamed, deactivated or deleted while they are in a room, or in the grace of a lost socket."""

from collections.abc import Awaitable, Callable

import pytest
from django.contrib.auth.models import User
from doubles import Clock, until
from helpers import Enter
from members import member
from pytest_django import Settings

from chat.loops import current
from chat.presence import Presence
from chat.protocol import LOBBY, CloseCode, Joined, Left, TypingNow, UserList

GRACE = 60.0


@pytest.fixture(autouse=True)
def grace(settings: Settings) -> None:
    settings.CHAT = {**settings.CHAT, "GRACE": GRACE, "USER_LIST_INTERVAL": 0}


async def renamed(old: str, new: str) -> None:
    user = await User.objects.aget(username=old)
    user.username = new
    await user.asave()


async def test_an_account_that_is_renamed_leaves_and_comes_back_as_another(person: Enter) -> None:
    """Its socket is closed at once; the others receive the old name's leave, and the new one's join and typing."""
    bob, alice = await member(person, "Bob"), await member(person, "Alice")
    await bob.join()
    await alice.join()
    await alice.send("typing", room=LOBBY)
    await bob.expect(TypingNow, username="Alice")
    await renamed("Alice", "Alicia")
    assert await alice.closed() == CloseCode.NOT_SIGNED_IN
    await bob.expect(Left, username="Alice")
    alicia = await member(person, "Alicia")
    await alicia.join()
    await bob.expect(Joined, username="Alicia")
    await alicia.send("typing", room=LOBBY)
    await bob.expect(TypingNow, username="Alicia")


@pytest.mark.parametrize("places", [(LOBBY,), (LOBBY, "tea")])
@pytest.mark.parametrize("names", [("Alicia",), ("Alicia", "Alexa"), ("B0b",)])
async def test_an_account_that_is_renamed_while_its_connection_is_lost_is_one_person(
    person: Enter, clock: Clock, places: tuple[str, ...], names: tuple[str, ...]
) -> None:
    """The others receive a leave of the name that they know and a join of the present one, whatever it was called
    in the meantime. They receive its leave when it goes for good.
    """
    bob, alice = await member(person, "Bob"), await member(person, "Alice")
    for room in places:
        await bob.join(room)
        await alice.join(room)
    await alice.vanish()
    for old, new in zip(("Alice", *names), names, strict=False):
        await renamed(old, new)
    last = names[-1]
    again = await member(person, last)
    await again.join()
    await bob.expect(Joined, username=last)
    await bob.expect(Left, username="Alice", room=LOBBY)
    await bob.expect(UserList, room=LOBBY, users=[last, "Bob"])
    await again.vanish()
    await clock.skip(GRACE)
    await bob.expect(Left, username=last, room=LOBBY)
    for room in places[1:]:
        # The account did not come back to this room, so it has its old name there.
        assert bob.count(Left, username="Alice", room=room) == 1
        assert bob.count(Joined, username=last, room=room) == 0
    assert current(Presence).counts() == dict.fromkeys(places, 1)


async def deactivate() -> None:
    user = await User.objects.aget(username="Alice")
    user.is_active = False
    await user.asave()


async def delete() -> None:
    await User.objects.filter(username="Alice").adelete()


@pytest.mark.parametrize("end", [deactivate, delete])
async def test_an_account_that_ends_while_its_connection_is_lost_leaves_once(
    person: Enter, clock: Clock, end: Callable[[], Awaitable[None]]
) -> None:
    """It leaves after its grace, under its name."""
    bob, alice = await member(person, "Bob"), await member(person, "Alice")
    await bob.join()
    await alice.join()
    await alice.vanish()
    await end()
    await clock.skip(GRACE)
    await bob.expect(Left, username="Alice")
    await until(lambda: current(Presence).counts() == {LOBBY: 1})
