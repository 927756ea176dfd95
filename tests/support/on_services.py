"""The tests once more, on PostgreSQL and Redis in place of SQLite and memory.

    python tests/support/on_services.py [arguments for pytest]

Both are started here, on free ports, and removed at the end. ``second_run.py`` chooses the tests. Tests that the
arguments name run all.
"""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import second_run
from programs import postgresql
from servers import ROOT, free_port, redis
from thorough import either


def main(arguments: list[str]) -> int:
    # The programs started here end with this one.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    port = free_port()
    with (
        tempfile.TemporaryDirectory(prefix="redis-") as folder,
        postgresql() as database,
        redis(Path(folder), port),
    ):
        services = {"DATABASE_URL": database.url, "REDIS_URL": f"redis://127.0.0.1:{port}/0"}
        if not any(argument.startswith("tests/") for argument in arguments):
            services[second_run.VARIABLE] = "1"
        profile = either("few", "usual")
        command = [sys.executable, "-m", "pytest", f"--hypothesis-profile={profile}", *arguments]
        return subprocess.run(command, cwd=ROOT, env={**os.environ, **services}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
