"""Authors of messages in real Chromium: two people with one name, and one person with two."""

import pytest
from browsing import ACCOUNTS, shell
from playwright.async_api import Page, expect
from servers import Start
from visits import Visit, connected, log, row, say, sign_in

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

THUMB = "\N{THUMBS UP SIGN}"


async def said(page: Page, text: str) -> None:
    """Say it, and wait until the server has it."""
    await connected(page)
    await say(page, text)
    await expect(row(page, text).locator(".fate")).to_have_count(0)


async def is_own(page: Page, text: str, *, own: bool) -> None:
    """Is the message the reader's own to the page: on their side, with their buttons?"""
    await row(page, text).hover()
    toolbar = row(page, text).get_by_role("toolbar")
    await expect(toolbar.get_by_role("button", name="Reply", exact=True)).to_be_visible()
    for action in ("Edit", "Delete"):
        await expect(toolbar.get_by_role("button", name=action, exact=True)).to_have_count(int(own))
    await expect(toolbar.get_by_role("button", name="Report")).to_have_count(int(not own))
    await expect(page.locator("#rows > li.own", has_text=text)).to_have_count(int(own))


async def test_a_later_guest_of_a_name_owns_nothing_of_the_former(start: Start, visit: Visit) -> None:
    """Ann goes and another browser's Ann comes: no Edit or Delete, no pressed emoji, another heading."""
    server = start("daphne", CHAT_GRACE="0")
    first = await visit(server, "Ann", "tea")
    await said(first, "the former one's")
    await row(first, "the former one's").hover()
    await row(first, "the former one's").get_by_role("button", name="React", exact=True).click()
    await first.get_by_role("toolbar").get_by_role("button", name=f"React with {THUMB}").click()
    chip = row(first, "the former one's").get_by_role("button", name=THUMB)
    await expect(chip).to_have_attribute("aria-pressed", "true")
    second = await first.context.new_page()
    await second.goto(first.url)
    await connected(second)
    await is_own(second, "the former one's", own=True)
    await expect(row(second, "the former one's").locator(".chip")).to_have_attribute("data-names", "you")
    await first.context.close()
    ann = await visit(server, "Ann", "tea")
    await connected(ann)
    await is_own(ann, "the former one's", own=False)
    await expect(row(ann, "the former one's").locator(".chip")).to_have_attribute("aria-pressed", "false")
    await expect(row(ann, "the former one's").locator(".chip")).to_have_attribute("data-names", "\u2068Ann\u2069")
    await said(ann, "her own")
    await is_own(ann, "her own", own=True)
    await expect(row(ann, "her own")).not_to_contain_class("continued")
    await ann.get_by_label("Message", exact=True).press("ArrowUp")
    await expect(ann.get_by_label("Message", exact=True)).to_have_value("her own")


async def test_a_renamed_account_keeps_its_own(start: Start, visit: Visit) -> None:
    """Also on a page that is open meanwhile: it goes on as the same person, under the new name."""
    server = start("daphne", CHAT_RECHECK="1")
    shell(server, ACCOUNTS)
    bob = await visit(server, "Guest", "tea")
    alice = await bob.context.browser.new_page()  # type: ignore[union-attr]  # it has one
    await sign_in(alice, server, "Alice")
    await alice.goto(f"{server.http}/room/tea/")
    await said(alice, "before")
    rename = "from django.contrib.auth.models import User; u = User.objects.get(username='Alice'); "
    shell(server, rename + "u.username = 'Alicia'; u.save()")
    await expect(alice.locator("#my-name")).to_have_text("Alicia")
    await connected(alice)
    await is_own(alice, "before", own=True)
    await said(alice, "after")
    await is_own(alice, "after", own=True)
    await expect(row(alice, "after").locator(".author")).to_have_text("Alicia")
    await expect(row(alice, "after")).not_to_contain_class("continued")
    await expect(alice.locator("#people-list .you")).to_have_count(1)
    await expect(alice.locator("#people-list li").first).to_contain_text("Alicia")
    await alice.reload()
    await connected(alice)
    await is_own(alice, "before", own=True)
    for text in ("before", "after"):
        await is_own(bob, text, own=False)
    await expect(log(bob)).to_contain_text("Alicia joined")
    await alice.close()
