"""Migrations can run while the chat is in use, or document why one cannot."""

from collections.abc import Iterator

import pytest
from django.contrib.postgres.operations import (
    AddConstraintNotValid,
    AddIndexConcurrently,
    RemoveIndexConcurrently,
    ValidateConstraint,
)
from django.db import models
from django.db.migrations import AddField, AddIndex, AlterField, CreateModel, Migration, RemoveField, RunSQL
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations import AlterModelManagers, AlterModelOptions
from django.db.migrations.operations.base import Operation
from django.db.models import NOT_PROVIDED

RELEASED = "0004_rules_and_people"
"""The last migration before this rule. Earlier ones are exempt."""
OF_A_MOMENT = (
    AddConstraintNotValid,
    AddIndexConcurrently,
    AlterModelManagers,
    AlterModelOptions,
    CreateModel,
    RemoveIndexConcurrently,
    ValidateConstraint,
)


def is_brief(operation: Operation) -> bool:
    """True if its lock is brief, and processes of the version before work with its result."""
    if isinstance(operation, AddField):
        field = operation.field
        # They insert rows without the column. An index or a foreign key makes PostgreSQL scan the table.
        filled = field.null or field.db_default is not NOT_PROVIDED
        return filled and not (field.unique or getattr(field, "db_index", False) or field.is_relation)
    return isinstance(operation, OF_A_MOMENT)


def found() -> Iterator[Migration]:
    loaded = MigrationLoader(None).disk_migrations
    for (app, name), migration in sorted(loaded.items()):
        if app == "chat" and name > RELEASED:
            yield migration


def test_each_migration_is_brief_or_documents_its_locks() -> None:
    """Then its class has ``locks``: the table, the duration, and advice for the operator."""
    silent = {
        f"{migration.name}: {operation.describe()}"
        for migration in found()
        for operation in migration.operations
        if not is_brief(operation) and not getattr(migration, "locks", "")
    }
    assert silent == set()


TEXT, NUMBER = models.CharField(max_length=9, db_default=""), models.BigIntegerField(null=True)


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        (AddField("message", "note", TEXT), True),
        (AddField("message", "weight", NUMBER), True),
        (AddField("message", "weight", models.BigIntegerField(default=0)), False),
        (AddField("message", "weight", models.BigIntegerField(null=True, db_index=True)), False),
        (AddField("message", "of", models.ForeignKey("chat.room", models.CASCADE, null=True)), False),
        (CreateModel("Poll", []), True),
        (AddIndexConcurrently("message", models.Index(fields=["author"], name="by")), True),
        (AddIndex("message", models.Index(fields=["author"], name="by")), False),
        (AlterField("message", "author", TEXT), False),
        (RemoveField("message", "author"), False),
        (RunSQL("UPDATE chat_message SET seq = seq"), False),
    ],
)
def test_slow_operations_are_recognized(operation: Operation, expected: bool) -> None:
    """Operations that rewrite or scan a table, or that break the version before, are slow."""
    assert is_brief(operation) is expected
