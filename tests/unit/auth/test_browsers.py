"""Restrictions follow the browser, whatever name, session or account it comes with; an address only if asked."""

from typing import Any

import pytest
from channels.db import database_sync_to_async as in_a_thread
from django.contrib.auth.models import User
from django.test import Client
from hashing import CHEAP
from helpers import CommunicatorPersona, Enter
from members import guest, member, olga
from pytest_django import Settings

from chat import actions, models
from chat.auth import account as identity_of_account
from chat.auth import tokens
from chat.limits import addresses, sign_in_limits
from chat.protocol import Ack, ErrorCode, Removed, RoomChanged, Sharing

ROOM = "garden"
PASSWORD = "correct horse 99"
HOME, OFFICE = "203.0.113.9", "203.0.113.10"

Persona = CommunicatorPersona


@pytest.fixture(autouse=True)
def _cheap(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.PASSWORD_HASHERS = [CHEAP]
    sign_in_limits.clear()
    monkeypatch.setattr(addresses, "unlisted_proxies", addresses.UnlistedProxies())


class Browser:
    """Real pages, and a socket with the cookies that they set."""

    def __init__(self, person: Enter, address: str = HOME) -> None:
        self._person = person
        self._address = address
        self.client = Client(REMOTE_ADDR=address)

    async def post(self, path: str, **fields: str) -> int:
        answer = await in_a_thread(self.client.post)(path, fields)
        return int(answer.status_code)

    async def choose(self, name: str) -> None:
        """Come in as a guest."""
        assert await self.post("/", username=name, room=ROOM) == 302

    async def sign_in(self, name: str) -> None:
        assert await self.post("/login/", username=name, password=PASSWORD) == 302

    async def sign_up(self, name: str) -> None:
        assert await self.post("/sign-up/", username=name, password1=PASSWORD, password2=PASSWORD) == 302

    async def sign_out(self) -> None:
        await self.post("/logout/")

    def forget(self, cookie: str) -> None:
        del self.client.cookies[cookie]

    async def socket(self, name: str) -> Persona:
        cookie = "; ".join(f"{key}={morsel.value}" for key, morsel in self.client.cookies.items())
        headers = {"cookie": cookie, "origin": "http://localhost"}
        persona: Persona = await self._person(name, headers=headers, client=(self._address, 1))
        return persona

    async def page(self) -> int:
        return int((await in_a_thread(self.client.get)(f"/room/{ROOM}/")).status_code)

    async def is_out(self, name: str) -> bool:
        """Neither the page nor a socket lets them in. (They agree.)"""
        code = await asked(await self.socket(name), "join", username=name)
        assert await self.page() == (403 if code else 200)
        return code == ErrorCode.BANNED


async def asked(who: Persona, verb: str, **fields: Any) -> ErrorCode | None:
    """Why it is refused; None where it is not."""
    await who.send(verb, ref=verb, **{"room": ROOM, **fields})
    while True:
        answer = await who.next()
        if getattr(answer, "ref", None) == verb:
            return getattr(answer, "code", None)


async def does(who: Persona, verb: str, **fields: Any) -> None:
    assert await asked(who, verb, **fields) is None


@pytest.fixture
async def alice(person: Enter) -> Persona:
    """Owns the room."""
    alice = await member(person, "Alice")
    await alice.join(ROOM)
    return alice


@pytest.fixture
def browser(person: Enter) -> Browser:
    return Browser(person)


async def account(name: str) -> User:
    user: User = await in_a_thread(User.objects.create_user)(name, password=PASSWORD)
    return user


# --- The browser ---


async def test_a_banned_account_is_no_welcome_guest(alice: Persona, browser: Browser) -> None:
    """It signs out and takes a guest's name: neither page nor socket lets it in, and another browser is free."""
    await account("Mallory")
    await browser.sign_in("Mallory")
    mallory = await browser.socket("Mallory")
    await mallory.join(ROOM)
    await does(alice, "ban", username="Mallory")
    await mallory.expect(Removed)
    await browser.sign_out()
    await browser.choose("Ann")
    assert await browser.is_out("Ann")
    await does(alice, "ban", username="Mallory", on=False)
    assert not await browser.is_out("Ann")


async def test_one_that_was_banned_while_away_is_not_either(
    alice: Persona, browser: Browser, person: Enter
) -> None:
    """Nobody saw its browser then; and the other browsers of its address are free."""
    await account("Mallory")
    await browser.sign_in("Mallory")
    await browser.sign_out()
    await does(alice, "ban", username="Mallory")
    await browser.choose("Ann")
    assert await browser.is_out("Ann")
    other = Browser(person)
    await other.choose("Ann")
    assert not await other.is_out("Ann")


@pytest.mark.parametrize("where", [ROOM, None])
async def test_a_ban_of_the_staff_follows_the_browser(alice: Persona, browser: Browser, where: str | None) -> None:
    """In the room and everywhere; a user who is there under another name by then is removed at once."""
    mallory = await account("Mallory")
    await browser.sign_in("Mallory")
    await browser.sign_out()
    await browser.choose("Ann")
    ann = await browser.socket("Ann")
    await ann.join(ROOM)
    room = await models.Room.objects.aget(slug=where) if where else None
    await models.Restriction.objects.acreate(room=room, kind="ban", person=f"account:{mallory.pk}")
    await ann.expect(Removed, room=ROOM)
    assert await browser.is_out("Ann")


async def test_a_mute_follows_the_browser(alice: Persona, browser: Browser) -> None:
    """Under another name one may be there, and not speak."""
    await browser.choose("Gina")
    gina = await browser.socket("Gina")
    await gina.join(ROOM)
    await does(alice, "mute", username="Gina")
    await gina.expect(RoomChanged)
    browser.forget("sessionid")
    await browser.choose("Ginevra")
    again = await browser.socket("Ginevra")
    assert (await again.join(ROOM)).muted == 0
    assert await asked(again, "message", content="hi") == ErrorCode.MUTED


@pytest.mark.parametrize(
    "way", ["another name", "another session", "another account", "a new account", "a token", "no session"]
)
@pytest.mark.parametrize("verb", ["kick", "ban"])
async def test_a_guest_who_is_out_stays_out(alice: Persona, browser: Browser, way: str, verb: str) -> None:
    """The browser's name, session, account or token makes no difference."""
    bob = await account("Bob")
    await browser.choose("Gina")
    gina = await browser.socket("Gina")
    await gina.join(ROOM)
    await does(alice, verb, username="Gina")
    await gina.expect(Removed)
    match way:
        case "another name":
            await browser.choose("Ginevra")
            assert await browser.is_out("Ginevra")
        case "another session":
            browser.forget("sessionid")
            await browser.choose("Ginevra")
            assert await browser.is_out("Ginevra")
        case "another account":
            await browser.sign_in("Bob")
            assert await browser.is_out("Bob")
        case "a new account":
            await browser.sign_up("Bertha")
            assert await browser.is_out("Bertha")
        case "no session":
            browser.forget("sessionid")
            assert await asked(await browser.socket("Robot"), "join", username="Robot") == ErrorCode.BANNED
        case "a token":
            token = await in_a_thread(tokens.mint)(bob, 1)
            assert await asked(await browser.socket("Bob"), "join", token=token) == ErrorCode.BANNED


async def test_a_guest_of_long_ago_is_known_by_the_browser(alice: Persona, browser: Browser) -> None:
    """Banned by a message of theirs, when session and name are others."""
    await browser.choose("Gina")
    gina = await browser.socket("Gina")
    await gina.join(ROOM)
    await gina.say("rubbish", ROOM)
    await gina.send("leave", room=ROOM, ref="leave")
    await gina.expect(Ack, ref="leave")
    for name in ("Greta", "Gerda", "Grit"):
        browser.forget("sessionid")
        await browser.choose(name)
    await does(alice, "ban", username="Gina")
    assert await browser.is_out("Grit")


async def test_who_was_given_a_role_is_judged_by_themselves(alice: Persona, browser: Browser) -> None:
    """Alice, with a tab under another identity, does not remove herself; nor is the staff removed."""
    await account("Olga")
    await User.objects.filter(username="Olga").aupdate(is_staff=True, is_superuser=True)
    await browser.choose("Gina")
    await (await browser.socket("Gina")).join(ROOM)
    await does(alice, "ban", username="Gina")
    owner = await User.objects.aget(username="Alice")
    await in_a_thread(owner.set_password)(PASSWORD)
    await owner.asave()
    for name in ("Alice", "Olga"):
        await browser.sign_in(name)
        assert not await browser.is_out(name)
        await browser.sign_out()
    # And neither takes the ban from the browser.
    await browser.choose("Ginevra")
    assert await browser.is_out("Ginevra")


async def test_an_invitation_does_not_let_a_banned_browser_in(person: Enter, browser: Browser) -> None:
    """A link that is still known is of no use to a second account."""
    alice = await member(person, "Alice")
    owner = await User.objects.aget(username="Alice")
    slug = await in_a_thread(actions.create)(identity_of_account(owner), title="Plans", kind="private")
    code, _ = await in_a_thread(actions.members.make_link)(identity_of_account(owner), slug)
    await alice.join(slug)
    for name in ("Mallory", "Bob"):
        await account(name)
    await browser.sign_in("Mallory")
    assert await browser.post(f"/invite/{code}/") == 302
    await does(alice, "ban", room=slug, username="Mallory")
    await browser.sign_out()
    await browser.sign_in("Bob")
    assert await browser.post(f"/invite/{code}/") == 404
    other = Browser(person)
    await other.sign_in("Bob")
    assert await other.post(f"/invite/{code}/") == 302


async def test_a_look_at_a_page_sets_no_cookie(browser: Browser, alice: Persona) -> None:
    """Only a browser whose user gets a name, or had one before there were such cookies."""
    for path in ("/", "/login/", f"/room/{ROOM}/", "/sign-up/"):
        await in_a_thread(browser.client.get)(path)
        assert "chat_browser" not in browser.client.cookies
    await browser.choose("Gina")
    cookie = browser.client.cookies["chat_browser"]
    assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax")
    browser.forget("chat_browser")
    assert await browser.page() == 200
    first = browser.client.cookies["chat_browser"].value
    assert await browser.page() == 200
    assert browser.client.cookies["chat_browser"].value == first, "nor is it set again for nothing"


async def test_a_cookie_of_another_site_s_making_restricts_nobody(alice: Persona, browser: Browser) -> None:
    """A cookie without our signature says nothing, and breaks nothing."""
    await browser.choose("Gina")
    for value in ("x", "a.b.c", "." * 5_000, '"', "eyJ:1:2"):
        browser.client.cookies["chat_browser"] = value
        assert not await browser.is_out("Gina")


# --- The address ---


@pytest.mark.parametrize("verb", ["kick", "ban", "mute"])
async def test_others_at_the_address_have_nothing_to_do_with_it(alice: Persona, person: Enter, verb: str) -> None:
    """One guest is removed; the household, the office, or all users behind a proxy go on."""
    one, other, program = Browser(person), Browser(person), await person("Robot", client=(HOME, 1))
    await one.choose("Gina")
    await other.choose("Gero")
    gina, gero = await one.socket("Gina"), await other.socket("Gero")
    for each in (gina, gero, program):
        await each.join(ROOM)
    await does(alice, verb, username="Gina")
    await gina.expect(RoomChanged if verb == "mute" else Removed)
    for each in (gero, program):
        assert await asked(each, "message", content="hi") is None
    late = Browser(person)
    await late.choose("Greta")
    assert not await late.is_out("Greta")
    assert not await models.Restriction.objects.exclude(address=None).aexists()


async def test_the_address_is_restricted_where_that_is_asked_for(alice: Persona, person: Enter) -> None:
    """Then guests who come from it are out, and may not come in; accounts may."""
    one, other = Browser(person), Browser(person)
    await one.choose("Gina")
    await other.choose("Gero")
    gina, gero = await one.socket("Gina"), await other.socket("Gero")
    for each in (gina, gero):
        await each.join(ROOM)
    await does(alice, "ban", username="Gina", address=True)
    for each in (gina, gero):
        await each.expect(Removed)
    late, elsewhere = Browser(person), Browser(person, OFFICE)
    await late.choose("Greta")
    await elsewhere.choose("Greta")
    assert await late.is_out("Greta")
    assert not await elsewhere.is_out("Greta")
    await account("Bob")
    await late.sign_in("Bob")
    assert not await late.is_out("Bob")
    (entry,) = [row async for row in models.AuditEntry.objects.filter(action="ban")]
    assert "with the address" in entry.detail


async def sharing(who: Persona, username: str) -> tuple[int, bool]:
    await who.send("sharing", room=ROOM, username=username, ref="s")
    answer = await who.expect(Sharing, ref="s")
    return answer.others, answer.restrictable


async def test_it_is_told_how_many_share_an_address(alice: Persona, person: Enter) -> None:
    """Other guests in the room, each once; of IPv6 those of the network. An absent person has no address."""
    comers = {"Gina": (HOME,), "Gero": (HOME, OFFICE), "Greta": (HOME, HOME), "Gus": (OFFICE,)}
    comers |= {"Six": ("2001:db8::1",), "Sixtus": ("2001:db8::2",), "Sixta": ("2001:db8:0:1::1",)}
    for name, places in comers.items():
        own = await guest(person, name)
        await own.join(ROOM)
        headers = {
            "cookie": dict(own.communicator.scope["headers"])[b"cookie"].decode(),
            "origin": "http://localhost",
        }
        for place in places:
            await (await person(name, headers=headers, client=(place, 1))).join(ROOM)
    assert await sharing(alice, "Gina") == (2, True)
    assert await sharing(alice, "Gero") == (3, True)
    assert await sharing(alice, "Gus") == (1, True)
    assert await sharing(alice, "Six") == (1, True)
    assert await sharing(alice, "Sixta") == (0, True)
    assert await sharing(alice, "Nobody") == (0, False)


async def test_it_is_told_who_is_known_by_their_address_alone(alice: Persona, person: Enter) -> None:
    """A program without a session is somebody else with its next connection; a browser and an account are not."""
    await account("Bob")
    visitors = {"Gina": Browser(person), "Bob": Browser(person), "Robot": Browser(person), "Gus": Browser(person)}
    await visitors["Gina"].choose("Gina")
    await visitors["Bob"].sign_in("Bob")
    await visitors["Gus"].choose("Guest of before")
    visitors["Gus"].forget("sessionid")
    for name, visitor in visitors.items():
        await (await visitor.socket(name)).join(ROOM)
    known = {}
    for name in (*visitors, "Nobody"):
        await alice.send("sharing", room=ROOM, username=name, ref="s")
        known[name] = (await alice.expect(Sharing, ref="s")).known
    assert known == {"Gina": True, "Bob": True, "Robot": False, "Gus": True, "Nobody": True}


@pytest.mark.parametrize("named", [True, False])
async def test_a_proxy_s_address_is_nobody_s(
    alice: Persona, person: Enter, settings: Settings, named: bool
) -> None:
    """Whether CHAT_PROXIES names it or not: it is not offered, not restricted, and an old row does not hold."""
    settings.CHAT = {**settings.CHAT, **({"PROXIES": ["10.0.0.7"]} if named else {})}
    headers = {} if named else {"x-forwarded-for": HOME}
    gina = await person("Gina", client=("10.0.0.7", 1), headers=headers)
    await gina.join(ROOM)
    assert await sharing(alice, "Gina") == (0, False)
    for verb in ("kick", "mute", "ban"):
        assert await asked(alice, verb, username="Gina", address=True) == ErrorCode.BAD_FIELD
    assert await asked(gina, "message", content="hi") is None
    assert not await models.Restriction.objects.aexists()
    await models.Restriction.objects.acreate(kind="ban", address="10.0.0.7")
    late = await person("Greta", client=("10.0.0.7", 1), headers=headers)
    await late.join(ROOM)


async def ban_of_the_staff(client: Client, **fields: str) -> str:
    """The form's page; empty where the form was taken."""
    answer = await in_a_thread(client.post)("/admin/chat/restriction/add/", {"kind": "ban", **fields})
    return "" if answer.status_code == 302 else answer.content.decode()


async def test_the_staff_is_told_how_many_share_an_address(alice: Persona, person: Enter) -> None:
    """And ticks that it means them too; whom the restriction is for is not counted."""
    staff = Client()
    await in_a_thread(olga)(staff, "add_restriction")
    for name in ("Greta", "Gus"):
        await (await person(name, client=(HOME, 1))).join(ROOM)
    assert "2 other guests are connected from this address." in await ban_of_the_staff(staff, address=HOME)
    assert not await models.Restriction.objects.aexists()
    assert not await ban_of_the_staff(staff, address=OFFICE)
    assert not await ban_of_the_staff(staff, address=HOME, shared="on")
    assert await models.Restriction.objects.acount() == 2


@pytest.mark.usefixtures("rooms")
async def test_the_staff_can_t_restrict_a_proxy(settings: Settings) -> None:
    """Everybody behind it would be out."""
    settings.CHAT = {**settings.CHAT, "PROXIES": ["10.0.0.0/8"]}
    staff = Client()
    await in_a_thread(olga)(staff, "add_restriction")
    assert "This is a proxy" in await ban_of_the_staff(staff, address="10.1.2.3")
    addresses.unlisted_proxies.note("192.168.0.1")
    assert "This is a proxy" in await ban_of_the_staff(staff, address="192.168.0.1")
    assert not await ban_of_the_staff(staff, address="192.168.0.2")


async def test_a_loopback_address_that_forwards_nothing_may_be_restricted(alice: Persona, person: Enter) -> None:
    """It is somebody at this machine."""
    gina = await person("Gina", client=("127.0.0.1", 1))
    await gina.join(ROOM)
    await does(alice, "kick", username="Gina", address=True)
    late = await person("Greta", client=("127.0.0.1", 1))
    assert await asked(late, "join", username="Greta") == ErrorCode.BANNED
