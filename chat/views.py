"""The pages: choose a name and a room; the room; and whether the process is alive."""

from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_safe

from chat import loops, protocol
from chat.auth import GUEST_NAME
from chat.presence import Presence

ROOMS_SHOWN = 50
"""Rooms on the first page: the fullest."""


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
    rooms = [{"name": name, "count": count} for name, count in _fullest_rooms()]
    return render(request, "chat/index.html", {"form": form, "rooms": rooms})


@require_safe
@never_cache
def room(request: HttpRequest, room: str) -> HttpResponse:
    """The room. Everything in it comes over the socket."""
    name = request.user.get_username() or request.session.get(GUEST_NAME)
    if not name:
        return redirect(f"{reverse('chat:index')}?room={room}")
    form = EntranceForm(request=request, initial={"username": name, "room": room})
    config = {"room": room, "username": name, "path": "/ws"}
    return render(request, "chat/room.html", {"config": config, "form": form, "room": room})


@require_GET
@never_cache
def healthz(request: HttpRequest) -> HttpResponse:  # noqa: ARG001 a view's signature
    """The process answers: 200. It says nothing of the database or the layer, which others share."""
    return HttpResponse("ok\n", content_type="text/plain")


def _fullest_rooms() -> list[tuple[str, int]]:
    """The rooms that people of this process are in."""
    counts: dict[str, int] = {}
    for _loop, presence in loops.everywhere(Presence):
        counts |= presence.counts()
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:ROOMS_SHOWN]
