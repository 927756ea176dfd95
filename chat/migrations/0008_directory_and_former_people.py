from typing import Any

from django.db import migrations, models
from django.db.models import OuterRef, Subquery

LIVELY, BATCH = 5, 500


def _when_active(apps: Any, schema_editor: Any) -> None:
    """The rooms that there are, a few in each statement, from their latest messages."""
    using = schema_editor.connection.alias
    rooms = apps.get_model("chat", "Room").objects.using(using)
    rooms = rooms.filter(kind__in=["public", "members"], active=None, seq__gte=LIVELY).order_by("pk")
    messages = apps.get_model("chat", "Message").objects.using(using).filter(room=OuterRef("pk"))
    latest = Subquery(messages.order_by("-number").values("created")[:1])
    last = 0
    while some := list(rooms.filter(pk__gt=last).values_list("pk", flat=True)[:BATCH]):
        rooms.filter(pk__in=some).order_by().update(active=latest)
        last = some[-1]


class Migration(migrations.Migration):
    atomic = False
    locks = """chat_room: its writers wait while the index of it is made, under a second for 100,000 rooms. The step
    before fills a column in, 500 rooms in each statement."""

    dependencies = [
        ('chat', '0007_no_rows_of_connections'),
    ]

    operations = [
        migrations.AddField(
            model_name='room',
            name='active',
            field=models.DateTimeField(editable=False, help_text='When something was said or changed in it, to the minute. Only of rooms that everybody finds listed, and not before their first few messages.', null=True, verbose_name='last active'),
        ),
        migrations.AddField(
            model_name='room',
            name='former',
            field=models.CharField(blank=True, db_default='', editable=False, help_text='Of a direct room: the names of those whose account was deleted.', max_length=310, verbose_name='former people'),
        ),
        migrations.RunPython(_when_active, migrations.RunPython.noop),
        migrations.AddIndex(
            model_name='room',
            index=models.Index(condition=models.Q(('active__isnull', False), ('archived__isnull', True)), fields=['-active', '-id'], name='chat_room_active'),
        ),
    ]
