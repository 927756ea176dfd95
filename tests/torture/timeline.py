"""A client's state of a room: its messages, and its position in the log."""

import sys
from collections.abc import Iterable
from typing import TypeAlias, TypeVar

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from chat.protocol import Deleted, Edited, Message, Position, Reacted, Welcome
from torture.records import State, shown

Change: TypeAlias = Message | Edited | Deleted | Reacted
Numbered: TypeAlias = Change | Position
T = TypeVar("T")


def given(value: T | UnsetType) -> T | None:
    return None if value is UNSET else value


def lower(frame: Numbered) -> int:
    """The frame stands for all numbers after this one, up to its own."""
    return frame.seq - 1 if frame.follows is UNSET else frame.follows


def said_of(frame: Numbered) -> tuple[str | None, str | None]:
    """The text and the emoji in a frame, or None. Equal texts are one object."""
    match frame:
        case Message() | Edited():
            return sys.intern(frame.content), shown(frame.reactions)
        case Reacted():
            return None, shown(frame.reactions)
        case Deleted():
            return "", ""
        case Position():
            return None, None


class Timeline:
    """The messages, by id. Each frame brings one of them up to its number."""

    def __init__(self) -> None:
        self.states: dict[int, State] = {}
        # Changes of messages that are not here, kept while pages are on their way: one may overtake its message.
        self.early: list[Change] = []

    def take(self, frame: Numbered, *, filling: bool = False) -> None:
        if isinstance(frame, Position):
            return
        if isinstance(frame, Message):
            self._put(state_of(frame))
        elif (known := self.states.get(frame.id)) and frame.seq >= known.seq:
            # A message that it does not hold changed: nothing to show, but the number counts as received.
            self.states[frame.id] = _changed(known, frame)
        elif filling:
            self.early.append(frame)

    def take_page(self, messages: Iterable[Message]) -> None:
        for message in messages:
            self._put(state_of(message))
        for frame in self.early:
            self.take(frame)

    def _put(self, state: State) -> None:
        known = self.states.get(state.id)
        if known is None or state.seq >= known.seq:
            self.states[state.id] = state

    def ordered(self) -> list[State]:
        return [self.states[number] for number in sorted(self.states)]

    def forget(self) -> None:
        self.states.clear()
        self.early.clear()


def state_of(message: Message) -> State:
    return State(
        id=message.id,
        seq=message.seq,
        username=sys.intern(message.username),
        content=sys.intern(message.content),
        edited=given(message.edited),
        deleted=message.deleted,
        reply_to=given(message.reply_to),
        reactions=shown(message.reactions),
    )


def _changed(known: State, frame: Edited | Deleted | Reacted) -> State:
    match frame:
        case Edited():
            content, reactions = sys.intern(frame.content), shown(frame.reactions)
            return replace(known, seq=frame.seq, content=content, edited=given(frame.edited), reactions=reactions)
        case Deleted():
            return replace(known, seq=frame.seq, content="", deleted=True, reactions="")
        case Reacted():
            return replace(known, seq=frame.seq, reactions=shown(frame.reactions))


class Place:
    """How far a room's log has been seen, as chat/static/chat/client/subscription.js keeps it."""

    def __init__(self, since: int | None = None, epoch: str | None = None) -> None:
        self.last = since
        self.epoch = epoch
        # Where it began to hold everything; None until it has been welcomed or was told where it stands.
        self.first = since
        # A join is under way: a gap that is found meanwhile needs no second one.
        self.asking = False

    def welcomed(self, welcome: Welcome) -> str:
        """Returns "first", "resumed" (what was missed follows) or "reset" (start over)."""
        how = "first" if self.last is None else "resumed" if welcome.resumed else "reset"
        if how != "resumed":
            self.last = welcome.seq
        if self.first is None:
            self.first = welcome.seq
        self.epoch = welcome.epoch
        self.asking = False
        return how

    def judge(self, frame: Numbered) -> str:
        """Returns "new" (it counts as seen from now on), "old" or "gap"."""
        if self.last is None or frame.seq <= self.last:
            return "old"
        if lower(frame) > self.last:
            return "gap"
        self.last = frame.seq
        return "new"
