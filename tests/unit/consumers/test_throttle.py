"""Too much, over sockets: what is refused, who is slowed down, who is closed."""

import pytest
from doubles import Clock
from helpers import CommunicatorPersona, Enter
from members import guest, member
from pytest_django import Settings

from chat.limits import Limits
from chat.loops import current
from chat.protocol import Ack, CloseCode, Error, ErrorCode, Message, Pong

Persona = CommunicatorPersona

LIMITED = {"LIMITS": True, "SOCKET_RATE": 1, "SOCKET_BURST": 5, "REFUSALS": 3, "REFUSALS_CLOSE": 6}


@pytest.fixture(autouse=True)
def limited(settings: Settings) -> None:
    settings.CHAT = {**settings.CHAT, **LIMITED}


async def flood(who: Persona, number: int) -> None:
    for count in range(number):
        await who.send("message", content=f"flood {count}", ref=f"f{count}")


async def answers(who: Persona, number: int) -> list[Ack | Error]:
    found: list[Ack | Error] = []
    while len(found) < number:
        heard = await who.next()
        if isinstance(heard, Ack | Error):
            found.append(heard)
    return found


async def answered(who: Persona, acks: int, errors: int) -> None:
    """So many acks and errors came in all, and no more."""
    while who.count(Ack) < acks or who.count(Error) < errors:
        await who.next()
    while not await who.communicator.receive_nothing(0.05, 0.01):
        await who.next()
    assert (who.count(Ack), who.count(Error)) == (acks, errors)


async def test_what_is_too_much_is_refused_with_the_time_to_wait(person: Enter, clock: Clock) -> None:
    """The error has the command's ref, no client receives an event, and after the wait it works."""
    alice = await member(person, "Alice")
    await alice.join()
    clock.stop()
    await flood(alice, 5)
    found = await answers(alice, 5)
    assert [isinstance(one, Ack) for one in found].count(True) == 4
    refused = next(one for one in found if isinstance(one, Error))
    assert (refused.code, refused.ref) == (ErrorCode.TOO_MANY, "f4")
    assert 500 < (refused.retry_after or 0) <= 1_000
    clock.start()
    await clock.skip(1.01)
    await alice.send("message", content="flood 4", ref="f4")
    assert (await alice.expect(Ack)).ref == "f4"
    await alice.expect(Message, content="flood 4")
    assert alice.count(Message, content="flood 4") == 1


async def test_who_goes_on_is_read_slowly(person: Enter, clock: Clock) -> None:
    """After three refusals one frame is read a second; where that fits, the next one may be tried at once."""
    alice = await member(person, "Alice")
    await alice.join()
    await flood(alice, 20)
    await answered(alice, 4, 3)
    for number in range(5, 8):
        await clock.skip(1.01)
        await answered(alice, number, number - 1)


async def test_who_still_does_not_fit_is_closed(person: Enter, clock: Clock, settings: Settings) -> None:
    """Where slowness does not help either: with 4029, after which a client may come back."""
    settings.CHAT = {**settings.CHAT, "SOCKET_RATE": 0.01}
    alice = await member(person, "Alice")
    await alice.join()
    await flood(alice, 20)
    for _ in range(12):
        await clock.skip(1.01)
    assert await alice.closed() == CloseCode.TOO_MANY
    assert CloseCode.TOO_MANY.client_reconnects


async def test_cheap_things_go_further(person: Enter, clock: Clock) -> None:
    """A ping is a tenth of a message, a search five of them."""
    alice = await member(person, "Alice")
    await alice.join()
    clock.stop()
    await alice.send("search", query="hello")
    await alice.refused(ErrorCode.TOO_MANY)
    for _ in range(40):
        await alice.send("ping")
        await alice.expect(Pong)
    await alice.send("ping")
    assert (await alice.refused(ErrorCode.TOO_MANY)).retry_after


async def test_nonsense_costs_too(person: Enter, clock: Clock) -> None:
    """Unreadable frames are paid for, and ten in a row still close."""
    alice = await member(person, "Alice")
    await alice.join()
    clock.stop()
    for _ in range(10):
        await alice.write("{")
    codes = [(await alice.expect(Error)).code for _ in range(5)]
    assert codes == [ErrorCode.BAD_JSON] * 4 + [ErrorCode.TOO_MANY]


async def test_a_person_s_sockets_share_what_they_may(person: Enter, clock: Clock, settings: Settings) -> None:
    """A second browser does not double it; another person has their own."""
    settings.CHAT = {**settings.CHAT, "PERSON_RATE": 1, "PERSON_BURST": 6}
    one, other = await member(person, "Alice"), await member(person, "Alice")
    bob = await member(person, "Bob")
    for who in (one, other, bob):
        await who.join()
    clock.stop()
    for _ in range(3):
        await one.say("hi")
    await other.say("hi")
    await other.send("message", content="hi")
    await other.refused(ErrorCode.TOO_MANY)
    await bob.say("hi")


async def test_an_address_s_people_share_what_they_may(person: Enter, clock: Clock, settings: Settings) -> None:
    """Guests who come one after another from one address are one flood; who comes from elsewhere is not."""
    settings.CHAT = {**settings.CHAT, "ADDRESS_RATE": 1, "ADDRESS_BURST": 4}
    flooders = [await person(f"F{number}", client=("203.0.113.9", number)) for number in range(4)]
    for flooder in flooders:
        await flooder.join()
    clock.stop()
    await flooders[0].send("message", content="hi")
    await flooders[0].refused(ErrorCode.TOO_MANY)
    alice = await person("Alice", client=("203.0.113.10", 1))
    await alice.join()
    await alice.say("hi")


async def test_a_person_has_so_many_sockets(person: Enter, settings: Settings) -> None:
    """One more is told why and closed with 4029; when another has gone there is place again."""
    settings.CHAT = {**settings.CHAT, "SOCKETS_PER_PERSON": 2}
    first, _ = await member(person, "Alice"), await member(person, "Alice")
    third = await member(person, "Alice")
    await third.refused(ErrorCode.TOO_MANY)
    assert await third.closed() == CloseCode.TOO_MANY
    await first.vanish()
    again = await member(person, "Alice")
    await again.join()


async def test_an_address_has_so_many_sockets(person: Enter, settings: Settings) -> None:
    """The same for all who come from there."""
    settings.CHAT = {**settings.CHAT, "SOCKETS_PER_ADDRESS": 1}
    await person("Gina", client=("203.0.113.9", 1))
    second = await person("Gero", client=("203.0.113.9", 2))
    assert await second.closed() == CloseCode.TOO_MANY
    elsewhere = await person("Gerda", client=("203.0.113.10", 2))
    await elsewhere.join()


async def test_nothing_is_left_of_sockets_that_went(person: Enter) -> None:
    """No socket stays counted, refused ones neither."""
    for number in range(5):
        visitor = await guest(person, f"Gina {number}")
        await visitor.join()
        await visitor.vanish()
    limits = current(Limits)
    assert limits.sockets == 0
    assert not any(row.sockets for row in limits.snapshot())


async def test_without_limits_nothing_is_refused(person: Enter, settings: Settings) -> None:
    """CHAT_LIMITS=off."""
    settings.CHAT = {**settings.CHAT, "LIMITS": False}
    alice = await member(person, "Alice")
    await alice.join()
    await flood(alice, 50)
    assert all(isinstance(one, Ack) for one in await answers(alice, 50))
