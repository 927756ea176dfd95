"""The pages of accounts: signing up, in and out, another password; and the headers of every page."""

import importlib
import re
import runpy
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import IntegrityError
from django.test import AsyncClient, Client
from django.urls import clear_url_caches
from hashing import CHEAP
from pytest_django import Settings

from chat.auth import GUEST_NAME, identify
from chat.limits.sign_ins import sign_in_limits
from chatsite import accounts, urls
from chatsite import settings as site_settings

pytestmark = pytest.mark.django_db(transaction=True)

PASSWORD = "correct horse 99"
ANOTHER = "another horse 77"


@pytest.fixture(autouse=True)
def _cheap(settings: Settings) -> Iterator[None]:
    """Passwords that are hashed fast, and nobody's tries of before."""
    settings.PASSWORD_HASHERS = [CHEAP]
    settings.CHAT = {}
    sign_in_limits.clear()
    yield
    sign_in_limits.clear()


@pytest.fixture
def alice() -> User:
    return User.objects.create_user("Alice", password=PASSWORD)


def sign_up(client: Client, name: str, password: str = PASSWORD, **fields: str) -> Any:
    return client.post("/sign-up/", {"username": name, "password1": password, "password2": password, **fields})


def sign_in(client: Client, name: str, password: str = PASSWORD, **fields: str) -> Any:
    return client.post("/login/", {"username": name, "password": password, **fields})


def name_of(client: Client) -> str:
    """The signed-in user's name, as the pages see it, or empty."""
    return str(client.get("/nowhere/").context["user"].get_username())


def errors(response: Any) -> dict[str, list[str]]:
    found: dict[str, list[str]] = response.context["form"].errors
    return found


# --- Signing up ---


def test_who_signs_up_is_signed_in(client: Client) -> None:
    """And is led on to the first page."""
    response = sign_up(client, "Alice")
    assert (response.status_code, response["Location"]) == (302, "/")
    assert name_of(client) == "Alice"
    assert User.objects.get().check_password(PASSWORD)


def test_a_new_account_has_no_powers(client: Client) -> None:
    """Other fields of the form have no effect."""
    sign_up(client, "Alice", is_staff="on", is_superuser="on", email="x@example.com", id="1000")
    user = User.objects.get()
    assert (user.is_staff, user.is_superuser, user.email) == (False, False, "")
    assert user.pk != 1_000


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "required"),
        ("x" * 33, "1 to 32 characters, not 33"),
        ("A\u200bnn", "U+200B"),
        ("\u202eAnn", "U+202E"),
        ("two words", "valid username"),
        ("<b>", "valid username"),
    ],
)
def test_a_bad_name_is_explained(client: Client, name: str, said: str) -> None:
    """The form comes back with the error at the name, and nobody is made."""
    response = sign_up(client, name)
    assert response.status_code == 200
    assert said in " ".join(errors(response)["username"])
    assert not User.objects.exists()


NEEDED = {
    "a joiner that keeps letters apart": "\u0639\u0644\u06cc\u200c\u0631\u0636\u0627",
    "a joiner at a virama": "\u0dc1\u0dca\u200d\u0dbb\u0dd3\u0db8\u0dcf\u0dbd\u0dd2",
    "vowel signs": "\u0905\u0928\u0940\u0924\u093e",
    "a letter that Python may not know": "\U00031350",
    "the form of a Chinese character": "\u845b\U000e0100",
}


@pytest.mark.parametrize("name", NEEDED.values(), ids=NEEDED)
def test_a_name_that_its_script_needs_is_an_account_s(client: Client, name: str) -> None:
    """It can be signed up with, signed in with, with its joiners or without, and changed in the admin."""
    sign_up(client, name)
    assert name_of(client) == name
    assert name_of(signed_in(name)) == name
    assert name_of(signed_in(without_joiners(name))) == name
    assert "username" in errors(sign_up(Client(), without_joiners(name)))


def signed_in(name: str) -> Client:
    client = Client()
    sign_in(client, name)
    return client


def without_joiners(name: str) -> str:
    return re.sub("[\u200c\u200d\U000e0100]", "", name)


@pytest.mark.parametrize("name", NEEDED.values(), ids=NEEDED)
def test_the_admin_s_sign_in_takes_a_name_without_its_joiners(client: Client, name: str) -> None:
    """As the sign-in page does; and it lets in nobody but the staff."""
    user = User.objects.create_user(name, password=PASSWORD)
    fields = {"username": without_joiners(name), "password": PASSWORD}
    assert client.post("/admin/login/", fields).status_code == 200
    User.objects.filter(pk=user.pk).update(is_staff=True)
    assert client.post("/admin/login/", fields).status_code == 302
    assert name_of(client) == name


def test_the_admin_saves_an_account_whose_name_its_script_needs(admin_client: Client, alice: User) -> None:
    """A new one, a renamed one, and one that changes in something else; what nobody may have is refused."""
    name = NEEDED["a joiner at a virama"]
    made = {"username": name, "usable_password": "false"}
    assert admin_client.post("/admin/auth/user/add/", made).status_code == 302
    account = User.objects.get(username=name)
    page = f"/admin/auth/user/{account.pk}/change/"
    joined = {"date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"}
    assert name in admin_client.get(page).content.decode()
    for fields in ({"username": name, "is_active": "on"}, {"username": NEEDED["vowel signs"]}):
        assert admin_client.post(page, fields | joined).status_code == 302
    account.refresh_from_db()
    assert (account.username, account.is_active) == (NEEDED["vowel signs"], False)
    for refused in ("Al\u200dice", alice.username, "two words"):
        assert admin_client.post(page, {"username": refused} | joined).context["errors"]


def test_an_account_keeps_a_name_that_could_not_be_taken_any_more(admin_client: Client, alice: User) -> None:
    """It may have come from elsewhere, and the admin must be able to change the rest."""
    User.objects.filter(pk=alice.pk).update(username="Al\u200bice 2")
    fields = {"username": "Al\u200bice 2", "date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"}
    assert admin_client.post(f"/admin/auth/user/{alice.pk}/change/", fields).status_code == 302


def test_the_limit_is_that_of_the_chat(client: Client) -> None:
    """A name of 32 characters fits."""
    sign_up(client, "x" * 32)
    assert name_of(client) == "x" * 32


@pytest.mark.parametrize("name", ["Alice", "alice", "ALICE", "Al\u0456ce", "A1ice", "\uff21lice"])
def test_a_name_that_looks_like_another_s_is_refused(client: Client, alice: User, name: str) -> None:
    """Other case, letters of another script, digits for letters, wide letters: people can't tell them apart."""
    response = sign_up(client, name)
    assert "username" in errors(response)
    assert list(User.objects.all()) == [alice]
    assert name_of(client) == ""


@pytest.mark.parametrize(
    ("password", "said"),
    [
        ("short 123", "at least 10 characters"),
        ("1234567890", "too common"),
        ("9182736450192837", "entirely numeric"),
        ("password123", "too common"),
        ("charlotte-s", "too similar"),
    ],
)
def test_a_weak_password_is_explained(client: Client, password: str, said: str) -> None:
    """Too short, known to everybody, digits only, or the name once more."""
    response = sign_up(client, "charlotte-s", password)
    assert said in " ".join(errors(response)["password2"])
    assert not User.objects.exists()


def test_the_passwords_must_be_the_same(client: Client) -> None:
    """A slip of the finger makes no account that nobody can use."""
    assert "password2" in errors(sign_up(client, "Alice", password2="another"))
    assert not User.objects.exists()


def test_a_form_shows_no_password(client: Client) -> None:
    """A form with an error keeps the name, and never the password."""
    for response in (sign_up(client, "Al ice"), sign_in(client, "Alice")):
        assert PASSWORD not in response.content.decode()


def test_of_two_who_take_a_name_at_once_one_is_told(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table decides; the other sees the form again, not an error of the server."""

    def taken_now(*_: object, **__: object) -> None:
        raise IntegrityError

    monkeypatch.setattr(User, "save", taken_now)
    response = sign_up(client, "Alice")
    assert response.status_code == 200
    assert errors(response)["username"] == [str(accounts.TAKEN)]


def test_who_is_signed_in_is_led_on(client: Client, alice: User) -> None:
    """There is nothing to sign up or in for."""
    client.force_login(alice)
    for path in ("/sign-up/", "/login/"):
        response = client.get(path, {"next": "/room/tea/"})
        assert (response.status_code, response["Location"]) == (302, "/room/tea/")


@pytest.fixture
def closed(settings: Settings) -> Iterator[None]:
    """The site, where people can't sign up."""
    settings.SIGN_UP = False
    importlib.reload(urls)
    clear_url_caches()
    yield
    settings.SIGN_UP = True
    importlib.reload(urls)
    clear_url_caches()


@pytest.mark.usefixtures("closed")
def test_signing_up_can_be_turned_off(client: Client) -> None:
    """No page, and no link to it."""
    assert client.get("/sign-up/").status_code == 404
    assert sign_up(client, "Alice").status_code == 404
    for path in ("/login/", "/nowhere/"):
        page = client.get(path).content.decode()
        assert "Sign in" in page
        assert "sign-up" not in page
    assert not User.objects.exists()


# --- Signing in and out ---


def test_signing_in_and_out(client: Client, alice: User) -> None:
    """By a form each way; a link can't sign anybody out."""
    assert sign_in(client, "Alice")["Location"] == "/"
    assert name_of(client) == "Alice"
    assert client.get("/logout/").status_code == 405
    assert name_of(client) == "Alice"
    assert client.post("/logout/")["Location"] == "/"
    assert name_of(client) == ""
    assert not Session.objects.exists()


@pytest.mark.parametrize(
    ("asked", "led"),
    [
        ("/room/tea/", "/room/tea/"),
        ("/room/tea/?x=1#m2", "/room/tea/?x=1#m2"),
        ("https://evil.example/", "/"),
        ("//evil.example/", "/"),
        ("/\\evil.example/", "/"),
        ("javascript:alert(1)", "/"),
        ("/login/", "/"),
        ("/sign-up/?next=/login/", "/"),
        ("", "/"),
    ],
)
def test_next_leads_to_pages_of_ours_only(client: Client, alice: User, asked: str, led: str) -> None:
    """After signing in, after signing up, and where one is signed in already."""
    assert sign_in(client, "Alice", next=asked)["Location"] == led
    assert client.get("/login/", {"next": asked})["Location"] == led
    assert client.get("/sign-up/", {"next": asked})["Location"] == led
    assert sign_up(Client(), "Bob", next=asked)["Location"] == led


def test_next_is_kept_from_form_to_form(client: Client) -> None:
    """From the page where one was, through both forms, escaped."""
    page = client.get("/nowhere/?a=1&b=2").content.decode()
    assert "/login/?next=%2Fnowhere%2F%3Fa%3D1%26b%3D2" in page
    for path in ("/login/", "/sign-up/"):
        page = client.get(path, {"next": "/room/tea/"}).content.decode()
        assert 'name="next" value="/room/tea/"' in page
        assert page.count("?next=%2Froom%2Ftea%2F") >= 2


def test_wrong_name_and_wrong_password_are_told_alike(client: Client, alice: User) -> None:
    """A client that tries names learns nothing; an inactive account looks like a missing one."""
    User.objects.create_user("Bob", password=PASSWORD, is_active=False)
    told = {
        str(errors(sign_in(client, *tried)))
        for tried in (("Alice", "wrong"), ("Nobody", "wrong"), ("Bob", PASSWORD))
    }
    assert len(told) == 1
    assert name_of(client) == ""


def test_signing_in_makes_the_session_anew(client: Client, alice: User) -> None:
    """An attacker who knew the session before does not know it after."""
    session = client.session
    session[GUEST_NAME] = "Mallory"
    session.save()
    before = client.cookies["sessionid"].value
    sign_in(client, "Alice")
    after = client.cookies["sessionid"].value
    assert after != before
    assert not Session.objects.filter(session_key=before).exists()


async def test_the_account_s_name_is_it_and_not_the_guest_s(async_client: AsyncClient, rooms: None) -> None:
    """A guest who signs in is the account on their next socket, and nobody after signing out."""
    await User.objects.acreate_user("Alice", password=PASSWORD)
    session = await async_client.asession()
    await session.aset(GUEST_NAME, "Mallory")
    await session.asave()
    await async_client.post("/login/", {"username": "Alice", "password": PASSWORD})
    key = async_client.cookies["sessionid"].value
    scope = {"type": "websocket", "headers": [(b"cookie", f"sessionid={key}".encode())]}
    assert (await identify(scope)).name == "Alice"
    await async_client.post("/logout/")
    assert (await identify(scope)).name is None


def test_the_forms_want_their_token() -> None:
    """No other site's page can sign anybody up, in or out, or change a password."""
    client = Client(enforce_csrf_checks=True)
    for path in ("/login/", "/sign-up/", "/logout/", "/password/"):
        assert client.post(path).status_code == 403


def test_no_form_is_kept_by_a_cache(client: Client, alice: User) -> None:
    """Neither the browser's nor one in between."""
    paths = ["/login/", "/sign-up/"]
    assert all("no-store" in client.get(path)["Cache-Control"] for path in paths)


# --- Another password ---


def change(client: Client, old: str = PASSWORD, new: str = ANOTHER) -> Any:
    return client.post("/password/", {"old_password": old, "new_password1": new, "new_password2": new})


def test_a_new_password_ends_the_other_browsers_sessions(client: Client, alice: User) -> None:
    """This one goes on, under another session key."""
    elsewhere = Client()
    for browser in (client, elsewhere):
        browser.force_login(alice)
    before = client.cookies["sessionid"].value
    assert change(client)["Location"] == "/password/changed/"
    assert client.get("/password/changed/").status_code == 200
    assert client.cookies["sessionid"].value != before
    assert (name_of(client), name_of(elsewhere)) == ("Alice", "")
    alice.refresh_from_db()
    assert alice.check_password(ANOTHER)


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("wrong", ANOTHER, "old_password"),
        (PASSWORD, "short", "new_password2"),
        (PASSWORD, "1234567890", "new_password2"),
    ],
)
def test_a_password_is_not_changed_for_less(client: Client, alice: User, old: str, new: str, field: str) -> None:
    """The old one must be right, the new one good."""
    client.force_login(alice)
    assert field in errors(change(client, old, new))
    alice.refresh_from_db()
    assert alice.check_password(PASSWORD)


@pytest.mark.parametrize("path", ["/password/", "/password/changed/"])
def test_nobody_has_no_password(client: Client, path: str) -> None:
    """A visitor without a sign-in is redirected to it, and back."""
    assert client.get(path)["Location"] == f"/login/?next={path}"


# --- Tries ---


def tries(client: Client, path: str, fields: dict[str, str], most: int = 30) -> Any:
    """Try until it is too many."""
    for _ in range(most):
        response = client.post(path, fields)
        if response.status_code == 429:
            return response
    raise AssertionError("never too many")


SMALL = {"SIGN_IN_RATE": 0.01, "SIGN_IN_BURST": 3}


@pytest.mark.parametrize("name", ["Alice", "Nobody"])
def test_too_many_tries_are_told_to_wait(client: Client, alice: User, settings: Settings, name: str) -> None:
    """429, with the seconds in words and as a header, whether there is such an account or not."""
    settings.CHAT = SMALL
    response = tries(client, "/login/", {"username": name, "password": "wrong"})
    assert 50 <= int(response["Retry-After"]) <= 100
    page = response.content.decode()
    assert f"Too many tries; wait {response['Retry-After']} seconds." in page
    assert 'role="alert"' in page
    assert f'value="{name}"' in page
    assert "wrong" not in page
    assert sign_in(client, name).status_code == 429, "the right password is not looked at either"
    assert name_of(client) == ""


def test_what_is_too_many_is_not_looked_at(
    client: Client, alice: User, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It costs no hash: so many are refused as may come."""
    settings.CHAT = SMALL
    tries(client, "/login/", {"username": "Alice", "password": "wrong"})

    def hashed(*_: object, **__: object) -> None:
        raise AssertionError("hashed")

    monkeypatch.setattr("django.contrib.auth.hashers.MD5PasswordHasher.encode", hashed)
    monkeypatch.setattr("django.contrib.auth.hashers.MD5PasswordHasher.verify", hashed)
    assert sign_in(client, "Alice").status_code == 429


def test_tries_are_counted_by_address(settings: Settings) -> None:
    """One address tries no more names than that, whatever its X-Forwarded-For says; behind our proxy it counts."""
    settings.CHAT = SMALL

    def tried(number: int) -> int:
        client = Client(headers={"X-Forwarded-For": f"198.51.100.{number}"})
        return int(sign_in(client, f"Nobody{number}").status_code)

    assert [tried(number) for number in range(5)] == [200, 200, 200, 429, 429]
    settings.CHAT = {**SMALL, "PROXIES": ["127.0.0.1"]}
    sign_in_limits.clear()
    assert [tried(number) for number in range(5)] == [200] * 5


def test_signing_up_is_counted_too(client: Client, settings: Settings) -> None:
    """Accounts are not made by the thousand."""
    settings.CHAT = SMALL
    statuses = []
    for number in range(5):
        statuses.append(sign_up(client, f"Bob{number}").status_code)
        client.logout()
    assert statuses == [302, 302, 302, 429, 429]
    assert User.objects.count() == 3


def test_changing_the_password_is_counted_too(client: Client, alice: User, settings: Settings) -> None:
    """A stranger at an open browser can't guess passwords."""
    settings.CHAT = SMALL
    client.force_login(alice)
    assert [change(client, "wrong").status_code for _ in range(4)] == [200, 200, 200, 429]
    alice.refresh_from_db()
    assert alice.check_password(PASSWORD)


def test_without_limits_tries_are_not_counted(client: Client, settings: Settings) -> None:
    """As everything else."""
    settings.CHAT = {**SMALL, "LIMITS": False}
    with pytest.raises(AssertionError, match="never too many"):
        tries(client, "/login/", {"username": "Alice", "password": "wrong"})


# --- What every page has ---


def test_the_menu_is_the_account_s(client: Client, alice: User) -> None:
    """Its name, another password, and a form to sign out; the administration for the staff only."""
    page = client.get("/nowhere/").content.decode()
    assert "Sign in" in page
    assert "/logout/" not in page
    client.force_login(alice)
    page = client.get("/nowhere/").content.decode()
    assert "<bdi>Alice</bdi>" in page
    assert re.search(
        r'<form method="post" action="/logout/">\s*<input type="hidden" name="csrfmiddlewaretoken"', page
    )
    assert "/password/" in page
    assert "Administration" not in page
    User.objects.update(is_staff=True)
    assert "Administration" in client.get("/nowhere/").content.decode()


@pytest.mark.parametrize("path", ["/login/", "/sign-up/", "/password/", "/password/changed/", "/nowhere/"])
def test_headers(client: Client, alice: User, path: str) -> None:
    """Headers say what a page may do, and how others may embed it; nothing inline is allowed."""
    if path.startswith("/password/"):
        client.force_login(alice)
    response = client.get(path)
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["X-Frame-Options"] == "DENY"
    assert response["Referrer-Policy"] == "same-origin"
    assert response["Cross-Origin-Opener-Policy"] == response["Cross-Origin-Resource-Policy"] == "same-origin"
    assert {"camera=()", "microphone=()", "payment=()"} <= set(response["Permissions-Policy"].split(", "))
    assert "unsafe" not in response["Content-Security-Policy"]
    page = response.content.decode()
    assert not any(inline in page for inline in (" onclick=", " style=", "<style", "javascript:", "<script>"))


def test_cookies(client: Client, alice: User) -> None:
    """No script reads them, and no other site's form brings them."""
    client.get("/login/")
    sign_in(client, "Alice")
    for name in ("sessionid", "csrftoken"):
        cookie = client.cookies[name]
        assert (cookie["httponly"], cookie["samesite"], cookie["domain"]) == (True, "Lax", "")


def test_a_password_is_hashed_by_argon2(settings: Settings, alice: User, client: Client) -> None:
    """New ones are; older ones are replaced at the next sign-in."""
    settings.PASSWORD_HASHERS = [
        *site_settings.PASSWORD_HASHERS[:1],
        CHEAP,
    ]
    sign_in(client, "Alice")
    alice.refresh_from_db()
    assert alice.password.startswith("argon2$argon2id$")


def test_by_https_cookies_are_the_host_s_alone(
    client: Client, alice: User, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Secure, and of names that no neighbour's page can set; signing in works with them, and not without TLS."""
    monkeypatch.setenv("HTTPS", "1")
    site = runpy.run_path(str(site_settings.__file__))
    for name in [name for name in site if "COOKIE" in name or name.startswith("SECURE_")]:
        setattr(settings, name, site[name])
    assert client.get("/login/").status_code == 301
    response = client.post("/login/", {"username": "Alice", "password": PASSWORD}, secure=True)
    assert "max-age=31536000" in response["Strict-Transport-Security"]
    cookie = response.cookies["__Host-sessionid"]
    assert (cookie["secure"], cookie["path"], cookie["domain"]) == (True, "/", "")
    assert site["CSRF_COOKIE_NAME"] == "__Host-csrftoken"
    assert site["CSRF_COOKIE_SECURE"] is True
    assert client.get("/nowhere/", secure=True).context["user"] == alice
