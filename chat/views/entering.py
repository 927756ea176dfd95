"""The first page, and the ways from it into a room: by name, by making one, by an invitation."""

from collections.abc import Callable
from functools import partial
from typing import Any

from django.contrib.auth.decorators import login_required
from django.forms import Form
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from chat import loops, protocol, rooms
from chat.auth import GUEST_NAME, Identity
from chat.auth.tries import know_guest
from chat.conf import chat_settings
from chat.database import again_where_lost
from chat.log import queries as log
from chat.presence import Presence
from chat.protocol import ErrorCode, Invalid
from chat.views.forms import DirectForm, EntranceForm, NewRoomForm
from chat.views.visitor import identity_of, no_room, sign_in, sign_in_link

ROOMS_SHOWN = 50
"""Rooms on the first page: the fullest."""
UNREAD_COUNTED = 100
"""Unread messages of one room that are counted: so many mean "99+"."""


@never_cache
def index(request: HttpRequest) -> HttpResponse:
    """Choose a name and a room."""
    if request.method != "POST":
        return _first_page(request)
    if not request.user.is_authenticated and not chat_settings().GUESTS:
        return sign_in(request)
    form = EntranceForm(request.POST, request=request)
    if not form.is_valid():
        return _first_page(request, form=form)
    if "username" in form.cleaned_data:
        request.session[GUEST_NAME] = form.cleaned_data["username"]
        know_guest()
    return redirect("chat:room", room=form.cleaned_data["room"])


@require_POST
@login_required
def create(request: HttpRequest) -> HttpResponse:
    """Make a room, and go there."""
    form = NewRoomForm(request.POST, auto_id="new_%s")
    return _into_room(request, form, "new_room", _make)


@require_POST
@login_required
def direct(request: HttpRequest) -> HttpResponse:
    """Go to the room of oneself and one other person."""
    form = DirectForm(request.POST, auto_id="direct_%s")
    return _into_room(request, form, "direct", _talk)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def invite(request: HttpRequest, code: str) -> HttpResponse:
    """Who has the code may become a member. One that does not hold is answered for as a room that is not there."""
    invitation = rooms.invitation(code)
    if invitation is None:
        return no_room(request)
    identity = identity_of(request)
    if identity is None or identity.account is None:
        return sign_in(request)
    context: dict[str, Any] = {"title": invitation.room.title, "by": invitation.by.get_username()}
    if request.method == "POST":
        try:
            return redirect("chat:room", room=again_where_lost(partial(rooms.accept, identity, code)))
        except Invalid as refusal:
            if refusal.code == ErrorCode.NO_ROOM:
                return no_room(request)
            context["error"] = refusal.message
    return render(request, "chat/invite.html", context, status=409 if "error" in context else 200)


def _make(who: Identity, *, title: str, kind: str, room: str) -> str:
    return rooms.create(who, title=title, kind=kind, slug=room or None)


def _talk(who: Identity, *, username: str) -> str:
    return rooms.direct(who, username)


def _into_room(request: HttpRequest, form: Form, name: str, make: Callable[..., str]) -> HttpResponse:
    """Make the room that the form tells of and go there; or the first page again, with what was wrong."""
    identity = identity_of(request)
    if identity is not None and form.is_valid():
        try:
            room = again_where_lost(partial(make, identity, **form.cleaned_data))
            return redirect("chat:room", room=room)
        except Invalid as refusal:
            field = refusal.field if refusal.field in form.fields else None
            form.add_error(field, refusal.message.removeprefix(f"{field}: "))
    return _first_page(request, **{name: form})


def _first_page(request: HttpRequest, **forms: Form) -> HttpResponse:
    """``forms``: those that were filled in, by their names in the template."""
    identity = identity_of(request)
    initial = {
        "username": request.session.get(GUEST_NAME, ""),
        "room": request.GET.get("room", protocol.LOBBY),
    }
    context = {
        "form": EntranceForm(request=request, initial=initial),
        "new_room": NewRoomForm(auto_id="new_%s"),
        "direct": DirectForm(auto_id="direct_%s"),
        "guests": chat_settings().GUESTS,
        "sign_in": sign_in_link(request),
        **_rooms(identity),
        **forms,
    }
    return render(request, "chat/index.html", context)


def _rooms(identity: Identity | None) -> dict[str, list[dict[str, Any]]]:
    """``rooms``: the public ones with people of this process, the fullest first, then those that somebody read
    before. ``own``: those that are not public and that they may see, those with unread messages first.
    """
    counts: dict[str, int] = {}
    for _loop, presence in loops.everywhere(Presence):
        counts |= presence.counts()
    unread = log.unread(identity.key, most=UNREAD_COUNTED) if identity else {}
    slugs = [
        *sorted(counts, key=lambda slug: (-counts[slug], slug)),
        *(slug for slug in unread if slug not in counts),
    ]
    shown = [slug for slug in slugs if not protocol.is_hidden(slug)][:ROOMS_SHOWN]
    titles = log.titles(shown)
    own = [(room.slug, title, room.kind) for room, title in rooms.listed(identity)] if identity else []
    own.sort(key=lambda row: (not unread.get(row[0]), row[1].casefold()))
    return {
        "rooms": [_row(slug, titles.get(slug) or slug, counts, unread) for slug in shown],
        "own": [{**_row(slug, title, counts, unread), "kind": kind} for slug, title, kind in own],
    }


def _row(slug: str, title: str, counts: dict[str, int], unread: dict[str, int]) -> dict[str, Any]:
    return {"name": slug, "title": title, "count": counts.get(slug, 0), "unread": unread.get(slug)}
