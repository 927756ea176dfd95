"""The first page, and the ways into a room: by name, by creating one, by an invitation."""

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
from chat.views.methods import allow_methods
from chat.views.visitor import identity_of, no_room, sign_in, sign_in_link

ROOMS_SHOWN = 50
"""Rooms on one page of each list."""
MAX_PAGE, MAX_DIGITS = 2_000, 9
"""The highest page number that a list accepts, and the most digits that are parsed."""


@allow_methods("GET", "HEAD", "POST")
@never_cache
def index(request: HttpRequest) -> HttpResponse:
    """The form for a name and a room, and the lists of rooms."""
    if request.method != "POST":
        return _first_page(request)
    if not request.user.is_authenticated and not chat_settings().GUESTS:
        return sign_in(request)
    form = EntranceForm(request.POST, request=request)
    if not form.is_valid():
        return _first_page(request, form=form)
    if _needs_new_session(request) and (
        wait := creation_limits.take(RowKind.SESSION, request_address(request.META))
    ):
        return _too_many_sessions(request, form, math.ceil(wait))
    if "username" in form.cleaned_data:
        request.session[GUEST_NAME] = form.cleaned_data["username"]
        remember_guest()
    room = form.cleaned_data["room"]
    if title := form.title():
        retry_on_conflict(partial(actions.create_titled, identity_of(request), room, title))
    return redirect("chat:room", room=room)


@allow_methods("POST")
@login_required
def create(request: HttpRequest) -> HttpResponse:
    """Create a room, and redirect to it."""
    form = NewRoomForm(request.POST, auto_id="new_%s")
    return _create_and_enter(request, form, "new_room", _create_room)


@allow_methods("POST")
@login_required
def direct(request: HttpRequest) -> HttpResponse:
    """Open the direct room with another user, and redirect to it."""
    form = DirectForm(request.POST, auto_id="direct_%s")
    return _create_and_enter(request, form, "direct", _open_direct_room)


@allow_methods("GET", "HEAD", "POST")
@never_cache
def invite(request: HttpRequest, code: str) -> HttpResponse:
    """The page on which a user with a code becomes a member. An invalid code gets the same 404 as no room."""
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


def _needs_new_session(request: HttpRequest) -> bool:
    """True if storing the guest's name creates a session. The cookie of an expired or invented session is none."""
    return not request.user.is_authenticated and request.session.is_empty()


def _too_many_sessions(request: HttpRequest, form: Form, seconds: int) -> HttpResponse:
    message = _("Too many new visitors from your network. Try again in %(seconds)s s.")
    form.add_error(None, ValidationError(message, params={"seconds": seconds}))
    response = _first_page(request, form=form)
    response.status_code, response.headers["Retry-After"] = 429, str(seconds)
    return response


def _create_room(who: Identity, *, title: str, kind: str, room: str) -> str:
    return actions.create(who, title=title, kind=kind, slug=room or None)


def _open_direct_room(who: Identity, *, username: str) -> str:
    return actions.open_direct(who, username)


def _create_and_enter(request: HttpRequest, form: Form, name: str, make: Callable[..., str]) -> HttpResponse:
    """Call ``make`` with the form's fields and redirect to its room, or show the first page with the errors.

    ``name`` is the form's name in the template.
    """
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
    """``forms``: the submitted forms, by their names in the template."""
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
    """The template's lists: a page of the user's own rooms, and a page of the rooms that everybody may enter."""
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
    """A room for the template."""
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
    """The requested page of a list; 1 if the URL has no valid number."""
    wanted = request.GET.get(parameter, "")
    return (
        min(max(int(wanted), 1), MAX_PAGE)
        if wanted.isascii() and wanted.isdigit() and len(wanted) <= MAX_DIGITS
        else 1
    )


def _pages(request: HttpRequest, parameter: str, listing: actions.Listing) -> dict[str, str]:
    """The links to the pages before and after this one, if any: {"before": ..., "after": ...}."""
    around = {"before": listing.page - 1, "after": listing.page + 1 if listing.more else 0}
    return {place: f"?{_query(request, parameter, page)}" for place, page in around.items() if page}


def _query(request: HttpRequest, parameter: str, page: int) -> str:
    query = request.GET.copy()
    query[parameter] = str(page)
    return query.urlencode()
