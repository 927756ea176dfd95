"""Data for a page's script, and headers for the browser, so that nothing stays there of a person who is gone."""

import re

import pytest
from django.contrib.auth.models import User
from django.template import Context, Template
from django.test import Client

from chat.auth import GUEST_NAME, session_digest
from chat.models import author_key

pytestmark = pytest.mark.django_db


def told(page: bytes) -> str | None:
    """The key that a page tells the script which sweeps; None where there is no such script."""
    found = re.search(r'<script type="module" src="[^"]*/sweep[^"]*" data-you="([^"]*)"></script>', page.decode())
    return found and found[1]


@pytest.mark.parametrize("path", ["/", "/login/", "/sign-up/", "/room/_0123456789abcdef/", "/nowhere"])
def test_a_page_without_a_chat_tells_its_script_whose_it_is(client: Client, path: str) -> None:
    """The page is nobody's, a guest's or an account's, also if there is no such room or page."""
    assert told(client.get(path).content) == ""
    client.post("/", {"username": "Ann", "room": "tea"})
    session = client.session
    assert session[GUEST_NAME] == "Ann"
    assert told(client.get(path).content) == author_key(f"guest:{session_digest(str(session.session_key))}:Ann")
    user = User.objects.create_user("Alice")
    client.force_login(user)
    page = client.get(path)
    # A signed-in user has nothing to do on two of them.
    assert page.status_code == 302 or told(page.content) == author_key(f"account:{user.pk}")


def test_a_page_that_is_drawn_without_a_request_sweeps_nothing() -> None:
    """It does not know whose it is."""
    template = Template("{% load chat %}{% chat_you as you %}{% if you is None %}unknown{% endif %}")
    assert template.render(Context({})) == "unknown"


@pytest.mark.parametrize("path", ["/logout/", "/admin/logout/"])
def test_a_browser_is_told_to_forget_when_somebody_signs_out(client: Client, path: str) -> None:
    """By whichever page; a guest's session ends there too. Other answers leave the browser's storage alone."""
    for staff in (True, False):
        if staff:
            client.force_login(User.objects.create_superuser("Sam"))
        else:
            client.post("/", {"username": "Ann", "room": "tea"})
        assert "Clear-Site-Data" not in client.get("/").headers
        answer = client.post(path)
        if staff or path == "/logout/":
            assert answer["Clear-Site-Data"] == '"storage"'
        assert "Clear-Site-Data" not in client.get("/").headers
