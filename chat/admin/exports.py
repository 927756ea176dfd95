"""Exports of messages: JSON Lines, which is exact, or CSV for a spreadsheet. Streamed, for any length."""

import csv
import io
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import msgspec
from django.core.handlers.asgi import ASGIRequest
from django.db.models import Count, QuerySet
from django.http import HttpRequest, StreamingHttpResponse

from chat import models
from chat.admin.history import HistoryEntry, audit, log_changes
from chat.admin.inspection import PRIVATE_KINDS
from chat.database import run_read
from chat.message_log.changes import reactions_on
from chat.message_log.maintenance import in_pieces

Row = dict[str, Any]

COLUMNS = (
    *("room", "id", "seq", "author", "username", "content"),
    *("said", "edited", "deleted", "hidden", "replyTo", "reactions"),
)
FORMULA = re.compile(r"(^|[;\t\r\n])(?=(?:[^\S\t\r\n]|[\"'])*[=+\-@\uff1d\uff0b\uff0d\uff20])")
"""Places where a spreadsheet may read a formula: at the beginning of a cell, and after a separator of cells. Which
characters separate cells depends on the spreadsheet's locale."""


@dataclass(frozen=True, slots=True)
class FileFormat:
    """A file format."""

    suffix: str
    content_type: str
    # Text before the first message.
    head: str
    text: Callable[[Sequence[Row]], str]


def _json_lines(rows: Sequence[Row]) -> str:
    return "".join(msgspec.json.encode(row).decode() + "\n" for row in rows)


def _csv(rows: Sequence[Row]) -> str:
    return _lines([_cell(row[column]) for column in COLUMNS] for row in rows)


def _lines(rows: Iterable[Iterable[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows(rows)
    return text.getvalue()


def _cell(value: Any) -> str:
    """A value as a cell's text. A spreadsheet does not read it as a formula."""
    match value:
        case None:
            return ""
        case str():
            return FORMULA.sub(r"\1'", value)
        case list():
            return ", ".join(f"{reaction.emoji} {reaction.count}" for reaction in value)
        case _:
            return str(value).lower() if isinstance(value, bool) else str(value)


JSON_LINES = FileFormat("jsonl", "application/jsonl; charset=utf-8", "", _json_lines)
# The byte order mark makes spreadsheets read it as UTF-8.
CSV = FileFormat("csv", "text/csv; charset=utf-8", "\ufeff" + _lines([COLUMNS]), _csv)


def response(
    request: HttpRequest, messages: QuerySet[models.Message], file_format: FileFormat
) -> StreamingHttpResponse:
    """The messages as a download. The admin's history records it by room; the audit log has private rooms too."""
    rooms = list(messages.order_by("room__slug").values_list("room", "room__slug").annotate(n=Count("pk")))
    entries = [HistoryEntry(pk, slug, f"exported {n} messages as {file_format.suffix}") for pk, slug, n in rooms]
    log_changes(request, models.Room, entries)
    details = {entry.pk: entry.what for entry in entries}
    for room in models.Room.objects.filter(pk__in=details, kind__in=PRIVATE_KINDS):
        audit(request, "export", room, detail=details[room.pk])
    pieces = _pieces(messages, file_format)
    # An ASGI server collects a sync iterator before it sends anything, and a WSGI server an async one.
    stream = _from_threads(pieces) if isinstance(request, ASGIRequest) else pieces
    name = "-".join(["messages", *(slug for _, slug, _ in rooms if len(rooms) == 1)])
    disposition = f'attachment; filename="{name}.{file_format.suffix}"'
    return StreamingHttpResponse(
        stream, content_type=file_format.content_type, headers={"Content-Disposition": disposition}
    )


def _pieces(messages: QuerySet[models.Message], file_format: FileFormat) -> Iterator[str]:
    yield file_format.head
    for piece in in_pieces(messages.select_related("room")):
        yield file_format.text(_rows(piece))


async def _from_threads(pieces: Iterator[str]) -> AsyncIterator[str]:
    while (piece := await run_read(partial(next, pieces, None))) is not None:
        yield piece


def _rows(messages: Sequence[models.Message]) -> list[Row]:
    # A message that never changed has no reactions.
    on = reactions_on([message.pk for message in messages if message.changes])
    return [
        {
            "room": message.room.slug,
            "id": message.number,
            "seq": message.seq,
            "author": message.author,
            "username": message.username,
            "content": message.content,
            "said": _time(message.created),
            "edited": _time(message.edited),
            "deleted": _time(message.deleted),
            "hidden": message.hidden,
            "replyTo": message.reply_to,
            "reactions": on.get(message.pk, []),
        }
        for message in messages
    ]


def _time(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
