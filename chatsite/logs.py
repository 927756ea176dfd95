"""Log lines for programs: one JSON object each."""

import json
import logging
import time
from typing import Any

KNOWN = ("connection", "room")
"""What a line is about, where the code that wrote it said so with ``extra``."""


class JSONFormatter(logging.Formatter):
    """{"time", "level", "logger", "message", "process"}, and where they are known KNOWN, "exception" and "stack".

    The time is RFC 3339's, in UTC, to the millisecond. ASCII only, so that whatever was said it is one line.
    """

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _rfc3339(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process,
        }
        line |= {name: getattr(record, name) for name in KNOWN if hasattr(record, name)}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        return json.dumps(line, default=str)


def _rfc3339(moment: float) -> str:
    milliseconds = int(moment * 1_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(milliseconds // 1_000))}.{milliseconds % 1_000:03}Z"
