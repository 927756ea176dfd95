"""The examples in a real browser: other processes and plain views publish, and the open pages follow."""

import asyncio
import os
from functools import partial

import pytest
import zygote
from playwright.async_api import Browser, Page, expect
from servers import ROOT, Server, Start

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]


async def page_of(browser: Browser, server: Server, path: str) -> Page:
    page = await (await browser.new_context()).new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    await page.goto(f"{server.http}{path}")
    assert problems == []
    return page


async def command(server: Server, *words: str) -> None:
    run = partial(zygote.run, ["manage.py", *words], {**os.environ, **server.variables}, ROOT)
    await asyncio.to_thread(run)


async def sign_up(page: Page, server: Server) -> None:
    await page.goto(f"{server.http}/sign-up/")
    await page.fill("[name=username]", "Olga")
    for field in ("password1", "password2"):
        await page.fill(f"[name={field}]", "a long and good password")
    await page.click("main button[type=submit]")


async def test_the_feed_follows_a_view_and_a_command(browser: Browser, start: Start) -> None:
    server = start("daphne", EXAMPLES="1")
    reader = await page_of(browser, server, "/")
    await reader.click("text=An activity feed")
    await expect(reader.locator("#feed-state")).to_have_text("Live")
    await command(server, "publish_activity", "Deploy", "<b>first</b>", "second")
    await expect(reader.locator("#feed li span")).to_have_text(["second", "<b>first</b>"])
    writer = await page_of(browser, server, "/")
    await sign_up(writer, server)
    await writer.goto(f"{server.http}/examples/feed/")
    await writer.fill("#text", "third")
    await writer.click("text=Publish")
    await expect(writer.locator("#feed li span")).to_have_text(["third", "second", "<b>first</b>"])
    await expect(reader.locator("#feed li span")).to_have_text(["third", "second", "<b>first</b>"])


async def test_the_dashboard_draws_and_tells_all_gauges(browser: Browser, start: Start) -> None:
    server = start("daphne", EXAMPLES="1")
    page = await page_of(browser, server, "/examples/dashboard/")
    blank = await page.evaluate("document.querySelector('canvas').toDataURL()")
    await command(server, "publish_readings", "--seconds", "0")
    await expect(page.locator("#board-state")).to_contain_text("200 of 200")
    await page.click("summary")
    cells = await page.locator("#readings td").all_text_contents()
    assert len(cells) == 200
    assert all(0 <= float(cell) <= 100 for cell in cells)
    await page.evaluate("new Promise(requestAnimationFrame)")
    assert await page.evaluate("document.querySelector('canvas').toDataURL()") != blank
