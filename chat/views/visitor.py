"""Who asks for a page, and what is said to those who may not see one."""

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render, resolve_url
from django.utils.http import urlencode

from chat.auth import GUEST_NAME, Identity, account, guest, with_browser
from chat.conf import chat_settings


def identity_of(request: HttpRequest) -> Identity | None:
    """Who the page's socket will be; None where they have no name yet, or may not come in without an account."""
    who = account(request.user) if request.user.is_authenticated else _guest(request)
    return with_browser(who, request.COOKIES) if who else None


def _guest(request: HttpRequest) -> Identity | None:
    key, name = request.session.session_key, request.session.get(GUEST_NAME)
    return guest(key, name) if key and name and chat_settings().GUESTS else None


def sign_in_link(request: HttpRequest) -> str:
    """The page to sign in on, which leads back here."""
    return f"{resolve_url(settings.LOGIN_URL)}?{urlencode({'next': request.path})}"


def sign_in(request: HttpRequest) -> HttpResponse:
    return redirect_to_login(request.path)


def no_room(request: HttpRequest) -> HttpResponse:
    """There is no such room, or none that they may see: nothing tells which."""
    context = {"sign_in": None if request.user.is_authenticated else sign_in_link(request)}
    return render(request, "chat/no_room.html", context, status=404)
