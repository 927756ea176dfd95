"""The room log, beside a model of it that keeps everything."""

from dataclasses import dataclass, field

import pytest
from django.test import override_settings
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from pytest_django import Settings

from chat.log import Entry, Log
from chat.protocol import decode_outgoing

KEPT = 4
IDLE = 2
ROOMS = ("a", "b", "c", "d", "e")


def say(
    log: Log, content: str, *, room: str = "a", author: str = "alice", ref: str | None = None
) -> tuple[Entry, bool]:
    return log.append(room, author=author, username=author.title(), content=content, ref=ref)


@dataclass
class Life:
    """All that happened in a room since its log was made."""

    epoch: str
    # Each message's author, ref and content; the first has the number 1.
    said: list[tuple[str, str | None, str]] = field(default_factory=list)

    @property
    def floor(self) -> int:
        return max(0, len(self.said) - KEPT)

    def number_of(self, author: str, ref: str) -> int | None:
        """The kept message that the author sent under the ref."""
        kept = range(self.floor, len(self.said))
        return next((i + 1 for i in kept if self.said[i][:2] == (author, ref)), None)


class LogMachine(RuleBasedStateMachine):
    """Any order of any calls: the log answers as the model does."""

    def __init__(self) -> None:
        super().__init__()
        self.overridden = override_settings(CHAT={"LOG_MESSAGES": KEPT, "LOG_IDLE_ROOMS": IDLE})
        self.overridden.enable()
        self.log = Log()
        self.open: dict[str, Life] = {}
        # The rooms that nobody is in and that are remembered, the longest idle first.
        self.idle: dict[str, Life] = {}
        self.epochs: set[str] = set()

    def teardown(self) -> None:
        self.overridden.disable()

    @rule(room=st.sampled_from(ROOMS))
    def somebody_comes(self, room: str) -> None:
        opened = self.log.open(room)
        if room in self.open:
            life = self.open[room]
        elif room in self.idle:
            life = self.open[room] = self.idle.pop(room)
        else:
            assert opened.epoch not in self.epochs, "a forgotten room that comes back has another epoch"
            life = self.open[room] = Life(opened.epoch)
            self.epochs.add(opened.epoch)
        assert (opened.epoch, opened.seq) == (life.epoch, len(life.said))

    @rule(data=st.data())
    def everybody_leaves(self, data: st.DataObject) -> None:
        if not self.open:
            return
        room = data.draw(st.sampled_from(sorted(self.open)))
        self.log.release(room)
        life = self.open.pop(room)
        if life.said:
            self.idle[room] = life
        if len(self.idle) > IDLE:
            del self.idle[next(iter(self.idle))]

    @rule(
        data=st.data(),
        author=st.sampled_from(["alice", "bob"]),
        ref=st.sampled_from([None, "1", "2", "3"]),
        times=st.integers(1, 3),
    )
    def somebody_speaks(self, data: st.DataObject, author: str, ref: str | None, times: int) -> None:
        if not self.open:
            return
        room = data.draw(st.sampled_from(sorted(self.open)))
        life = self.open[room]
        for _ in range(times):
            known = life.number_of(author, ref) if ref else None
            content = f"message {len(life.said)}"
            entry, fresh = say(self.log, content, room=room, author=author, ref=ref)
            assert fresh == (known is None), "the same ref has one message"
            if fresh:
                life.said.append((author, ref, content))
            number = known or len(life.said)
            assert (entry.seq, entry.message.id, entry.message.room) == (number, number, room)
            assert entry.message.content == life.said[number - 1][2]

    @rule(data=st.data(), position=st.integers(0, 12), whose=st.sampled_from(["this", "another", None]))
    def somebody_resumes(self, data: st.DataObject, position: int, whose: str | None) -> None:
        if not self.open:
            return
        room = data.draw(st.sampled_from(sorted(self.open)))
        life = self.open[room]
        epoch = {"this": life.epoch, "another": "another", None: None}[whose]
        entries = self.log.since(room, position, epoch)
        if whose != "another" and life.floor <= position <= len(life.said):
            assert entries is not None
            assert [entry.seq for entry in entries] == list(range(position + 1, len(life.said) + 1))
            assert [entry.message.content for entry in entries] == [said[2] for said in life.said[position:]]
        else:
            assert entries is None, "part of the truth is not told as all of it"

    @rule(data=st.data(), before=st.none() | st.integers(0, 12), limit=st.integers(1, KEPT + 1))
    def somebody_looks_back(self, data: st.DataObject, before: int | None, limit: int) -> None:
        if not self.open:
            return
        room = data.draw(st.sampled_from(sorted(self.open)))
        life = self.open[room]
        older = [n for n in range(life.floor + 1, len(life.said) + 1) if before is None or n < before]
        messages, more = self.log.page(room, before=before, limit=limit)
        assert [message.id for message in messages] == older[-limit:]
        assert more == (len(older) > limit)

    @invariant()
    def only_what_is_needed_is_kept(self) -> None:
        assert self.log.positions() == {room: len(life.said) for room, life in self.open.items()}
        assert list(self.log._idle) == list(self.idle)
        for room in self.log._open.values():
            assert len(room.entries) == len(room.names) <= KEPT
            assert set(room.answers) == {name for name in room.names if name}


LogMachine.TestCase.settings = hypothesis_settings(max_examples=60, stateful_step_count=30)
TestLogBesideItsModel = LogMachine.TestCase


# --- The same, in examples ---


@pytest.fixture
def log(settings: Settings) -> Log:
    settings.CHAT = {"LOG_MESSAGES": KEPT, "LOG_IDLE_ROOMS": IDLE}
    log = Log()
    log.open("a")
    return log


def test_messages_are_numbered_from_one(log: Log) -> None:
    """The first message has the number 1, and each the next; rooms count for themselves."""
    log.open("b")
    assert [say(log, "x")[0].seq for _ in range(3)] == [1, 2, 3]
    assert say(log, "x", room="b")[0].seq == 1


def test_an_entry_s_frame_is_its_message(log: Log) -> None:
    """What is fanned out is encoded once, and says what the entry says."""
    entry, _ = say(log, "hi \N{PILE OF POO}")
    assert decode_outgoing(entry.frame) == entry.message


def test_the_same_ref_has_the_same_answer(log: Log) -> None:
    """A retry is answered with the first entry, whatever it says now."""
    first, fresh = say(log, "hi", ref="r1")
    again, copied = say(log, "hi, changed", ref="r1")
    assert (fresh, copied) == (True, False)
    assert again is first


@pytest.mark.parametrize(("author", "room"), [("bob", "a"), ("alice", "b")])
def test_a_ref_is_its_author_s_and_room_s(log: Log, author: str, room: str) -> None:
    """Another author's or another room's equal ref is another message."""
    log.open("b")
    say(log, "hi", ref="r1")
    assert say(log, "hi", ref="r1", author=author, room=room)[1]


def test_without_a_ref_everything_is_new(log: Log) -> None:
    """The article's client names nothing: it may say the same twice."""
    assert [say(log, "hi")[1] for _ in range(2)] == [True, True]


def test_a_new_room_has_nothing_and_is_whole(log: Log) -> None:
    """Position 0 of a log without messages is its end, not a gap."""
    assert log.since("a", 0) == []
    assert log.since("a", 1) is None
    assert log.page("a", before=None, limit=50) == ([], False)


def test_what_is_not_kept_is_not_told_in_part(log: Log) -> None:
    """A position before the oldest kept message gets nothing rather than some."""
    for number in range(KEPT + 1):
        say(log, str(number))
    assert log.since("a", 0) is None
    whole = log.since("a", 1)
    assert whole is not None
    assert len(whole) == KEPT


def test_the_first_page_of_a_log_that_forgot_says_there_is_no_more(log: Log) -> None:
    """``more`` is about what is kept: a page that asks further back is empty."""
    for number in range(KEPT * 2):
        say(log, str(number))
    page, more = log.page("a", before=None, limit=KEPT)
    assert (page[0].id, more) == (KEPT + 1, False)
    assert log.page("a", before=KEPT + 1, limit=KEPT) == ([], False)


def test_an_idle_room_is_remembered(log: Log) -> None:
    """Whoever comes back to a room finds its numbers, its epoch and its messages."""
    entry, _ = say(log, "hi")
    epoch = log.open("a").epoch
    log.release("a")
    assert log.open("a").epoch == epoch
    assert log.since("a", 0, epoch) == [entry]


def test_the_longest_idle_room_is_forgotten_first(log: Log) -> None:
    """Past the bound the longest idle goes, and comes back as another life: a client starts over."""
    epochs = {}
    for room in ("a", "b", "c"):
        epochs[room] = log.open(room).epoch
        say(log, "hi", room=room)
        log.release(room)
    assert log.open("b").epoch == epochs["b"]
    assert log.open("c").epoch == epochs["c"]
    assert log.open("a").epoch != epochs["a"]
    assert log.since("a", 1, epochs["a"]) is None
    assert log.since("a", 0, epochs["a"]) is None


def test_a_room_in_which_nothing_was_said_is_not_kept(log: Log) -> None:
    """Opening rooms by the thousand leaves nothing behind."""
    for number in range(1_000):
        log.open(f"r{number}")
        log.release(f"r{number}")
    assert not log._idle
    assert set(log.positions()) == {"a"}


async def test_a_closed_log_is_empty(log: Log) -> None:
    """Closing lets everything go."""
    say(log, "hi")
    log.open("b")
    log.release("a")
    await log.close()
    assert not log._idle
    assert log.positions() == {}


def test_a_page_of_long_messages_is_shorter(log: Log, settings: Settings) -> None:
    """A page is bounded in characters too; the next goes on where it ended, and each has a message at least."""
    settings.CHAT = {}
    for number in range(60):
        log.append("lobby", author="a", username="Alice", content=f"{number} ".ljust(4_000, "x"), ref=None)
    seen: list[int] = []
    before, more = None, True
    while more:
        page, more = log.page("lobby", before=before, limit=100)
        assert 1 <= len(page) < 40
        before = page[0].id
        seen = [message.id for message in page] + seen
    assert seen == list(range(1, 61))
