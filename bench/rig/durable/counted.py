"""``python -m rig.durable.counted FILE serve ...``: manage.py, with its database statements counted.

On SIGUSR1 it writes to FILE the number of statements sent so far: {"reads": n, "writes": n}.
"""

import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

COUNTS: Counter[str] = Counter()


def _count(execute: Any, sql: str, parameters: Any, many: bool, context: Any) -> Any:  # noqa: FBT001 Django's signature
    COUNTS["reads" if sql.lstrip().upper().startswith("SELECT") else "writes"] += 1
    return execute(sql, parameters, many, context)


def _watch(connection: Any, **_: Any) -> None:
    connection.execute_wrappers.append(_count)


def main() -> None:
    target = Path(sys.argv.pop(1))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatsite.settings")
    # The project is the working directory; the settings look at argv for the command.
    sys.path.insert(0, str(Path.cwd()))
    sys.argv[0] = "manage.py"
    from django.core.management import execute_from_command_line  # noqa: PLC0415 after the paths are set
    from django.db.backends.signals import connection_created  # noqa: PLC0415 as above

    connection_created.connect(_watch)
    signal.signal(signal.SIGUSR1, lambda *_: target.write_text(json.dumps(COUNTS)))
    execute_from_command_line(sys.argv)


main()
