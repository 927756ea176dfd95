"""Declare topics: their events, how they are kept, and the users who may subscribe and publish.

A project's topics stand in the ``topics.py`` of its apps, which are imported at the start like ``admin.py``.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from types import UnionType
from typing import Any, ClassVar, TypeAlias, TypeVar, get_args

from chat.hub import TICK
from chat.protocol import TOPIC_PATTERN, KeepWord
from chat.protocol.limits import EVENT_PATTERN
from chat.topics.events import Event, EventCodec

LONGEST = 60.0
"""Most seconds between two writes of a topic to a subscriber."""


@dataclass(frozen=True, slots=True)
class Log:
    """Keep the latest ``depth`` entries (0: all), for ``days`` (0: always)."""

    # The word for it on the wire.
    word: ClassVar[KeepWord] = "log"
    depth: int = 1_000
    days: float = 30.0


@dataclass(frozen=True, slots=True)
class Latest:
    """Keep one entry for each key, in the database. A removed key is remembered for ``days``."""

    word: ClassVar[KeepWord] = "latest"
    days: float = 7.0


@dataclass(frozen=True, slots=True)
class Memory:
    """Keep one entry for each key, and the last ``depth`` entries without a key, in the memory of the processes.

    A restart of all processes loses them. ``keys``: most keys of a topic.
    """

    word: ClassVar[KeepWord] = "memory"
    depth: int = 100
    keys: int = 10_000


Keep: TypeAlias = Log | Latest | Memory


class Topic:
    """A topic, by its key: ``OrderTopic(42)`` is `order:42`. Subclass it and declare the class with ``@topic``."""

    kind: ClassVar[str]
    codec: ClassVar[EventCodec]
    # The events that may be published: ``Moved | Cancelled``.
    events: ClassVar[Any]
    keep: ClassVar[Keep] = Log()
    # Least seconds between two writes to a subscriber. Above 0.005, only the latest value of each key is sent.
    every: ClassVar[float] = TICK
    # True: subscribers see who else is there, and their state.
    presence: ClassVar[bool] = False

    def __init__(self, key: object) -> None:
        self.key = str(key)
        self.name = f"{self.kind}:{self.key}"
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"{self.name!r} is no topic's name: a key has 1-50 characters of A-Z, a-z, 0-9, _, . and -."
            )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Topic) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)

    def may_subscribe(self, user: Any, key: str) -> bool:  # noqa: ARG002 for subclasses
        """May this user receive the topic? ``user`` is Django's, also AnonymousUser. It may use the ORM.

        It is asked for each subscription, and again when the user's sign-in is rechecked and by ``recheck``.
        """
        return False

    def may_publish(self, user: Any, key: str, event: Event | None) -> bool:  # noqa: ARG002 for subclasses
        """May this user publish this event from a browser? None: may they publish anything at all?"""
        return False

    @property
    def conflates(self) -> bool:
        """True: the topic sends at intervals, of each key the latest value."""
        return self.every > TICK


_NAME = re.compile(TOPIC_PATTERN)
_EVENT = re.compile(EVENT_PATTERN)
_KIND = re.compile(r"[a-z][a-z0-9_-]{0,28}")
_topics: dict[str, type[Topic]] = {}

T = TypeVar("T", bound=type[Topic])


def topic(kind: str) -> Callable[[T], T]:
    """Declare a class of topics. ``kind`` is the part of their names before the colon.

    Raises TypeError if the declaration is wrong, or if another class has the kind.
    """

    def declare(cls: T) -> T:
        _check(kind, cls)
        cls.kind, cls.codec = kind, EventCodec(kind, cls.events)
        _topics[kind] = cls
        return cls

    return declare


def _check(kind: str, cls: type[Topic]) -> None:
    shown = f"@topic({kind!r}) {cls.__qualname__}"
    known = _topics.get(kind)
    if known and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
        raise TypeError(f"{shown}: {known.__module__}.{known.__qualname__} has this kind already.")
    if not _KIND.fullmatch(kind):
        raise TypeError(f"{shown}: a kind has 1-29 characters of a-z, 0-9, - and _, and begins with a letter.")
    events = getattr(cls, "events", None)
    kinds = get_args(events) if isinstance(events, UnionType) else (events,)
    for event in kinds:
        if not (isinstance(event, type) and issubclass(event, Event) and event is not Event):
            raise TypeError(f"{shown}: `events` must be one or more subclasses of Event, joined by |.")
        if not _EVENT.fullmatch(str(event.__struct_config__.tag)):
            raise TypeError(f"{shown}: {event.__name__} needs a name: class {event.__name__}(Event, tag='...').")
    names = [event.__struct_config__.tag for event in kinds]
    if len(set(names)) < len(names):
        raise TypeError(f"{shown}: two events have the same tag.")
    if not isinstance(cls.keep, Log | Latest | Memory):
        raise TypeError(f"{shown}: `keep` must be Log(...), Latest(...) or Memory(...).")
    if not TICK <= cls.every <= LONGEST:
        raise TypeError(f"{shown}: `every` must be a number of seconds from {TICK} to {LONGEST:g}.")


def declared() -> list[type[Topic]]:
    """All declared classes, by kind."""
    return [_topics[kind] for kind in sorted(_topics)]


def find(name: str) -> Topic | None:
    """The topic with this name, if its kind is declared."""
    kind, _, key = name.partition(":")
    cls = _topics.get(kind)
    return cls(key) if cls else None
