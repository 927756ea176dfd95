"""A cable between two programs: what goes in at one end comes out at the other.

    cable.py PORT TARGET

A program of its own, so that its process can be stopped (what is sent waits, and nothing is closed) and killed
(both ends are cut). Ports of 127.0.0.1.
"""

import asyncio
import sys
from contextlib import closing, suppress
from functools import partial

PIECE = 65_536


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One way, until its end."""
    with closing(writer), suppress(OSError):
        while piece := await reader.read(PIECE):
            writer.write(piece)
            await writer.drain()


async def plug(target: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        there, back = await asyncio.open_connection("127.0.0.1", target)
    except OSError:
        writer.close()
        return
    await asyncio.gather(carry(reader, back), carry(there, writer))


async def main(port: int, target: int) -> None:
    server = await asyncio.start_server(partial(plug, target), "127.0.0.1", port)
    print("plugged in", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
