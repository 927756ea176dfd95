"""An entry of a topic as the wire has it, and as a change for the hub."""

from collections.abc import Iterable
from dataclasses import dataclass

from msgspec import UNSET, Raw

from chat import models, protocol
from chat.log import Change
from chat.protocol import Publication
from chat.topics.declare import Log, Topic
from chat.topics.events import merge_patch

PATCH_FROM = 256
"""Bytes from which a value is compared with the last one. A patch of a smaller value saves nothing."""


@dataclass(slots=True)
class Item:
    """An entry in its present state."""

    number: int
    seq: int
    event: str
    key: str
    data: str
    gone: bool
    author: str
    username: str
    # Milliseconds since 1970.
    timestamp: int

    def publication(self, topic: str, *, follows: int | None = None) -> Publication:
        """The whole entry."""
        return Publication(
            topic=topic,
            id=self.number,
            seq=self.seq,
            event=self.event or UNSET,
            data=UNSET if self.gone else Raw(self.data.encode()),
            key=self.key or UNSET,
            gone=self.gone,
            by=models.author_key(self.author) or UNSET,
            username=self.username or UNSET,
            timestamp=self.timestamp,
            follows=UNSET if follows is None else follows,
        )


def change_of(
    topic: Topic, item: Item, *, live: bool = False, before: str | None = None, follows: int | None = None
) -> Change:
    """The entry as a change. ``live``: it was made now, and is not read from the log.

    ``before``: the key's last value, for a patch; ``follows``: see the protocol.
    """
    if live and topic.conflates and not isinstance(topic.keep, Log):
        # A client that catches up gets what the log or the memory has, and never this one.
        member = _member(item)
        return Change(item.seq, item.number, member, member, gone=item.gone)
    publication = item.publication(topic.name, follows=follows)
    fresh = frame = protocol.encode(publication)
    if topic.conflates:
        frame = _member(item)
    elif before is not None and len(item.data) >= PATCH_FROM and (patch := merge_patch(before, item.data)):
        publication.data, publication.patch = UNSET, Raw(patch.encode())
        frame = protocol.encode(publication)
    return Change(item.seq, item.number, frame, fresh, gone=item.gone)


def changes_of(topic: Topic, items: Iterable[Item], since: int) -> list[Change]:
    """The changes of a log's entries after the number ``since``, ordered by their last change."""
    changes = []
    for item in items:
        changes.append(change_of(topic, item, follows=None if item.seq == since + 1 else since))
        since = item.seq
    return changes


def _member(item: Item) -> str:
    """The entry as a member of `publications`."""
    key = protocol.quote(item.key) if item.key else "null"
    if item.gone:
        return f"[null,{key}]"
    more = "" if item.key else f",{item.number},{item.timestamp}"
    return f'["{item.event}",{key},{item.data}{more}]'


def publications(topic: str, members: list[str], *, seq: int, follows: int) -> str:
    """The frame `publications` of these members. Neighbours of one event share an array."""
    arrays: list[list[str]] = []
    shared = ""
    for member in members:
        # An event's name has no comma. A member without a key stands alone.
        event, _, rest = member[1:-1].partition(",")
        alone = rest.startswith("null,")
        if event == shared and not alone:
            arrays[-1].append(rest)
        else:
            arrays.append([event, rest])
        shared = "" if alone else event
    entries = ",".join([f"[{','.join(array)}]" for array in arrays])
    return f'{{"type":"publications","topic":"{topic}","seq":{seq},"follows":{follows},"entries":[{entries}]}}'
