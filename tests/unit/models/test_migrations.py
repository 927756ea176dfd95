"""Migrations of the chat can be made while people talk, or say why one can't."""

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
"""The last before this rule: it and those before it are as they are."""
OF_A_MOMENT = (
    AddConstraintNotValid,
    AddIndexConcurrently,
    AlterModelManagers,
    AlterModelOptions,
    CreateModel,
    RemoveIndexConcurrently,
    ValidateConstraint,
)


def of_a_moment(operation: Operation) -> bool:
    """Is its lock held for a moment only, and can processes of the version before go on with what it leaves?"""
    if isinstance(operation, AddField):
        field = operation.field
        # They insert rows without it. A column with an index or a reference makes the database scan the table.
        filled = field.null or field.db_default is not NOT_PROVIDED
        return filled and not (field.unique or getattr(field, "db_index", False) or field.is_relation)
    return isinstance(operation, OF_A_MOMENT)


def found() -> Iterator[Migration]:
    loaded = MigrationLoader(None).disk_migrations
    for (app, name), migration in sorted(loaded.items()):
        if app == "chat" and name > RELEASED:
            yield migration


def test_each_migration_is_of_a_moment_or_says_why_not() -> None:
    """Its class has ``locks`` then: which table, for how long, and what the operator should do."""
    silent = {
        f"{migration.name}: {operation.describe()}"
        for migration in found()
        for operation in migration.operations
        if not of_a_moment(operation) and not getattr(migration, "locks", "")
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
def test_what_holds_everybody_up_is_known(operation: Operation, expected: bool) -> None:
    """Operations that rewrite or scan a table, or remove something that the version before needs."""
    assert of_a_moment(operation) is expected
