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
from chat.log import queries as log
from chat.protocol import Invalid
from chat.views.forms import EntranceForm
from chat.views.methods import takes
from chat.views.visitor import identity_of, no_room, sign_in, sign_in_link

MESSAGES_SHOWN = 50
"""Messages that a room's page has from the start."""


@takes("GET", "HEAD")
@never_cache
def room(request: HttpRequest, room: str) -> HttpResponse:
    """The room, with its latest messages: the socket goes on from there."""
    identity = identity_of(request)
    if identity is None:
        return _ask_for_name(request, room)
    _know(request)
    found = models.Room.objects.visible_to(identity).filter(slug=room).first()
    if found is None:
        # A public one opens when somebody enters it.
        return no_room(request) if protocol.is_hidden(room) else _page(request, room, identity, {})
    rules, address = policy.build_policy(found), request_address(request.META)
    try:
        check_entering(rules, identity, address, room)
    except Invalid as refusal:
        return render(request, "chat/closed.html", {"reason": refusal.message}, status=403)
    return _page(request, room, identity, _told(about_room(rules, identity, address)))


def _know(request: HttpRequest) -> None:
    """Set the browser's cookie for a person who came in before there was one."""
    if request.user.is_authenticated:
        remember_account(request.user)
    else:
        remember_guest()


@takes("GET", "HEAD")
def called(request: HttpRequest, name: str) -> HttpResponse:
    """A room's address with what people call it, as they type it: the way to its slug."""
    slug = protocol.slug_of(name) if len(name) <= protocol.TITLE_LIMIT else None
    return redirect("chat:room", room=slug) if slug else no_room(request)


def _ask_for_name(request: HttpRequest, room: str) -> HttpResponse:
    """Without a name nobody sees a room: what is not public is answered for as if it were not there."""
    if protocol.is_hidden(room):
        return no_room(request)
    return redirect(_index(room)) if chat_settings().GUESTS else sign_in(request)


def _told(standing: protocol.AboutRoom) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(standing)
    told.pop("type", None)
    return told


def _page(request: HttpRequest, room: str, identity: Identity, standing: dict[str, Any]) -> HttpResponse:
    config = {
        "room": room,
        "username": identity.name,
        "you": identity.public,
        "account": identity.account is not None,
        "path": "/ws",
        "lasting": identity.lasting,
        "about": standing,
        "links": {
            "index": _index(room),
            "room": reverse("chat:room", kwargs={"room": "room-name"}),
            "signIn": sign_in_link(request),
            "whoami": reverse("chat:whoami"),
        },
        "page": _messages(room, identity),
    }
    form = EntranceForm(request=request, initial={"username": identity.name, "room": room})
    context = {"config": config, "form": form, "room": room, "title": standing.get("title") or room}
    return render(request, "chat/room.html", context)


def _index(room: str) -> str:
    """The first page, with this room's name in its form where others can know it."""
    index = reverse("chat:index")
    return index if protocol.is_hidden(room) else f"{index}?room={room}"


def _messages(room: str, identity: Identity) -> dict[str, Any]:
    """What the page shows at once."""
    page = log.page(room, MESSAGES_SHOWN)
    return {
        "messages": [msgspec.to_builtins(message) for message in page.messages],
        "more": page.more,
        "seq": page.seq,
        "epoch": page.epoch,
        "read": log.read_position(page.room, identity.key) if page.room else None,
    }
