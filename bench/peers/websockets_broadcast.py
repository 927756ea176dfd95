"""`websockets.broadcast`, the library's own fan-out, on asyncio with uvloop.

python websockets_broadcast.py PORT
"""

import json
import sys
import time
from collections import defaultdict

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve

rooms: defaultdict[str, set[ServerConnection]] = defaultdict(set)


async def chat(connection: ServerConnection) -> None:
    room, username = "", ""
    try:
        async for text in connection:
            command = json.loads(text)
            if command["type"] == "join":
                room, username = command["room"], command["username"]
                rooms[room].add(connection)
                await connection.send('{"type":"welcome"}')
            elif username:
                said = {
                    "type": "message",
                    "username": username,
                    "content": command["content"],
                    "timestamp": int(time.time() * 1000),
                }
                # The separators of JSON.stringify: the marks that tell a delivery are the same for all.
                broadcast(rooms[room], json.dumps(said, separators=(",", ":")))
    finally:
        rooms[room].discard(connection)


async def main(port: int) -> None:
    async with serve(chat, "127.0.0.1", port, backlog=4096) as server:
        await server.serve_forever()


uvloop.run(main(int(sys.argv[1])))
