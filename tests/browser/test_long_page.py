"""The room's page where texts and names are long, the screen is small, keys are a phone's or an input method's.

Copied text is tested here too.
"""

from typing import Any

import pytest
from helpers import over_socket
from playwright.async_api import Locator, Page, expect
from servers import Server
from visits import PHONE, Visit, connected, log, row, say

from chat.protocol import CONTENT_LIMIT, NAME_LIMIT

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

SMALL = {"viewport": {"width": 320, "height": 640}, "has_touch": True, "is_mobile": True}
WIDE = {"viewport": {"width": 1280, "height": 800}}
WIDEST = {"viewport": {"width": 1920, "height": 800}}
LONG_NAME = "W" * NAME_LIMIT


async def box(locator: Locator) -> tuple[float, float, float, float]:
    """Left, top, right and bottom."""
    found = await locator.bounding_box()
    assert found
    return found["x"], found["y"], found["x"] + found["width"], found["y"] + found["height"]


async def height(locator: Locator) -> float:
    _, top, _, bottom = await box(locator)
    return bottom - top


def apart(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]


async def compose(page: Page, key: str) -> bool:
    """Press a key as an input method does that has begun a word, where the focus is. Was it left alone?"""
    left: bool = await page.evaluate(
        "key => document.activeElement.dispatchEvent("
        "new KeyboardEvent('keydown', {key, bubbles: true, cancelable: true, isComposing: true}))",
        key,
    )
    return left


@pytest.mark.parametrize("device", [WIDE, SMALL], ids=["wide", "phone"])
async def test_a_long_message_is_folded(server: Server, visit: Visit, device: dict[str, Any]) -> None:
    """Line breaks, one line without an end, or many words: a screen at most, the rest at the press of a button."""
    room = f"long-{device['viewport']['width']}"
    page = await visit(server, "Ann", room, **device)
    await connected(page)
    texts = [f"begin{chr(10) * 3_900}end", "x" * CONTENT_LIMIT, "many words " * 300]
    async with over_socket(server.ws, "Bob") as bob:
        await bob.join(room)
        for text in texts:
            await bob.say(text.strip(), room)
        await bob.say("short", room)
    await expect(row(page, "short")).to_be_visible()
    screen = device["viewport"]["height"]
    for text in texts:
        long = row(page, text[:5])
        assert await height(long) < screen
        await long.get_by_role("button", name="Show more").press("Enter")
        assert await height(long) > screen
        await expect(long.get_by_role("button", name="Show less")).to_have_attribute("aria-expanded", "true")
        await long.get_by_role("button", name="Show less").click()
        assert await height(long) < screen
    await expect(row(page, "short").get_by_role("button", name="Show more")).to_have_count(0)


async def test_what_was_unfolded_stays_so_when_it_is_drawn_anew(server: Server, visit: Visit) -> None:
    """An emoji on it does not fold it again; one's own long message is folded too."""
    page = await visit(server, "Ann", "unfolded")
    await connected(page)
    await say(page, "mine" + "\n" * 100 + "end")
    mine = row(page, "mine")
    await mine.get_by_role("button", name="Show more").click()
    await mine.hover()
    await mine.get_by_role("button", name="React", exact=True).click()
    await mine.get_by_role("button", name="React with 👍").click()
    await expect(mine.get_by_role("button", name="👍 you")).to_be_visible()
    await expect(mine.get_by_role("button", name="Show less")).to_be_visible()


async def test_enter_on_a_phone_starts_a_new_line(server: Server, visit: Visit) -> None:
    """The button sends; so does Enter of a real keyboard, which other keys tell."""
    page = await visit(server, "Ann", "phone-enter", **PHONE)
    await connected(page)
    field = page.get_by_label("Message", exact=True)
    await expect(field).to_have_attribute("enterkeyhint", "enter")
    await field.focus()
    await page.keyboard.type("one")
    await field.press("Enter")
    await page.keyboard.type("two")
    await expect(field).to_have_value("one\ntwo")
    await page.locator("#composer-send").click()
    await expect(row(page, "one").locator(".text")).to_have_text("one\ntwo")
    await page.keyboard.type("three")
    await field.press("ArrowLeft")
    await expect(field).to_have_attribute("enterkeyhint", "send")
    await field.press("Enter")
    await expect(row(page, "three")).to_be_visible()


async def test_keys_of_an_input_method_are_left_alone(server: Server, visit: Visit) -> None:
    """Escape while composing closes no search, no panel, no dialog, and ends no edit; Enter sends nothing."""
    page = await visit(server, "Ann", "composing", viewport={"width": 800, "height": 700})
    await connected(page)
    await say(page, "said")
    await page.locator("#search-toggle").click()
    assert await compose(page, "Escape")
    assert await compose(page, "ArrowDown")
    await expect(page.locator("#search-toggle")).to_have_attribute("aria-expanded", "true")
    await page.keyboard.press("Escape")
    await expect(page.locator("#search-toggle")).to_have_attribute("aria-expanded", "false")
    field = page.get_by_label("Message", exact=True)
    await field.press("ArrowUp")
    for key in ("Escape", "Enter"):
        assert await compose(page, key)
    await expect(page.locator("#intent-box")).to_be_visible()
    await field.press("Escape")
    await page.locator("#about-toggle").click()
    dialog = page.get_by_role("dialog")
    cancelled = "document.querySelector('dialog[open]').dispatchEvent(new Event('cancel', {cancelable: true}))"
    for moment, closes in (("start", False), ("end", True)):
        event = f"document.dispatchEvent(new CompositionEvent('composition{moment}'))"
        assert await page.evaluate(f"{event}, {cancelled}") == closes
    await expect(dialog).to_be_visible()


async def test_what_is_copied_is_what_was_said(server: Server, visit: Visit) -> None:
    """The copy has author, time and text: no words of buttons, no emoji, no notes. A part is copied alone."""
    page = await visit(server, "Ann", "copying", permissions=["clipboard-read", "clipboard-write"])
    await connected(page)
    async with over_socket(server.ws, "Bob") as bob:
        await bob.join("copying")
        hello = await bob.say("hello\nthere", "copying")
        await bob.say("an answer", "copying", replyTo=hello.id)
    await say(page, "mine" + "\n" * 50 + "end")
    await row(page, "an answer").hover()
    await row(page, "an answer").get_by_role("button", name="React", exact=True).click()
    await row(page, "an answer").get_by_role("button", name="React with 🎉").click()
    await expect(row(page, "an answer").get_by_role("button", name="🎉 you")).to_be_visible()
    await row(page, "an answer").hover()
    times = await page.locator(".message time").all_text_contents()
    await page.evaluate("getSelection().selectAllChildren(document.getElementById('rows'))")
    shown = await page.evaluate("getSelection().toString()")
    assert not [word for word in ("Actions", "Reply", "React", "Show more", "Edit") if word in shown], shown
    await page.keyboard.press("Control+C")
    lines = ["Bob: hello\nthere", "Bob: an answer", "Ann: mine" + "\n" * 50 + "end"]
    expected = "\n".join(f"[{time}] {line}" for time, line in zip(times, lines, strict=True))
    assert await page.evaluate("navigator.clipboard.readText()") == expected
    await page.evaluate(
        "() => { const text = document.querySelector('.message .text').firstChild;"
        "getSelection().setBaseAndExtent(text, 1, text, 4) }"
    )
    await page.keyboard.press("Control+C")
    assert await page.evaluate("navigator.clipboard.readText()") == "ell"


@pytest.mark.parametrize("device", [WIDEST, WIDE, SMALL], ids=["widest", "wide", "phone"])
async def test_nothing_lies_on_anything(server: Server, visit: Visit, device: dict[str, Any]) -> None:
    """The connection's state is beside the buttons, names are one line, and the title has its tails."""
    room = f"gyjpq-{device['viewport']['width']}"
    page = await visit(server, LONG_NAME, room, **device)
    await connected(page)
    async with over_socket(server.ws, "M" * NAME_LIMIT) as bob:
        await bob.join(room)
        await bob.say("hello", room)
        await say(page, "mine")
        await expect(row(page, "mine")).to_be_visible()
        buttons = [
            await box(button) for button in await page.locator(".head-button").all() if await button.is_visible()
        ]
        parts = [await box(page.locator("h1")), await box(page.locator("#connection"))]
        parts.append(await box(page.locator("#connection-shown, #connection-said").first))
        assert all(apart(part, button) for part in parts for button in buttons)
        assert await page.evaluate(
            "() => { const h1 = document.querySelector('h1'); return h1.scrollHeight <= h1.clientHeight }"
        )
        for name in await page.locator(".author").all():
            assert await height(name) < 30
            assert len(await name.get_attribute("title") or "") == NAME_LIMIT
        if not await page.locator("#people").is_visible():
            await page.locator("#people-toggle").click()
        for name in await page.locator(".person bdi, .my-name").all():
            assert await height(name) < 30
        text, field = await box(row(page, "mine").locator(".said")), await box(page.locator("#composer-text"))
        assert abs(text[0] - field[0]) < 1
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await expect(log(page)).to_contain_text("left")
