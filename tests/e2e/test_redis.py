"""The same conversations through a real Redis as the channel layer: started here, on a free port."""

from contextlib import ExitStack
from pathlib import Path

import pytest
from helpers import over_socket
from servers import Start, free_port, redis

from chat.protocol import Message

pytestmark = pytest.mark.e2e


async def test_a_room_works_through_redis_and_without_it(start: Start, tmp_path: Path) -> None:
    """Messages pass Redis; while it is away those in the process hear each other, and afterwards too."""
    port = free_port()
    with ExitStack() as first:
        first.enter_context(redis(tmp_path, port))
        server = start("daphne", REDIS_URL=f"redis://127.0.0.1:{port}/0")
        # What the layer says of its loss stands in the log with its traceback.
        server.clean = False
        async with over_socket(server.ws, "Alice") as alice, over_socket(server.ws, "Bob") as bob:
            await alice.join()
            await bob.join()
            for situation in ("with Redis", "without Redis", "with Redis again"):
                if situation == "without Redis":
                    first.close()
                if situation == "with Redis again":
                    first.enter_context(redis(tmp_path, port))
                for number in range(5):
                    await alice.say(f"{situation} {number}")
                heard = [(await bob.expect(Message)).content for _ in range(5)]
                assert heard == [f"{situation} {number}" for number in range(5)]
