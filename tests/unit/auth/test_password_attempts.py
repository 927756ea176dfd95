"""Every door that takes a password: how often one may try, and who is kept out by whose tries.

The doors of the site, of the admin, and of a project that lifts the app.
"""

import base64
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import aauthenticate, authenticate, login
from django.contrib.auth.hashers import (
    Argon2PasswordHasher,
    PBKDF2PasswordHasher,
    check_password,
    make_password,
)
from django.contrib.auth.models import User
from django.core.checks import run_checks
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.test import AsyncClient, Client
from django.urls import include, path
from hashing import CHEAP
from pytest_django import Settings

from chat.auth import browsers, hashers
from chat.auth.password_attempts import AttemptRefused, tracking
from chat.limits import Attempt, addresses, sign_in_limits
from chatsite import settings as site_settings
from chatsite import urls as site_urls

pytestmark = pytest.mark.django_db(transaction=True)

PASSWORD = "correct horse 99"
HOME, OFFICE = "192.0.2.1", "192.0.2.2"
SMALL = {"SIGN_IN_RATE": 0.01, "SIGN_IN_BURST": 3}


# --- A project's own doors ---


def by_form(request: HttpRequest) -> HttpResponse:
    """A view of the project's own."""
    user = authenticate(request, username=request.POST["username"], password=request.POST["password"])
    if user is None:
        return HttpResponse("wrong", status=403)
    login(request, user)
    return HttpResponse("in")


def by_form_without_request(request: HttpRequest) -> HttpResponse:
    """The same, as many write it."""
    user = authenticate(username=request.POST["username"], password=request.POST["password"])
    return HttpResponse("in" if user else "wrong")


def by_json(request: HttpRequest) -> HttpResponse:
    """An API that turns whatever goes wrong into an answer of its own."""
    try:
        user = authenticate(request, username=request.POST["username"], password=request.POST["password"])
    except Exception as error:  # noqa: BLE001 as such APIs do it
        return JsonResponse({"detail": str(error)}, status=400)
    return JsonResponse({"in": user is not None}, status=200 if user else 401)


def by_basic_auth(request: HttpRequest) -> HttpResponse:
    """An API whose clients send the password with each request, as those of Django REST framework do."""
    name, _, password = base64.b64decode(request.headers["Authorization"].split()[1]).decode().partition(":")
    user = authenticate(request, username=name, password=password)
    return HttpResponse("in") if user else HttpResponse(status=401, headers={"WWW-Authenticate": "Basic"})


async def by_async_view(request: HttpRequest) -> HttpResponse:
    user = await aauthenticate(request, username=request.POST["username"], password=request.POST["password"])
    return HttpResponse("in" if user else "wrong")


def by_comparison(request: HttpRequest) -> HttpResponse:
    """A door that asks no backend."""
    user = User.objects.get(username=request.POST["username"])
    return HttpResponse("in" if user.check_password(request.POST["password"]) else "wrong")


urlpatterns = [
    path("by-form/", by_form),
    path("without-request/", by_form_without_request),
    path("by-json/", by_json),
    path("basic/", by_basic_auth),
    path("async/", by_async_view),
    path("comparison/", by_comparison),
    path("", include(site_urls)),
]


@pytest.fixture(autouse=True)
def _doors(settings: Settings) -> Iterator[None]:
    settings.ROOT_URLCONF = __name__
    settings.PASSWORD_HASHERS = [CHEAP]
    settings.CHAT = SMALL
    sign_in_limits.clear()
    yield
    sign_in_limits.clear()


@pytest.fixture
def alice() -> User:
    return User.objects.create_superuser("Alice", password=PASSWORD)


Door = Callable[[Client, str, str], Any]


def posts(address: str) -> Door:
    return lambda client, name, password: client.post(address, {"username": name, "password": password})


def basic(client: Client, name: str, password: str) -> Any:
    said = base64.b64encode(f"{name}:{password}".encode()).decode()
    return client.get("/basic/", headers={"Authorization": f"Basic {said}"})


def in_a_loop(client: Client, name: str, password: str) -> Any:
    """The same door, by a request that is asynchronous all the way."""

    async def ask() -> Any:
        return await AsyncClient().post("/async/", {"username": name, "password": password})

    return async_to_sync(ask)()


DOORS: dict[str, Door] = {
    **{
        address: posts(address)
        for address in ("/login/", "/admin/login/", "/by-form/", "/without-request/", "/by-json/", "/async/")
    },
    "/comparison/": posts("/comparison/"),
    "basic": basic,
    "in a loop": in_a_loop,
}
EACH = pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)


# --- Counted ---


@EACH
def test_each_door_is_counted(client: Client, alice: User, door: Door) -> None:
    """After three wrong passwords the others are refused with 429, a sentence, and when to come back."""
    for _ in range(3):
        assert door(client, "Alice", "wrong").status_code != 429
    for _ in range(5):
        refused = door(client, "Alice", "wrong")
        assert refused.status_code == 429
        assert 1 <= int(refused["Retry-After"]) <= 100
        assert f"Too many tries; wait {refused['Retry-After']} seconds." in refused.content.decode()
    assert door(client, "Alice", PASSWORD).status_code == 429, "nor is the right password looked at"


@EACH
def test_the_doors_count_together(client: Client, alice: User, door: Door) -> None:
    """A budget that is empty at one door is empty at the others."""
    for _ in range(3):
        posts("/by-form/")(client, "Alice", "wrong")
    name = "Alice"
    if door is DOORS["/comparison/"]:
        # It knows no name, so only the network's budget is the same.
        User.objects.create_user("Bob", password=PASSWORD)
        name = "Bob"
    assert door(client, name, "wrong").status_code == 429


@EACH
def test_right_passwords_are_not_counted(client: Client, alice: User, door: Door) -> None:
    """A program that sends its password with each request is let in each time."""
    for _ in range(7):
        answer = door(Client(), "Alice", PASSWORD)
        assert answer.status_code in {200, 302}
        assert b"wrong" not in answer.content


def test_the_old_password_is_counted(client: Client, alice: User) -> None:
    """In the form for a new one: on our page and in the admin, together."""
    client.force_login(alice)
    new = {"new_password1": "another horse 77", "new_password2": "another horse 77"}
    answers = [
        client.post(address, {"old_password": "wrong", **new})
        for address in ("/password/", "/admin/password_change/") * 3
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429, 429]
    assert all("Too many tries" in answer.content.decode() for answer in answers[3:])
    alice.refresh_from_db()
    assert alice.check_password(PASSWORD)
    # A passer-by at the open browser does not shut the door on those who sign in.
    assert posts("/login/")(Client(), "Alice", PASSWORD).status_code == 302


def test_former_passwords_are_nobody_s_tries(alice: User, settings: Settings) -> None:
    """A form that compares a new password with ten former ones uses up no budget of the network."""
    former = [User(username=f"{n}") for n in range(10)]
    for each in former:
        each.set_password("former")
    request = HttpRequest()
    request.META["REMOTE_ADDR"], request.user = HOME, alice
    with tracking(request):
        assert not any(each.check_password("new") for each in former)
    assert sign_in_limits.take(Attempt(HOME, "Alice")) == 0


def test_many_tries_in_one_request_are_many(alice: User) -> None:
    """A door that takes a list of passwords gives no more than the others."""
    request = HttpRequest()
    request.META["REMOTE_ADDR"] = HOME
    with tracking(request):
        for n in range(3):
            assert authenticate(request, username="Alice", password=f"guess {n}") is None
        with pytest.raises(AttemptRefused):
            authenticate(request, username="Alice", password=PASSWORD)


def test_without_the_middleware_tries_are_counted_too(alice: User) -> None:
    """By the headers of the request that ``authenticate`` is given."""
    request = HttpRequest()
    request.META["REMOTE_ADDR"] = HOME
    for _ in range(3):
        assert authenticate(request, username="Alice", password="wrong") is None
    with pytest.raises(AttemptRefused):
        authenticate(request, username="Alice", password=PASSWORD)
    other = HttpRequest()
    other.META["REMOTE_ADDR"] = OFFICE
    assert authenticate(other, username="Alice", password=PASSWORD) == alice


@pytest.mark.parametrize(
    ("credentials", "counted"),
    [
        ({"email": "a@example.com", "password": "x"}, True),
        ({"phone": "123", "pin": "1234"}, True),
        ({"username": "Alice", "otp_code": "1234"}, True),
        ({"token": "signed"}, False),
        ({"remote_user": "alice"}, False),
    ],
)
def test_what_can_be_guessed_is_counted(credentials: dict[str, str], counted: bool) -> None:
    """The names of a project's fields do not matter; a login that another server vouches for is no guess."""
    request = HttpRequest()
    request.META["REMOTE_ADDR"] = HOME

    def tries() -> None:
        for _ in range(4):
            authenticate(request, **credentials)

    if counted:
        with pytest.raises(AttemptRefused):
            tries()
    else:
        tries()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, []),
        # The class had another module before.
        ({"AUTHENTICATION_BACKENDS": ["chat.auth.tries.CountedTries"]}, []),
        ({"AUTHENTICATION_BACKENDS": ["django.contrib.auth.backends.ModelBackend"]}, ["chat.W011"]),
        (
            {
                "AUTHENTICATION_BACKENDS": [
                    "django.contrib.auth.backends.ModelBackend",
                    "chat.auth.password_attempts.CountedTries",
                ]
            },
            ["chat.W011"],
        ),
        ({"MIDDLEWARE": ["django.contrib.sessions.middleware.SessionMiddleware"]}, ["chat.W012"]),
        (
            {"MIDDLEWARE": ["django.contrib.sessions.middleware.SessionMiddleware", "chat.middleware.SignIns"]},
            ["chat.W012"],
        ),
        ({"PASSWORD_HASHERS": ["django.contrib.auth.hashers.PBKDF2PasswordHasher"]}, ["chat.W013"]),
    ],
)
def test_a_project_that_counts_nothing_is_told(
    settings: Settings, change: dict[str, Any], expected: list[str]
) -> None:
    """By `manage.py check`, with what to write where."""
    settings.CHAT = {}
    for name, value in change.items():
        setattr(settings, name, value)
    found = run_checks(tags=["chat"])
    assert [message.id for message in found] == expected
    assert all(message.hint for message in found)


# --- Budgets ---


def sign_in(client: Client, name: str = "Alice", password: str = PASSWORD) -> int:
    return int(posts("/login/")(client, name, password).status_code)


def attack(address: str, name: str = "Alice", times: int = 10) -> None:
    client = Client(REMOTE_ADDR=address)
    for _ in range(times):
        sign_in(client, name, "wrong")


def test_nobody_else_s_tries_keep_the_owner_out(alice: User) -> None:
    """The network that tries Alice's password is refused, and Alice comes in from another."""
    attack(HOME)
    assert sign_in(Client(REMOTE_ADDR=HOME)) == 429
    assert sign_in(Client(REMOTE_ADDR=OFFICE)) == 302


@pytest.mark.parametrize(
    "addresses",
    [
        [f"203.0.113.{n}" for n in range(20)],
        [f"2001:db8:{n:x}::1" for n in range(20)],
        [f"2001:db8:{n % 8:x}:{n:x}::1" for n in range(20)],
    ],
    ids=["IPv4", "IPv6 sites", "IPv6 networks of few sites"],
)
def test_many_addresses_slow_a_name_down_and_do_not_shut_it(alice: User, addresses: list[str]) -> None:
    """From a network that has not tried it the owner comes in at once; one that has waits for what it tried."""
    for address in addresses:
        attack(address, times=3)
    assert sign_in(Client(REMOTE_ADDR=OFFICE)) == 302
    # Its owner mistypes: not three tries any more, one.
    slip = Client(REMOTE_ADDR="192.0.2.99")
    assert sign_in(slip, password="Correct horse 99") == 200
    refused = posts("/login/")(slip, "Alice", PASSWORD)
    assert refused.status_code == 429
    assert int(refused["Retry-After"]) <= 100


def test_networks_of_one_site_share_a_name_s_budget(alice: User) -> None:
    """A tunnel gives 65,536 networks away for nothing."""
    statuses = [sign_in(Client(REMOTE_ADDR=f"2001:db8:7:{n:x}::1"), password="wrong") for n in range(5)]
    assert statuses == [200, 200, 200, 429, 429]


def test_a_known_browser_comes_in(alice: User) -> None:
    """Tries of others do not count in a browser that the owner has used, not even from the same address."""
    known = Client(REMOTE_ADDR=HOME)
    assert sign_in(known) == 302
    known.post("/logout/")
    attack(HOME)
    attack(HOME, "Bob")
    assert sign_in(Client(REMOTE_ADDR=HOME)) == 429
    assert sign_in(known) == 302


def test_a_known_browser_is_counted_by_itself(alice: User) -> None:
    """Its finder may guess three times, and keeps nobody out of another."""
    known, other = Client(REMOTE_ADDR=HOME), Client(REMOTE_ADDR=HOME)
    sign_in(known)
    known.post("/logout/")
    assert [sign_in(known, password="wrong") for _ in range(5)] == [200, 200, 200, 429, 429]
    assert sign_in(other) == 302
    # A copy of the cookie is the same browser.
    copy = Client(REMOTE_ADDR=OFFICE)
    copy.cookies["chat_browser"] = known.cookies["chat_browser"].value
    assert sign_in(copy) == 429


def test_a_browser_is_known_for_its_own_accounts_only(alice: User) -> None:
    """An account of one's own gives no budget for another."""
    User.objects.create_user("Mallory", password=PASSWORD)
    mallory = Client(REMOTE_ADDR=HOME)
    sign_in(mallory, "Mallory")
    mallory.post("/logout/")
    assert [sign_in(mallory, password="wrong") for _ in range(5)] == [200, 200, 200, 429, 429]
    # And each new sign-in of their own brings none either.
    sign_in(mallory, "Mallory")
    mallory.post("/logout/")
    assert sign_in(mallory, password="wrong") == 429


@pytest.mark.parametrize(
    "spoil", [lambda value: "x" + value, lambda value: value[:-1], lambda value: "", str.upper]
)
def test_a_made_up_cookie_is_none(alice: User, spoil: Callable[[str], str]) -> None:
    """It is signed."""
    known = Client(REMOTE_ADDR=HOME)
    sign_in(known)
    known.post("/logout/")
    known.cookies["chat_browser"] = spoil(known.cookies["chat_browser"].value)
    attack(HOME)
    assert sign_in(known) == 429


def test_a_session_makes_no_browser_known(alice: User) -> None:
    """A thief of one gets no tries of the password by it: neither by pages, nor by signing out."""
    thief = Client(REMOTE_ADDR=HOME)
    thief.force_login(alice)
    thief.get("/room/tea/")
    thief.post("/logout/")
    assert thief.cookies["chat_browser"].value
    attack(HOME)
    assert sign_in(thief, password="guess") == 429
    # A browser that was known stays so.
    known = Client(REMOTE_ADDR=OFFICE)
    sign_in(known)
    known.get("/room/tea/")
    known.post("/logout/")
    attack(OFFICE)
    assert sign_in(known) == 302


def test_a_proxy_without_a_name_is_noticed_on_any_page(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """At its first header, in the log, once."""
    monkeypatch.setattr(addresses, "unlisted_proxies", addresses.UnlistedProxies())
    for _ in range(2):
        Client(REMOTE_ADDR="10.0.0.9").get("/", headers={"X-Forwarded-For": HOME})
    (said,) = [message for message in caplog.messages if "CHAT_PROXIES" in message]
    assert said.startswith("10.0.0.9 ")


def test_another_password_makes_browsers_unknown(alice: User) -> None:
    """All but the one in which it was changed."""
    known, changing = Client(REMOTE_ADDR=HOME), Client(REMOTE_ADDR=HOME)
    sign_in(known)
    sign_in(changing)
    another = "another horse 77"
    changed = changing.post(
        "/password/", {"old_password": PASSWORD, "new_password1": another, "new_password2": another}
    )
    assert changed.status_code == 302
    changing.post("/logout/")
    attack(HOME)
    assert sign_in(known, password=another) == 429
    assert sign_in(changing, password=another) == 302


@pytest.mark.parametrize("door", ["/login/", "/admin/login/", "/by-form/"])
def test_each_door_makes_the_browser_known(alice: User, door: str) -> None:
    """By a cookie that no script reads and no other site's form brings; a look at the page sets none."""
    client = Client()
    client.get("/login/")
    posts(door)(client, "Alice", "wrong")
    assert "chat_browser" not in client.cookies
    posts(door)(client, "Alice", PASSWORD)
    cookie = client.cookies["chat_browser"]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"], cookie["domain"]) == (True, "Lax", "/", "")
    assert cookie["max-age"] == browsers.AGE


def test_by_https_the_cookie_is_the_host_s_alone(alice: User, settings: Settings) -> None:
    """Secure, and of a name that no neighbour's page can set."""
    settings.SESSION_COOKIE_SECURE = True
    client = Client()
    answer = client.post("/login/", {"username": "Alice", "password": PASSWORD}, secure=True)
    cookie = answer.cookies["__Host-chat_browser"]
    assert (cookie["secure"], cookie["path"], cookie["domain"]) == (True, "/", "")


def test_a_cookie_stays_short() -> None:
    """However many people a browser has been: it goes along with each request."""
    browser = browsers.Browser()
    for n in range(100):
        browser = browser.with_account(User(pk=10**15 + n, password="x"), proven=True).with_guest(f"{n:016x}")
    response = HttpResponse()
    browsers.write(browser, response)
    value = response.cookies["chat_browser"].value
    assert len(value) < 1_800
    assert browsers.read({"chat_browser": value}) == browser
    assert f"account:{10**15 + 99}" in browser.people
    assert "guest:" + f"{99:016x}" in browser.people


# --- So many at once ---


class Crowd:
    """Hashes that go on until they are let go, and how many of them ran at once."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.begun = threading.Semaphore(0)
        self.most = 0
        self._lock = threading.Lock()
        self._running = 0

    def hash(self) -> None:
        with self._lock:
            self._running += 1
            self.most = max(self.most, self._running)
        self.begun.release()
        assert self.let_go.wait(30)
        with self._lock:
            self._running -= 1


@pytest.fixture
def crowd(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], Crowd]]:
    """Let so many threads hash something. One may at once."""
    monkeypatch.setattr(hashers, "hash_pool", hashers.HashPool())
    settings.CHAT = {**SMALL, "HASHES": 1}
    found = Crowd()
    threads: list[threading.Thread] = []

    def start(number: int) -> Crowd:
        threads.extend(threading.Thread(target=hashers.hash_pool.run, args=[found.hash]) for _ in range(number))
        for thread in threads:
            thread.start()
        return found

    yield start
    found.let_go.set()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()


@pytest.mark.parametrize("most", [1, 2, 5])
def test_so_many_hashes_run_at_once(crowd: Callable[[int], Crowd], settings: Settings, most: int) -> None:
    """The others of twelve wait, and all are done in the end."""
    settings.CHAT = {"HASHES": most}
    found = crowd(12)
    for _ in range(most):
        assert found.begun.acquire(timeout=30)
    found.let_go.set()
    for _ in range(12 - most):
        assert found.begun.acquire(timeout=30)
    assert found.most == most


@pytest.mark.parametrize("name", [name for name in site_settings.PASSWORD_HASHERS if "BCrypt" not in name])
def test_each_hasher_waits_for_its_turn(
    crowd: Callable[[int], Crowd], settings: Settings, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """To make a hash, and to compare with one."""
    settings.PASSWORD_HASHERS = [name]
    monkeypatch.setattr(PBKDF2PasswordHasher, "iterations", 1)
    monkeypatch.setattr(hashers, "TURN_TIMEOUT", 0)
    encoded = make_password("x")
    assert check_password("x", encoded)
    assert crowd(1).begun.acquire(timeout=30)
    with pytest.raises(AttemptRefused):
        make_password("x")
    with pytest.raises(AttemptRefused):
        check_password("x", encoded)


@pytest.mark.parametrize(
    ("address", "fields"),
    [
        ("/login/", {"username": "Alice", "password": PASSWORD}),
        ("/login/", {"username": "Nobody", "password": PASSWORD}),
        ("/admin/login/", {"username": "Alice", "password": PASSWORD}),
        ("/by-form/", {"username": "Alice", "password": PASSWORD}),
        ("/sign-up/", {"username": "Bob", "password1": PASSWORD, "password2": PASSWORD}),
        (
            "/password/",
            {"old_password": PASSWORD, "new_password1": "another horse 7", "new_password2": "another horse 7"},
        ),
    ],
)
def test_a_crowd_at_the_doors_is_told_to_come_back(
    crowd: Callable[[int], Crowd],
    alice: User,
    monkeypatch: pytest.MonkeyPatch,
    address: str,
    fields: dict[str, str],
) -> None:
    """503, with a sentence and a time, at each door; and that try is not counted."""
    monkeypatch.setattr(hashers, "TURN_TIMEOUT", 0)
    client = Client(raise_request_exception=False)
    if address == "/password/":
        client.force_login(alice)
    found = crowd(1)
    assert found.begun.acquire(timeout=30)
    for _ in range(3):
        answer = client.post(address, fields)
        assert answer.status_code == 503
        assert answer["Retry-After"] == str(hashers.RETRY_AFTER)
        assert "Please try again in a few seconds" in answer.content.decode()
    found.let_go.set()
    monkeypatch.setattr(hashers, "TURN_TIMEOUT", 30)
    if address != "/sign-up/":
        # Three of three would be gone.
        assert client.post(address, fields).status_code in {200, 302, 403}


def test_only_so_many_wait(
    crowd: Callable[[int], Crowd], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each holds a thread: the others are told at once."""
    monkeypatch.setattr(hashers, "QUEUE_LIMIT", 0)
    assert crowd(1).begun.acquire(timeout=30)
    with pytest.raises(AttemptRefused, match="try again"):
        hashers.hash_pool.run(list)


async def test_an_event_loop_does_not_wait(crowd: Callable[[int], Crowd]) -> None:
    """Everybody would wait with it."""
    assert crowd(1).begun.acquire(timeout=30)
    with pytest.raises(AttemptRefused):
        hashers.hash_pool.run(list)


def test_a_thread_has_its_turn_once(settings: Settings) -> None:
    """Some hashers compare by making the hash again."""
    settings.CHAT = {"HASHES": 1}
    assert hashers.hash_pool.run(lambda: hashers.hash_pool.run(lambda: "done")) == "done"


def test_a_forked_process_hashes_too(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has none of its parent's threads, and what they had begun ends nowhere."""
    settings.CHAT = {"HASHES": 1}
    monkeypatch.setattr(hashers, "hash_pool", hashers.HashPool())
    hashers.hash_pool.run(list)
    hashers.hash_pool._unfinished = hashers.QUEUE_LIMIT + 1
    hashers.hash_pool._forget()
    assert hashers.hash_pool.run(lambda: "done") == "done"


def test_a_hash_of_before_is_read_and_made_anew(alice: User, settings: Settings) -> None:
    """With Django's own parameters it took 100 MiB; after the next sign-in it takes 19."""
    alice.password = Argon2PasswordHasher().encode(PASSWORD, "0123456789abcdef0123456789")
    alice.save()
    settings.PASSWORD_HASHERS = site_settings.PASSWORD_HASHERS
    assert "m=102400" in alice.password
    assert sign_in(Client(), password="wrong") == 200
    assert sign_in(Client()) == 302
    alice.refresh_from_db()
    assert "$m=19456,t=2,p=1$" in alice.password
    assert sign_in(Client()) == 302
