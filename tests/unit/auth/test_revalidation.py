"""The end of a sign-in closes the sockets that were opened with it, in every process, and no other socket."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.db import database_sync_to_async as in_a_thread
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.models import Permission, User
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.db import transaction
from django.test import Client
from doubles import Clock, another_process, message_log, until
from helpers import CommunicatorPersona, Enter
from members import browser, guest
from pytest_django import Settings

from chat.actions import enforcement
from chat.auth import Identity, account, identify, identity, revalidate
from chat.auth.tokens import mint
from chat.hub import Hub
from chat.log import read_or_busy, write_or_busy
from chat.loops import current
from chat.protocol import CloseCode, ErrorCode, Expiring, Joined, Left, Message, RoomChanged, Welcome

Persona = CommunicatorPersona

ROOM = "garden"
PASSWORD = "correct horse 42"


@pytest.fixture(autouse=True)
def _settings(settings: Settings) -> None:
    """A grace never ends within a test: a leave that a test receives was immediate."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.CHAT = {**settings.CHAT, "GRACE": 300.0}


@dataclass
class Browser:
    """Somebody's browser, and a socket that its page opened."""

    client: Client
    socket: Persona

    @property
    def session(self) -> str:
        return self.client.cookies["sessionid"].value


OpenBrowser = Callable[..., Awaitable[Browser]]


@pytest.fixture
async def browse(person: Enter) -> OpenBrowser:
    """Bring somebody into the room who signed in over HTTP, in a browser of their own each time."""

    async def browse(name: str, **fields: Any) -> Browser:
        client = Client()
        await in_a_thread(_sign_in)(client, name)
        socket: Persona = await person(name, headers=browser(client.cookies["sessionid"].value))
        await socket.join(ROOM, **fields)
        return Browser(client, socket)

    return browse


def _sign_in(client: Client, name: str) -> None:
    if not User.objects.filter(username=name).exists():
        User.objects.create_user(name, password=PASSWORD)
    response = client.post("/login/", {"username": name, "password": PASSWORD})
    assert response.status_code == 302


@dataclass
class People:
    """Alice with two browsers, who is about to lose something; Bob and a guest, who are not."""

    alice: Browser
    elsewhere: Browser
    bob: Browser
    gina: Persona

    async def stay(self, *sockets: Persona) -> None:
        """They are as they were."""
        for socket in sockets:
            await socket.say("here", ROOM)


@pytest.fixture
async def people(browse: OpenBrowser, person: Enter) -> People:
    bob = await browse("Bob")
    gina = await guest(person, "Gina")
    await gina.join(ROOM)
    return People(await browse("Alice"), await browse("Alice"), bob, gina)


# --- How a sign-in ends ---


def alice() -> User:
    return User.objects.get(username="Alice")


def sign_out(one: Browser) -> None:
    one.client.post("/logout/")


def sign_in_as_another(one: Browser) -> None:
    User.objects.create_user("Dora", password=PASSWORD)
    one.client.force_login(User.objects.get(username="Dora"))


def delete_session(one: Browser) -> None:
    Session.objects.get(session_key=one.session).delete()


def delete_sessions(one: Browser) -> None:
    Session.objects.filter(session_key=one.session).delete()


def change_password(one: Browser) -> None:
    new = "another horse 77"
    fields = {"old_password": PASSWORD, "new_password1": new, "new_password2": new}
    assert one.client.post("/password/", fields).status_code == 302


def set_password(_: Browser) -> None:
    user = alice()
    user.set_password("another horse 77")
    user.save()


def deactivate(_: Browser) -> None:
    user = alice()
    user.is_active = False
    user.save()


def rename(_: Browser) -> None:
    user = alice()
    user.username = "Alicia"
    user.save(update_fields=["username"])


def delete(_: Browser) -> None:
    alice().delete()


OF_ONE_BROWSER = [sign_out, sign_in_as_another, delete_session, delete_sessions]
OF_THE_ACCOUNT = [change_password, set_password, deactivate, rename, delete]
"""An end with a signal."""


def update(**fields: Any) -> Callable[[Browser], None]:
    """SQL that sends no signal."""

    def end(_: Browser) -> None:
        User.objects.filter(username="Alice").update(**fields)

    return end


def drop_session(one: Browser) -> None:
    sessions = Session.objects.filter(session_key=one.session)
    sessions._raw_delete(sessions.db)


def expire_session(one: Browser) -> None:
    Session.objects.filter(session_key=one.session).update(expire_date="2020-01-01T00:00:00Z")


UNTOLD = {
    "deactivated": (update(is_active=False), True),
    "renamed": (update(username="Alicia"), True),
    "another password": (update(password="!"), True),
    "session gone": (drop_session, False),
    "session expired": (expire_session, False),
}
"""Changes that end a sign-in without a signal; True: all sign-ins of the account."""


@pytest.mark.parametrize("end", [*OF_ONE_BROWSER, *OF_THE_ACCOUNT], ids=lambda end: end.__name__)
async def test_the_end_of_a_sign_in_closes_its_sockets(people: People, end: Callable[[Browser], None]) -> None:
    """At once, with a code that says why; the other browser stays unless it is the account's end; others stay."""
    await in_a_thread(end)(people.alice)
    assert await people.alice.socket.closed() == CloseCode.NOT_SIGNED_IN
    if end in OF_THE_ACCOUNT:
        assert await people.elsewhere.socket.closed() == CloseCode.NOT_SIGNED_IN
        await people.bob.socket.expect(Left, username="Alice")
    else:
        await people.stay(people.elsewhere.socket)
        await in_a_thread(end)(people.elsewhere) if end is not sign_in_as_another else None
    await people.stay(people.bob.socket, people.gina)


@pytest.mark.every_case
@pytest.mark.parametrize("end", [sign_out, delete_session])
async def test_a_user_who_signed_out_everywhere_has_left(people: People, end: Callable[[Browser], None]) -> None:
    """With the last browser, and without the grace of a lost connection."""
    await in_a_thread(end)(people.alice)
    await people.alice.socket.closed()
    await people.bob.socket.silence()
    assert not people.bob.socket.count(Left)
    await in_a_thread(end)(people.elsewhere)
    await people.bob.socket.expect(Left, username="Alice")


async def test_all_tabs_of_a_browser_end(people: People, person: Enter) -> None:
    """They have the same session."""
    tab = await person("Alice", headers=browser(people.alice.session))
    await tab.join(ROOM)
    idle = await person("Alice", headers=browser(people.alice.session))
    await idle.silence()
    await in_a_thread(sign_out)(people.alice)
    for socket in (people.alice.socket, tab, idle):
        assert await socket.closed() == CloseCode.NOT_SIGNED_IN


async def test_a_cookie_of_before_opens_a_stranger_s_socket(people: People, person: Enter) -> None:
    """A client that comes back with it has no identity, and may not take the name."""
    cookie = browser(people.alice.session)
    await in_a_thread(sign_out)(people.alice)
    again = await person("Alice", headers=cookie)
    await again.send("join", room=ROOM, username="Alice")
    await again.refused(ErrorCode.NAME_RESERVED)


class Rounds:
    """Seconds that go by for the AccessEnforcer, each to its end; and what it asked in them."""

    def __init__(self, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
        self._clock = clock
        self._asking = 0
        # How many sign-ins were looked at together.
        self.looks: list[int] = []
        monkeypatch.setattr(enforcement, "read_or_busy", self._look)
        monkeypatch.setattr(enforcement, "write_or_busy", partial(self._ask, write_or_busy))

    async def _look(self, call: Any) -> Any:
        self.looks.append(len(call.args[0]))
        return await self._ask(read_or_busy, call)

    async def _ask(self, ask: Any, call: Any) -> Any:
        self._asking += 1
        try:
            return await ask(call)
        finally:
            self._asking -= 1

    async def skip(self, seconds: int) -> None:
        self._clock.stop()
        for _ in range(seconds):
            await self._clock.skip(1.0)
            for _ in range(5):
                await until(lambda: not self._asking)
                await asyncio.sleep(0)
        self._clock.start()


@pytest.fixture
def rounds(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Rounds:
    return Rounds(clock, monkeypatch)


@pytest.mark.parametrize("name", UNTOLD)
async def test_a_change_without_a_signal_is_found(people: People, rounds: Rounds, name: str) -> None:
    """It is found within CHAT["RECHECK"] seconds, for new sockets too. Users who lost nothing stay."""
    end, of_the_account = UNTOLD[name]
    await in_a_thread(end)(people.alice)
    ended = [socket for socket in current(Hub).sockets.values() if socket.username == "Alice"]
    await rounds.skip(60)
    codes = [socket.transport.closed_with for socket in ended]
    assert codes == [CloseCode.NOT_SIGNED_IN, CloseCode.NOT_SIGNED_IN if of_the_account else None]
    assert await people.alice.socket.closed() == CloseCode.NOT_SIGNED_IN
    await people.stay(people.bob.socket, people.gina)


async def test_a_rolled_back_change_changes_nothing(people: People) -> None:
    """Signals are sent for committed changes only."""

    def change() -> None:
        with transaction.atomic():
            deactivate(people.alice)
            delete_session(people.alice)
            transaction.set_rollback(True)

    told: list[Any] = []
    hub = current(Hub)
    hub.cluster.on_people, hear = lambda people, _: told.extend(people), hub.cluster.on_people
    # Events of the sign-ins that were made before may be under way.
    hub.people_changed(["the last"])
    await until(lambda: "the last" in told)
    told.clear()
    await in_a_thread(change)()
    await people.stay(people.alice.socket, people.elsewhere.socket)
    hub.cluster.on_people = hear
    assert told == []


async def test_a_sign_in_that_is_repeated_ends_nothing(people: People, browse: OpenBrowser) -> None:
    """Each one saves the account's last_login, and may save more of it."""
    await browse("Alice")
    await in_a_thread(lambda: alice().save())()
    await people.stay(people.alice.socket, people.elsewhere.socket)


async def test_another_process_receives_it(people: People) -> None:
    """The event goes through the layer, so sockets in the other process are closed too."""
    other = another_process()
    told: list[tuple[list[str], list[str]]] = []
    other.cluster.on_people = lambda *people: told.append(people)
    await other.open(ROOM)
    await until(lambda: other._bus.is_with_all_hubs)
    session = people.alice.session
    digest = identity.session_digest(session)
    await in_a_thread(sign_out)(people.alice)
    await in_a_thread(deactivate)(people.alice)
    pk = (await User.objects.aget(username="Alice")).pk
    await until(lambda: ([f"account:{pk}"], []) in told and ([], [digest]) in told)
    assert session not in str(told)
    await other.close()
    await message_log(other).close()


# --- While it is being read ---


async def test_who_signs_out_while_the_socket_opens(
    people: People, person: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The handshake reads the identity again if a sign-in ended meanwhile."""

    async def slowly(scope: Any) -> Identity:
        found = await identify(scope)
        await in_a_thread(delete_session)(people.alice)
        assert await people.alice.socket.closed() == CloseCode.NOT_SIGNED_IN
        return found

    monkeypatch.setattr("chat.consumers.consumer.identify", slowly)
    # The rounds would find it too, some seconds later.
    monkeypatch.setattr(Hub, "next_sockets", lambda *_: [])
    late = await person("Alice", headers=browser(people.alice.session))
    assert await late.closed() == CloseCode.NOT_SIGNED_IN


async def test_who_signs_out_while_joining_does_not_come_in(
    people: People, person: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody sees them come."""
    from chat.actions import joining  # noqa: PLC0415 its function is replaced

    bob, late = people.bob.socket, await person("Alice", headers=browser(people.alice.session))
    await bob.join("elsewhere")
    read_position = joining._read_position

    async def slowly(*arguments: Any) -> Any:
        found = await read_position(*arguments)
        await in_a_thread(delete_session)(people.alice)
        await people.alice.socket.closed()
        return found

    monkeypatch.setattr(joining, "_read_position", slowly)
    await late.send("join", room="elsewhere")
    assert await late.closed() == CloseCode.NOT_SIGNED_IN
    assert not late.count(Welcome)
    await bob.say("am I alone?", "elsewhere")
    await bob.expect(Message, room="elsewhere")
    assert not bob.count(Joined, room="elsewhere", username="Alice")


# --- Less, and not nothing ---


async def test_who_is_no_staff_any_more_stays_as_a_member(people: People, browse: OpenBrowser) -> None:
    """The socket is told, and may no longer what the staff may: at once, or with the next round."""
    await User.objects.acreate_superuser("Sam", password=PASSWORD)
    sam = await browse("Sam")
    assert sam.socket.count(Welcome, role="owner") == 1
    user = await User.objects.aget(username="Sam")
    user.is_staff = False
    await user.asave()
    assert (await sam.socket.expect(RoomChanged)).role == "member"
    await sam.socket.send("ban", room=ROOM, username="Bob")
    await sam.socket.refused(ErrorCode.FORBIDDEN)


async def test_a_permission_that_is_taken_away(people: People, browse: OpenBrowser, rounds: Rounds) -> None:
    """No signal of the account's tells of it: the next round does."""
    user = await User.objects.acreate_user("Sam", password=PASSWORD, is_staff=True)
    moderate = await Permission.objects.aget(codename="moderate_room")
    await user.user_permissions.aadd(moderate)
    sam = await browse("Sam")
    assert sam.socket.count(Welcome, role="owner") == 1
    await user.user_permissions.aremove(moderate)
    await rounds.skip(60)
    assert (await sam.socket.expect(RoomChanged)).role == "member"


async def test_guests_keep_their_name_as_long_as_their_session(people: People, rounds: Rounds) -> None:
    """A user without a session is removed."""
    sessions = [session async for session in Session.objects.all()]
    gina = next(session for session in sessions if SESSION_KEY not in session.get_decoded())
    await sync_to_async(lambda: Session.objects.filter(pk=gina.pk)._raw_delete("default"))()
    await rounds.skip(60)
    assert await people.gina.closed() == CloseCode.NOT_SIGNED_IN
    await people.bob.socket.expect(Left, username="Gina")
    await people.stay(people.bob.socket, people.alice.socket)


# --- Tokens ---


def token_of(name: str, hours: float = 1.0) -> str:
    user, _ = User.objects.get_or_create(username=name)
    return mint(user, hours)


@pytest.fixture
async def with_token(person: Enter) -> Callable[..., Awaitable[Persona]]:
    async def with_token(name: str, hours: float = 1.0) -> Persona:
        socket: Persona = await person(name)
        await socket.send("join", room=ROOM, token=await in_a_thread(token_of)(name, hours))
        await socket.expect(Welcome, room=ROOM)
        return socket

    return with_token


async def test_a_token_expires(
    with_token: Any, people: People, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A minute before there is a warning; then the socket is closed, and its person has left at once."""
    tina = await with_token("Tina")
    await people.bob.socket.expect(Joined, username="Tina")
    clock.stop()
    left = expiry_of("Tina") - time.time()
    await clock.skip(left - 61)
    assert not [heard for heard in await tina.silence() if isinstance(heard, Expiring)]
    monkeypatch.setattr("chat.consumers.timeouts.time.time", partial(_later, left - 59, time.time))
    await clock.skip(2)
    assert 57_000 <= (await tina.expect(Expiring)).after <= 60_000
    await clock.skip(60)
    assert await tina.closed() == CloseCode.NOT_SIGNED_IN
    await people.bob.socket.expect(Left, username="Tina")


def expiry_of(name: str) -> float:
    """When the token of this one's socket ends."""
    sockets = current(Hub).sockets.values()
    (expires,) = [socket.identity.proof.expires for socket in sockets if socket.username == name]
    assert expires
    return expires


def _later(seconds: float, clock: Callable[[], float]) -> float:
    return clock() + seconds


async def test_a_token_expires_where_its_join_was_refused_too(person: Enter, clock: Clock) -> None:
    """The socket is the account's, and ends with the token, whether the room was there or not."""
    tina = await person("Tina")
    await tina.send("join", room="_nowhere", token=await in_a_thread(token_of)("Tina"))
    await tina.refused(ErrorCode.NO_ROOM)
    await tina.join(ROOM)
    await clock.skip(3_601)
    assert await tina.closed() == CloseCode.NOT_SIGNED_IN


async def test_a_newer_token_takes_its_place(with_token: Any, clock: Clock) -> None:
    """Neither warning nor end comes when the first one expires."""
    tina = await with_token("Tina")
    await tina.send("token", token=await in_a_thread(token_of)("Tina", 5.0), ref="newer")
    await tina.silence()
    await clock.skip(2 * 3_600)
    await tina.say("still here", ROOM)
    assert not tina.count(Expiring)
    await clock.skip(3 * 3_600)
    assert await tina.closed() == CloseCode.NOT_SIGNED_IN


async def test_a_socket_does_not_change_hands(with_token: Any, people: People, person: Enter) -> None:
    """Nobody shows another's token: not on a token's socket, nor a session's, nor a guest's, nor a name's."""
    tina, sue = await with_token("Tina"), await person("Sue")
    await sue.join(ROOM)
    dora_s, alice_s = await in_a_thread(token_of)("Dora"), await in_a_thread(token_of)("Alice")
    for one in (tina, people.alice.socket, people.gina, sue):
        await one.send("token", token=dora_s)
        await one.refused(ErrorCode.NAME_FIXED)
        await one.send("join", room=ROOM, username=one.name, token=dora_s)
        await one.refused(ErrorCode.NAME_FIXED)
        await one.say("it is still me", ROOM)
    await people.alice.socket.send("token", token=alice_s, ref="mine")
    assert not [one for one in await people.alice.socket.silence() if getattr(one, "code", None)]


@pytest.mark.parametrize("end", [set_password, deactivate, rename, delete])
async def test_what_ends_the_account_s_sign_ins_ends_its_tokens(
    with_token: Any, people: People, end: Callable[[Browser], None]
) -> None:
    """On live sockets at once; and a token of before lets nobody in."""
    before = await in_a_thread(token_of)("Alice")
    alice = await with_token("Alice")
    await in_a_thread(end)(people.alice)
    assert await alice.closed() == CloseCode.NOT_SIGNED_IN
    if end is not rename:
        await people.gina.send("token", token=before)
        await people.gina.refused(ErrorCode.BAD_TOKEN)


async def test_a_token_s_socket_outlives_a_browser_s_sign_out(with_token: Any, people: People) -> None:
    """It does not rest on that."""
    alice = await with_token("Alice")
    await in_a_thread(sign_out)(people.alice)
    await people.alice.socket.closed()
    await people.stay(alice)


# --- Where sessions are kept ---

ENGINES = ["db", "cached_db", "cache"]


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, settings: Settings) -> str:
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{request.param}"
    cache.clear()
    return str(request.param)


@pytest.mark.every_case
@pytest.mark.parametrize("end", [sign_out, set_password, deactivate])
async def test_each_session_engine_tells(engine: str, browse: OpenBrowser, end: Callable[[Browser], None]) -> None:
    """Signing out, another password, an account's end: at once, wherever sessions are."""
    bob, alice = await browse("Bob"), await browse("Alice")
    await in_a_thread(end)(alice)
    assert await alice.socket.closed() == CloseCode.NOT_SIGNED_IN
    await bob.socket.expect(Left, username="Alice")


@pytest.mark.every_case
@pytest.mark.parametrize("end", [sign_in_as_another, lambda one: one.client.session.flush()])
async def test_each_session_engine_is_asked(
    engine: str, browse: OpenBrowser, rounds: Rounds, end: Callable[[Browser], None]
) -> None:
    """A session that is thrown away is found, at the latest with the next round; and no other."""
    bob, alice = await browse("Bob"), await browse("Alice")
    await in_a_thread(end)(alice)
    await rounds.skip(60)
    assert await alice.socket.closed() == CloseCode.NOT_SIGNED_IN
    await bob.socket.say("here", ROOM)


async def test_sessions_in_signed_cookies(settings: Settings, browse: OpenBrowser, rounds: Rounds) -> None:
    """They can't be ended, so the account decides; and no user is removed without a reason."""
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    bob, alice = await browse("Bob"), await browse("Alice")
    await rounds.skip(60)
    await bob.socket.say("here", ROOM)
    await alice.socket.say("here", ROOM)
    await in_a_thread(update(is_active=False))(alice)
    await rounds.skip(60)
    assert await alice.socket.closed() == CloseCode.NOT_SIGNED_IN
    await bob.socket.say("here", ROOM)


# --- At what price ---


@pytest.mark.every_case
@pytest.mark.parametrize("engine_name", ["db", "cached_db"])
def test_500_sign_ins_are_two_queries(
    transactional_db: None, settings: Settings, statements: list[str], engine_name: str
) -> None:
    """One for the accounts, one for the sessions; each one's answer is its own."""
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{engine_name}"
    store = import_module(settings.SESSION_ENGINE).SessionStore
    users = User.objects.bulk_create([User(username=f"u{n}", password="!") for n in range(250)])
    sessions = [store() for _ in range(500)]
    for session in sessions:
        session.create()
    found = [account(users[n // 2], session=sessions[n].session_key) for n in range(500)]
    User.objects.filter(pk=users[0].pk).update(is_active=False)
    Session.objects.filter(pk=sessions[499].session_key).update(expire_date="2020-01-01T00:00:00Z")
    statements.clear()
    assert [who is not None for who in revalidate(found)] == [False, False, *[True] * 497, False]
    assert len(statements) == 2


async def test_sign_ins_are_checked_in_turn(people: People, rounds: Rounds, settings: Settings) -> None:
    """Each is checked once in RECHECK seconds, some each second. Sockets without a sign-in are never checked."""
    settings.CHAT = {**settings.CHAT, "RECHECK": 2.0}
    # Any check that was due while users connected.
    await rounds.skip(1)
    rounds.looks.clear()
    await rounds.skip(2)
    assert rounds.looks == [2, 2]
    await rounds.skip(8)
    assert sum(rounds.looks) == 20
