"""The methods and form tokens of the chat's pages, in any project."""

import pytest
from django.test import Client
from pytest_django import Settings

from chat.limits import creation_limits


@pytest.fixture(autouse=True)
def _limits(settings: Settings) -> None:
    settings.CHAT = {**settings.CHAT, "LIMITS": True}
    creation_limits.clear()


@pytest.mark.django_db
@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "OPTIONS", "FOO"])
@pytest.mark.parametrize(
    ("page", "allowed"),
    [
        ("/", "GET, HEAD, POST"),
        ("/invite/x/", "GET, HEAD, POST"),
        ("/rooms/", "POST"),
        ("/direct/", "POST"),
        ("/room/tea/", "GET, HEAD"),
        ("/whoami", "GET, HEAD"),
        ("/readyz", "GET, HEAD"),
    ],
)
def test_a_page_checks_the_method_in_any_project(settings: Settings, method: str, page: str, allowed: str) -> None:
    """The method is checked before the token, without the site's middleware."""
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if not name.startswith("chatsite.")]
    response = Client(enforce_csrf_checks=True).generic(method, page)
    assert (response.status_code, response["Allow"]) == (405, allowed)


@pytest.mark.django_db
@pytest.mark.parametrize("with_middleware", [True, False])
def test_a_form_needs_its_token_in_any_project(settings: Settings, with_middleware: bool) -> None:
    """The page checks the token, with or without Django's middleware."""
    if not with_middleware:
        settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "csrf" not in name]
    for page in ("/", "/rooms/", "/direct/", "/invite/x/"):
        assert Client(enforce_csrf_checks=True).post(page).status_code == 403
    client = Client(enforce_csrf_checks=True)
    token = client.get("/").context["csrf_token"]
    given = {"username": "Alice", "room": "tea", "csrfmiddlewaretoken": str(token)}
    assert client.post("/", given).status_code == 302
