"""Log formats: each record is one line of bounded length, as text or as a JSON object."""

import json
import logging
import time
from typing import Any

EXTRA_FIELDS = ("connection", "room")
"""Fields that the code may pass with ``extra``."""
MESSAGE = 1_000
"""Characters of a message. Clients choose paths, which may have 16,000."""
TRACEBACK = 20_000
"""Characters of a traceback. An exception's message may hold text from clients."""


class LineFormatter(logging.Formatter):
    """One line of text. Control characters are escaped, so that clients can't add lines or steer a terminal."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 its name in logging
        record.message = _printable(shortened(record.message, MESSAGE))
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 its name in logging
        # The line breaks of a traceback stay.
        return "\n".join(map(_printable, shortened(super().formatException(ei), TRACEBACK).split("\n")))


class JSONFormatter(logging.Formatter):
    """{"time", "level", "logger", "message", "process"}; also EXTRA_FIELDS, "exception" and "stack" if present.

    The time is RFC 3339's, in UTC, to the millisecond. The line is ASCII, so no character in it can break it.
    """

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _rfc3339(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": shortened(record.getMessage(), MESSAGE),
            "process": record.process,
        }
        line |= {name: getattr(record, name) for name in EXTRA_FIELDS if hasattr(record, name)}
        if record.exc_info:
            line["exception"] = shortened(self.formatException(record.exc_info), TRACEBACK)
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        return json.dumps(line, default=str)


def shortened(text: str, most: int) -> str:
    """The text; if it is longer, its beginning and end with the number of missing characters between."""
    if len(text) <= most:
        return text
    end = most // 3
    begin = most - end
    return f"{text[:begin]}… ({len(text) - most:,} characters more) …{text[-end:]}"


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _rfc3339(moment: float) -> str:
    milliseconds = int(moment * 1_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(milliseconds // 1_000))}.{milliseconds % 1_000:03}Z"
