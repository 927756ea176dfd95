"""Django's pages, on a few threads of their own.

Django's own ASGI handler (5.2) starts a thread for each request, with its own database connection. It switches
between thread and loop several times if middlewares are synchronous. Threads take turns of 5 ms at the
interpreter. Beside 20 threads the loop, and with it every socket, waits for 20 turns. Here a request is one call
on one of few threads.
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

from chat.limits import scope_address
from chat.loops import current
from chatsite.handlers.fair_queue import FairQueue, QueueFull
from chatsite.handlers.responses import respond
from chatsite.session_cleanup import SessionCleanup

THREADS = 3
"""Threads for pages. Pages need CPU, and the interpreter runs one thread at a time. There are several because some
wait for the database or hash a password."""
WAITING = 500
"""Requests that may wait for a thread. Any further one is answered with 503."""
RETRY_AFTER = 2
"""Seconds after which a client may send a refused request again."""

Scope = dict[str, Any]


class PageHandler(ASGIHandler):
    """The ASGI application of Django's views and middlewares, all of them synchronous."""

    def __init__(self) -> None:
        # ASGIHandler's own would load the middlewares for use on the loop.
        BaseHandler.__init__(self)
        self.load_middleware(is_async=False)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="chat-page")
        self._queue = FairQueue(THREADS, WAITING)

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        current(SessionCleanup).start()
        try:
            body = await self.read_body(receive)
        except RequestAborted:
            return
        with body:
            try:
                turn = self._queue.enter(scope_address(scope))
            except QueueFull:
                await respond(send, 503, b"Too many requests wait.\n", (b"Retry-After", b"%d" % RETRY_AFTER))
                return
            if await self._may_run(turn, receive):
                await self._answer(scope, body, send)

    async def _may_run(self, turn: "asyncio.Future[None]", receive: Any) -> bool:
        """Wait for a thread. False if the client disconnects first."""
        if turn.done():
            return True
        disconnected = asyncio.ensure_future(receive())
        try:
            await asyncio.wait((turn, disconnected), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            if not turn.cancel():
                self._queue.end()
            raise
        finally:
            disconnected.cancel()
        return not turn.cancel()

    async def _answer(self, scope: Scope, body: IO[bytes], send: Any) -> None:
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(self._threads, self._respond, scope, body, partial(_stream, loop, self, send))
        # The thread is busy until the work is done, even if the client disconnects.
        work.add_done_callback(lambda _: self._queue.end())
        response = await asyncio.shield(work)
        if response is not None:
            await self.send_response(response, send)

    def _respond(self, scope: Scope, body: IO[bytes], stream: Callable[[HttpResponseBase], None]) -> Any:
        """Make the response, on this thread. None if it was a streaming one, which is sent already."""
        set_script_prefix(get_script_prefix(scope))
        signals.request_started.send(sender=type(self), scope=scope)
        request, refusal = self.create_request(scope, body)
        response: Any = refusal if request is None else self.get_response(request)
        try:
            if response.streaming:
                stream(response)
                return None
            return response
        finally:
            # This also releases the thread's database connection.
            response.close()


def _stream(loop: asyncio.AbstractEventLoop, pages: PageHandler, send: Any, response: Any) -> None:
    """Send a streaming response from the thread that makes its parts."""

    def send_on_loop(sending: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(sending, loop).result()

    send_on_loop(pages.send_response(_head_of(response), _only_start(send)))
    for part in response:
        send_on_loop(send({"type": "http.response.body", "body": bytes(part), "more_body": True}))
    send_on_loop(send({"type": "http.response.body"}))


def _head_of(response: HttpResponseBase) -> HttpResponse:
    head = HttpResponse(status=response.status_code, headers=response.headers)
    head.cookies = response.cookies
    return head


def _only_start(send: Any) -> Any:
    async def sending(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            await send(message)

    return sending
