"""python-socketio, to be served by uvicorn with uvloop: rooms, one event for a message.

uvicorn --loop uvloop --port PORT socketio_python:application
"""

import time
from typing import Any

import socketio

server = socketio.AsyncServer(async_mode="asgi", transports=["websocket"])
application = socketio.ASGIApp(server)
usernames: dict[str, str] = {}


@server.event
async def join(sid: str, data: dict[str, Any]) -> None:
    usernames[sid] = data["username"]
    await server.enter_room(sid, data["room"])


@server.event
async def message(sid: str, data: dict[str, Any]) -> None:
    said = {"username": usernames[sid], "content": data["content"], "timestamp": int(time.time() * 1000)}
    await server.emit("message", said, room=data["room"])


@server.event
def disconnect(sid: str, reason: str) -> None:  # noqa: ARG001
    usernames.pop(sid, None)
