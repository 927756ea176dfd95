from typing import Any

from django.apps import AppConfig
from django.db import connections
from django.db.models.signals import post_migrate


class ChatAppConfig(AppConfig):
    name = "chat"
    verbose_name = "Chat"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # Registers the system checks.
        from chat import checks  # noqa: F401, PLC0415 importing it before the apps are ready would be too early
        from chat.rooms import signals  # noqa: PLC0415 as above

        signals.connect()
        post_migrate.connect(_prepare_search, sender=self, dispatch_uid="chat.search")


def _prepare_search(using: str, **_: Any) -> None:
    from chat.log.search import prepare  # noqa: PLC0415 as above

    connection = connections[using]
    # It runs after a migration backwards too.
    if "chat_message" in connection.introspection.table_names():
        prepare(connection)
