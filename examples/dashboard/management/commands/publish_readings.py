"""``manage.py publish_readings --seconds 10``: another process publishes readings, twice a second."""

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from examples.dashboard.views import read_all


class Command(BaseCommand):
    help = "Publish readings of all gauges of the dashboard, twice a second."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--seconds", type=float, default=10.0)

    def handle(self, *, seconds: float, **_: Any) -> None:
        end = time.monotonic() + seconds
        while True:
            read_all()
            if time.monotonic() >= end:
                return
            time.sleep(0.5)
