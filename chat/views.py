"""The pages: choose a name and a room; the room; and whether the process is alive."""

from typing import Any

import msgspec
from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_safe

from chat import loops, protocol
from chat.auth import GUEST_NAME, Identity, account, guest
from chat.log import queries as log
from chat.presence import Presence

ROOMS_SHOWN = 50
"""Rooms on the first page: the fullest."""
MESSAGES_SHOWN = 50
"""Messages that a room's page has from the start."""
UNREAD_COUNTED = 100
"""Unread messages of one room that are counted: so many mean "99+"."""


class EntranceForm(forms.Form):
    """A name and a room. An account brings its own name."""

    username = forms.CharField(
        label=_("Your name"),
        # Before NFKC, as on the wire; clean_username holds the real limit.
        max_length=4 * protocol.NAME_LIMIT,
        widget=forms.TextInput(attrs={"autocomplete": "nickname", "maxlength": protocol.NAME_LIMIT}),
    )
    room = forms.RegexField(
        label=_("Room"),
        regex=protocol.ROOM_PATTERN,
        initial=protocol.LOBBY,
        widget=forms.TextInput(attrs={"autocapitalize": "none", "autocomplete": "off", "spellcheck": "false"}),
        error_messages={"invalid": _("Use 1-50 characters: a-z, 0-9, - and _, starting with a letter or digit.")},
    )

    def __init__(self, *args: Any, request: HttpRequest, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if request.user.is_authenticated:
            del self.fields["username"]

    def clean_username(self) -> str:
        try:
            return protocol.clean_name(self.cleaned_data["username"])
        except ValueError as error:
            raise forms.ValidationError(_("A name %(reason)s."), params={"reason": error}) from None


def index(request: HttpRequest) -> HttpResponse:
    """Choose a name and a room."""
    initial = {
        "username": request.session.get(GUEST_NAME, ""),
        "room": request.GET.get("room", protocol.LOBBY),
    }
    form = EntranceForm(request.POST or None, request=request, initial=initial)
    if request.method == "POST" and form.is_valid():
        if "username" in form.cleaned_data:
            request.session[GUEST_NAME] = form.cleaned_data["username"]
        return redirect("chat:room", room=form.cleaned_data["room"])
    rooms = _rooms(_identity(request))
    return render(request, "chat/index.html", {"form": form, "rooms": rooms})


@require_safe
@never_cache
def room(request: HttpRequest, room: str) -> HttpResponse:
    """The room, with its latest messages: the socket goes on from there."""
    identity = _identity(request)
    if identity is None:
        return redirect(f"{reverse('chat:index')}?room={room}")
    form = EntranceForm(request=request, initial={"username": identity.name, "room": room})
    config = {
        "room": room,
        "username": identity.name,
        "path": "/ws",
        "lasting": identity.lasting,
        "page": _page(room, identity),
    }
    return render(request, "chat/room.html", {"config": config, "form": form, "room": room})


def _identity(request: HttpRequest) -> Identity | None:
    """Who the page's socket will be; None where they have no name yet."""
    if request.user.is_authenticated:
        return account(request.user)
    name = request.session.get(GUEST_NAME)
    return guest(request.session.session_key, name) if name and request.session.session_key else None


def _page(room: str, identity: Identity) -> dict[str, Any]:
    """What the page shows at once."""
    page = log.page(room, MESSAGES_SHOWN)
    return {
        "messages": [msgspec.to_builtins(message) for message in page.messages],
        "more": page.more,
        "seq": page.seq,
        "epoch": page.epoch,
        "read": log.read_position(page.room, identity.key) if page.room else None,
    }


@require_GET
@never_cache
def healthz(request: HttpRequest) -> HttpResponse:  # noqa: ARG001 a view's signature
    """The process answers: 200. It says nothing of the database or the layer, which others share."""
    return HttpResponse("ok\n", content_type="text/plain")


def _rooms(identity: Identity | None) -> list[dict[str, Any]]:
    """The rooms that people of this process are in, the fullest first; then those that somebody read before."""
    counts: dict[str, int] = {}
    for _loop, presence in loops.everywhere(Presence):
        counts |= presence.counts()
    unread = log.unread(identity.key, most=UNREAD_COUNTED) if identity else {}
    fullest = sorted(counts, key=lambda slug: (-counts[slug], slug))
    shown = [*fullest, *(slug for slug in unread if slug not in counts)][:ROOMS_SHOWN]
    titles = log.titles(shown)
    return [
        {
            "name": slug,
            "title": titles.get(slug) or slug,
            "count": counts.get(slug, 0),
            "unread": unread.get(slug),
        }
        for slug in shown
    ]
