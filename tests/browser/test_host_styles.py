"""The chat's styles beside those of a page that it stands in, in real Chromium."""

from typing import Any

import pytest
from playwright.async_api import Browser, Page
from servers import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

CHAT = (ROOT / "chat/static/chat/chat.css").read_text(encoding="utf-8")
HOST = """
  h1 { margin: 40px; letter-spacing: 3px; line-height: 3; }
  a { color: rgb(0, 0, 200); text-underline-offset: 1px; }
  button { border: 5px dotted rgb(0, 0, 0); background: rgb(250, 250, 0); color: rgb(90, 0, 90); cursor: wait; }
  ul { padding: 60px; list-style: square; }
  p { margin: 70px; }
  input { padding: 30px; border: 0; background: rgb(0, 0, 0); }
"""
ELEMENTS = """
  <h1>Title</h1><p>Text with <a href="#">a link</a></p><ul><li>One</li></ul>
  <button type="button">Press</button><button type="button" class="{name}">Press</button><input type="text">
"""
PAGE = f"""<!doctype html><title>Host</title>
  <section id="room" class="chat">
    <div class="page">{ELEMENTS.format(name="primary")}<a class="primary" href="#">Go</a></div>
    <ol class="rows"><li class="message own" data-hue="1"><span class="author">Ann</span>
      <div class="said"><div class="text">Hello</div><button type="button" class="chip">1</button></div></li></ol>
    <dialog class="dialog" open>{ELEMENTS.format(name="plain")}</dialog>
  </section>
  <section id="host">{ELEMENTS.format(name="primary")}</section>
"""
STYLES = """id => [...document.querySelectorAll(`#${id} *`)].map(element => {
  const style = getComputedStyle(element);
  return Object.fromEntries([...style].map(name => [name, style.getPropertyValue(name)]));
})"""


async def styles(browser: Browser, part: str, *sheets: str) -> list[dict[str, Any]]:
    """The computed style of each element in a part of a page that has these style sheets."""
    page = await opened(browser, *sheets)
    found: list[dict[str, Any]] = await page.evaluate(STYLES, part)
    assert len(found) > 7
    return found


async def opened(browser: Browser, *sheets: str) -> Page:
    page = await browser.new_page()
    await page.set_content(PAGE + "".join(f"<style>{sheet}</style>" for sheet in sheets))
    return page


async def test_the_page_around_the_chat_keeps_its_styles(browser: Browser) -> None:
    """Its headings, links, lists, buttons and fields look as they do without the chat, with styles or without."""
    for host in (HOST, ""):
        alone = await styles(browser, "host", host)
        assert await styles(browser, "host", host, CHAT) == alone
        assert await styles(browser, "host", CHAT, host) == alone


async def test_rules_in_a_layer_before_the_chat_leave_its_look(browser: Browser) -> None:
    """``@layer site, chat;`` and the page's rules for plain elements in ``site``: the chat's own rules win."""
    layered = f"@layer site, chat; @layer site {{ {HOST} }}"
    assert await styles(browser, "room", layered, CHAT) == await styles(browser, "room", CHAT)


async def test_rules_outside_of_layers_restyle_the_chat(browser: Browser) -> None:
    """A site gives the chat its colours without fighting its selectors."""
    page = await opened(browser, CHAT, ".chat { --accent: rgb(1, 2, 3) } button { border-radius: 9px }")
    button = page.locator("#room .page button.primary")
    assert await button.evaluate("element => getComputedStyle(element).backgroundColor") == "rgb(1, 2, 3)"
    assert await button.evaluate("element => getComputedStyle(element).borderRadius") == "9px"
