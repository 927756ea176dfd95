"""The account's pages in real Chromium: from signing up to signing out, and the admin under our CSP."""

from typing import Any

import pytest
from browsing import shell
from playwright.async_api import Browser, Page, expect
from servers import Server, Start
from visits import PHONE, breach

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PASSWORD, ANOTHER = "correct horse 99", "another horse 77"
MAKE_OLGA = "from django.contrib.auth.models import User; User.objects.create_superuser('Olga', password={!r})"
ADMIN = [
    "",
    "auth/user/",
    "auth/user/add/",
    "auth/user/1/change/",
    "chat/room/",
    "chat/message/",
    "chat/connection/",
]


async def a_page(browser: Browser, wrong: list[str]) -> Page:
    """A page on a phone; what it breaks of the CSP, and errors of scripts, go to ``wrong``."""
    options: dict[str, Any] = PHONE
    page = await (await browser.new_context(**options)).new_page()
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda line: wrong.append(line.text) if breach(line.text) else None)
    return page


async def fill(page: Page, button: str, **fields: str) -> None:
    """Fill fields by their names, and press the form's button."""
    for name, value in fields.items():
        await page.locator(f"input[name={name}]").fill(value)
    await page.get_by_role("main").get_by_role("button", name=button).click()


async def test_from_signing_up_to_signing_out(start: Start, browser: Browser) -> None:
    """Sign up on the way to a room, be there under that name, change the password, sign out, and in again."""
    wrong: list[str] = []
    server, page = start("daphne"), await a_page(browser, wrong)
    await page.goto(f"{server.http}/login/?next=/room/tea/")
    await page.get_by_role("main").get_by_role("link", name="Sign up").click()
    await fill(page, "Sign up", username="Alice", password1=PASSWORD, password2=PASSWORD)
    await page.wait_for_url("**/room/tea/")
    await expect(page.get_by_role("status").filter(has_text="Connected")).to_be_visible()
    await page.goto(server.http)
    await page.locator("summary").filter(has_text="Alice").click()
    await page.get_by_role("link", name="Change password").click()
    await fill(page, "Change", old_password=PASSWORD, new_password1=ANOTHER, new_password2=ANOTHER)
    await expect(page.get_by_role("heading", name="Password changed")).to_be_visible()
    await page.locator("summary").filter(has_text="Alice").click()
    await page.get_by_role("button", name="Sign out").click()
    await page.get_by_role("navigation").get_by_role("link", name="Sign in").click()
    await fill(page, "Sign in", username="Alice", password=PASSWORD)
    await expect(page.get_by_role("alert")).to_contain_text("correct username")
    await fill(page, "Sign in", username="Alice", password=ANOTHER)
    await expect(page.locator("summary").filter(has_text="Alice")).to_be_visible()
    assert not wrong


async def test_the_admin_keeps_to_the_csp(start: Start, browser: Browser) -> None:
    """Django's own pages need nothing that our policy forbids."""
    wrong: list[str] = []
    server, page = start("daphne"), await a_page(browser, wrong)
    make_olga(server)
    await page.goto(f"{server.http}/login/?next=/admin/")
    await fill(page, "Sign in", username="Olga", password=PASSWORD)
    await page.wait_for_url("**/admin/")
    for path in ADMIN:
        response = await page.goto(f"{server.http}/admin/{path}")
        assert response
        assert response.status == 200, path
    assert not wrong


def make_olga(server: Server) -> None:
    """A superuser, in the server's database."""
    shell(server, MAKE_OLGA.format(PASSWORD))
