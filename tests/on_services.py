"""The tests once more, on PostgreSQL and Redis in place of SQLite and memory.

    python tests/on_services.py [arguments for pytest]

Both are started here, on free ports, and forgotten at the end. What needs no second run is left out, and told here
why.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from servers import ROOT, free_port, postgresql, redis

LEFT_OUT = {
    "they ask neither the database nor the layer": [
        "test_confusables.py",
    ],
}


def main() -> int:
    port = free_port()
    with (
        tempfile.TemporaryDirectory(prefix="redis-") as folder,
        postgresql() as database,
        redis(Path(folder), port),
    ):
        services = {"DATABASE_URL": database.url, "REDIS_URL": f"redis://127.0.0.1:{port}/0"}
        ignored = [f"--ignore=tests/{name}" for names in LEFT_OUT.values() for name in names]
        command = [sys.executable, "-m", "pytest", "--hypothesis-profile=few", *ignored, *sys.argv[1:]]
        return subprocess.run(command, cwd=ROOT, env={**os.environ, **services}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
