"""The identity of a page's visitor, and the responses to visitors who may not see a page."""

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render, resolve_url
from django.utils.http import urlencode

from chat.auth import GUEST_NAME, Identity, account, guest, with_browser
from chat.conf import chat_settings


def identity_of(request: HttpRequest) -> Identity | None:
    """The identity of the page's socket; None for a visitor without a name, or a guest where guests are off."""
    who = account(request.user) if request.user.is_authenticated else _guest(request)
    return with_browser(who, request.COOKIES) if who else None


def _guest(request: HttpRequest) -> Identity | None:
    key, name = request.session.session_key, request.session.get(GUEST_NAME)
    return guest(key, name) if key and name and chat_settings().GUESTS else None


def sign_in_link(request: HttpRequest) -> str:
    """The URL of the sign-in page, which leads back here."""
    return f"{resolve_url(settings.LOGIN_URL)}?{urlencode({'next': request.path})}"


def sign_in(request: HttpRequest) -> HttpResponse:
    return redirect_to_login(request.path)


def no_room(request: HttpRequest) -> HttpResponse:
    """404 for no such room, or a room that the visitor may not enter. The response is the same for both."""
    context = {"sign_in": None if request.user.is_authenticated else sign_in_link(request)}
    return render(request, "chat/no_room.html", context, status=404)
