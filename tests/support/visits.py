"""Actions of tests on a page in real Chromium."""

from collections.abc import Awaitable, Callable
from typing import Any

from browsing import PASSWORD, Form
from helpers import SocketPersona
from playwright.async_api import Locator, Page, expect
from servers import ROOT, Server

from chat.protocol import Ack

UNWANTED = [
    # The lists under the address bar: for each window two pages of Chromium's own, which take half of its CPU.
    "WebUIOmniboxPopup",
    "WebUIOmniboxAimPopup",
    # Chromium takes the last list only: of Playwright's own, what matters here.
    "HttpsUpgrades",
    "LensOverlay",
    "MediaRouter",
    "OptimizationHints",
    "PaintHolding",
]
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    f"--disable-features={','.join(UNWANTED)}",
]
AXE = ROOT / "tests/js/node_modules/axe-core/axe.min.js"
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}

Visit = Callable[..., Awaitable[Page]]


def breach(text: str) -> bool:
    return "Content Security Policy" in text or "Uncaught" in text


async def come_in(page: Page, server: Server, name: str, room: str) -> None:
    """From the first page, as people do."""
    await page.goto(f"{server.http}/?room={room}")
    await page.get_by_label("Your name").fill(name)
    await page.get_by_role("button", name="Enter the room").click()
    await page.wait_for_url(f"**/room/{room}/")


async def come_in_directly(page: Page, server: Server, name: str, room: str) -> None:
    """The same, but that the first page is not drawn: it costs as much as the room's."""
    ask, first = page.context.request, f"{server.http}/"
    fields = Form(await (await ask.get(first)).text()).fields
    form: dict[str, str | float | bool] = {**fields, "username": name, "room": room}
    answer = await ask.post(first, form=form, headers={"Origin": server.http}, max_redirects=0)
    assert answer.status == 302, await answer.text()
    await page.goto(f"{server.http}/room/{room}/")


async def connected(page: Page) -> None:
    await expect(page.get_by_role("status").filter(has_text="Connected")).to_be_visible()


async def say(page: Page, text: str) -> None:
    await page.get_by_label("Message", exact=True).fill(text)
    # On a phone Enter would start a new line.
    await page.locator("#composer-send").click()


def row(page: Page, text: str) -> Locator:
    """The row of the message with this text."""
    return page.locator("#rows > li").filter(has=page.locator(".text", has_text=text))


async def sign_in(page: Page, server: Server, name: str) -> None:
    await page.goto(f"{server.http}/login/")
    await page.get_by_label("Username").fill(name)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Sign in").click()
    await page.wait_for_url(f"{server.http}/")


def log(page: Page) -> Any:
    return page.get_by_role("log")


async def talk(ann: Page, bob: Page) -> None:
    """Each sees the other's words, who is here and who is typing; own messages settle."""
    await connected(ann)
    await connected(bob)
    await say(ann, "Hello Bob")
    await expect(log(bob)).to_contain_text("Hello Bob")
    await expect(log(ann)).to_contain_text("Hello Bob")
    await expect(log(ann)).not_to_contain_text("sending")
    await expect(ann.locator("#people-list li")).to_have_count(2)
    await bob.get_by_label("Message", exact=True).press_sequentially("Hi")
    await expect(ann.locator("#typing")).to_have_text("Bob is typing…")
    await bob.locator("#composer-send").click()  # on a phone, perhaps
    await expect(log(ann).get_by_text("Hi", exact=True)).to_be_visible()
    await expect(ann.locator("#typing")).to_have_text("")


async def disconnect(admin: Page, site: str) -> None:
    """Sign in as the staff's root, and disconnect the only socket that is there."""
    await admin.goto(f"{site}/admin/chat/connection/")
    await admin.get_by_label("Username").fill("root")
    await admin.get_by_label("Password").fill("root's password")
    await admin.get_by_role("button", name="Log in").click()
    await admin.get_by_role("checkbox").check()
    await admin.get_by_role("button", name="Disconnect").click()
    await expect(admin.get_by_text("1 socket was disconnected.")).to_be_visible()


AXE_RUN = "rules => axe.run({runOnly: rules, resultTypes: ['violations'], preload: false})"
"""A run of axe. It lists no rule that passes and loads no style sheet again: both would take CPU."""
STANDARD = ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice"]
COLOURS = ["color-contrast", "link-in-text-block"]
"""The rules of axe that another colour scheme may break."""


async def violations(page: Page) -> list[str]:
    """Faults that axe finds against WCAG 2.2 AA, in either colour scheme."""
    if not await page.evaluate("'axe' in window"):
        # The CSP lets no script of ours be injected; the debugging protocol is above it.
        await page.evaluate(AXE.read_text())
    found = []
    for scheme, rules in (("light", STANDARD), ("dark", COLOURS)):
        # At once: halfway between the two no colour is right.
        await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]  # the two
        result = await page.evaluate(AXE_RUN, rules)
        found += [f"{scheme}: {one['id']}: {one['nodes'][0]['html']}" for one in result["violations"]]
    return found


async def do(page: Page, text: str, action: str) -> None:
    """Choose an action in the toolbar of a message, with the mouse."""
    await row(page, text).hover()
    await row(page, text).get_by_role("button", name=action, exact=True).click()


async def fill(persona: SocketPersona, room: str, count: int, first: int = 0) -> None:
    """Say "message <n>." so often."""
    for number in range(first, first + count):
        await persona.send("message", room=room, content=f"message {number}.")
    for _ in range(count):
        await persona.expect(Ack)
