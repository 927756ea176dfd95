"""Log lines: bounded, whatever was sent to us, and one line each; for programs a JSON object each."""

import json
import logging
import time
from typing import Any

KNOWN = ("connection", "room")
"""What a line is about, where the code that wrote it said so with ``extra``."""
MESSAGE = 1_000
"""Characters of a message. A path, which clients choose, may have 16,000."""
TRACEBACK = 20_000
"""Characters of a traceback. The message of an exception may have clients' text too."""


class LineFormatter(logging.Formatter):
    """A line of text, in which nobody can make another line or steer a terminal."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 its name in logging
        record.message = _printable(shortened(record.message, MESSAGE))
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 its name in logging
        # Its line breaks are ours.
        return "\n".join(map(_printable, shortened(super().formatException(ei), TRACEBACK).split("\n")))


class JSONFormatter(logging.Formatter):
    """{"time", "level", "logger", "message", "process"}, and where they are known KNOWN, "exception" and "stack".

    The time is RFC 3339's, in UTC, to the millisecond. ASCII only, so that whatever was said it is one line.
    """

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _rfc3339(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": shortened(record.getMessage(), MESSAGE),
            "process": record.process,
        }
        line |= {name: getattr(record, name) for name in KNOWN if hasattr(record, name)}
        if record.exc_info:
            line["exception"] = shortened(self.formatException(record.exc_info), TRACEBACK)
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        return json.dumps(line, default=str)


def shortened(text: str, most: int) -> str:
    """The text, or where it is longer its begin and its end, and how much is missing between them."""
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
