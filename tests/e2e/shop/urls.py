import os
import signal
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from django.contrib.auth.models import Group
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from django.urls import include, path

from chat.topics import apublish, publish
from shop.topics import Moved, OrderTopic

tasks = ThreadPoolExecutor(2)


def ship(status: str) -> None:
    """The order's row and its publication: both, or neither."""
    with transaction.atomic():
        Group.objects.create(name=status)
        publish(OrderTopic(1), Moved(status), ref=status)
        if status.startswith("undone"):
            transaction.set_rollback(True)


def view(request: HttpRequest, status: str) -> HttpResponse:
    ship(status)
    return HttpResponse(status)


def in_a_task(request: HttpRequest, status: str) -> HttpResponse:
    tasks.submit(ship, status).add_done_callback(lambda _: tasks.submit(connection.close))
    return HttpResponse(status)


async def async_view(request: HttpRequest, status: str) -> HttpResponse:
    return HttpResponse(await apublish(OrderTopic(1), Moved(status)))


def killed(request: HttpRequest, status: str) -> HttpResponse:
    """The process ends between the commit and the hint that something was committed."""
    with transaction.atomic():
        transaction.on_commit(partial(os.kill, os.getpid(), signal.SIGKILL))
        publish(OrderTopic(1), Moved(status))
    return HttpResponse(status)


urlpatterns = [
    path("view/<status>", view),
    path("task/<status>", in_a_task),
    path("async/<status>", async_view),
    path("killed/<status>", killed),
    path("", include("chatsite.urls")),
]
