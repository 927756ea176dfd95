"""A client's copy of a topic, as docs/protocol.md says that one is kept. It checks the numbers as it goes."""

from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec import UNSET

from chat.protocol import AnyOutgoing, Position, Publication, Publications, Subscribed


class MissedChangeError(AssertionError):
    """A change is missing: the client would subscribe again."""


@dataclass
class Mirror:
    """``state``: each key's data; ``entries``: the ids and data of a stream."""

    topic: str
    position: int = 0
    epoch: str = ""
    state: dict[str, Any] = field(default_factory=dict)
    entries: list[tuple[int, Any]] = field(default_factory=list)
    # Bytes of frames, and how many.
    frames: int = 0

    def take(self, frame: AnyOutgoing) -> None:
        if getattr(frame, "topic", UNSET) != self.topic:
            return
        self.frames += 1
        match frame:
            case Subscribed():
                self._subscribed(frame)
            case Publication() if self._follows(frame.seq, frame.follows):
                self._publication(frame)
            case Publications() if self._follows(frame.seq, frame.follows):
                for member in frame.entries:
                    self._member(member)
            case Position():
                self._follows(frame.seq, frame.follows)

    def _subscribed(self, frame: Subscribed) -> None:
        if not frame.resumed:
            self.state.clear()
            self.entries.clear()
        else:
            assert frame.seq == self.position
        self.position, self.epoch = frame.seq, frame.epoch

    def _follows(self, seq: int, follows: Any) -> bool:
        """Is this change new? Raises MissedChangeError if one before it is missing."""
        if seq <= self.position:
            return False
        before = seq - 1 if follows is UNSET else follows
        if before > self.position:
            raise MissedChangeError(f"{seq} follows {before}, and the client has {self.position}")
        self.position = seq
        return True

    def _publication(self, frame: Publication) -> None:
        if frame.key is UNSET:
            self.entries.append((frame.id, _json(frame.data)))
        elif frame.gone:
            self.state.pop(frame.key, None)
        elif frame.patch is not UNSET:
            self.state[frame.key] = merged(self.state[frame.key], _json(frame.patch))
        else:
            self.state[frame.key] = _json(frame.data)

    def _member(self, member: list[Any]) -> None:
        event, *rest = member
        if event is None:
            for key in rest:
                self.state.pop(key, None)
        elif rest[0] is None:
            self.entries.append((rest[2], rest[1]))
        else:
            self.state |= zip(rest[::2], rest[1::2], strict=True)


def merged(value: Any, patch: Any) -> Any:
    """RFC 7396, section 2."""
    if not isinstance(patch, dict):
        return patch
    result = dict(value) if isinstance(value, dict) else {}
    for name, inner in patch.items():
        if inner is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), inner)
    return result


def _json(raw: Any) -> Any:
    return msgspec.json.decode(raw)
