"""A browser's data of its reader, in real Chromium: for them while they are signed in, for nobody after."""

import pytest
from browsing import ACCOUNTS, shell
from playwright.async_api import Browser, BrowserContext, Locator, Page, expect
from servers import Server, Start
from visits import Visit, connected, log, row, say, sign_in

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

KEPT = """async () => {
  const names = Object.keys(localStorage).filter(name => name.startsWith('chat.draft '));
  const drafts = names.map(name => localStorage[name]);
  const open = indexedDB.open('chat.outbox');
  let fresh = false;
  open.onupgradeneeded = () => { fresh = true; open.transaction.abort(); };
  await new Promise(resolve => { open.onsuccess = open.onerror = resolve; });
  if (fresh) return drafts;
  const entries = open.result.transaction('entries').objectStore('entries').getAll();
  await new Promise(resolve => { entries.onsuccess = resolve; });
  open.result.close();
  return [...drafts, ...entries.result.map(entry => entry.content)];
}"""
"""Texts in the browser's storage."""


async def kept(page: Page) -> list[str]:
    found: list[str] = await page.evaluate(KEPT)
    return found


async def nothing_is_kept(page: Page) -> None:
    """Soon."""
    await page.wait_for_function(f"async () => (await ({KEPT})()).length === 0")


def field(page: Page) -> Locator:
    return page.get_by_label("Message", exact=True)


async def write(page: Page, text: str) -> None:
    """Write it, send nothing, and wait until it is kept."""
    await field(page).fill(text)
    await page.wait_for_function(
        "text => Object.entries(localStorage).some(([name, kept]) => name.startsWith('chat.draft ')"
        " && JSON.parse(kept).text === text)",
        arg=text,
    )


async def say_offline(page: Page, text: str) -> None:
    await connected(page)
    await page.context.set_offline(True)
    await say(page, text)
    await expect(log(page)).to_contain_text("waiting for connection")
    await page.wait_for_function(f"async text => (await ({KEPT})()).includes(text)", arg=text)


async def enter(context: BrowserContext, server: Server, name: str, room: str) -> Page:
    """Choose a name on the first page."""
    page = await context.new_page()
    await page.goto(f"{server.http}/?room={room}")
    await page.get_by_label("Your name").fill(name)
    await page.get_by_role("button", name="Enter the room").click()
    await page.wait_for_url(f"**/room/{room}/")
    await connected(page)
    return page


async def sign_out(page: Page, server: Server) -> None:
    await page.goto(f"{server.http}/")
    await page.locator("details.menu summary").click()
    async with page.expect_response("**/logout/"):
        await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("link", name="Sign in")).to_be_visible()


# --- For nobody else ---


async def test_what_one_guest_wrote_is_not_sent_by_the_next_of_that_name(start: Start, visit: Visit) -> None:
    """Kiosk writes without a network and closes the tab, cookies are cleared, another guest is called Kiosk."""
    server = start("daphne", CHAT_GRACE="0")
    bob = await visit(server, "Bob", "tea")
    first = await visit(server, "Kiosk", "tea")
    context = first.context
    await write(first, "begun and not sent")
    await say_offline(first, "said by the first")
    await first.close()
    await context.set_offline(False)
    await context.clear_cookies()
    second = await enter(context, server, "Kiosk", "tea")
    await nothing_is_kept(second)
    await expect(field(second)).to_have_value("")
    await say(second, "said by the second")
    await expect(log(bob)).to_contain_text("said by the second")
    for page in (second, bob):
        await expect(log(page).get_by_text("said by the first")).to_have_count(0)


async def test_a_guest_who_takes_another_name_leaves_nothing_to_it(start: Start, visit: Visit) -> None:
    """In the same session; also what was refused, and what was begun in another room."""
    server = start("daphne", CHAT_GRACE="0")
    ann = await visit(server, "Ann", "garden")
    await connected(ann)
    await write(ann, "begun in the garden")
    await ann.goto(f"{server.http}/room/tea/")
    await say_offline(ann, "said as Ann")
    await ann.close()
    await ann.context.set_offline(False)
    anna = await enter(ann.context, server, "Anna", "tea")
    await nothing_is_kept(anna)
    await expect(log(anna).get_by_text("said as Ann")).to_have_count(0)
    await anna.goto(f"{server.http}/room/garden/")
    await connected(anna)
    await expect(field(anna)).to_have_value("")


async def test_signing_out_leaves_nothing_in_the_browser(start: Start, visit: Visit, browser: Browser) -> None:
    """By the chat's button and by the admin's: what the account wrote is gone before anybody else signs in."""
    server = start("daphne")
    shell(server, ACCOUNTS)
    bob = await visit(server, "Guest", "tea")
    context = await browser.new_context()
    for way in ("chat", "admin"):
        page = await context.new_page()
        await sign_in(page, server, "Sam")
        await page.goto(f"{server.http}/room/tea/")
        await write(page, "begun by Sam")
        await say_offline(page, "said by Sam")
        await page.close()
        await context.set_offline(False)
        page = await context.new_page()
        if way == "chat":
            await sign_out(page, server)
        else:
            await page.goto(f"{server.http}/admin/")
            async with page.expect_response("**/admin/logout/") as answer:
                await page.locator("#logout-form button").click()
            assert (await (await answer.value).all_headers())["clear-site-data"] == '"storage"'
        await nothing_is_kept(page)
    await sign_in(page, server, "Alice")
    await page.goto(f"{server.http}/room/tea/")
    await connected(page)
    await expect(field(page)).to_have_value("")
    await say(page, "said by Alice")
    await expect(log(bob)).to_contain_text("said by Alice")
    for one in (page, bob):
        await expect(log(one).get_by_text("said by Sam")).to_have_count(0)
    await page.context.close()


async def test_who_is_signed_out_elsewhere_leaves_nothing_on_the_open_page(start: Start, visit: Visit) -> None:
    """The session ends on the server, without a request of this browser: the text is removed, hidden parts too."""
    server = start("daphne", CHAT_RECHECK="1")
    shell(server, ACCOUNTS)
    bob = await visit(server, "Guest", "tea")
    page = await bob.context.browser.new_page()  # type: ignore[union-attr]  # it has one
    await sign_in(page, server, "Alice")
    await page.goto(f"{server.http}/room/tea/")
    await connected(page)
    await write(page, "begun by Alice")
    end = "from django.contrib.auth.models import User; u = User.objects.get(username='Alice'); "
    shell(server, end + "u.set_password('another long passphrase'); u.save()")
    await expect(page.locator("#out")).to_contain_text("You were signed out")
    await nothing_is_kept(page)
    assert await page.locator("#composer-text").input_value() == ""
    await page.context.close()


@pytest.mark.parametrize("name", ["Ann", "Zoe"])
async def test_a_page_that_comes_back_as_somebody_else_sends_nothing(
    start: Start, visit: Visit, name: str
) -> None:
    """Its cookies are another's now, of the same name perhaps: it says so, and forgets what was written."""
    server = start("daphne", CHAT_GRACE="0")
    bob = await visit(server, "Bob", "tea")
    ann = await visit(server, "Ann", "tea")
    other = await visit(server, name, "den")
    await write(ann, "begun by the first")
    await say_offline(ann, "said by the first")
    await field(ann).fill("and then")
    await ann.context.clear_cookies()
    await ann.context.add_cookies(await other.context.cookies())  # type: ignore[arg-type]  # they have the same fields
    await ann.context.set_offline(False)
    await expect(ann.locator("#out")).to_contain_text(f"You are \u2068{name}\u2069 now.")
    await expect(ann.locator("#rows").get_by_text("said by the first")).to_have_count(0)
    assert await ann.locator("#composer-text").input_value() == ""
    await nothing_is_kept(ann)
    await ann.get_by_role("button", name="Go on under this name").click()
    await connected(ann)
    await say(ann, "said by the second")
    await expect(log(bob)).to_contain_text("said by the second")
    for page in (ann, bob):
        await expect(log(page).get_by_text("said by the first")).to_have_count(0)


# --- For who wrote it ---


async def test_a_draft_is_there_after_whatever_happens_to_the_page(server: Server, visit: Visit) -> None:
    """Another room, a reload, the end of the tab; each room has its own; sent or emptied, it is gone."""
    ann = await visit(server, "Ann", "tea")
    await connected(ann)
    await field(ann).type("half a sent")
    await ann.goto(f"{server.http}/room/garden/")
    await connected(ann)
    await expect(field(ann)).to_have_value("")
    await write(ann, "about\nroses")
    await ann.goto(f"{server.http}/room/tea/")
    await expect(field(ann)).to_have_value("half a sent")
    await connected(ann)
    await ann.keyboard.type("ence")  # the cursor stands after it
    await expect(field(ann)).to_have_value("half a sentence")
    await ann.reload()
    await expect(field(ann)).to_have_value("half a sentence")
    await ann.close()
    ann = await ann.context.new_page()
    await ann.goto(f"{server.http}/room/tea/")
    await expect(field(ann)).to_have_value("half a sentence")
    await connected(ann)
    await field(ann).press("Enter")
    await expect(row(ann, "half a sentence").locator(".fate")).to_have_count(0)
    await ann.reload()
    await connected(ann)
    await expect(field(ann)).to_have_value("")
    await ann.goto(f"{server.http}/room/garden/")
    await expect(field(ann)).to_have_value("about\nroses")
    await field(ann).fill("")
    await nothing_is_kept(ann)


async def test_drafts_of_edits_and_answers_know_what_they_are_for(server: Server, visit: Visit) -> None:
    """After a reload an edit changes its message and an answer answers its own, also where that is far back."""
    ann = await visit(server, "Ann", "coffee")
    await connected(ann)
    for text in ("one", "two"):
        await say(ann, text)
        await expect(row(ann, text).locator(".fate")).to_have_count(0)
    await field(ann).fill("something new")
    await row(ann, "one").hover()
    await row(ann, "one").get_by_role("button", name="Edit", exact=True).click()
    await write(ann, "ONE")
    await ann.reload()
    await expect(field(ann)).to_have_value("ONE")
    await expect(ann.locator("#intent-label")).to_have_text("Edit your message")
    await expect(ann.locator("#send-word")).to_have_text("Save")
    await connected(ann)
    await field(ann).press("Enter")
    await expect(row(ann, "ONE")).to_be_visible()
    await expect(row(ann, "one").filter(has_not_text="ONE")).to_have_count(0)
    await expect(field(ann)).to_have_value("something new")
    await row(ann, "two").hover()
    await row(ann, "two").get_by_role("button", name="Reply", exact=True).click()
    await write(ann, "to two")
    await ann.add_init_script(
        "const {parse} = JSON;"
        "JSON.parse = text => { const config = parse(text);"
        " if (config?.page) { config.page.messages = config.page.messages.slice(0, 1); config.page.more = true; }"
        " return config; }"
    )
    await ann.reload()
    await expect(field(ann)).to_have_value("to two")
    await expect(ann.locator("#intent-label")).to_have_text("Reply to Ann")
    await expect(ann.locator("#intent-text")).to_have_text("two")
    await field(ann).press("Enter")
    await expect(row(ann, "to two").locator(".quote-text")).to_have_text("two")


async def test_a_draft_of_a_message_that_is_gone_becomes_a_new_one(
    server: Server, visit: Visit, browser: Browser
) -> None:
    """It was deleted elsewhere, while the page was closed or open; an edit without a change is dropped."""
    ann = await visit(server, "Ann", "cocoa")
    await connected(ann)
    for text in ("one", "two", "three"):
        await say(ann, text)
        await expect(row(ann, text).locator(".fate")).to_have_count(0)
    # The same person in another browser, where nothing is known of the draft.
    elsewhere = await browser.new_context()
    await elsewhere.add_cookies(await ann.context.cookies())  # type: ignore[arg-type]  # they have the same fields
    other = await elsewhere.new_page()

    async def delete(text: str) -> None:
        await row(other, text).hover()
        await row(other, text).get_by_role("button", name="Delete", exact=True).click()
        await row(other, text).get_by_role("button", name="Delete it").click()
        await expect(row(other, text)).to_have_count(0)

    async def edit(text: str) -> None:
        await row(ann, text).hover()
        await row(ann, text).get_by_role("button", name="Edit", exact=True).click()

    await other.goto(ann.url)
    await connected(other)
    await edit("one")
    await write(ann, "ONE and more")
    await ann.goto("about:blank")
    await delete("one")
    await ann.goto(other.url)
    await expect(field(ann)).to_have_value("ONE and more")
    await expect(ann.locator("#intent-box")).to_be_hidden()
    await expect(ann.locator("#toast")).to_contain_text("would be a new message")
    await field(ann).fill("")
    await connected(ann)
    await edit("two")
    await field(ann).fill("TWO and more")
    await delete("two")
    await expect(ann.locator("#intent-box")).to_be_hidden()
    await expect(field(ann)).to_have_value("TWO and more")
    await field(ann).fill("")
    await edit("three")
    await delete("three")
    await expect(ann.locator("#intent-box")).to_be_hidden()
    await expect(field(ann)).to_have_value("")


async def test_two_tabs_of_a_room_share_one_draft(server: Server, visit: Visit) -> None:
    """The one that was not touched follows, and is emptied when it is sent; an empty one wipes nothing out."""
    ann = await visit(server, "Ann", "milk")
    await connected(ann)
    other = await ann.context.new_page()
    await other.goto(ann.url)
    await connected(other)
    await write(ann, "written here")
    await expect(field(other)).to_have_value("written here")
    await other.reload()
    await expect(field(other)).to_have_value("written here")
    await connected(other)
    await other.close()
    await ann.reload()
    await expect(field(ann)).to_have_value("written here")
    other = await ann.context.new_page()
    await other.goto(ann.url)
    await connected(other)
    await field(other).press("Enter")
    await expect(field(ann)).to_have_value("")
    await expect(log(ann)).to_contain_text("written here")
    await nothing_is_kept(ann)
