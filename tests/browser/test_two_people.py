"""Real Chromium against the real server: two people, each with a page."""

import asyncio
import signal
from contextlib import AsyncExitStack
from typing import Any

import pytest
from helpers import over_socket
from playwright.async_api import expect
from servers import Server, Start, create_superuser, free_port, needs
from thorough import either
from visits import AXE, PHONE, Visit, connected, disconnect, fill, log, say, talk, violations

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

FULL = either(100, 200)
"""People in a full room."""


@pytest.mark.on_services
async def test_two_people_talk(server: Server, visit: Visit) -> None:
    """Each sees the other's words, who is here and who is typing; own messages settle."""
    ann, bob = (
        await visit(server, "Ann", "talk", by_form=True),
        await visit(server, "Bob", "talk", by_form=True, **PHONE),
    )
    await talk(ann, bob)
    await bob.context.close()
    await expect(log(ann)).to_contain_text("Bob left")
    await expect(ann.locator("#people-list li")).to_have_count(1)


async def test_a_second_tab_is_the_same_person(server: Server, visit: Visit) -> None:
    """Two tabs of one browser count once, and both receive messages of either."""
    ann = await visit(server, "Ann", "second")
    await connected(ann)
    again = await ann.context.new_page()
    await again.goto(ann.url)
    await connected(again)
    await say(again, "from the second tab")
    await expect(log(ann).get_by_text("from the second tab")).to_have_count(1)
    await expect(ann.locator("#people-list li")).to_have_count(1)


async def test_a_taken_name_is_explained(server: Server, visit: Visit) -> None:
    """A user with a taken name gets an error, chooses another name and joins."""
    await connected(await visit(server, "Ann", "taken"))
    other = await visit(server, "ANN", "taken")
    dialog = other.get_by_role("dialog")
    await expect(dialog).to_contain_text("taken")
    await dialog.get_by_label("Your name").fill("Anna")
    await dialog.get_by_role("button", name="Enter the room").click()
    await connected(other)
    await expect(other.locator("#people-list li")).to_have_count(2)


async def test_what_was_written_offline_arrives_once(server: Server, visit: Visit) -> None:
    """Offline, the page says so and keeps what is written; online again it is sent, once."""
    ann, bob = await visit(server, "Ann", "offline"), await visit(server, "Bob", "offline")
    await connected(ann)
    await connected(bob)
    await ann.context.set_offline(True)
    await expect(ann.locator("#connection-said")).to_have_text("Offline")
    await say(ann, "written offline")
    await expect(log(ann)).to_contain_text("waiting for connection")
    await say(bob, "said meanwhile")
    await ann.context.set_offline(False)
    await connected(ann)
    await expect(log(bob)).to_contain_text("written offline")
    await expect(log(ann)).to_contain_text("said meanwhile")
    await expect(log(ann)).not_to_contain_text("waiting")
    for page in (ann, bob):
        await expect(log(page).get_by_text("written offline")).to_have_count(1)


async def test_it_comes_back_after_the_server_was_killed(start: Start, visit: Visit) -> None:
    """kill -9 and a new server: the page reconnects by itself and delivers what waited, also after a reload."""
    port = str(free_port())
    first = start("daphne", PORT=port)
    ann = await visit(first, "Ann")
    await connected(ann)
    first.process.send_signal(signal.SIGKILL)
    first.process.wait()
    await expect(ann.locator("#connection-said")).to_have_text("Reconnecting")
    await say(ann, "did you hear me?")
    second = start("daphne", PORT=port)
    await connected(ann)
    bob = await visit(second, "Bob")
    await expect(log(bob).get_by_text("did you hear me?")).to_have_count(1)
    await expect(log(ann).get_by_text("did you hear me?")).to_have_count(1)
    await ann.reload()
    await expect(log(ann).get_by_text("did you hear me?")).to_have_count(1)


HOSTILE = [
    '<img src=x onerror="window.broken = 1">',
    "<script>window.broken = 1</script>",
    "javascript:window.broken=1",
    'https://example.com/"onmouseover="window.broken=1',
    "{{ 7 * 7 }} ${7 * 7} %s",
    "\u202egnirts desrever\u202c",
    "z" + "\u0301" * 8,
    "x" * 4_000,
    "&lt;b&gt;",
]


async def test_hostile_text_is_only_text(server: Server, visit: Visit) -> None:
    """Markup, scripts and odd Unicode are shown as they were written, and nothing of them runs."""
    ann = await visit(server, "<b>Ann</b>", "hostile")
    await connected(ann)
    async with over_socket(server.ws, "Mallory") as mallory:
        await mallory.join("hostile")
        for text in HOSTILE:
            await mallory.say(text, "hostile")
    # The last one is there, so the others are.
    await expect(log(ann).get_by_text(HOSTILE[-1], exact=True)).to_be_visible()
    shown = await log(ann).inner_text()
    for text in HOSTILE:
        assert text in shown
    assert await ann.evaluate("window.broken") is None
    assert await log(ann).locator("img, script, b").count() == 0
    hrefs = await log(ann).locator("a").evaluate_all("links => links.map(link => link.protocol)")
    assert set(hrefs) <= {"http:", "https:"}
    wide, window = await ann.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide <= window, "nothing may push the page sideways"


async def test_staff_disconnects_and_the_page_says_so(start: Start, visit: Visit) -> None:
    """Closed with a code that says "do not come back", the page stays away and offers to try."""
    server = start("daphne")
    ann = await visit(server, "Ann")
    await connected(ann)
    create_superuser(server)
    admin = await ann.context.browser.new_page()  # type: ignore[union-attr]
    await disconnect(admin, server.http)
    await expect(ann.locator("#connection-said")).to_contain_text("Disconnected")
    await expect(ann.get_by_role("button", name="Try now")).to_be_visible()


@pytest.mark.parametrize("device", [{"viewport": {"width": 1280, "height": 800}}, PHONE], ids=["wide", "phone"])
async def test_the_pages_are_accessible(server: Server, visit: Visit, device: dict[str, Any]) -> None:
    """axe finds nothing against WCAG 2.2 AA on any page, in either colour scheme, wide or on a phone."""
    needs(AXE.is_file(), "the package axe-core: npm ci in tests/js")
    room = f"pages-{len(device)}"
    page = await visit(server, "Ann", room, **device)
    await connected(page)
    async with over_socket(server.ws, "Bob") as bob:
        await bob.join(room)
        for text in ("Hello", "See https://example.com/", "שלום"):
            await bob.say(text, room)
        await say(page, "Hello Bob")
        await expect(log(page)).to_contain_text("Hello Bob")
        assert await violations(page) == []
    for path in ("/", "/login/", "/sign-up/", "/nowhere/"):
        await page.goto(server.http + path)
        assert await violations(page) == []


async def test_the_room_works_by_keyboard(server: Server, visit: Visit) -> None:
    """Tab reaches the composer, Enter sends, Shift+Enter breaks the line, Escape closes the sheet of people."""
    page = await visit(server, "Ann", "keyboard", **PHONE)
    await connected(page)
    field = page.get_by_label("Message", exact=True)
    for _ in range(10):
        await page.keyboard.press("Tab")
        if await field.evaluate("field => field === document.activeElement"):
            break
    await page.keyboard.type("one")
    await page.keyboard.press("Shift+Enter")
    await page.keyboard.type("two")
    await page.keyboard.press("Enter")
    await expect(log(page).get_by_text("one\ntwo")).to_be_visible()
    toggle = page.locator("#people-toggle")
    await toggle.press("Enter")
    await expect(toggle).to_have_attribute("aria-expanded", "true")
    await page.keyboard.press("Escape")
    await expect(toggle).to_have_attribute("aria-expanded", "false")
    await expect(toggle).to_be_focused()


async def test_a_full_room_is_shown(server: Server, visit: Visit) -> None:
    """With many people and 1,000 messages the latest are on screen, in order, and older ones can be had."""
    page = await visit(server, "Ann", "full")
    await connected(page)
    others = FULL - 1
    async with AsyncExitStack() as stack:
        people = [await stack.enter_async_context(over_socket(server.ws, f"P{n}")) for n in range(others)]
        await people[0].join("full")
        await fill(people[0], "full", 1_000 - others)
        await asyncio.gather(*(person.join("full") for person in people[1:]))
        await expect(page.locator("[data-people-count]").first).to_contain_text(f"{FULL}")
        for number, person in enumerate(people, 1_000 - others):
            await person.say(f"message {number}.", "full")
        await expect(log(page).get_by_text("message 999.", exact=True)).to_be_visible()
        shown = await log(page).inner_text()
        numbers = [int(word[:-1]) for word in shown.split() if word[:-1].isdecimal() and word.endswith(".")]
        assert numbers == list(range(numbers[0], 1_000))
