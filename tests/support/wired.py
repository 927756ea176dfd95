"""A server whose application writes frames of every size over the wire and over ASGI in turn, then closes.

    wired.py SEED COUNT [KEY CERTIFICATE]

/frames writes as above; /deaf accepts and then takes nothing that the client sends; /echo sends each message back.
"""

import asyncio
import random
import sys
from typing import Any

import django

# Before the imports below: the chat's modules need the apps.
django.setup()

from chat.protocol import frame  # noqa: E402
from chat.transport import WIRE  # noqa: E402
from chatsite.server import ChatServer  # noqa: E402
from chatsite.workers.listening import listen  # noqa: E402

SIZES = (0, 1, 100, 125, 126, 127, 1_000, 65_400, 65_535, 65_536, 70_000, 200_000)


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    if scope["path"] == "/echo":
        while (message := await receive())["type"] == "websocket.receive":
            await send({**message, "type": "websocket.send"})
        return
    await send({"type": "websocket.send", "text": ""})
    if scope["path"] == "/deaf":
        await asyncio.Event().wait()
    # The client's word: until then nothing waits, and a ping of before has its pong.
    await receive()
    wire, chance = scope["extensions"][WIRE], random.Random(int(sys.argv[1]))
    for number in range(int(sys.argv[2])):
        text = f"{number} ".ljust(chance.choice(SIZES), "x")
        if chance.random() < 0.3:
            await send({"type": "websocket.send", "text": text})
        elif chance.random() < 0.3:
            # Two frames in one write.
            wire.write(frame("") + frame(text))
        else:
            wire.write(frame(text))
        if chance.random() < 0.3:
            await asyncio.sleep(0)
        while wire.waiting > 200_000:  # noqa: ASYNC110 as below
            # Polled: the wire tells only when all is gone, and this is to stop and start in the middle.
            await asyncio.sleep(0.001)
    wire.close(4_000, "the end")
    while (await receive())["type"] != "websocket.disconnect":
        pass


def address() -> dict[str, Any]:
    """The server's option for where it listens: TLS is for Twisted's own endpoint."""
    if len(sys.argv) > 3:
        return {"endpoints": [f"ssl:port=0:interface=127.0.0.1:privateKey={sys.argv[3]}:certKey={sys.argv[4]}"]}
    return {"listener": listen("127.0.0.1", 0)}


def say(host: str, port: int) -> None:
    print(f"http://{host}:{port}", flush=True)


if __name__ == "__main__":
    ChatServer(application, on_listen=say, **address()).run()
