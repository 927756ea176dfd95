"""Messages of the project's programs on the room's page."""

import asyncio
import os
import re

import pytest
import zygote
from playwright.async_api import expect
from servers import ROOT, Server
from visits import Visit, connected, row

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

POST = """
from chat import api
api.post("bots", "an image", bot=api.Bot("Ann", "/static/chat/favicon.svg"))
api.post("bots", "no image", bot=api.Bot("Build", "/static/chat/missing.png"))
"""


async def test_a_bot_has_a_mark_and_its_image(server: Server, visit: Visit) -> None:
    """It is no user, whatever its name. An image that can't be loaded leaves no gap."""
    page = await visit(server, "Ann", "bots")
    await connected(page)
    environment = {**os.environ, **server.variables}
    await asyncio.to_thread(zygote.run, ["manage.py", "shell", "--no-imports", "-c", POST], environment, ROOT)
    message = row(page, "an image")
    await expect(message.locator(".author")).to_have_text("Ann bot")
    assert await message.locator("img").evaluate("image => image.decode().then(() => image.naturalWidth > 0)")
    await expect(message).not_to_have_class(re.compile(r"\bown\b"))
    other = row(page, "no image")
    await expect(other.locator(".author")).to_have_text("Build bot")
    await expect(other.locator("img")).to_have_count(0)
