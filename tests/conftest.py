from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

import pytest
from helpers import CommunicatorPersona, over_communicator

from chat import loops
from chatsite.asgi import application

Enter = Callable[..., Any]


@pytest.fixture
async def person() -> AsyncIterator[Enter]:
    """``await person("Alice")`` opens a socket to the application in this process; all are gone at the end."""
    async with AsyncExitStack() as stack:

        async def enter(name: str, **options: Any) -> CommunicatorPersona:
            context: AbstractAsyncContextManager[CommunicatorPersona] = over_communicator(
                application, name, **options
            )
            return await stack.enter_async_context(context)

        yield enter
    await loops.close_this_loop()


@pytest.fixture
async def alice(person: Enter) -> CommunicatorPersona:
    persona: CommunicatorPersona = await person("Alice")
    return persona


@pytest.fixture
async def bob(person: Enter) -> CommunicatorPersona:
    persona: CommunicatorPersona = await person("Bob")
    return persona


@pytest.fixture
async def charlie(person: Enter) -> CommunicatorPersona:
    """Nobody's friend: in no room, allowed nothing."""
    persona: CommunicatorPersona = await person("Charlie")
    return persona
