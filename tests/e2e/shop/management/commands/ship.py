from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from shop.urls import ship


class Command(BaseCommand):
    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("status", nargs="+")

    def handle(self, *, status: list[str], **_: Any) -> None:
        for one in status:
            ship(one)
