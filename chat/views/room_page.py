"""The room's page."""

from typing import Any

import msgspec
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache

from chat import models, protocol
from chat.access import policy
from chat.access.permissions import about_room, check_entering
from chat.auth import Identity
from chat.auth.password_attempts import remember_account, remember_guest
from chat.conf import chat_settings
from chat.limits import request_address
from chat.message_log import queries as log
from chat.protocol import Invalid
from chat.views.forms import EntranceForm
from chat.views.methods import allow_methods
from chat.views.visitor import identity_of, no_room, sign_in, sign_in_link

MESSAGES_SHOWN = 50
"""Messages in a room's page when it loads."""


@allow_methods("GET", "HEAD")
@never_cache
def room(request: HttpRequest, room: str) -> HttpResponse:
    """The room with its latest messages. Its socket continues from there."""
    identity = identity_of(request)
    if identity is None:
        return _ask_for_name(request, room)
    _remember_in_browser(request)
    found = models.Room.objects.visible_to(identity).filter(slug=room).first()
    if found is None:
        # A public room is created when somebody enters it.
        return no_room(request) if protocol.is_hidden(room) else _page(request, room, identity, {})
    rules, address = policy.build_policy(found, [identity]), request_address(request.META)
    try:
        check_entering(rules, identity, address, room)
    except Invalid as refusal:
        if refusal.code is protocol.ErrorCode.NO_ROOM:
            return no_room(request)
        return render(request, "chat/closed.html", {"reason": refusal.message}, status=403)
    return _page(request, room, identity, _page_status(about_room(rules, identity, address)))


def _remember_in_browser(request: HttpRequest) -> None:
    """Set the browser's cookie for a user whose session is older than that cookie."""
    if request.user.is_authenticated:
        remember_account(request.user)
    else:
        remember_guest()


@allow_methods("GET", "HEAD")
def room_by_name(request: HttpRequest, name: str) -> HttpResponse:
    """Redirect a room's name in any spelling to its slug."""
    slug = protocol.slug_of(name) if len(name) <= protocol.TITLE_LIMIT else None
    return redirect("chat:room", room=slug) if slug else no_room(request)


def _ask_for_name(request: HttpRequest, room: str) -> HttpResponse:
    """Redirect a visitor without a name. A room that is not public gets the 404 of no room."""
    if protocol.is_hidden(room):
        return no_room(request)
    return redirect(_index(room)) if chat_settings().GUESTS else sign_in(request)


def _page_status(about: protocol.AboutRoom) -> dict[str, Any]:
    status: dict[str, Any] = msgspec.to_builtins(about)
    status.pop("type", None)
    return status


def _page(request: HttpRequest, room: str, identity: Identity, status: dict[str, Any]) -> HttpResponse:
    config = {
        "room": room,
        "username": identity.name,
        "you": identity.public,
        "account": identity.account is not None,
        "path": "/ws",
        "lasting": identity.lasting,
        "about": status,
        "links": {
            "index": _index(room),
            "room": reverse("chat:room", kwargs={"room": "room-name"}),
            "signIn": sign_in_link(request),
            "whoami": reverse("chat:whoami"),
        },
        "page": _messages(room, identity),
    }
    form = EntranceForm(request=request, initial={"username": identity.name, "room": room})
    context = {"config": config, "form": form, "room": room, "title": status.get("title") or room}
    return render(request, "chat/room.html", context)


def _index(room: str) -> str:
    """The first page's URL. A public room's name is in its query, for the form."""
    index = reverse("chat:index")
    return index if protocol.is_hidden(room) else f"{index}?room={room}"


def _messages(room: str, identity: Identity) -> dict[str, Any]:
    """The latest messages for the page's script, and its position in the log."""
    page = log.page(room, MESSAGES_SHOWN)
    return {
        "messages": [msgspec.to_builtins(message) for message in page.messages],
        "more": page.more,
        "seq": page.seq,
        "epoch": page.epoch,
        "read": log.read_position(page.room, identity.key) if page.room else None,
    }
