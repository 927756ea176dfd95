"""A ref identifies one message or one change. A repetition gets the first answer; another text is refused."""

from collections.abc import Callable

import pytest
from django.db.models import F
from helpers import CommunicatorPersona as Persona
from helpers import Enter
from logs import edit, erase, everything, hide, post, posts, react, refusals, written
from members import member
from pytest_django import Settings

from chat import models
from chat.filters import Draft
from chat.log import RoomLog, Write
from chat.message_log import Writer, queries
from chat.models.messages import REMEMBERED_REFS
from chat.protocol import Ack, Error, ErrorCode, Message

REUSED = ErrorCode.REF_REUSED


@pytest.fixture
def room(db: None) -> RoomLog:
    room = queries.open_room("lobby")
    Writer().write([*posts(room, 2), post(room, "said", ref="r", reply_to=1)])
    return room


OTHERS: dict[str, Callable[[RoomLog], Write]] = {
    "other words": lambda room: post(room, "other", ref="r", reply_to=1),
    "more words": lambda room: post(room, "said.", ref="r", reply_to=1),
    "other case": lambda room: post(room, "Said", ref="r", reply_to=1),
    "an answer to another": lambda room: post(room, "said", ref="r", reply_to=2),
    "an answer to what is not there": lambda room: post(room, "said", ref="r", reply_to=99),
}
CHANGES: dict[str, Callable[[RoomLog], list[Write]]] = {
    "as it was said": lambda room: [react(room, 1)],
    "edited": lambda room: [edit(room, 3, "better")],
    "edited twice": lambda room: [edit(room, 3, "better"), edit(room, 3, "best")],
    "edited and back": lambda room: [edit(room, 3, "other"), edit(room, 3, "said")],
    "deleted": lambda room: [erase(room, 3)],
    "edited and deleted": lambda room: [edit(room, 3, "better"), erase(room, 3)],
    "hidden": lambda room: [hide(room, 3)],
    "edited and hidden": lambda room: [edit(room, 3, "better"), hide(room, 3)],
    "with emoji": lambda room: [react(room, 3)],
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("beside", [0, 1])
def test_another_text_with_a_ref_is_refused(
    room: RoomLog, change: Callable[[RoomLog], list[Write]], beside: int
) -> None:
    """The first text gets the first answer, whatever happened to the message. The ref carries no other message."""
    written(Writer().write(change(room)))
    before = everything(room)
    for other in OTHERS.values():
        assert refusals(Writer().write([*posts(room, beside), other(room)])) == [*[None] * beside, REUSED]
    again = written(Writer().write([post(room, "said", ref="r", reply_to=1)]))[0]
    assert (again.id, again.seq, again.change) == (3, 3, None)
    assert {number: everything(room)[number] for number in before} == before


def test_a_retry_without_its_reply_to_is_the_same(room: RoomLog) -> None:
    """After a new epoch a client drops the id. The other way round is refused."""
    Writer().write([post(room, "plain", ref="p")])
    batch = [post(room, "said", ref="r"), post(room, "plain", ref="p", reply_to=1)]
    assert refusals(Writer().write(batch)) == [None, REUSED]
    batch = [post(room, "new", ref="n", reply_to=1), post(room, "new", ref="n")]
    assert [outcome.id for outcome in written(Writer().write(batch))] == [5, 5]


def test_the_same_holds_within_a_batch(room: RoomLog) -> None:
    """The second of two messages with one ref in a batch is refused, and the others are written."""
    batch = [
        post(room, "one", ref="x"),
        post(room, "two", ref="x"),
        edit(room, 4, "three"),
        post(room, "three", ref="x"),
        post(room, "one", ref="x"),
        post(room, "two", author="bob", ref="x"),
        post(room, "two", ref="y"),
    ]
    assert refusals(Writer().write(batch)) == [None, REUSED, None, REUSED, None, None, None]
    assert [message.content for message in everything(room).values()][3:] == ["three", "two", "two"]


def test_a_ref_belongs_to_one_room(room: RoomLog) -> None:
    """In another room it may be used for another message."""
    tea = queries.open_room("tea")
    assert refusals(Writer().write([post(tea, "other", ref="r")])) == [None]


def test_a_message_changed_by_the_version_before_is_known_by_its_ref(room: RoomLog) -> None:
    """That version kept no digest of the first text, so the first answer is given."""
    models.Message._base_manager.filter(number=3).update(content="new", edited=F("created"), said="")
    again = written(Writer().write([post(room, "said", ref="r", reply_to=1)]))[0]
    assert (again.id, again.change) == (3, None)


def test_a_change_of_the_site_s_secret_takes_nothing_from_a_retry(room: RoomLog, settings: Settings) -> None:
    """It is recognized while the former secret is among the fallbacks."""
    Writer().write([edit(room, 3, "better", ref="e")])
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another-" * 8
    retries = [post(room, "said", ref="r", reply_to=1), edit(room, 3, "better", ref="e")]
    assert [outcome.change for outcome in written(Writer().write(retries))] == [None, None]
    assert refusals(Writer().write([post(room, "other", ref="r", reply_to=1)])) == [REUSED]


def test_a_deleted_text_can_t_be_guessed_from_its_row(room: RoomLog, settings: Settings) -> None:
    """The digest of a deleted text depends on the site's secret."""
    Writer().write([erase(room, 3)])
    kept = models.Message.objects.get(number=3).said
    assert kept == models.digest("said")
    assert kept not in {models.digest("said", "guess"), models.digest("said", b"")[:0]}


# --- Changes ---

REQUESTED: dict[str, Callable[[RoomLog], Write]] = {
    "an edit": lambda room: edit(room, 3, "one", ref="c"),
    "another edit": lambda room: edit(room, 3, "two", ref="c"),
    "an emoji": lambda room: react(room, 3, "👍", author="alice", ref="c"),
    "another emoji": lambda room: react(room, 3, "🎉", author="alice", ref="c"),
    "an emoji off": lambda room: react(room, 3, "👍", author="alice", on=False, ref="c"),
}


@pytest.mark.parametrize("second", REQUESTED)
@pytest.mark.parametrize("first", REQUESTED)
def test_another_change_with_a_ref_is_refused(room: RoomLog, first: str, second: str) -> None:
    """The same change gets its answer again, and undoes no change that came in between."""
    written(Writer().write([REQUESTED[first](room), edit(room, 3, "between")]))
    before = everything(room)
    outcome = Writer().write([REQUESTED[second](room)])
    assert refusals(outcome) == [None if first == second else REUSED]
    assert everything(room) == before


def test_changes_of_the_version_before_are_known(room: RoomLog) -> None:
    """That version kept only the author and the ref, and skips the digests of this one."""
    Writer().write([edit(room, 3, "one", ref="a"), edit(room, 3, "two", ref="b")])
    row = models.Message.objects.get(number=3)
    words = row.asked.split()
    assert len([word for word in words if word[0] != "="]) == 2
    row.asked = " ".join(word for word in words if word[0] != "=")
    assert row.was_requested("alice", "a", "anything") is True
    for number in range(2 * REMEMBERED_REFS):
        row.remember_request("alice", f"{number}", "edit x")
    assert row.was_requested("alice", f"{REMEMBERED_REFS - 1}", "edit x") is False
    assert row.was_requested("alice", f"{REMEMBERED_REFS}", "edit x") is True
    assert row.was_requested("alice", f"{REMEMBERED_REFS}", "edit y") is None


# --- On the socket ---


async def test_a_dropped_message_is_an_error(person: Enter, bob: Persona) -> None:
    """A client that uses a ref twice gets an error for the second message, and nobody receives it."""
    alice = await member(person, "Alice")
    await alice.join()
    await bob.join()
    first = await alice.say("one", ref="r")
    await alice.send("message", content="two", ref="r")
    error = await alice.refused(REUSED)
    assert (error.ref, error.field, error.retry_after) == ("r", "ref", error.retry_after)
    await alice.send("edit", id=first.id, content="uno", ref="e")
    await alice.expect(Ack, ref="e")
    await alice.send("edit", id=first.id, content="due", ref="e")
    assert (await alice.refused(REUSED)).ref == "e"
    assert await alice.say("one", ref="r") == first
    await alice.say("two", ref="r2")
    await bob.expect(Message, content="two", id=3)
    assert (bob.count(Message), alice.count(Error)) == (2, 2)


def shout(draft: Draft) -> str:
    return draft.text.upper()


async def test_a_filtered_message_is_known_by_its_sent_text(person: Enter, settings: Settings) -> None:
    """A retry is the same message, whether or not the site's filters have changed since."""
    alice = await member(person, "Alice")
    await alice.join()
    plain = await alice.say("one", ref="plain")
    settings.CHAT = {"FILTERS": [f"{__name__}.shout"]}
    loud = await alice.say("two", ref="loud")
    assert (await models.Message.objects.aget(number=2)).content == "TWO"
    assert [await alice.say("one", ref="plain"), await alice.say("two", ref="loud")] == [plain, loud]
    for ref in ("plain", "loud"):
        await alice.send("message", content="TWO" if ref == "loud" else "ONE", ref=ref)
        assert (await alice.refused(REUSED)).ref == ref
    settings.CHAT = {}
    assert [await alice.say("one", ref="plain"), await alice.say("two", ref="loud")] == [plain, loud]
