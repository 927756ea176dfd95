"""`serve` with a window: GET /probe tells what the process holds. For tests that count what is left over.
GET /stall is a fault in it: for some seconds the whole process does nothing else.

PROBE_PING makes the server look for half-open sockets sooner: seconds of silence before a ping, and for its answer
(a busy machine needs some). PROBE_DEADLINES are those of requests: seconds for the head, for the body, and for an
idle connection.
"""

import asyncio
import gc
import os
import sys
import time
from typing import Any

import django
import msgspec

# Before the imports below: the chat's modules need the apps.
django.setup()

from chat.hub import Hub  # noqa: E402
from chat.loops import current  # noqa: E402
from chat.presence import Presence  # noqa: E402
from chatsite.asgi import application  # noqa: E402
from chatsite.server import ChatServer  # noqa: E402
from chatsite.server.http import Deadlines  # noqa: E402
from chatsite.workers.listening import listen  # noqa: E402

# Seconds.
STALL = 5.0


async def probed(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope.get("path") == "/stall":
        time.sleep(STALL)  # noqa: ASYNC251 that is what it is for
        scope = {**scope, "path": "/healthz"}
    if scope.get("path") != "/probe":
        await application(scope, receive, send)
        return
    gc.collect()
    hub, presence = current(Hub), current(Presence)
    held = {
        "tasks": len(asyncio.all_tasks()),
        "sockets": len(hub.sockets),
        "rooms": sum(room.audience for room in hub.rooms().values()),
        "people": sum(presence.counts().values()),
        "open": len(hub.rooms()),
        "objects": len(gc.get_objects()),
    }
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": msgspec.json.encode(held)})


def _say(host: str, port: int) -> None:
    sys.stdout.write(f"http://{host}:{port}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    options: dict[str, Any] = {}
    if "PROBE_PING" in os.environ:
        options["ping_interval"], options["ping_timeout"] = map(float, os.environ["PROBE_PING"].split())
    if "PROBE_DEADLINES" in os.environ:
        options["deadlines"] = Deadlines(*map(float, os.environ["PROBE_DEADLINES"].split()))
    ChatServer(probed, listener=listen("127.0.0.1", 0), on_listen=_say, **options).run()
