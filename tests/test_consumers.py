"""Conversations with one consumer per person, in this process."""

from helpers import CommunicatorPersona as Persona

from chat.protocol import Message


async def test_what_one_says_the_other_hears(alice: Persona, bob: Persona) -> None:
    """A message reaches everybody in the room, its author too, after the author's ack."""
    await alice.join()
    await bob.join()

    ack = await alice.say("hi", ref="a1")

    heard = await bob.expect(Message, content="hi", username="Alice")
    assert (heard.id, heard.seq, heard.timestamp) == (ack.id, ack.seq, ack.timestamp)
    assert await alice.expect(Message) == heard
