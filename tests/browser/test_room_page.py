"""The room's page in real Chromium: changing, answering, finding and reading messages, and coming back to them."""

import asyncio
import json
import re
from contextlib import suppress
from typing import Any

import pytest
from helpers import PATIENCE, over_socket
from playwright.async_api import Error, Locator, Page, Route, WebSocketRoute, expect
from servers import Server, needs
from thorough import either
from visits import AXE, PHONE, Visit, connected, do, fill, log, row, say, violations

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def numbers(page: Page) -> list[int]:
    """The messages of `fill` that are on the page, in their order there."""
    texts = await page.locator("#rows .text").all_text_contents()
    return [int(text.split()[1][:-1]) for text in texts if text.startswith("message ")]


async def top(page: Page, text: str) -> float:
    """Where a message's row stands. Rows are drawn again, so it is asked for in one go."""
    return float(
        await page.evaluate(
            "text => [...document.querySelectorAll('#rows > li')].find(row => row.innerText.includes(text))"
            "  .getBoundingClientRect().top",
            text,
        )
    )


async def unread(page: Page, room: str) -> Locator:
    await page.goto("/".join(page.url.split("/")[:3]) + "/")
    # One's own room is in both lists.
    return page.locator(".rooms li").filter(has_text=room).locator(".room-unread").first


class Said(list[dict[str, Any]]):
    """The frames that a page sends over sockets opened from now on."""

    def __init__(self, page: Page) -> None:
        super().__init__()
        self.more = asyncio.Event()
        page.on("websocket", lambda socket: socket.on("framesent", self.hear))

    def hear(self, frame: str | bytes) -> None:
        self.append(json.loads(frame))
        self.more.set()

    async def expect(self, **fields: object) -> None:
        """Wait until the page has said a command with these fields."""
        async with asyncio.timeout(PATIENCE):
            while not any(fields.items() <= command.items() for command in self):
                self.more.clear()
                await self.more.wait()


# --- The first moment ---


async def test_the_messages_are_there_before_the_socket(server: Server, visit: Visit) -> None:
    """The messages are on the page although no socket opens, and are not requested again once one does."""
    page = await visit(server, "Ann", "first")
    await connected(page)
    async with over_socket(server.ws, "Bob") as bob:
        await bob.join("first")
        await fill(bob, "first", 60)
        await expect(row(page, "message 59.")).to_be_visible()
        early = await page.context.new_page()
        await early.add_init_script("WebSocket = class { readyState = 0; send() {} close() {} }")
        await early.goto(page.url)
        await expect(row(early, "message 59.")).to_be_visible()
        assert await numbers(early) == list(range(10, 60))
        await expect(early.locator("#connection-said")).to_have_text("Connecting")
    said = Said(page)
    await page.reload()
    await connected(page)
    await say(page, "here I am")
    await expect(log(page)).not_to_contain_text("sending")
    assert said[0]["type"] == "join"
    assert said[0]["since"] > 0
    assert said[0]["epoch"]
    assert "history" not in [command["type"] for command in said]


async def test_it_preloads_the_modules_that_it_loads(server: Server, visit: Visit) -> None:
    """Each module that the script imports has its link, so that all come at once; no link is for another file."""
    page = await visit(server, "Ann", "preloads")
    links = set(await page.eval_on_selector_all("link[rel=modulepreload]", "all => all.map(({href}) => href)"))
    entry = await page.eval_on_selector("script[type=module]", "({src}) => src")

    async def without_links(route: Route) -> None:
        response = await route.fetch()
        body = re.sub(r'<link rel="modulepreload"[^>]*>', "", await response.text())
        await route.fulfill(response=response, body=body)

    await page.route(page.url, without_links)
    loaded: set[str] = set()
    page.on("request", lambda request: loaded.add(request.url) if request.resource_type == "script" else None)
    await page.reload()
    await expect(page.get_by_text("Nothing has been said here yet.")).to_be_visible()  # the script has run
    assert loaded == links | {entry}


async def test_what_was_written_offline_survives_a_reload(server: Server, visit: Visit) -> None:
    """Written without a network, the tab reloaded, the network back: the message is there, once, for everybody."""
    ann, bob = await visit(server, "Ann", "reload"), await visit(server, "Bob", "reload")
    await connected(ann)
    await connected(bob)
    await ann.context.set_offline(True)
    await say(ann, "written before the reload")
    await expect(log(ann)).to_contain_text("waiting for connection")
    with suppress(Error):
        await ann.reload()
    await ann.context.set_offline(False)
    await ann.goto(f"{server.http}/room/reload/")
    await connected(ann)
    for page in (ann, bob):
        await expect(log(page).get_by_text("written before the reload")).to_have_count(1)
    await expect(log(ann)).not_to_contain_text("sending")
    await ann.reload()
    await connected(ann)
    await expect(log(ann).get_by_text("written before the reload")).to_have_count(1)


async def altered(page: Page, change: str) -> None:
    """Load the page again with something else in its configuration, `config`."""
    await page.add_init_script(
        "const {parse} = JSON;"
        f"JSON.parse = text => {{ const config = parse(text); if (config.page) {change}; return config; }}"
    )
    await page.reload()
    await connected(page)


async def test_a_page_of_another_life_starts_over(server: Server, visit: Visit) -> None:
    """Where the server can't go on from what the page shows, the latest messages are loaded again."""
    page = await visit(server, "Ann", "life")
    await connected(page)
    async with over_socket(server.ws, "Bob") as bob:
        await bob.join("life")
        await fill(bob, "life", 3)
        await altered(page, "config.page.epoch = 'another'")
        await bob.say("a new life", "life")
        await expect(row(page, "a new life")).to_be_visible()
        await expect(row(page, "message 0.")).to_be_visible()
        assert await numbers(page) == [0, 1, 2]


async def test_who_is_not_kept_can_only_answer(server: Server, visit: Visit) -> None:
    """Where nothing says who somebody is the next time, nothing is offered that asks for it."""
    page = await visit(server, "Ann", "guest")
    await connected(page)
    await say(page, "mine")
    await expect(log(page)).not_to_contain_text("sending")
    await altered(page, "config.lasting = false")
    await row(page, "mine").hover()
    await expect(page.get_by_role("toolbar").get_by_role("button")).to_have_count(1)
    await expect(page.get_by_role("toolbar").get_by_role("button")).to_have_accessible_name("Reply")
    await page.get_by_label("Message", exact=True).press("ArrowUp")
    await expect(page.locator("#intent-box")).to_be_hidden()


# --- Changing ---


async def test_messages_are_edited_deleted_and_reacted_to(server: Server, visit: Visit) -> None:
    """One user's changes reach the other at once, and after a reload."""
    ann, bob = await visit(server, "Ann", "change"), await visit(server, "Bob", "change")
    await connected(ann)
    await connected(bob)
    await say(ann, "a typo")
    await say(ann, "a mistake")
    await expect(row(bob, "a mistake")).to_be_visible()
    await do(ann, "a typo", "Edit")
    await ann.keyboard.press("ControlOrMeta+a")
    await ann.keyboard.type("no typo")
    await ann.keyboard.press("Enter")
    await expect(row(bob, "no typo")).to_contain_text("edited")
    await do(ann, "a mistake", "Delete")
    await expect(row(ann, "a mistake")).to_contain_text("Delete this message?")
    await row(ann, "a mistake").get_by_role("button", name="Delete it").click()
    await do(bob, "no typo", "React")
    await row(bob, "no typo").get_by_role("button", name="React with 🎉").click()
    chip = row(ann, "no typo").get_by_role("button", name="🎉 \u2068Bob\u2069")
    await chip.click()
    for _ in range(2):
        for page, names in ((ann, "🎉 \u2068Bob\u2069 and you"), (bob, "🎉 you and \u2068Ann\u2069")):
            await expect(row(page, "no typo").get_by_role("button", name=names)).to_have_attribute(
                "aria-pressed", "true"
            )
            await expect(log(page)).to_contain_text("This message was deleted.")
            await expect(log(page)).not_to_contain_text("a mistake")
            await page.reload()
            await connected(page)
    await row(bob, "no typo").get_by_role("button", name="🎉").click()
    await expect(row(ann, "no typo").get_by_role("button", name="🎉 you")).to_be_visible()
    assert await row(ann, "no typo").get_by_role("button", name="Edit", exact=True).count() == 0
    await row(bob, "no typo").hover()
    assert await row(bob, "no typo").get_by_role("button", name="Edit", exact=True).count() == 0, "it is Ann's"


async def test_an_answer_shows_what_it_answers(server: Server, visit: Visit) -> None:
    """The quote stands above the answer, follows the changes of its message, and leads there."""
    ann, bob = await visit(server, "Ann", "answer"), await visit(server, "Bob", "answer")
    await connected(ann)
    await connected(bob)
    await say(ann, "tea or coffee?")
    await do(bob, "tea or coffee?", "Reply")
    await expect(bob.locator("#intent-box")).to_contain_text("Reply to Ann tea or coffee?")
    await bob.keyboard.type("coffee")
    await bob.keyboard.press("Escape")
    await expect(bob.locator("#intent-box")).to_be_hidden()
    await expect(bob.get_by_label("Message", exact=True)).to_have_value("coffee")
    await do(bob, "tea or coffee?", "Reply")
    await bob.keyboard.press("Enter")
    quote = row(ann, "coffee").last.locator(".quote")
    await expect(quote).to_have_text("In reply to Ann tea or coffee?")
    await do(ann, "tea or coffee?", "Edit")
    await ann.keyboard.type(" or milk?")
    await ann.keyboard.press("Enter")
    await expect(row(bob, "coffee").last.locator(".quote")).to_contain_text("tea or coffee? or milk?")
    await quote.click()
    await expect(row(ann, "tea or coffee?")).to_be_focused()


async def test_it_is_all_done_by_keyboard(server: Server, visit: Visit) -> None:
    """Arrow-Up edits, Escape cancels; from the log the arrows reach each message, and Tab its toolbar."""
    ann = await visit(server, "Ann", "keys")
    await connected(ann)
    field = ann.get_by_label("Message", exact=True)
    for text in ("one", "two"):
        await say(ann, text)
    await expect(log(ann)).not_to_contain_text("sending")
    await field.press("ArrowUp")
    await expect(field).to_have_value("two")
    await field.press("Escape")
    await expect(field).to_have_value("")
    await field.press("ArrowUp")
    await ann.keyboard.type("!")
    await field.press("Enter")
    await expect(row(ann, "two!")).to_contain_text("edited")
    await field.press("Shift+Tab")
    await expect(row(ann, "two!")).to_be_focused()
    await ann.keyboard.press("ArrowUp")
    await expect(row(ann, "one")).to_be_focused()
    await ann.keyboard.press("Tab")
    await expect(row(ann, "one").get_by_role("button", name="React", exact=True)).to_be_focused()
    await ann.keyboard.press("Enter")
    await ann.keyboard.press("ArrowRight")
    await ann.keyboard.press("Enter")
    await expect(row(ann, "one").get_by_role("button", name="❤️ you")).to_be_visible()
    await expect(row(ann, "one").get_by_role("button", name="React", exact=True)).to_be_focused()
    await ann.keyboard.press("ArrowLeft")
    await ann.keyboard.press("Enter")
    await expect(row(ann, "one").get_by_role("button", name="Keep it")).to_be_focused()
    await ann.keyboard.press("Escape")
    await ann.keyboard.press("Enter")
    await ann.keyboard.press("ArrowRight")
    await ann.keyboard.press("Enter")
    await expect(log(ann)).to_contain_text("This message was deleted.")
    await expect(ann.locator("#rows > li.deleted")).to_be_focused()
    await ann.keyboard.press("Escape")
    await expect(field).to_be_focused()


async def test_what_was_begun_comes_back_after_an_edit(server: Server, visit: Visit) -> None:
    """An edit borrows the composer: what stood there before is there again, whether it is saved or not."""
    ann = await visit(server, "Ann", "draft")
    await connected(ann)
    field = ann.get_by_label("Message", exact=True)
    await say(ann, "said")
    await expect(log(ann)).not_to_contain_text("sending")
    for end in ("Escape", "Enter"):
        await field.fill("begun")
        await do(ann, "said", "Edit")
        await expect(field).to_have_value("said")
        await ann.keyboard.type("!")
        await field.press(end)
        await expect(field).to_have_value("begun")
    await expect(row(ann, "said!")).to_contain_text("edited")


async def test_it_is_all_done_by_touch(server: Server, visit: Visit) -> None:
    """On a phone each message has a button that opens its actions; a tap elsewhere closes them."""
    ann = await visit(server, "Ann", "touch", **PHONE)
    await connected(ann)
    await say(ann, "touched")
    await row(ann, "touched").get_by_role("button", name="Actions").tap()
    await row(ann, "touched").get_by_role("button", name="React", exact=True).tap()
    await row(ann, "touched").get_by_role("button", name="React with 👍").tap()
    await expect(row(ann, "touched").get_by_role("button", name="👍 you")).to_be_visible()
    await row(ann, "touched").get_by_role("button", name="Actions").tap()
    await expect(ann.get_by_role("toolbar")).to_be_visible()
    await ann.get_by_label("Message", exact=True).tap()
    await expect(ann.get_by_role("toolbar")).to_have_count(0)
    await row(ann, "touched").get_by_role("button", name="Actions").tap()
    await row(ann, "touched").get_by_role("button", name="Delete", exact=True).tap()
    await row(ann, "touched").get_by_role("button", name="Delete it").tap()
    await expect(log(ann)).to_contain_text("This message was deleted.")


async def test_a_refused_change_is_taken_back(server: Server, visit: Visit) -> None:
    """It is shown at once; refused, the old state is back, the reason is said, and the text is not lost."""
    ann = await visit(server, "Ann", "refused")
    held: list[str] = []
    sockets: list[WebSocketRoute] = []

    def between(socket: WebSocketRoute) -> None:
        real = socket.connect_to_server()
        sockets.append(socket)
        socket.on_message(lambda text: held.append(str(text)) if '"edit"' in str(text) else real.send(text))

    await ann.route_web_socket("**/ws", between)
    await ann.reload()
    await connected(ann)
    await say(ann, "before")
    await expect(log(ann)).not_to_contain_text("sending")
    await do(ann, "before", "Edit")
    await ann.keyboard.type(" and after")
    await ann.keyboard.press("Enter")
    await expect(row(ann, "before and after")).to_contain_text("saving")
    edit = json.loads(held[0])
    error = {"type": "error", "code": "forbidden", "message": "No.", "timestamp": 1, "ref": edit["ref"]}
    sockets[-1].send(json.dumps(error))
    await expect(row(ann, "before")).not_to_contain_text("after")
    await expect(ann.locator("#toast")).to_contain_text("Your change was not saved.")
    await expect(ann.get_by_label("Message", exact=True)).to_have_value("before and after")


async def test_changes_offline_wait_for_the_network(server: Server, visit: Visit) -> None:
    """An emoji that is put on without a network is seen, and reaches the others later."""
    ann, bob = await visit(server, "Ann", "later"), await visit(server, "Bob", "later")
    await connected(ann)
    await connected(bob)
    await say(bob, "hello")
    await expect(row(ann, "hello")).to_be_visible()
    await ann.context.set_offline(True)
    await expect(ann.locator("#connection-said")).to_have_text("Offline")
    await do(ann, "hello", "React")
    await row(ann, "hello").get_by_role("button", name="React with 👍").click()
    await expect(row(ann, "hello").locator(".chip.changing")).to_have_count(1)
    await ann.context.set_offline(False)
    await connected(ann)
    await expect(row(bob, "hello").get_by_role("button", name="👍 \u2068Ann\u2069")).to_be_visible()
    await expect(row(ann, "hello").locator(".chip.changing")).to_have_count(0)


# --- A long room ---

MOST_SHOWN = 1_500
"""Messages that a page keeps at most (timeline.js)."""
LONG = either(300, 1_600)
"""Messages in the room."""


async def test_scrolling_back_keeps_the_place(server: Server, visit: Visit) -> None:
    """Older pages come above what is read, newer messages below it, and nothing moves under the eye."""
    async with over_socket(server.ws, "Bob") as bob:
        await bob.join("long")
        await fill(bob, "long", LONG)
        page = await visit(server, "Ann", "long")
        await connected(page)
        pane = log(page)
        await expect(row(page, f"message {LONG - 1}.")).to_be_visible()
        first = (await numbers(page))[0]
        while first > 0:
            place = f"message {first}."
            await pane.evaluate("pane => pane.scrollTop = 0")
            before = await top(page, place)
            await expect(row(page, f"message {max(0, first - 50)}.")).to_be_attached()
            assert abs(await top(page, place) - before) <= 1, "the place has moved"
            shown = await numbers(page)
            assert shown == list(range(shown[0], shown[-1] + 1))
            first = shown[0]
        assert len(shown) <= MOST_SHOWN, "not all of it is kept"
        await pane.evaluate("pane => pane.scrollTop = 0")
        before = await top(page, "message 0.")
        await fill(bob, "long", 3, LONG)
        await expect(page.locator("#jump")).to_contain_text("3 new messages")
        assert await top(page, "message 0.") == before
        await page.locator("#jump").click()
        await expect(row(page, f"message {LONG + 2}.")).to_be_in_viewport()
        await expect(page.locator("#jump")).to_be_hidden()


async def test_what_was_said_long_ago_is_found(server: Server, visit: Visit) -> None:
    """A search lists what it found, newest first; from there one is at the message, and reads on both ways."""
    async with over_socket(server.ws, "Bob") as bob:
        await bob.join("find")
        await fill(bob, "find", 700)
        await bob.say("The lost KEY was under the mat", "find")
        await fill(bob, "find", 1_300, 700)
        await bob.say("thanks for the key", "find")
        page = await visit(server, "Ann", "find")
        await connected(page)
        await page.locator("#log").focus()
        await page.keyboard.press("/")
        await page.keyboard.type("key")
        results = page.locator("#search-results li")
        await expect(results).to_have_count(2)
        await expect(results.first).to_contain_text("thanks for the key")
        await expect(results.last.locator("mark")).to_have_text("KEY")
        await page.keyboard.press("ArrowDown")
        await page.keyboard.press("ArrowDown")
        await page.keyboard.press("Enter")
        place = row(page, "under the mat")
        await expect(place).to_be_focused()
        await expect(place).to_be_in_viewport()
        await expect(page.locator("#jump")).to_be_visible()
        await bob.say("meanwhile", "find")
        await expect(page.locator("#jump")).to_contain_text("1 new message")
        await expect(place).to_be_in_viewport()
        for _ in range(5):
            last = (await numbers(page))[-1]
            await log(page).evaluate("pane => pane.scrollTop = pane.scrollHeight")
            await expect(row(page, f"message {last + 1}.")).to_be_attached()
        shown = await numbers(page)
        assert shown == list(range(shown[0], shown[-1] + 1))
        assert shown[-1] > 900
        await say(page, "there it is")
        await expect(row(page, "there it is")).to_be_in_viewport()
        await expect(row(page, "meanwhile")).to_be_in_viewport()
        await expect(page.locator("#jump")).to_be_hidden()
        assert (await numbers(page))[-1] == 1_999


async def test_a_quote_of_long_ago_is_fetched_and_leads_there(server: Server, visit: Visit) -> None:
    """A quoted message need not be on the page: its text is fetched once, and the link to it works."""
    async with over_socket(server.ws, "Bob") as bob:
        await bob.join("quote")
        question = await bob.say("Who has the key?", "quote")
        await fill(bob, "quote", 300)
        for _ in range(3):
            await bob.say("me", "quote", replyTo=question.id)
        page = await visit(server, "Ann", "quote")
        await connected(page)
        said = Said(page)
        await page.reload()
        await connected(page)
        await expect(page.locator(".quote")).to_have_text(["In reply to Bob Who has the key?"] * 3)
        assert [command["type"] for command in said].count("history") == 1
        await page.locator(".quote").first.click()
        await expect(row(page, "Who has the key?")).to_be_focused()
        await expect(row(page, "Who has the key?")).to_be_in_viewport()


# --- Reading ---


async def test_what_is_new_is_marked_and_counted(server: Server, visit: Visit) -> None:
    """The first page counts what is unread, the room has a line above it, and who has seen it has read it."""
    page = await visit(server, "Ann", "unread")
    await connected(page)
    said = Said(page)
    await page.reload()
    await connected(page)
    async with over_socket(server.ws, "Bob") as bob:
        await bob.join("unread")
        await bob.say("seen", "unread")
        await expect(row(page, "seen")).to_be_visible()
        await said.expect(type="read", seq=1)
        await expect(await unread(page, "unread")).to_have_count(0)
        await fill(bob, "unread", 3)
        await expect(await unread(page, "unread")).to_have_text("3 new")
        await page.goto(f"{server.http}/room/unread/")
        line = page.locator("#rows > li.unread + li")
        await expect(line).to_contain_text("message 0.")
        await said.expect(type="read", seq=4)
        await expect(await unread(page, "unread")).to_have_count(0)
        await page.goto(f"{server.http}/room/unread/")
        await expect(row(page, "message 2.")).to_be_visible()
        await expect(page.locator("#rows > li.unread")).to_have_count(0)


async def test_the_way_to_the_first_new_message(server: Server, visit: Visit) -> None:
    """With more that is new than the page brought, a button leads to where it begins."""
    page = await visit(server, "Ann", "away")
    async with over_socket(server.ws, "Bob") as bob:
        await bob.join("away")
        await connected(page)
        said = Said(page)
        await page.reload()
        await fill(bob, "away", 100)
        await expect(row(page, "message 99.")).to_be_in_viewport()
        await said.expect(type="read", seq=100)
        await unread(page, "away")
        await fill(bob, "away", 200, 100)
        await page.goto(f"{server.http}/room/away/")
        await connected(page)
        await page.get_by_role("button", name="50+ new since you left").click()
        await expect(row(page, "message 100.")).to_be_in_viewport()
        await expect(page.locator("#rows > li.unread + li")).to_contain_text("message 100.")


async def test_another_tab_of_the_same_person_has_read(server: Server, visit: Visit) -> None:
    """Messages read in one tab are not new in the others."""
    page = await visit(server, "Ann", "tabs")
    await connected(page)
    async with over_socket(server.ws, "Bob") as bob:
        await bob.join("tabs")
        # Headless tabs are all visible; this one says that it is not.
        await page.evaluate(
            "Object.defineProperty(document, 'hidden', {get: () => window.away});"
            "window.away = true; document.dispatchEvent(new Event('visibilitychange'))"
        )
        await bob.say("news", "tabs")
        await expect(page).to_have_title("(1) tabs · Chat")
        other = await page.context.new_page()
        await other.goto(page.url)
        await expect(row(other, "news")).to_be_visible()
        await expect(page).to_have_title("tabs · Chat")


async def test_who_leaves_at_once_has_read_all_the_same(server: Server, visit: Visit) -> None:
    """The page tells its last read message before it goes, though it told the server something a moment ago."""
    page = await visit(server, "Ann", "hurry")
    await connected(page)
    said = Said(page)
    await page.reload()
    await connected(page)
    async with over_socket(server.ws, "Bob") as bob:
        await bob.join("hurry")
        for number in range(1, 4):
            await bob.say(f"message {number}.", "hurry")
            await expect(row(page, f"message {number}.")).to_be_visible()
        await said.expect(type="read", seq=1)
        left = await unread(page, "hurry")
        async with asyncio.timeout(PATIENCE):
            # The list and the last word may have been under way at once.
            while await left.count():
                await page.reload()


async def test_what_was_deleted_is_not_new(server: Server, visit: Visit) -> None:
    """Neither in the title nor on the way down, nor below the line; what is left of it is."""
    page, bob = await visit(server, "Ann", "regret"), await visit(server, "Bob", "regret")
    await connected(page)
    await connected(bob)
    async with over_socket(server.ws, "Eve") as eve:
        await eve.join("regret")
        await fill(eve, "regret", 60)
    await expect(row(page, "message 59.")).to_be_visible()
    await log(page).evaluate("pane => pane.scrollTop = 0")
    await page.evaluate(
        "Object.defineProperty(document, 'hidden', {get: () => true});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    await say(bob, "kept")
    await say(bob, "regretted")
    await expect(page).to_have_title("(2) regret · Chat")
    await expect(page.locator("#jump")).to_contain_text("2 new messages")
    await row(bob, "regretted").get_by_role("button", name="Actions").dispatch_event("click")
    await row(bob, "regretted").get_by_role("button", name="Delete", exact=True).click()
    await row(bob, "regretted").get_by_role("button", name="Delete it").click()
    await expect(page).to_have_title("(1) regret · Chat")
    await expect(page.locator("#jump")).to_contain_text("1 new message")


# --- For everybody ---


@pytest.mark.parametrize("device", [{"viewport": {"width": 1280, "height": 800}}, PHONE], ids=["wide", "phone"])
async def test_the_room_is_accessible_with_all_of_it(server: Server, visit: Visit, device: dict[str, Any]) -> None:
    """axe finds nothing against WCAG 2.2 AA with quotes, emoji, tombstones, the toolbar's faces and the search."""
    needs(AXE.is_file(), "the package axe-core: npm ci in tests/js")
    room = f"axe-{len(device)}"
    page = await visit(server, "Ann", room, **device)
    await connected(page)
    async with over_socket(server.ws, "Bob") as bob:
        await bob.join(room)
        hello = await bob.say("hello there", room)
        await bob.say("an answer", room, replyTo=hello.id)
        await bob.say("another answer", room, replyTo=hello.id)
        await say(page, "mine")
        await say(page, "regretted")
        for text, emoji in (("hello there", "👍"), ("mine", "🎉")):
            await row(page, text).first.get_by_role("button", name="Actions").dispatch_event("click")
            await row(page, text).first.get_by_role("button", name="React", exact=True).click()
            assert await violations(page) == []
            await row(page, text).first.get_by_role("button", name=f"React with {emoji}").click()
        await row(page, "regretted").get_by_role("button", name="Actions").dispatch_event("click")
        await row(page, "regretted").get_by_role("button", name="Delete", exact=True).click()
        assert await violations(page) == []
        await row(page, "regretted").get_by_role("button", name="Delete it").click()
        await expect(log(page)).to_contain_text("This message was deleted.")
        await page.get_by_label("Message", exact=True).press("ArrowUp")
        assert await violations(page) == []
        await page.get_by_label("Message", exact=True).press("End")
        await page.keyboard.type("!")
        await page.keyboard.press("Enter")
        await expect(row(page, "mine!")).to_contain_text("edited")
        await page.locator("#search-toggle").click()
        await page.keyboard.type("answer")
        await expect(page.locator("#search-results li")).to_have_count(2)
        assert await violations(page) == []
