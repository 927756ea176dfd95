"""What tests do on a page in real Chromium."""

from collections.abc import Awaitable, Callable
from typing import Any

from playwright.async_api import Page, expect
from servers import ROOT

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
AXE = ROOT / "tests/js/node_modules/axe-core/axe.min.js"
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}

Visit = Callable[..., Awaitable[Page]]


def breach(text: str) -> bool:
    return "Content Security Policy" in text or "Uncaught" in text


async def connected(page: Page) -> None:
    await expect(page.get_by_role("status").filter(has_text="Connected")).to_be_visible()


async def say(page: Page, text: str) -> None:
    await page.get_by_label("Message", exact=True).fill(text)
    await page.get_by_label("Message", exact=True).press("Enter")


def log(page: Page) -> Any:
    return page.get_by_role("log")


async def violations(page: Page) -> list[str]:
    # The CSP lets no script of ours be injected; the debugging protocol is above it.
    await page.evaluate(AXE.read_text())
    result = await page.evaluate(
        "axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa', 'best-practice']})"
    )
    return [f"{v['id']}: {v['nodes'][0]['html']}" for v in result["violations"]]
