"""The first page, and the ways from it into a room: by name, by making one, by an invitation."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.forms import Form
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache

from chat import actions, loops, protocol
from chat.auth import GUEST_NAME, Identity
from chat.auth.password_attempts import remember_guest
from chat.conf import chat_settings
from chat.database import retry_on_conflict
from chat.limits import RowKind, creation_limits, request_address
from chat.presence import Presence
from chat.protocol import ErrorCode, Invalid
from chat.views.forms import DirectForm, EntranceForm, NewRoomForm
from chat.views.methods import takes
from chat.views.visitor import identity_of, no_room, sign_in, sign_in_link

ROOMS_SHOWN = 50
"""Rooms on a page of each list."""
PAGES, DIGITS = 2_000, 9
"""Pages of a list that can be asked for, and digits of such a number."""


@takes("GET", "HEAD", "POST")
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
    if _is_new(request) and (wait := creation_limits.take(RowKind.SESSION, request_address(request.META))):
        return _too_many(request, form, math.ceil(wait))
    if "username" in form.cleaned_data:
        request.session[GUEST_NAME] = form.cleaned_data["username"]
        remember_guest()
    room = form.cleaned_data["room"]
    if title := form.title():
        retry_on_conflict(partial(actions.create_titled, identity_of(request), room, title))
    return redirect("chat:room", room=room)


@takes("POST")
@login_required
def create(request: HttpRequest) -> HttpResponse:
    """Make a room, and go there."""
    form = NewRoomForm(request.POST, auto_id="new_%s")
    return _into_room(request, form, "new_room", _make)


@takes("POST")
@login_required
def direct(request: HttpRequest) -> HttpResponse:
    """Go to the room of oneself and one other person."""
    form = DirectForm(request.POST, auto_id="direct_%s")
    return _into_room(request, form, "direct", _talk)


@takes("GET", "HEAD", "POST")
@never_cache
def invite(request: HttpRequest, code: str) -> HttpResponse:
    """Who has the code may become a member. One that does not hold is answered for as a room that is not there."""
    invitation = actions.invitation(code)
    if invitation is None:
        return no_room(request)
    identity = identity_of(request)
    if identity is None or identity.account is None:
        return sign_in(request)
    context: dict[str, Any] = {"title": invitation.room.title, "by": invitation.by.get_username()}
    if request.method == "POST":
        try:
            return redirect("chat:room", room=retry_on_conflict(partial(actions.accept, identity, code)))
        except Invalid as refusal:
            if refusal.code == ErrorCode.NO_ROOM:
                return no_room(request)
            context["error"] = refusal.message
    return render(request, "chat/invite.html", context, status=409 if "error" in context else 200)


def _is_new(request: HttpRequest) -> bool:
    """Will what is kept of them make a session? A cookie of one that is gone, or was made up, is none."""
    return not request.user.is_authenticated and request.session.is_empty()


def _too_many(request: HttpRequest, form: Form, seconds: int) -> HttpResponse:
    message = _("Too many people came in from your network just now. Try again in %(seconds)s s.")
    form.add_error(None, ValidationError(message, params={"seconds": seconds}))
    response = _first_page(request, form=form)
    response.status_code, response.headers["Retry-After"] = 429, str(seconds)
    return response


def _make(who: Identity, *, title: str, kind: str, room: str) -> str:
    return actions.create(who, title=title, kind=kind, slug=room or None)


def _talk(who: Identity, *, username: str) -> str:
    return actions.open_direct(who, username)


def _into_room(request: HttpRequest, form: Form, name: str, make: Callable[..., str]) -> HttpResponse:
    """Make the room that the form tells of and go there; or the first page again, with what was wrong."""
    identity = identity_of(request)
    if identity is not None and form.is_valid():
        try:
            room = retry_on_conflict(partial(make, identity, **form.cleaned_data))
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
        **_rooms(request, identity),
        **forms,
    }
    return render(request, "chat/index.html", context)


def _rooms(request: HttpRequest, identity: Identity | None) -> dict[str, Any]:
    """A page of one's own rooms, and one of those that everybody may come into."""
    counts: dict[str, int] = {}
    for _loop, presence in loops.all_loops(Presence):
        counts |= presence.counts()
    name = request.GET.get("q", "").replace("\0", "").strip()[: protocol.TITLE_LIMIT]
    own = None
    if identity is not None:
        own = actions.own_rooms(identity, counts, name=name, page=_number(request, "own"), size=ROOMS_SHOWN)
    listed = actions.joinable_rooms(identity, counts, name=name, page=_number(request, "page"), size=ROOMS_SHOWN)
    return {
        "filter": name,
        "own": [_row(entry) for entry in own.entries] if own else [],
        "own_pages": _pages(request, "own", own) if own else {},
        "rooms": [_row(entry) for entry in listed.entries],
        "room_pages": _pages(request, "page", listed),
    }


def _row(entry: actions.RoomEntry) -> dict[str, Any]:
    """A room as the template has it."""
    return {
        "name": entry.name,
        "title": entry.title,
        "kind": entry.kind,
        "count": entry.count,
        "unread": entry.unread,
        "active": entry.active,
        "moment": entry.active.isoformat(timespec="minutes") if entry.active else "",
        "href": reverse("chat:room", kwargs={"room": entry.name}),
    }


def _number(request: HttpRequest, parameter: str) -> int:
    """The page of a list that is wanted; 1 if the address has no sensible one."""
    wanted = request.GET.get(parameter, "")
    return (
        min(max(int(wanted), 1), PAGES) if wanted.isascii() and wanted.isdigit() and len(wanted) <= DIGITS else 1
    )


def _pages(request: HttpRequest, parameter: str, listing: actions.Listing) -> dict[str, str]:
    """The addresses of the pages before and after this one, where there are any."""
    around = {"before": listing.page - 1, "after": listing.page + 1 if listing.more else 0}
    return {place: f"?{_query(request, parameter, page)}" for place, page in around.items() if page}


def _query(request: HttpRequest, parameter: str, page: int) -> str:
    query = request.GET.copy()
    query[parameter] = str(page)
    return query.urlencode()
