"""The feed: rendered by the server, so that it works without scripts; live with them."""

import msgspec
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from chat.models import Entry, Topic
from chat.topics import publish
from examples.feed.topics import Activity, FeedTopic

SHOWN = 20
"""Entries on the page."""
LIMIT = 200
"""Characters of an activity."""


def feed(request: HttpRequest) -> HttpResponse:
    # The position is read before the entries. So an entry that comes in between is sent to the page again, and
    # none is missing. The page knows each by its id.
    topic = Topic.objects.filter(name=FeedTopic("all").name).first()
    rows = Entry.objects.filter(topic=topic).order_by("-number")[:SHOWN] if topic else []
    entries = [{"id": row.number, "created": row.created, **msgspec.json.decode(row.data)} for row in rows]
    position = {"since": topic.seq, "epoch": topic.epoch} if topic else {}
    return render(request, "examples/feed.html", {"entries": entries, "position": position, "limit": LIMIT})


@login_required
@require_POST
def add(request: HttpRequest) -> HttpResponse:
    """A plain sync view: the publication is a part of its transaction."""
    text = request.POST.get("text", "").strip()
    if not 1 <= len(text) <= LIMIT:
        messages.error(request, f"An activity has 1 to {LIMIT} characters.")
    else:
        with transaction.atomic():
            publish(FeedTopic("all"), Activity(request.user.get_username(), text))
    return redirect("examples-feed:feed")
