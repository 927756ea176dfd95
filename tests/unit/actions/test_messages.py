"""The operations on messages: their effects, their receivers, and the refused users."""

from itertools import count
from typing import Any

import pytest
from helpers import CommunicatorPersona as Persona
from helpers import Enter
from logs import everything, hide
from members import guest, member
from msgspec import UNSET

from chat import models
from chat.database import run_read, run_write
from chat.layers import FrozenMessage
from chat.message_log import Writer, queries
from chat.message_log.search_indexing import index_some
from chat.protocol import (
    EMOJIS_LIMIT,
    LOBBY,
    Ack,
    Deleted,
    Edited,
    Error,
    ErrorCode,
    Found,
    History,
    Left,
    Message,
    Reacted,
    ReadUpTo,
    TypingNow,
)

THUMB, CAT = "\N{THUMBS UP SIGN}", "\N{CAT FACE}"


@pytest.fixture
async def alice(person: Enter) -> Persona:
    """Alice, signed in as all here but Charlie, and in the lobby."""
    alice = await member(person, "Alice")
    await alice.join()
    return alice


@pytest.fixture
async def bob(person: Enter, alice: Persona) -> Persona:
    bob = await member(person, "Bob")
    await bob.join()
    return bob


numbers = count()
"""A new ref for each change."""


def told(event: Edited | Reacted | Message) -> list[tuple[str, list[str], int]]:
    """The reactions by name. Their keys are tested in test_author_keys.py."""
    return [(one.emoji, one.usernames, one.count) for one in event.reactions]


async def does(persona: Persona, verb: str, **fields: object) -> Ack:
    """A command that is acknowledged."""
    ref = f"{verb}{next(numbers)}"
    await persona.send(verb, ref=ref, **fields)
    return await persona.expect(Ack, ref=ref)


async def refusal(persona: Persona, verb: str, **fields: object) -> tuple[str, object]:
    """A command that is refused: its code and field."""
    ref = f"{verb}{next(numbers)}"
    await persona.send(verb, ref=ref, **fields)
    error = await persona.expect(Error, ref=ref)
    return error.code, error.field


async def counts(kinds: tuple[type, ...], first: Persona, *others: Persona) -> list[int]:
    """The number of events of these kinds that each received, up to a message that the first sends now."""
    await first.say("and now?")
    for persona in (first, *others):
        await persona.expect(Message, content="and now?")
    return [sum(isinstance(said, kinds) for said in persona.heard) for persona in (first, *others)]


async def kept() -> dict[int, Message]:
    """The lobby's log."""
    return await run_read(lambda: everything(queries.open_room(LOBBY)))


# --- Edit ---


async def test_an_author_may_edit_a_message(alice: Persona, bob: Persona) -> None:
    """All clients receive the new text, with the message's id and the room's next number, after the author's
    ack.
    """
    said = await alice.say("helo")
    ack = await does(alice, "edit", id=said.id, content="hello")
    assert (ack.id, ack.seq) == (1, 2)
    heard = await bob.expect(Edited, id=1, seq=2, content="hello")
    assert heard.edited is not UNSET
    assert await alice.expect(Edited) == heard
    message = (await kept())[1]
    assert (message.content, message.edited, message.username) == ("hello", heard.edited, "Alice")


async def test_the_same_text_again_is_no_change(alice: Persona, bob: Persona) -> None:
    """The reply is as before, no number is taken, and no client receives an event."""
    await alice.say("helo")
    first = await does(alice, "edit", id=1, content="hello")
    again = await does(alice, "edit", id=1, content="hello")
    assert (again.id, again.seq) == (first.id, first.seq)
    assert await counts((Edited,), alice, bob) == [1, 1]


async def test_an_edit_keeps_the_emoji(alice: Persona, bob: Persona) -> None:
    """An edit contains the whole state."""
    await alice.say("helo")
    await does(bob, "react", id=1, emoji=CAT)
    await does(alice, "edit", id=1, content="hello")
    assert told(await bob.expect(Edited)) == [(CAT, ["Bob"], 1)]


@pytest.mark.parametrize(("verb", "fields"), [("edit", {"content": "mine"}), ("delete", {})])
async def test_others_can_t_edit_it(alice: Persona, bob: Persona, verb: str, fields: dict[str, Any]) -> None:
    """Another's message is not changed, and no client receives the attempt."""
    await alice.say("hi")
    assert await refusal(bob, verb, id=1, **fields) == (ErrorCode.FORBIDDEN, "id")
    assert await counts((Edited, Deleted), alice, bob) == [0, 0]
    assert (await kept())[1].content == "hi"


async def test_a_name_is_no_proof(person: Enter) -> None:
    """A user with a guest's name in another browser's session can't change the guest's messages."""
    gina = await guest(person, "Gina")
    await gina.join()
    await gina.say("hi")
    await does(gina, "leave")
    impostor = await guest(person, "Gina")
    await impostor.join()
    assert await refusal(impostor, "edit", id=1, content="mine") == (ErrorCode.FORBIDDEN, "id")
    assert await refusal(impostor, "delete", id=1) == (ErrorCode.FORBIDDEN, "id")


async def test_one_s_messages_are_one_s_own_on_every_socket(person: Enter, alice: Persona) -> None:
    """A message from one browser may be changed in another, by the same account."""
    await alice.say("helo")
    elsewhere = await member(person, "Alice")
    await elsewhere.join()
    await does(elsewhere, "edit", id=1, content="hello")
    await alice.expect(Edited, content="hello")


@pytest.mark.parametrize(
    ("verb", "fields"), [("edit", {"content": "x"}), ("delete", {}), ("react", {"emoji": CAT})]
)
async def test_what_is_not_there_is_not_found(alice: Persona, verb: str, fields: dict[str, Any]) -> None:
    """A number that no message has, that another room's has, or that a change has."""
    await alice.join("tea")
    await alice.say("one")
    await alice.say("ONE", "tea")
    await alice.say("TWO", "tea")
    await does(alice, "edit", id=1, content="uno")
    for number in (0, 2, 3, 2**53 - 1):
        assert await refusal(alice, verb, id=number, **fields) == (ErrorCode.NOT_FOUND, "id")
    assert [message.content for message in (await kept()).values()] == ["uno"]


# --- Delete ---


async def test_an_author_may_delete_a_message(alice: Persona, bob: Persona) -> None:
    """All clients receive it; text and emoji are gone for good, the place stays."""
    await alice.say("a secret")
    await does(bob, "react", id=1, emoji=CAT)
    await bob.say("an answer", replyTo=1)
    ack = await does(alice, "delete", id=1)
    assert (ack.id, ack.seq) == (1, 4)
    assert await bob.expect(Deleted) == Deleted(room=LOBBY, id=1, seq=4)
    row = await models.Message.objects.aget(number=1)
    assert (row.content, row.deleted is None, await models.Reaction.objects.acount()) == ("", False, 0)
    await bob.send("history")
    first, second = (await bob.expect(History)).messages
    assert (first.deleted, first.content, first.reactions, first.username) == (True, "", [], "Alice")
    assert second.reply_to == 1


async def test_what_is_deleted_stays_so(alice: Persona, bob: Persona) -> None:
    """A second deletion is the first one's answer; a later edit or emoji finds nothing."""
    await alice.say("a secret")
    first = await does(alice, "delete", id=1)
    again = await does(alice, "delete", id=1)
    assert (again.id, again.seq) == (first.id, first.seq)
    assert await refusal(alice, "edit", id=1, content="back") == (ErrorCode.NOT_FOUND, "id")
    assert await refusal(bob, "react", id=1, emoji=CAT) == (ErrorCode.NOT_FOUND, "id")
    assert await counts((Edited, Deleted, Reacted), alice, bob) == [1, 1]


async def test_what_the_staff_hides_is_gone_for_everybody(alice: Persona, bob: Persona) -> None:
    """Its author can't change it either, nor bring it back."""
    await alice.say("spam")
    await run_write(lambda: Writer().write([hide(queries.open_room(LOBBY), 1)]))
    assert await refusal(alice, "edit", id=1, content="ham") == (ErrorCode.NOT_FOUND, "id")
    assert await refusal(bob, "react", id=1, emoji=CAT) == (ErrorCode.NOT_FOUND, "id")
    await does(alice, "delete", id=1)
    row = await models.Message.objects.aget(number=1)
    assert (row.content, row.hidden, row.withdrawn is None) == ("spam", True, False)


# --- React ---


async def test_anybody_may_put_an_emoji_on_anything(alice: Persona, bob: Persona) -> None:
    """All clients receive all emoji of the message, with the earliest users first."""
    await alice.say("hi")
    assert (await does(bob, "react", id=1, emoji=THUMB)).seq == 2
    await does(alice, "react", id=1, emoji=CAT)
    assert (await does(alice, "react", id=1, emoji=THUMB)).id == 1
    heard = await bob.expect(Reacted, seq=4)
    assert told(heard) == [(THUMB, ["Bob", "Alice"], 2), (CAT, ["Alice"], 1)]
    assert (await kept())[1].reactions == heard.reactions


async def test_an_emoji_is_put_on_once_and_taken_off_again(alice: Persona, bob: Persona) -> None:
    """The same state again is no change; taking off leaves the others' alone."""
    await alice.say("hi")
    first = await does(bob, "react", id=1, emoji=CAT)
    assert (await does(bob, "react", id=1, emoji=CAT)).seq == first.seq
    await does(alice, "react", id=1, emoji=CAT)
    assert (await does(bob, "react", id=1, emoji=CAT, on=False)).seq == 4
    assert (await does(bob, "react", id=1, emoji=CAT, on=False)).seq == 4
    assert told(await alice.expect(Reacted, seq=4)) == [(CAT, ["Alice"], 1)]
    await does(alice, "react", id=1, emoji=CAT, on=False)
    assert (await bob.expect(Reacted, seq=5)).reactions == []
    assert await counts((Reacted,), alice, bob) == [4, 4]


async def test_a_message_has_so_many_different_emoji(alice: Persona, bob: Persona) -> None:
    """One more is refused; one that is there already is not."""
    await alice.say("hi")
    for number in range(EMOJIS_LIMIT):
        await does(bob, "react", id=1, emoji=chr(0x1F600 + number))
    assert await refusal(alice, "react", id=1, emoji=CAT) == (ErrorCode.TOO_MANY_EMOJI, "emoji")
    await does(alice, "react", id=1, emoji=chr(0x1F600))
    await does(bob, "react", id=1, emoji=chr(0x1F601), on=False)
    await does(alice, "react", id=1, emoji=CAT)


# --- Permissions ---

CHANGES = [("edit", {"content": "x"}), ("delete", {}), ("react", {"emoji": CAT})]
VERBS = [
    *((verb, {"id": 1, **fields}) for verb, fields in CHANGES),
    ("message", {"content": "let me in", "replyTo": 1}),
    ("read", {"seq": 1}),
    ("search", {"query": "secret"}),
    ("history", {"after": 0}),
]


@pytest.mark.parametrize(("verb", "fields"), VERBS)
@pytest.mark.parametrize("known", [False, True])
async def test_charlie_may_nothing_in_a_room_that_he_is_not_in(
    alice: Persona,
    person: Enter,
    verb: str,
    fields: dict[str, Any],
    known: bool,
) -> None:
    """Each operation is refused with its ref, and the room receives nothing."""
    await alice.say("a secret")
    charlie = await member(person, "Charlie") if known else await person("Charlie")
    assert await refusal(charlie, verb, **fields) == (ErrorCode.NOT_JOINED, "room")
    assert await counts((Edited, Deleted, Reacted, ReadUpTo), alice) == [0]
    assert "secret" not in str(charlie.heard)


@pytest.mark.parametrize(("verb", "fields"), CHANGES)
async def test_a_bare_name_changes_nothing(
    alice: Persona, charlie: Persona, verb: str, fields: dict[str, Any]
) -> None:
    """They can't even change messages under their name: the next person with that name would be the author."""
    await charlie.join()
    await charlie.say("mine")
    assert await refusal(charlie, verb, id=1, **fields) == (ErrorCode.FORBIDDEN, UNSET)
    assert await counts((Edited, Deleted, Reacted), alice, charlie) == [0, 0]
    assert (await kept())[1].content == "mine"


@pytest.mark.parametrize(("verb", "fields"), CHANGES)
async def test_a_guest_with_a_session_may_change_messages(
    person: Enter, verb: str, fields: dict[str, Any]
) -> None:
    """A name chosen on the page is as good as an account, for as long as the session lasts."""
    ann = await guest(person, "Ann")
    await ann.join()
    said = await ann.say("mine")
    assert (await does(ann, verb, id=said.id, **fields)).seq == 2


# --- Read ---


async def test_a_read_position_reaches_the_person_s_other_sockets(
    person: Enter, alice: Persona, bob: Persona
) -> None:
    """Each of the person's other sockets receives it once; the sender and other people don't."""
    second, third = await member(person, "Alice"), await member(person, "Alice")
    await second.join()
    await third.join()
    await bob.say("hi")
    await alice.expect(Message)
    await alice.send("read", seq=1)
    for other in (second, third):
        assert await other.expect(ReadUpTo) == ReadUpTo(room=LOBBY, username="Alice", seq=1)
    assert await counts((ReadUpTo, Error), alice, bob, second, third) == [0, 0, 1, 1]


async def test_a_room_that_the_other_socket_is_not_in_is_not_told_there(person: Enter, alice: Persona) -> None:
    """A tab in another room receives nothing of this one."""
    other = await member(person, "Alice")
    await other.join("tea")
    await alice.say("hi")
    await alice.send("read", seq=1)
    await alice.silence()
    await other.silence()
    assert other.count(ReadUpTo) == 0


async def test_how_far_one_has_read_is_kept(person: Enter, alice: Persona, bob: Persona) -> None:
    """The next welcome has it: first 0, then never less than before and never more than the last number."""
    expected = [(None, 0), (2, 2), (1, 2), (2**53 - 1, 3)]
    for content in ("one", "two", "three"):
        await bob.say(content)
        await alice.expect(Message, content=content)
    for seq, told in expected:
        if seq is not None:
            await alice.send("read", seq=seq)
            # The waiting changes are written.
            await does(alice, "react", id=1, emoji=CAT, on=False)
        again = await member(person, "Alice")
        assert (await again.join()).read == told
    assert (await bob.join()).read == 0


async def test_a_guest_with_a_session_has_read_it_too(person: Enter) -> None:
    """Under the name and in the session in which it was read."""
    ann = await guest(person, "Ann")
    await ann.join()
    await ann.say("hi")
    await ann.expect(Message)
    await ann.send("read", seq=1)
    await ann.say("more")
    assert (await ann.join()).read == 1
    assert (await (await guest(person, "Eve")).join()).read == 0


async def test_nothing_is_kept_of_who_only_says_a_name(alice: Persona, charlie: Persona) -> None:
    """It is no error, for a page need not know; but there is nothing to tell."""
    assert (await charlie.join()).read is UNSET
    await alice.say("hi")
    await charlie.expect(Message)
    await charlie.send("read", seq=1)
    await charlie.silence()
    assert charlie.count(Error) == 0
    assert (await charlie.join()).read is UNSET
    assert not await models.ReadPosition.objects.aexists()


async def test_who_resumes_is_not_told_how_far_they_read(alice: Persona) -> None:
    """The client has it, so a crowd of reconnects costs no query each."""
    first = await alice.join()
    assert (await alice.join(since=0, epoch=first.epoch)).read is UNSET


# --- Replies ---


async def test_a_message_may_reply_to_another(alice: Persona, bob: Persona) -> None:
    """All clients receive the reference, and the history has it."""
    await alice.say("tea?")
    assert (await bob.expect(Message, content="tea?")).reply_to is UNSET
    await bob.say("yes", replyTo=1)
    assert (await alice.expect(Message, content="yes")).reply_to == 1
    assert (await kept())[2].reply_to == 1


@pytest.mark.parametrize("number", [0, 2, 3, 2**53 - 1])
async def test_a_reply_needs_an_existing_message(alice: Persona, number: int) -> None:
    """A reply to a message that does not exist yet is refused."""
    await alice.say("tea?")
    assert await refusal(alice, "message", content="yes", replyTo=number) == (ErrorCode.NOT_FOUND, "replyTo")
    assert list(await kept()) == [1]


# --- History ---


async def test_history_goes_forward_page_by_page(alice: Persona) -> None:
    """Each page is after the newest that one has, oldest first, until there is no more."""
    for number in range(1, 8):
        await alice.say(f"message {number}")
    seen: list[list[int]] = []
    after, more = 0, True
    while more:
        await alice.send("history", after=after, limit=3)
        page = await alice.expect(History)
        seen.append([message.id for message in page.messages])
        more, after = page.more, page.messages[-1].id
    assert seen == [[1, 2, 3], [4, 5, 6], [7]]
    await alice.send("history", after=7)
    page = await alice.expect(History)
    assert (page.messages, page.more) == ([], False)


async def test_history_tells_each_message_as_it_is_now(alice: Persona, bob: Persona) -> None:
    """At its old place, with the number of its last change."""
    for content in ("one", "two", "three"):
        await alice.say(content)
    await does(alice, "edit", id=1, content="ONE")
    await does(bob, "react", id=2, emoji=CAT)
    await does(alice, "delete", id=3)
    await bob.send("history")
    messages = (await bob.expect(History)).messages
    assert [(m.id, m.seq, m.content, m.deleted) for m in messages] == [
        (1, 4, "ONE", False),
        (2, 5, "two", False),
        (3, 6, "", True),
    ]
    assert told(messages[1]) == [(CAT, ["Bob"], 1)]


# --- Search ---


async def found(persona: Persona, query: str, **fields: object) -> list[int]:
    await persona.send("search", query=query, ref="s", **fields)
    answer = await persona.expect(Found, ref="s", room=fields.get("room", LOBBY))
    return [message.id for message in answer.messages]


async def test_a_search_finds_words(alice: Persona, bob: Persona) -> None:
    """All of them, in any order and case, a last one of three letters also as a beginning; the newest first."""
    for content in ("Tea for two", "two teas", "coffee", "two cups of tea"):
        await alice.say(content)
    assert await found(bob, "tea two") == [4, 1]
    assert await found(bob, "TWO tea") == [4, 2, 1]
    assert await found(bob, "two te") == []
    assert await found(bob, "te two") == []
    assert await found(bob, "coffee") == [3]
    assert await found(bob, "juice") == []


async def test_a_search_stays_in_its_room(alice: Persona, bob: Persona) -> None:
    """Messages of another room are not found, even if the user is in both rooms."""
    await alice.join("tea")
    await alice.say("a word", "tea")
    await alice.say("another word")
    assert await found(alice, "word") == [1]
    assert await found(alice, "word", room="tea") == [1]
    assert await found(alice, "another", room="tea") == []


async def test_a_search_finds_what_is_there_now(alice: Persona, bob: Persona) -> None:
    """A search finds the new text of edits, and nothing of deleted or hidden messages."""
    for content in ("old words", "more words", "bad words"):
        await alice.say(content)
    await does(alice, "edit", id=1, content="new words")
    await does(alice, "delete", id=2)
    await run_write(lambda: Writer().write([hide(queries.open_room(LOBBY), 3)]))
    assert await found(bob, "words") == [1]
    assert await found(bob, "old") == []
    assert await found(bob, "new") == [1]


async def test_a_search_goes_back_page_by_page(alice: Persona) -> None:
    """``before`` the oldest that was found, until there is no more."""
    for number in range(7):
        await alice.say(f"word {number}")
    seen: list[list[int]] = []
    before: dict[str, int] = {}
    more = True
    while more:
        await alice.send("search", query="word", limit=3, **before)
        page = await alice.expect(Found)
        seen.append([message.id for message in page.messages])
        more, before = page.more, {"before": page.messages[-1].id}
    assert seen == [[7, 6, 5], [4, 3, 2], [1]]


@pytest.mark.parametrize(
    "query", ["a* OR b", 'x" OR "y', "NOT", "AND", "words : 1", "\N{WHITE HEAVY CHECK MARK}:*", "_1", "x & !y"]
)
async def test_a_search_has_no_language_of_its_own(alice: Persona, query: str) -> None:
    """Signs and words that mean something to the database are words, or nothing."""
    await alice.say("hi")
    assert await found(alice, query) == []


@pytest.mark.parametrize("query", ['"', "'", "*", "(", "-", "%", "\\", ":*", "?!", "。", "\u0301", "\u093f"])
async def test_a_search_for_nothing_is_refused_with_why(alice: Persona, query: str) -> None:
    """Punctuation, or a mark alone: a sentence says what can be searched for."""
    await alice.say(f"hi {query}")
    await alice.send("search", query=query, ref="s")
    error = await alice.expect(Error, ref="s", code=ErrorCode.BAD_FIELD, field="query")
    assert error.message == "query: has no word, number or picture in it that could be searched for"


async def test_a_search_says_that_older_messages_are_still_indexed(alice: Persona) -> None:
    """After an update the index is filled in the background. Until then the answer says that it is incomplete."""
    await alice.say("上海")
    await run_write(lambda: models.Message.objects.update(words=None))
    await alice.send("search", query="上海", ref="s")
    answer = await alice.expect(Found, ref="s")
    assert (answer.messages, answer.indexing) == ([], True)
    await run_write(index_some)
    await alice.send("search", query="上海", ref="t")
    answer = await alice.expect(Found, ref="t")
    assert ([message.id for message in answer.messages], answer.indexing) == ([1], False)


# --- Events between processes ---


async def test_events_of_a_room_can_t_change(
    alice: Persona, bob: Persona, person: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Receivers in one process share the values of an event: they are immutable, as FrozenMessage promises."""
    sent: list[dict[str, Any]] = []

    def noted(message: dict[str, Any]) -> FrozenMessage:
        sent.append(message)
        return FrozenMessage(message)

    monkeypatch.setattr("chat.hub.bus.FrozenMessage", noted)
    said = await alice.say("hello")
    for verb, fields in (CHANGES[0], CHANGES[2], CHANGES[1]):
        await does(alice, verb, id=said.id, **fields)
    await alice.send("read", seq=said.seq)
    await bob.send("typing")
    await alice.expect(TypingNow)
    carol = await member(person, "Carol")
    await carol.join()
    await does(carol, "leave")
    await bob.expect(Left, username="Carol")
    kinds = {event[0] for message in sent for event in message["parts"]}
    assert kinds >= {"changes", "frame", "to", "presence"}
    for message in sent:
        # A tuple has a hash only if everything in it has one, down to the last value.
        hash(tuple(message.values()))
