"""A test's rows are gone after it, without Django's `flush`.

Django's way sends `post_migrate`, which creates all permissions again. On PostgreSQL it truncates tables, each of
which is a new file then. Together this is most of a small test's time.
"""

from functools import cache

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import TransactionTestCase

KEPT = {"django_content_type", "auth_permission"}
"""Tables that `migrate` fills."""


def install() -> None:
    TransactionTestCase._fixture_teardown = _empty  # type: ignore[attr-defined]


def _empty(case: TransactionTestCase) -> None:
    for name in case._databases_names(include_mirrors=False):  # type: ignore[attr-defined]
        empty(name)


def empty(name: str = "default") -> None:
    """Leave in a database what `migrate` makes there."""
    with transaction.atomic(using=name), connections[name].cursor() as cursor:
        for statement in _statements(connections[name]):
            cursor.execute(statement)


@cache
def _statements(connection: BaseDatabaseWrapper) -> list[str]:
    """Foreign keys are looked at when the transaction ends, so any order will do."""
    tables = connection.introspection.django_table_names(only_existing=True, include_views=False)
    deletes = [f"DELETE FROM {connection.ops.quote_name(table)}" for table in sorted(set(tables) - KEPT)]  # noqa: S608 names of ours
    return ["; ".join(deletes)] if connection.vendor == "postgresql" else deletes
