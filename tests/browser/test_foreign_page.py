"""A page of another origin, in the browser of somebody who is signed in (cross-site WebSocket hijacking)."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.async_api import Browser, Page
from servers import Server, Start
from visits import connected

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

OPEN = """url => new Promise(resolve => {
  const socket = new WebSocket(url);
  const heard = [];
  socket.onopen = () => socket.send('{"type":"join"}');
  socket.onmessage = (event) => heard.push(event.data);
  socket.onclose = (event) => resolve([event.code, heard]);
  socket.onerror = () => {};
  setTimeout(() => socket.close(1000), 3000);
})"""


class Hostile(BaseHTTPRequestHandler):
    """A page that is not ours."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>Win a prize</title>")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the base's signature
        pass


@pytest.fixture
def elsewhere() -> Iterator[int]:
    """The port of another site on this machine."""
    site = ThreadingHTTPServer(("127.0.0.1", 0), Hostile)
    thread = threading.Thread(target=site.serve_forever)
    thread.start()
    yield site.server_port
    site.shutdown()
    site.server_close()
    thread.join()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_page_of_another_origin_opens_no_socket(
    start: Start, browser: Browser, elsewhere: int, host: str
) -> None:
    """Ann's own page does, with her session. On another port the cookie goes along: the Origin alone tells; from
    another host the browser keeps the cookie back as well.
    """
    server = start("daphne")
    context = await browser.new_context()
    ann = await entered(await context.new_page(), server)
    socket = server.http.replace("http", "ws") + "/ws"
    code, heard = await ann.evaluate(OPEN, socket)
    assert code == 1000
    assert '"username":"Ann"' in heard[0]
    hostile = await context.new_page()
    await hostile.goto(f"http://{host}:{elsewhere}/")
    assert await hostile.evaluate(OPEN, socket) == [1006, []]
    sent = [cookie["name"] for cookie in await context.cookies(server.http)]
    assert "sessionid" in sent


async def entered(page: Page, server: Server) -> Page:
    await page.goto(f"{server.http}/?room=lobby")
    await page.get_by_label("Your name").fill("Ann")
    await page.get_by_role("button", name="Enter the room").click()
    await connected(page)
    return page
