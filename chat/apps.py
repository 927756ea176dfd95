from typing import Any

from django.apps import AppConfig
from django.contrib.auth import get_user_model
from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.signals import post_migrate
from django.utils.module_loading import autodiscover_modules


class ChatAppConfig(AppConfig):
    name = "chat"
    verbose_name = "Chat"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # Models can be imported only when the apps are ready. The import of `checks` registers the system checks.
        from chat import checks, loops, runtime, signals  # noqa: F401, PLC0415 as the comment says
        from chat.auth import password_attempts  # noqa: PLC0415 as above

        autodiscover_modules("topics")
        loops.add_builder(runtime.build)
        signals.connect()
        password_attempts.connect()
        post_migrate.connect(_fill_names, sender=self, dispatch_uid="chat.names")
        post_migrate.connect(_prepare_search, sender=self, dispatch_uid="chat.search")


def _fill_names(using: str, **_: Any) -> None:
    from chat.auth.usernames import add_missing_names  # noqa: PLC0415 as above

    tables = connections[using].introspection.table_names()
    if "chat_accountname" in tables and router.db_for_write(get_user_model()) == using:
        add_missing_names(stale=True)


def _prepare_search(using: str, **_: Any) -> None:
    from chat.message_log.search import prepare  # noqa: PLC0415 as above

    connection = connections[using]
    # This also runs after a migration backwards, when the table or the column may be missing.
    if "chat_message" in connection.introspection.table_names() and _has_words(connection):
        prepare(connection)


def _has_words(connection: BaseDatabaseWrapper) -> bool:
    with connection.cursor() as cursor:
        columns = connection.introspection.get_table_description(cursor, "chat_message")
    return "words" in {column.name for column in columns}
