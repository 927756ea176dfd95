from typing import Any

from django.db import migrations, models


def _forget(apps: Any, schema_editor: Any) -> None:
    from chat.message_log.search import forget  # noqa: PLC0415 only on the way back

    forget(schema_editor.connection)


class Migration(migrations.Migration):
    locks = """No table: forwards the second step does nothing. Backwards it takes the search's index away, for which
    it waits until all who write messages at that moment are done. The index itself is made after `migrate`."""

    dependencies = [
        ('chat', '0005_refs_of_changes'),
    ]

    operations = [
        migrations.AddField(
            model_name='message',
            name='words',
            field=models.TextField(editable=False, null=True, serialize=False, verbose_name='words'),
        ),
        migrations.RunPython(migrations.RunPython.noop, _forget, elidable=False),
    ]
