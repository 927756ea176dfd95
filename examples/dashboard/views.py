"""A dashboard of 200 gauges: each has a name and its latest reading, from 0 to 100."""

import random

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from chat.topics import publish_many
from examples.dashboard.topics import BoardTopic, Reading

GAUGES = [f"gauge-{number:03}" for number in range(1, 201)]


def dashboard(request: HttpRequest) -> HttpResponse:
    return render(request, "examples/dashboard.html", {"gauges": GAUGES})


@login_required
@require_POST
def measure(request: HttpRequest) -> HttpResponse:  # noqa: ARG001 a view's signature
    """Publish a reading for each gauge, with one statement."""
    read_all()
    return redirect("examples-dashboard:dashboard")


def read_all() -> None:
    board = BoardTopic("main")
    publish_many((board, Reading(round(random.uniform(0, 100), 1)), gauge) for gauge in GAUGES)  # noqa: S311 a demonstration
