"""Other users' input is only text, wherever the page shows it: in real Chromium."""

import json
import os
import re
from urllib.parse import quote

import pytest
import zygote
from helpers import over_socket
from playwright.async_api import Page, expect
from servers import ROOT, Server, Start
from visits import Visit, connected, do, log, row

from chat.protocol import Ack, clean_name
from chat.protocol.text import clean_text

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

MESSAGES_SHOWN = 50
"""A room's page has these from the start (chat.views)."""
RUN = "window.__xss=1"
TEXTS = [
    # Elements that run something.
    f"<script>{RUN}</script>",
    f"</script><script>{RUN}</script>",
    f"<SCRIPT SRC=data:text/javascript,{RUN}></SCRIPT>",
    f"<img src=x onerror={RUN}>",
    f'<img src=x onerror="{RUN}"',
    f"<svg onload={RUN}>",
    f"<svg><script>{RUN}</script></svg>",
    f"<svg><animate onbegin={RUN} attributeName=x dur=1s>",
    f"<body onload={RUN}>",
    "<iframe srcdoc='<script>parent.__xss=1</script>'></iframe>",
    "<iframe src='javascript:parent.__xss=1'></iframe>",
    f"<input autofocus onfocus={RUN}>",
    f"<details open ontoggle={RUN}>",
    f"<video><source onerror={RUN}></video>",
    f"<math><a xlink:href=javascript:{RUN}>x</a></math>",
    f"<form action=javascript:{RUN}><button autofocus>x</button></form>",
    f"<object data=javascript:{RUN}></object>",
    f"<style>@import 'javascript:{RUN}';* {{display: none}}</style>",
    "<link rel=stylesheet href=data:text/css,*%7Bdisplay:none%7D>",
    f"<meta http-equiv=refresh content='0;url=javascript:{RUN}'>",
    "<base href=https://evil.example/>",
    "<plaintext>",
    "<!--",
    "<template><script>__xss=1</script></template>",
    # Out of an attribute, a string, a comment, a template.
    f'" onmouseover="{RUN}" x="',
    f"' autofocus onfocus='{RUN}",
    f"--><script>{RUN}</script>",
    f"]]><script>{RUN}</script>",
    f"</title><script>{RUN}</script>",
    f"</textarea><img src=x onerror={RUN}>",
    f"'];{RUN};//",
    f"${{{RUN}}} {{{{constructor.constructor('{RUN}')()}}}} {{% debug %}} %s %(name)s",
    f"\\u003cimg src=x onerror={RUN}\\u003e &lt;script&gt;{RUN}&lt;/script&gt; &#60;b&#62;",
    "line\u2028separators\u2029and </script>",
    '{"__proto__": {"__xss": 1}}',
    "__proto__",
    # Addresses.
    f"javascript:{RUN}",
    f"data:text/html,<script>{RUN}</script>",
    f'https://example.com/"onmouseover="{RUN}',
    f"http://javascript:{RUN}@example.com/",
    # Characters that turn the text, or are invisible.
    "\u202egnirts desrever\u202c",
    "\u2067\u05d0\u2069 \u2060<b>bold</b>\u200d",
]
NAMES = [
    "<img src=x onerror=__xss=1>",
    "<script>__xss=1</script>",
    "<svg/onload=__xss=1>",
    '" onfocus="__xss=1" x="',
    "' onload='__xss=1",
    "</script><b>",
    "javascript:__xss=1",
    "{{7*7}}${7*7}%s",
    "__proto__",
    "constructor",
    "&lt;b&gt;",
    "\u05d3\u05df",
]
ELEMENTS = "img, script, iframe, object, style, link, meta, base, form, input, video, math, b, details, template"


async def watched(page: Page) -> Page:
    """Load it again with an eye on what the CSP stops, and go on when it is connected."""
    await page.add_init_script(
        "window.__breaches = [];"
        "addEventListener('securitypolicyviolation', event => __breaches.push(event.violatedDirective));"
    )
    await page.reload()
    await connected(page)
    return page


async def unharmed(page: Page) -> None:
    """Nothing ran, nothing tried to, and there is no element that a stranger wrote."""
    assert await page.evaluate("[window.__xss, Object.prototype.__xss]") == [None, None]
    assert await page.evaluate("window.__breaches") == []
    assert await page.locator(", ".join(f"#rows {kind}" for kind in ELEMENTS.split(", "))).count() == 0
    assert await page.locator(", ".join(f"aside li {kind}" for kind in ELEMENTS.split(", "))).count() == 0
    protocols = await page.locator("a").evaluate_all("links => links.map(link => link.protocol)")
    assert set(protocols) <= {"http:", "https:"}


async def texts(page: Page, selector: str) -> list[str]:
    return await page.locator(selector).all_text_contents()


async def test_texts_are_shown_as_they_are(start: Start, visit: Visit) -> None:
    """As messages, as quotes in answers, and in the page that a reload brings, each character is there."""
    server = start("daphne")
    ann = await watched(await visit(server, "Ann"))
    title = await ann.title()
    async with over_socket(server.ws, "Mallory") as mallory:
        await mallory.join()
        for text in TEXTS:
            ack = await mallory.say(text)
            await mallory.say(f"answer to {text}", replyTo=ack.id)
    answers = [f"answer to {text}" for text in TEXTS]
    # Invisible characters are mended.
    said = [clean_text(text) for pair in zip(TEXTS, answers, strict=True) for text in pair]
    for latest in (len(said), MESSAGES_SHOWN):
        await expect(ann.locator("#rows .text")).to_have_count(latest)
        assert await texts(ann, "#rows .text") == said[-latest:]
        quoted = await texts(ann, "#rows .quote-text")
        assert quoted == [" ".join(text.split()) for text in TEXTS[-latest // 2 :]]
        await unharmed(ann)
        assert await ann.title() == title
        await ann.reload()
        await connected(ann)


async def test_what_is_searched_for_is_only_searched_for(start: Start, visit: Visit) -> None:
    """A query is no markup in what it finds, and marks nothing but words."""
    server = start("daphne")
    ann = await watched(await visit(server, "Ann"))
    async with over_socket(server.ws, "Mallory") as mallory:
        await mallory.join()
        for text in TEXTS[:12]:
            await mallory.say(f"needle {text}")
    await ann.get_by_role("button", name="Search").click()
    for query in ("needle", *TEXTS[:6], f'needle" onmouseover="{RUN}'):
        await ann.locator("#search-text").fill(query)
        await ann.locator("#search-text").press("Enter")
        await expect(ann.locator("#search-status")).to_have_text(re.compile("found"))
        await unharmed(ann)
    await ann.locator("#search-text").fill("needle")
    await expect(ann.locator("#search-results li")).to_have_count(12)
    found = await texts(ann, ".result-text")
    assert found == [f"needle {text}" for text in reversed(TEXTS[:12])]
    assert set(await texts(ann, "#search-results mark")) == {"needle"}


async def test_names_are_shown_as_they_are(start: Start, visit: Visit) -> None:
    """Beside messages, in quotes, in the list of people, who types, who put an emoji, why one is refused."""
    server = start("daphne")
    ann = await watched(await visit(server, NAMES[0]))
    bob = await watched(await visit(server, NAMES[3]))
    await expect(ann.locator(".people-foot bdi")).to_have_text(NAMES[0])
    for name in NAMES[1:3] + NAMES[4:]:
        async with over_socket(server.ws, name) as mallory:
            await mallory.join()
            ack = await mallory.say(f"said by {name}")
            await mallory.say("again", replyTo=ack.id)
            await expect(row(ann, f"said by {name}").locator(".author")).to_have_text(clean_name(name))
            await expect(ann.locator("#people-list")).to_contain_text(clean_name(name))
            await expect(ann.locator(".quote-author").last).to_have_text(clean_name(name))
            await mallory.send("typing")
            await expect(ann.locator("#typing bdi")).to_have_text(clean_name(name))
        await expect(log(ann)).to_contain_text(f"{clean_name(name)} left")
    await do(bob, f"said by {NAMES[4]}", "React")
    await row(bob, f"said by {NAMES[4]}").get_by_role("button", name="React with 🎉").click()
    chip = row(ann, f"said by {NAMES[4]}").locator(".chip")
    await expect(chip).to_have_attribute("data-names", f"\u2068{clean_name(NAMES[3])}\u2069")
    await chip.hover()
    for page in (ann, bob):
        await unharmed(page)
    other = await visit(server, NAMES[0].upper())
    await expect(other.get_by_role("dialog")).to_contain_text(clean_name(NAMES[0].upper()))
    assert await other.get_by_role("dialog").locator("img").count() == 0


def rename(server: Server, titles: dict[str, str]) -> None:
    """Give rooms titles, as the admin would."""
    script = (
        "import json, os; from chat.models import Room\n"
        "for slug, title in json.loads(os.environ['TITLES']).items():\n"
        "    Room.objects.filter(slug=slug).update(title=title)"
    )
    environment = {**os.environ, **server.variables, "TITLES": json.dumps(titles)}
    zygote.run(["manage.py", "shell", "-v", "0", "-c", script], environment, ROOT)


async def test_titles_and_addresses_are_shown_as_they_are(start: Start, visit: Visit) -> None:
    """A room's title on the first page and in the room's; what an address brings into the form."""
    server = start("daphne")
    titles = {f"r{number}": text[:80] for number, text in enumerate(TEXTS[:16])}
    async with over_socket(server.ws, "Mallory") as mallory:
        for slug in titles:
            await mallory.join(slug)
            await mallory.send("message", room=slug, content="hello")
            await mallory.expect(Ack)
        rename(server, titles)
        ann = await watched(await visit(server, "Ann", "r3"))
        assert await ann.locator("h1 bdi").count() == 1
        assert "<" not in (await ann.title()).replace(titles["r3"], "")
        await unharmed(ann)
        for text in (*TEXTS[:6], *TEXTS[24:32]):
            await ann.goto(f"{server.http}/?room={quote(text)}")
            await expect(ann.get_by_label("Room", exact=True)).to_have_value(text)
            shown = await texts(ann, ".rooms .room-name")
            assert {title for slug, title in titles.items() if slug != "r3"} <= set(shown)
            assert await ann.evaluate("window.__xss") is None
            assert await ann.evaluate("window.__breaches") == []
            assert await ann.locator("main img, main script, main iframe").count() == 0
