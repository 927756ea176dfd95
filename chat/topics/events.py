"""Typed events: what a topic's publications carry. They are msgspec structs, camelCase on the wire."""

from collections.abc import Mapping
from types import UnionType
from typing import Any, get_args

import msgspec
from msgspec import Struct

from chat.protocol import DATA_LIMIT, ErrorCode, Invalid


class Event(Struct, rename="camel", tag_field="event", kw_only=False):
    """Base of a project's events: ``class Moved(Event, tag="moved")``. The tag is the event's name on the wire."""


class EventCodec:
    """Between a topic's events and their name and data, which is JSON without the name."""

    def __init__(self, topic: str, events: type[Event] | UnionType) -> None:
        self._topic = topic
        kinds: tuple[type[Event], ...] = get_args(events) or (events,)
        self.kinds: Mapping[str, type[Event]] = {str(kind.__struct_config__.tag): kind for kind in kinds}
        self._prefixes = {kind: f'{{"event":"{name}"'.encode() for name, kind in self.kinds.items()}
        self._decoders = {name: msgspec.json.Decoder(kind) for name, kind in self.kinds.items()}

    def encode(self, event: Event) -> tuple[str, str]:
        """The event's name and data. Raises TypeError for an event of another topic, ValueError for bad fields."""
        kind = type(event)
        prefix = self._prefixes.get(kind)
        if prefix is None:
            takes = ", ".join(sorted(known.__name__ for known in self._prefixes))
            raise TypeError(f"The topic {self._topic!r} takes {takes}, not {kind.__name__}.")
        data = _without(prefix, msgspec.json.encode(event))
        name = str(kind.__struct_config__.tag)
        try:
            # A struct checks no types when it is made.
            self._decoders[name].decode(data)
        except msgspec.ValidationError as error:
            raise ValueError(f"{kind.__name__}: {error}") from None
        if len(data) > DATA_LIMIT:
            raise ValueError(f"{kind.__name__} has {len(data)} bytes as JSON; the limit is {DATA_LIMIT}.")
        return name, data.decode()

    def decode(self, name: object, data: bytes) -> tuple[Event, str]:
        """A client's event, and its data with nothing but the declared fields. Raises Invalid (bad_field)."""
        decoder = self._decoders.get(name) if isinstance(name, str) else None
        if decoder is None:
            known = ", ".join(sorted(self.kinds))
            raise Invalid(ErrorCode.BAD_FIELD, f"event: must be one of {known}", field="event")
        if len(data) > DATA_LIMIT:
            raise Invalid(ErrorCode.BAD_FIELD, f"data: must have at most {DATA_LIMIT} bytes", field="data")
        try:
            event = decoder.decode(data)
        except (msgspec.DecodeError, RecursionError) as error:
            raise Invalid(ErrorCode.BAD_FIELD, f"data: {error}", field="data") from None
        return event, _without(self._prefixes[type(event)], msgspec.json.encode(event)).decode()


def _without(prefix: bytes, encoded: bytes) -> bytes:
    """The encoded event without its name. msgspec writes the name first."""
    return b"{" + encoded[len(prefix) :].lstrip(b",")


def merge_patch(old: str, new: str) -> str | None:
    """A JSON merge patch that turns one object into the other (RFC 7396). None: there is none, or it is longer.

    A patch can't set a value to null, so an object with one is sent whole.
    """
    before, after = msgspec.json.decode(old), msgspec.json.decode(new)
    if _has_null(after):
        return None
    patch = msgspec.json.encode(_difference(before, after)).decode()
    return patch if len(patch) < len(new) else None


def _difference(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    patch: dict[str, Any] = dict.fromkeys(before.keys() - after.keys())
    for name, value in after.items():
        old = before.get(name)
        if isinstance(value, dict) and isinstance(old, dict):
            if inner := _difference(old, value):
                patch[name] = inner
        elif name not in before or not _same(old, value):
            patch[name] = value
    return patch


def _same(old: Any, new: Any) -> bool:
    """Equal as JSON: for Python 1, 1.0 and True are equal."""
    return bool(msgspec.json.encode(old) == msgspec.json.encode(new))


def _has_null(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_has_null(inner) for inner in value.values())
    return value is None
