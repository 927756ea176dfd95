"""Roles, moderation and signing out, in real Chromium against the real server."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from itertools import count
from typing import Any

import pytest
import pytest_asyncio
from databases import copy_of, manage
from playwright.async_api import Browser, BrowserContext, Page, expect
from servers import Server, needs, running
from visits import AXE, PHONE, breach, connected, log, say, violations

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

SignedIn = Callable[..., Awaitable[Page]]

PASSWORD = "a long passphrase"
ROOMS = count(100)
ACCOUNTS = f"""
from django.contrib.auth.models import User
for name in ("Alice", "Bob", "Charlie"):
    User.objects.create_user(name, password={PASSWORD!r})
"""


@pytest.fixture(scope="session")
def with_accounts(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database with three accounts."""
    with copy_of(database, tmp_path_factory.mktemp("accounts")) as url:
        manage(url, "shell", "-v0", "-c", ACCOUNTS)
        yield url


@pytest.fixture(scope="session")
def server(with_accounts: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for the tests here, with the same accounts. Each test has its own sessions and rooms."""
    folder = tmp_path_factory.mktemp("moderation")
    with running("daphne", folder, with_accounts, CHAT_KICK="3") as server:
        yield server


@pytest.fixture
def tea() -> str:
    """A room of this test alone."""
    return f"tea-{next(ROOMS)}"


async def sign_in(context: BrowserContext, server: Server, name: str) -> None:
    """Without the page, which test_account_pages.py is about."""
    address = f"{server.http}/login/"
    await context.request.get(address)
    (token,) = [cookie["value"] for cookie in await context.cookies() if cookie["name"] == "csrftoken"]
    form: dict[str, str | float | bool] = {"username": name, "password": PASSWORD, "csrfmiddlewaretoken": token}
    answer = await context.request.post(address, form=form, headers={"Origin": server.http}, max_redirects=0)
    assert answer.status == 302


@pytest_asyncio.fixture(loop_scope="session")
async def signed_in(browser: Browser, server: Server) -> AsyncIterator[SignedIn]:
    """Sign people in, each in a browser of their own; a script error or a breach of the CSP fails the test."""
    wrong: list[str] = []

    async def enter(name: str, path: str = "/", **options: Any) -> Page:
        context = await browser.new_context(**options)
        page = await context.new_page()
        page.on("pageerror", lambda error: wrong.append(f"{name}: {error}"))
        page.on("console", lambda line: wrong.append(f"{name}: {line.text}") if breach(line.text) else None)
        await sign_in(context, server, name)
        await page.goto(f"{server.http}{path}")
        return page

    yield enter
    assert not wrong


def alone(name: str) -> str:
    """A name in a label keeps its direction to itself."""
    return f"\u2068{name}\u2069"


async def private_room(page: Page, title: str = "The den") -> str:
    """Make a room by the first page's form. Its path."""
    await page.get_by_text("Make a room").click()
    await page.get_by_label("Title").fill(title)
    await page.get_by_role("button", name="Make the room").click()
    await page.wait_for_url("**/room/**")
    await connected(page)
    return "/" + page.url.split("/", 3)[3]


async def link_into(page: Page) -> str:
    """Make an invitation in the dialog about the room."""
    await page.get_by_role("button", name="About").click()
    await page.get_by_role("button", name="Make a link").click()
    link = page.get_by_label("Link")
    await expect(link).to_have_value(re.compile("/invite/"))
    found = await link.input_value()
    await page.get_by_role("button", name="Close").click()
    return found


async def join_by(page: Page, link: str) -> None:
    await page.goto(link)
    await page.get_by_role("button", name="Become a member").click()
    await page.wait_for_url("**/room/**")
    await connected(page)


async def do_to(page: Page, name: str, action: str) -> None:
    """Choose something in a person's menu."""
    await page.get_by_role("button", name=f"Actions for {alone(name)}", exact=True).click()
    await page.get_by_role("group", name=f"Actions for {alone(name)}").get_by_role("button", name=action).click()


async def decide(page: Page, action: str) -> None:
    await page.get_by_role("dialog").get_by_role("button", name=action, exact=True).click()


def out(page: Page) -> Any:
    return page.locator("#out")


def field(page: Page) -> Any:
    return page.get_by_label("Message", exact=True)


# --- Signing out ---


async def test_signing_out_in_one_tab_ends_the_other(server: Server, signed_in: SignedIn, tea: str) -> None:
    """Within two seconds the other tab says so, has no field any more, and leads to the sign-in and back."""
    alice = await signed_in("Alice", f"/room/{tea}/")
    await connected(alice)
    await say(alice, "before")
    other = await alice.context.new_page()
    await other.goto(f"{server.http}/")
    await other.locator("details.menu summary").click()
    async with other.expect_response("**/logout/"):
        await other.get_by_role("button", name="Sign out").click()
    await expect(out(alice)).to_contain_text("You were signed out", timeout=2_500)
    await expect(field(alice)).to_be_hidden()
    await expect(alice.locator("#connection-said")).to_have_text("Signed out")
    await out(alice).get_by_role("link", name="Sign in").click()
    await alice.wait_for_url(f"**/login/?next=%2Froom%2F{tea}%2F")


async def test_signing_out_takes_what_is_private_out_of_sight(server: Server, signed_in: SignedIn) -> None:
    """A private room leaves nothing on the screen."""
    alice = await signed_in("Alice")
    await private_room(alice)
    await say(alice, "a secret")
    await expect(log(alice)).not_to_contain_text("sending")
    other = await alice.context.new_page()
    await other.goto(f"{server.http}/")
    await other.locator("details.menu summary").click()
    await other.get_by_role("button", name="Sign out").click()
    await expect(out(alice)).to_contain_text("You were signed out")
    await expect(alice.get_by_text("a secret")).to_have_count(0)


async def test_a_new_cookie_for_the_same_person_goes_on(server: Server, signed_in: SignedIn, tea: str) -> None:
    """A user who signs in again, in another tab, is in the room again automatically."""
    alice = await signed_in("Alice", f"/room/{tea}/")
    await connected(alice)
    other = await alice.context.new_page()
    await other.goto(f"{server.http}/")
    await other.locator("details.menu summary").click()
    # The question who one is comes late, as on a slow network: meanwhile there is another session.
    await alice.route("**/whoami", lambda route: route.abort())
    await other.get_by_role("button", name="Sign out").click()
    await expect(alice.locator("#connection-said")).to_have_text("Checking who you are")
    await other.goto(f"{server.http}/login/")
    await other.get_by_label("Username").fill("Alice")
    await other.get_by_label("Password").fill(PASSWORD)
    await other.get_by_role("button", name="Sign in").click()
    await other.wait_for_url(f"{server.http}/")
    await alice.unroute("**/whoami")
    await connected(alice)
    await say(alice, "still me")
    await expect(log(alice)).not_to_contain_text("sending")
    await expect(out(alice)).to_be_hidden()


# --- Removed ---


async def test_a_ban_puts_somebody_out_in_all_their_tabs(server: Server, signed_in: SignedIn, tea: str) -> None:
    """Both tabs say why and have no field; a reload does not help; lifted, they come in again."""
    alice = await signed_in("Alice", f"/room/{tea}/")
    bob = await signed_in("Bob", f"/room/{tea}/")
    second = await bob.context.new_page()
    await second.goto(bob.url)
    for page in (alice, bob, second):
        await connected(page)
    await do_to(alice, "Bob", "Ban…")
    await alice.get_by_label("For how long").select_option("For good")
    await alice.get_by_label("Why").fill("spam")
    await decide(alice, "Ban")
    for page in (bob, second):
        await expect(out(page)).to_contain_text("You may not be in this room.")
        await expect(field(page)).to_be_hidden()
    await expect(alice.locator("#people-list > li")).to_have_count(1)
    await bob.reload()
    await expect(bob.get_by_role("heading", name="You can't come in")).to_be_visible()
    await alice.get_by_role("button", name="About").click()
    restricted = alice.locator("#restricted-list")
    await expect(restricted).to_contain_text("banned · for good · spam")
    await restricted.get_by_role("button", name=f"Lift: {alone('Bob')}, banned").click()
    await expect(alice.locator("#about-status")).to_have_text(f"{alone('Bob')} may come in again.")
    await bob.reload()
    await connected(bob)


async def test_who_was_taken_out_comes_back_by_a_button(server: Server, signed_in: SignedIn, tea: str) -> None:
    """Not before its time, and not by itself; what was said meanwhile is there."""
    alice = await signed_in("Alice", f"/room/{tea}/")
    bob = await signed_in("Bob", f"/room/{tea}/")
    await connected(alice)
    await connected(bob)
    await do_to(alice, "Bob", "Take out…")
    await decide(alice, "Take out")
    button = out(bob).get_by_role("button", name="Come back")
    await expect(button).to_be_disabled()
    await say(alice, "meanwhile")
    await expect(button).to_be_enabled()
    await expect(field(bob)).to_be_hidden()
    await button.click()
    await expect(field(bob)).to_be_focused()
    await expect(log(bob)).to_contain_text("meanwhile")


async def come_in(browser: Browser, server: Server, name: str, room: str) -> Page:
    """A guest, in a browser of their own."""
    page = await (await browser.new_context()).new_page()
    await page.goto(f"{server.http}/?room={room}")
    await choose(page, name, room)
    return page


async def choose(page: Page, name: str, room: str) -> None:
    await page.get_by_label("Your name").fill(name)
    await page.get_by_role("button", name="Enter the room").click()
    await page.wait_for_url(f"**/room/{room}/")


async def test_a_guest_is_put_out_and_not_those_beside_them(
    server: Server, signed_in: SignedIn, browser: Browser, tea: str
) -> None:
    """Unless the box is ticked, which says how many they are. And another name in that browser does not help."""
    alice = await signed_in("Alice", f"/room/{tea}/")
    await connected(alice)
    pages = {name: await come_in(browser, server, name, tea) for name in ("Gina", "Gero", "Greta")}
    for page in pages.values():
        await connected(page)
    await do_to(alice, "Gina", "Ban…")
    box = alice.get_by_role(
        "checkbox", name="Also everybody from the same address: 2 other guests here come from it."
    )
    await expect(box).to_be_visible()
    await expect(box).not_to_be_checked()
    await decide(alice, "Ban")
    await expect(out(pages["Gina"])).to_contain_text("You may not be in this room")
    await say(pages["Gero"], "still here")
    await pages["Gina"].goto(f"{server.http}/?room={tea}")
    await choose(pages["Gina"], "Ginevra", tea)
    await expect(pages["Gina"].get_by_text("You may not be in this room")).to_be_visible()
    await do_to(alice, "Gero", "Take out…")
    await alice.get_by_role("checkbox", name="1 other guest here comes from it.").check()
    await decide(alice, "Take out")
    for name in ("Gero", "Greta"):
        await expect(out(pages[name])).to_contain_text("You may not be in this room")
    await say(alice, "alone")


async def test_a_private_room_is_gone_from_the_screen_of_who_was_taken_out(
    server: Server, signed_in: SignedIn
) -> None:
    """Its messages, its people; and its address is that of no room any more."""
    alice, bob = await signed_in("Alice"), await signed_in("Bob")
    path = await private_room(alice)
    await join_by(bob, await link_into(alice))
    await say(alice, "a secret")
    await expect(log(bob)).to_contain_text("a secret")
    await do_to(alice, "Bob", "Take out…")
    await decide(alice, "Take out")
    await expect(out(bob)).to_contain_text("You are not in this room any more.")
    await expect(bob.get_by_text("a secret")).to_have_count(0)
    await expect(bob.locator("#people-list > li")).to_have_count(0)
    await bob.goto(f"{server.http}{path}")
    await expect(bob.get_by_role("heading", name="No such room")).to_be_visible()


# --- Rules ---


async def test_slow_mode_counts_down_and_sends(server: Server, signed_in: SignedIn, tea: str) -> None:
    """The second message waits, says so, and is sent by itself, before the third."""
    alice = await signed_in("Alice", f"/room/{tea}/")
    bob = await signed_in("Bob", f"/room/{tea}/")
    await connected(alice)
    await connected(bob)
    await alice.get_by_role("button", name="About").click()
    await alice.get_by_label("Slow mode").select_option("5 seconds")
    await alice.get_by_role("button", name="Save").click()
    await expect(alice.locator("#about-status")).to_have_text("Saved.")
    await expect(bob.locator("#speaking-shown")).to_have_text("Slow mode: one message every 5 s.")
    for text in ("one", "two", "three"):
        await say(bob, text)
    await expect(bob.locator("#speaking-shown")).to_have_text(re.compile(r"Slow mode: sends in \d s"))
    await expect(bob.locator("#speaking-said")).to_have_text(re.compile("your message is sent in"))
    await expect(log(bob)).to_contain_text("waiting: slow mode")
    await expect(log(alice)).not_to_contain_text("two")
    await expect(log(alice)).to_contain_text("three")
    texts = await alice.locator("#rows .text").all_inner_texts()
    assert texts == ["one", "two", "three"]
    await expect(log(bob)).not_to_contain_text("waiting")


async def test_a_mute_and_a_read_only_room_are_told_at_the_field(
    server: Server, signed_in: SignedIn, tea: str
) -> None:
    """The field can't be written in and says why, what stood there stays; lifted, it can."""
    alice = await signed_in("Alice", f"/room/{tea}/")
    bob = await signed_in("Bob", f"/room/{tea}/")
    await connected(alice)
    await connected(bob)
    await field(bob).fill("half a sentence")
    await do_to(alice, "Bob", "Mute for 10 minutes")
    await expect(alice.locator("#toast")).to_have_text(f"{alone('Bob')} may not speak for 10 minutes.")
    await expect(field(bob)).to_be_disabled()
    await expect(bob.locator("#speaking-said")).to_contain_text("You may not speak here until")
    await expect(field(bob)).to_have_value("half a sentence")
    await do_to(alice, "Bob", "Let speak again")
    await expect(field(bob)).to_be_enabled()
    await alice.get_by_role("button", name="About").click()
    await alice.get_by_label("Only owners and moderators may speak").check()
    await alice.get_by_label("Title").fill("Tea time")
    await alice.get_by_role("button", name="Save").click()
    await expect(bob.locator("#speaking-said")).to_contain_text("Read-only")
    await expect(bob.get_by_role("heading", name="Tea time")).to_be_visible()
    await expect(field(alice)).to_be_enabled()


async def test_a_message_is_reported_and_a_moderator_deletes_it(
    server: Server, signed_in: SignedIn, tea: str
) -> None:
    """Bob tells of it and is thanked; Alice deletes what is not hers; Bob could not."""
    alice = await signed_in("Alice", f"/room/{tea}/")
    bob = await signed_in("Bob", f"/room/{tea}/")
    charlie = await signed_in("Charlie", f"/room/{tea}/")
    for page in (alice, bob, charlie):
        await connected(page)
    await say(charlie, "buy my watches")
    row = bob.locator("#rows > li").filter(has_text="buy my watches")
    await row.hover()
    await expect(row.get_by_role("button", name="Delete")).to_have_count(0)
    await row.get_by_role("button", name="Report…").click()
    await bob.get_by_label("What is wrong with it?").fill("spam")
    await decide(bob, "Report")
    await expect(bob.locator("#toast")).to_have_text("Thank you. The moderators will look at it.")
    theirs = alice.locator("#rows > li").filter(has_text="buy my watches")
    await theirs.hover()
    await theirs.get_by_role("button", name="Delete").click()
    await theirs.get_by_role("button", name="Delete it").click()
    await expect(log(charlie)).to_contain_text("This message was deleted.")
    await expect(log(bob)).not_to_contain_text("watches")


async def test_a_new_moderator_sees_what_they_may_do_at_once(
    server: Server, signed_in: SignedIn, tea: str
) -> None:
    """Without a reload; and it is gone when the role is."""
    alice = await signed_in("Alice", f"/room/{tea}/")
    bob = await signed_in("Bob", f"/room/{tea}/")
    charlie = await signed_in("Charlie", f"/room/{tea}/")
    for page in (alice, bob, charlie):
        await connected(page)
    await do_to(alice, "Bob", "Make a moderator")
    await expect(bob.locator("#badges")).to_have_text("Moderator")
    await bob.get_by_role("button", name=f"Actions for {alone('Charlie')}").click()
    menu = bob.get_by_role("group", name=f"Actions for {alone('Charlie')}")
    await expect(menu.get_by_role("button")).to_have_text(
        ["Write in private", "Mute for 10 minutes", "Mute for 1 hour", "Let speak again", "Take out…", "Ban…"]
    )
    await alice.get_by_role("button", name="About").click()
    await alice.get_by_label(f"Role of {alone('Bob')}").select_option("Member")
    await expect(menu.get_by_role("button")).to_have_text(["Write in private"])
    await expect(bob.locator("#badges")).to_have_text("")


# --- Rooms that are not for everybody ---


async def test_an_invited_person_comes_in_and_an_outsider_does_not(
    server: Server, signed_in: SignedIn, tea: str
) -> None:
    """The link makes Bob a member; Charlie, with the address, is told that there is no such room."""
    title = f"The den {tea}"
    alice, bob = await signed_in("Alice"), await signed_in("Bob", **PHONE)
    charlie = await signed_in("Charlie")
    path = await private_room(alice, title)
    await join_by(bob, await link_into(alice))
    await say(bob, "thank you")
    await expect(log(alice)).to_contain_text("thank you")
    await charlie.goto(f"{server.http}{path}")
    await expect(charlie.get_by_role("heading", name="No such room")).to_be_visible()
    await bob.goto(f"{server.http}/")
    await expect(bob.locator(".rooms").filter(has_text="Your rooms")).to_contain_text(title)


async def test_a_member_leaves_for_good(server: Server, signed_in: SignedIn, tea: str) -> None:
    """After a question; then the room is no room of theirs any more."""
    title = f"The den {tea}"
    alice, bob = await signed_in("Alice"), await signed_in("Bob")
    await private_room(alice, title)
    await join_by(bob, await link_into(alice))
    await bob.get_by_role("button", name="About").click()
    await bob.get_by_role("button", name="Leave this room for good").click()
    await (
        bob.get_by_role("dialog")
        .filter(has_text="Leave this room for good?")
        .get_by_role("button", name="Leave the room")
        .click()
    )
    await expect(alice.locator("#people-list > li")).to_have_count(1)
    await expect(
        bob.get_by_text("You are not in this room any more.").or_(bob.get_by_role("heading", name="Your rooms"))
    ).to_be_visible()
    await bob.goto(f"{server.http}/")
    await expect(bob.locator(".rooms").filter(has_text="Your rooms")).not_to_contain_text(title)


async def test_a_guest_whose_browser_signs_in_is_told_who_they_are_now(
    server: Server, browser: Browser, tea: str
) -> None:
    """The guest's tab goes on under the account's name, once its reader wants it."""
    page = await (await browser.new_context()).new_page()
    await page.goto(f"{server.http}/?room={tea}")
    await page.get_by_label("Your name").fill("Ann")
    await page.get_by_role("button", name="Enter the room").click()
    await connected(page)
    other = await page.context.new_page()
    await other.goto(f"{server.http}/login/")
    await other.get_by_label("Username").fill("Bob")
    await other.get_by_label("Password").fill(PASSWORD)
    await other.get_by_role("button", name="Sign in").click()
    await expect(out(page)).to_contain_text(f"You are {alone('Bob')} now.")
    await page.get_by_role("button", name="Go on under this name").click()
    await connected(page)
    await expect(page.locator("#people-list > li")).to_have_text("Bob you")


async def test_two_talk_in_private(server: Server, signed_in: SignedIn, tea: str) -> None:
    """From a user's menu; the room has the other's name, and no user can be removed from it."""
    alice = await signed_in("Alice", f"/room/{tea}/")
    bob = await signed_in("Bob", f"/room/{tea}/")
    await connected(alice)
    await connected(bob)
    await do_to(alice, "Bob", "Write in private")
    await alice.wait_for_url("**/room/_*/")
    await expect(alice.get_by_role("heading", name="Bob", exact=True)).to_be_visible()
    await connected(alice)
    await say(alice, "between us")
    await bob.goto(alice.url)
    await expect(bob.get_by_role("heading", name="Alice", exact=True)).to_be_visible()
    await expect(log(bob)).to_contain_text("between us")
    await connected(bob)
    await expect(bob.get_by_role("button", name=f"Actions for {alone('Alice')}")).to_have_count(0)


# --- For everybody ---


async def test_it_is_all_done_with_the_keyboard(server: Server, signed_in: SignedIn, tea: str) -> None:
    """The menu opens, is walked through and closes; a dialog gives the focus back."""
    alice = await signed_in("Alice", f"/room/{tea}/")
    bob = await signed_in("Bob", f"/room/{tea}/")
    await connected(alice)
    await connected(bob)
    more = alice.get_by_role("button", name=f"Actions for {alone('Bob')}")
    await more.focus()
    await more.press("Enter")
    await expect(more).to_have_attribute("aria-expanded", "true")
    await alice.keyboard.press("ArrowDown")
    await expect(alice.get_by_role("button", name="Write in private")).to_be_focused()
    await alice.keyboard.press("Escape")
    await expect(more).to_be_focused()
    await expect(more).to_have_attribute("aria-expanded", "false")
    await more.press("Enter")
    await alice.keyboard.press("ArrowUp")
    await alice.keyboard.press("Enter")
    await expect(alice.get_by_role("dialog")).to_contain_text(f"Make {alone('Bob')} an owner?")
    await alice.keyboard.press("Escape")
    await expect(alice.get_by_role("dialog")).to_have_count(0)
    await expect(more).to_be_focused()
    about = alice.get_by_role("button", name="About")
    await about.press("Enter")
    await expect(alice.get_by_role("dialog")).to_be_visible()
    await alice.keyboard.press("Escape")
    await expect(about).to_be_focused()


async def test_the_new_parts_have_no_violations(server: Server, signed_in: SignedIn) -> None:
    """axe finds nothing wrong in the first page, the menu, the dialogs and the notice of who is out."""
    needs(AXE.exists(), "axe-core: npm ci in tests/js")
    alice = await signed_in("Alice")
    await alice.get_by_text("Make a room").click()
    assert not await violations(alice)
    await private_room_again(alice)
    bob = await signed_in("Bob")
    link = await link_into(alice)
    await bob.goto(link)
    assert not await violations(bob)
    await join_by(bob, link)
    await alice.get_by_role("button", name=f"Actions for {alone('Bob')}").click()
    assert not await violations(alice)
    await alice.get_by_role("button", name="About").click()
    await expect(alice.locator("#members-list li")).to_have_count(2)
    assert not await violations(alice)
    await alice.keyboard.press("Escape")
    await alice.get_by_role("group").get_by_role("button", name="Ban…").click()
    assert not await violations(alice)
    await decide(alice, "Ban")
    await expect(out(bob)).to_be_visible()
    assert not await violations(bob)


async def private_room_again(page: Page) -> None:
    """As `private_room`, where the form is open already."""
    await page.get_by_label("Title").fill("The den")
    await page.get_by_role("button", name="Make the room").click()
    await page.wait_for_url("**/room/**")
    await connected(page)
