"""Django's pages, on a few threads of their own.

Django's own ASGI handler (5.2) starts a thread for each request, with a connection to the database of its own,
and goes from thread to loop and back several times where the middlewares are synchronous. Threads take turns of
5 ms at the interpreter: beside 20 of them the loop, and with it every socket, waits for 20 turns. Here a request
is one call on one of few threads.
"""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import IO, Any

from django.core import signals
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.core.handlers.base import BaseHandler
from django.http import HttpResponse, HttpResponseBase
from django.urls import set_script_prefix

from chat.limits import address_in
from chat.loops import of_this_loop
from chatsite.handlers.fair_queue import FairQueue, QueueFull
from chatsite.handlers.responses import reply
from chatsite.session_cleanup import SessionCleanup

AT_ONCE = 3
"""Pages at once. They are CPU, of which the interpreter gives one thread at a time; more than one, for some wait
for the database or hash a password."""
WAITING = 500
"""Requests that wait for their turn. Past that one is told to come again."""
RETRY_AFTER = 2
"""Seconds."""

Scope = dict[str, Any]


class PageHandler(ASGIHandler):
    """The ASGI application of Django's views and middlewares, which are synchronous all."""

    def __init__(self) -> None:
        # Not ASGIHandler's, which would load the middlewares for the loop.
        BaseHandler.__init__(self)
        self.load_middleware(is_async=False)
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="chat-page")
        self._turns = FairQueue(AT_ONCE, WAITING)

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        of_this_loop(SessionCleanup)
        try:
            body = await self.read_body(receive)
        except RequestAborted:
            return
        with body:
            try:
                turn = self._turns.ask(address_in(scope))
            except QueueFull:
                await reply(send, 503, b"Too many requests wait.\n", (b"Retry-After", b"%d" % RETRY_AFTER))
                return
            if await self._comes(turn, receive):
                await self._answer(scope, body, send)

    async def _comes(self, turn: "asyncio.Future[None]", receive: Any) -> bool:
        """Wait for a turn; False: who asked is gone first."""
        if turn.done():
            return True
        gone = asyncio.ensure_future(receive())
        try:
            await asyncio.wait((turn, gone), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            if not turn.cancel():
                self._turns.end()
            raise
        finally:
            gone.cancel()
        return not turn.cancel()

    async def _answer(self, scope: Scope, body: IO[bytes], send: Any) -> None:
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(self._threads, self._respond, scope, body, partial(_say, loop, self, send))
        # The thread is not free before it is done, whatever becomes of the client.
        work.add_done_callback(lambda _: self._turns.end())
        response = await asyncio.shield(work)
        if response is not None:
            await self.send_response(response, send)

    def _respond(self, scope: Scope, body: IO[bytes], say: Callable[[HttpResponseBase], None]) -> Any:
        """The whole response, on this thread; None where it came in parts, and went out so."""
        set_script_prefix(get_script_prefix(scope))
        signals.request_started.send(sender=type(self), scope=scope)
        request, refusal = self.create_request(scope, body)
        response: Any = refusal if request is None else self.get_response(request)
        try:
            if response.streaming:
                say(response)
                return None
            return response
        finally:
            # With it the database's connection is let go of, which is this thread's.
            response.close()


def _say(loop: asyncio.AbstractEventLoop, pages: PageHandler, send: Any, response: Any) -> None:
    """Send a response that comes in parts, from the thread that makes them."""

    def on_the_loop(work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, loop).result()

    on_the_loop(pages.send_response(_head_of(response), _only_start(send)))
    for part in response:
        on_the_loop(send({"type": "http.response.body", "body": bytes(part), "more_body": True}))
    on_the_loop(send({"type": "http.response.body"}))


def _head_of(response: HttpResponseBase) -> HttpResponse:
    head = HttpResponse(status=response.status_code, headers=response.headers)
    head.cookies = response.cookies
    return head


def _only_start(send: Any) -> Any:
    async def sending(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            await send(message)

    return sending
