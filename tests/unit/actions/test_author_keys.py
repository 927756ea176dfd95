"""The server names authors by opaque keys, so that pages need not compare names."""

import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import AsyncClient, Client, override_settings
from helpers import CommunicatorPersona as Persona
from helpers import Enter
from logs import edit, post, react
from members import browser, guest, member
from msgspec import UNSET

from chat import models
from chat.database import run_read
from chat.log import Change, Written
from chat.message_log import Writer, queries
from chat.models import author_key
from chat.protocol import (
    Ack,
    Edited,
    Found,
    History,
    Joined,
    Left,
    Message,
    Reacted,
    Reaction,
    TypingNow,
    Welcome,
    decode_outgoing,
)

THUMB = "\N{THUMBS UP SIGN}"


async def here(persona: Persona) -> str:
    """Join the lobby. Returns the key that the server gives."""
    welcome = await persona.join()
    assert welcome.you is not UNSET
    return welcome.you


# --- The key ---


@pytest.mark.parametrize("author", ["account:1", "guest:0123456789abcdef:Ann", "guest:0123456789abcdef:Ann Lee"])
def test_a_person_has_a_key_that_tells_nothing_of_them(author: str) -> None:
    """It is short, stable and made with SECRET_KEY: the account's number alone does not yield it."""
    key = author_key(author)
    assert len(key) == 12
    assert key == author_key(author)
    with override_settings(SECRET_KEY="another"):
        assert author_key(author) != key
    assert author_key(author) == key


def test_different_people_have_different_keys() -> None:
    """One guest under two names has two keys, so others can't connect them."""
    authors = ["account:1", "account:11", "guest:a:Ann", "guest:a:Anna", "guest:b:Ann"]
    assert len({author_key(author) for author in authors}) == len(authors)


@pytest.mark.parametrize("author", ["", "name:ann", "socket:0011223344556677", "Ann"])
def test_who_only_says_a_name_has_no_key(author: str) -> None:
    """Anybody could claim the name."""
    assert author_key(author) == ""


# --- On the wire ---


async def test_two_guests_of_one_name_are_two_people(person: Enter) -> None:
    """Ann leaves, and another browser's Ann joins: the first one's messages are not hers, live or in history."""
    bob = await guest(person, "Bob")
    await here(bob)
    first = await guest(person, "Ann")
    key = await here(first)
    await first.say("mine")
    assert (await bob.expect(Message)).by == key
    await first.send("leave", ref="l")
    await first.expect(Ack, ref="l")
    second = await guest(person, "Ann")
    other = await here(second)
    assert other not in {key, ""}
    await second.send("history")
    assert [message.by for message in (await second.expect(History)).messages] == [key]
    await second.say("mine too")
    assert (await bob.expect(Message)).by == other


async def test_an_account_that_is_renamed_stays_the_same_person(person: Enter) -> None:
    """Messages under the former name bear the key of its welcome: live, in history, in a search."""
    alice = await member(person, "Alice")
    key = await here(alice)
    await alice.say("before")
    user = await User.objects.aget(username="Alice")
    user.username = "Alicia"
    await user.asave()
    client = AsyncClient()
    await client.aforce_login(user)
    alicia: Persona = await person("Alicia", headers=browser(client.cookies["sessionid"].value))
    assert await here(alicia) == key
    await alicia.say("after")
    await alicia.send("history")
    messages = (await alicia.expect(History)).messages
    assert [(message.username, message.by) for message in messages] == [("Alice", key), ("Alicia", key)]
    await alicia.send("search", query="before")
    assert [message.by for message in (await alicia.expect(Found)).messages] == [key]
    assert (await alicia.join(since=0, epoch=(await run_read(_lobby)).epoch)).resumed
    assert (await alicia.expect(Message, content="before")).by == key


def _lobby() -> models.Room:
    return models.Room.objects.get(slug="lobby")


async def test_a_guest_who_takes_another_name_is_another(person: Enter) -> None:
    """The server agrees: it lets nobody change messages of the former name."""
    ann = await guest(person, "Ann")
    key = await here(ann)
    anna = await guest(person, "Anna")
    assert await here(anna) != key


async def test_who_only_says_a_name_owns_nothing(person: Enter) -> None:
    """The welcome has no key, and neither have their messages."""
    zoe: Persona = await person("Zoe")
    assert await here(zoe) == ""
    await zoe.say("hi")
    assert (await zoe.expect(Message)).by is UNSET
    await zoe.send("history")
    assert [message.by for message in (await zoe.expect(History)).messages] == [UNSET]


async def test_emoji_tell_whose_they_are(person: Enter) -> None:
    """Emoji have keys beside the names, in the same order: live, after an edit, and in history."""
    alice, ann = await member(person, "Alice"), await guest(person, "Ann")
    keys = [await here(alice), await here(ann)]
    await alice.say("hi")
    for persona in (alice, ann):
        await persona.send("react", id=1, emoji=THUMB, on=True, ref=persona.name)
        await persona.expect(Ack, ref=persona.name)
    expected = [Reaction(THUMB, ["Alice", "Ann"], 2, keys)]
    assert (await alice.expect(Reacted, seq=3)).reactions == expected
    await alice.send("edit", id=1, content="hello", ref="e")
    assert (await alice.expect(Edited)).reactions == expected
    await ann.send("history")
    assert (await ann.expect(History)).messages[0].reactions == expected


async def test_who_comes_types_and_goes_is_told_by_key(person: Enter) -> None:
    """An account may join beside a guest of its name. The guest's page must not take it for the same person."""
    ann = await guest(person, "Ann")
    key = await here(ann)
    assert (await ann.expect(Joined)).by == key
    account = await member(person, "Ann")
    other = await here(account)
    assert (await ann.expect(Joined)).by == other
    await account.send("typing")
    event = await ann.expect(TypingNow)
    assert (event.username, event.by) == ("Ann", other)
    await account.send("leave")
    assert (await ann.expect(Left)).by == other


async def test_the_key_is_no_secret_s_shadow(person: Enter) -> None:
    """No frame to others contains a session's digest or an account's number."""
    bob = await guest(person, "Bob")
    await here(bob)
    ann = await guest(person, "Ann")
    await here(ann)
    await ann.say("hi")
    row = await models.Message.objects.aget()
    digest = row.author.split(":")[1]
    event = await bob.expect(Message)
    assert digest not in json.dumps({"by": event.by, "username": event.username})


@pytest.mark.django_db(transaction=True)
def test_each_way_a_message_is_told_bears_the_same_key() -> None:
    """The key is the same live, in a catch-up and in a page of history, whichever way it was written."""
    tea = queries.open_room("tea")
    key = author_key("guest:0a:Ann")
    outcomes = Writer().write([post(tea, "one", author="guest:0a:Ann")])
    outcomes += Writer().write(
        [
            post(tea, "two", author="guest:0a:Ann"),
            edit(tea, 1, "ONE", author="guest:0a:Ann"),
            react(tea, 2, THUMB, author="guest:0a:Ann"),
        ]
    )
    changes = [_change(outcome) for outcome in outcomes]
    fresh = [decode_outgoing(change.fresh) for change in changes]
    assert {message.by for message in fresh if isinstance(message, Message)} == {key}
    page = queries.page("tea", 50)
    assert [message.by for message in page.messages] == [key, key]
    stretch = queries.changes_since(tea, 0, 10)
    assert [decode_outgoing(change.frame).by for change in stretch.changes] == [key, key]  # type: ignore[union-attr]  # messages


def _change(outcome: Any) -> Change:
    assert isinstance(outcome, Written)
    assert outcome.change
    return outcome.change


def test_welcomes_of_a_version_before_are_read(client: Client) -> None:
    """A client in Python gets no key from an older server."""
    text = '{"type":"welcome","room":"lobby","username":"Ann","seq":0,"epoch":"e","resumed":false,"timestamp":1}'
    welcome = decode_outgoing(text)
    assert isinstance(welcome, Welcome)
    assert welcome.you is UNSET
