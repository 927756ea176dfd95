"""`serve` with a window: GET /probe tells what the process holds. For tests that count what is left over.

PROBE_PING, in seconds, makes the server look for half-open sockets sooner.
"""

import asyncio
import gc
import os
import sys
from typing import Any

import msgspec

# Only now are the apps loaded.
from chat.hub import Hub
from chat.log import Log
from chat.loops import of_this_loop
from chat.presence import Presence
from chatsite import server
from chatsite.asgi import application

if "PROBE_PING" in os.environ:
    server.PING_INTERVAL = server.PING_TIMEOUT = float(os.environ["PROBE_PING"])  # type: ignore[assignment]


async def probed(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope.get("path") != "/probe":
        await application(scope, receive, send)
        return
    gc.collect()
    hub, presence, log = of_this_loop(Hub), of_this_loop(Presence), of_this_loop(Log)
    held = {
        "tasks": len(asyncio.all_tasks()),
        "sockets": len(hub.sockets),
        "rooms": sum(hub.rooms().values()),
        "people": sum(presence.counts().values()),
        "logs": len(log.positions()),
        "objects": len(gc.get_objects()),
    }
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": msgspec.json.encode(held)})


def _say(host: str, port: int) -> None:
    sys.stdout.write(f"http://{host}:{port}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    server.ChatServer(probed, endpoints=[server.endpoint("127.0.0.1", 0)], listening=_say).run()
