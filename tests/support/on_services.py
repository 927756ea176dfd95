"""The tests once more, on PostgreSQL and Redis in place of SQLite and memory.

    python tests/support/on_services.py [arguments for pytest]

Both are started here, on free ports, and forgotten at the end. What needs no second run is left out, for the
reason that stands here; files that are named run whole.
"""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from programs import postgresql
from servers import ROOT, free_port, redis
from thorough import THOROUGH, either

LEFT_OUT = {
    "they ask neither the database nor the layer": [
        "unit/project/test_ci.py",
        "unit/test_conf.py",
        "unit/metrics/test_dashboard.py",
        "unit/project/test_deploy.py",
        "unit/project/test_docs.py",
        "unit/chatsite/server/test_drain.py",
        "unit/chatsite/test_environment.py",
        "unit/test_transport.py",
        "unit/chatsite/test_logs.py",
        "unit/models/test_migrations.py",
        "unit/protocol/test_protocol.py",
        "unit/hub/test_recent_changes.py",
        "unit/chatsite/server/test_internals.py",
        "unit/chatsite/server/test_admission.py",
        "unit/chatsite/server/test_inbox.py",
        "unit/chatsite/server/test_server.py",
        "unit/chatsite/server/test_websocket.py",
        "unit/chatsite/handlers/test_fair_queue.py",
        "unit/chatsite/handlers/test_static_files.py",
        "unit/chatsite/workers/test_process.py",
        "unit/chatsite/workers/test_supervisor.py",
        "unit/chatsite/workers/test_worker.py",
        "unit/chatsite/workers/test_systemd.py",
        "unit/project/test_tests.py",
        "unit/protocol/test_text.py",
        "unit/project/test_tree.py",
        "unit/project/test_zygote.py",
    ],
    "they have a layer, a database or settings of their own": [
        "unit/test_checks.py",
        "unit/test_layers.py",
        "unit/presence/test_presence.py",
        "unit/presence/test_registry.py",
        "torture",
    ],
    "how many lists go out in how many seconds is measured where presence answers at once": [
        "e2e/test_endurance.py::test_a_thousand_joins_cost_linear_traffic",
    ],
}
LEFT_TO_A_THOROUGH_RUN = {
    "what the rules say is the same wherever they are kept": [
        "unit/actions/test_outsiders.py::test_who_may_do_what",
    ],
    "it is measured many times over": [
        "unit/actions/test_outsiders.py::test_the_time_of_an_answer_tells_nothing",
    ],
}
CHOSEN = "not e2e or on_services"
"""Of those with real servers and browsers the ones that say so. The others are about what comes before the
database and the layer, or have their own."""


def left_out() -> list[str]:
    groups = LEFT_OUT if THOROUGH else LEFT_OUT | LEFT_TO_A_THOROUGH_RUN
    places = [f"tests/{place}" for places in groups.values() for place in places]
    return [f"--{'deselect' if '::' in place else 'ignore'}={place}" for place in places] + ["-m", CHOSEN]


def main(arguments: list[str]) -> int:
    # Whoever ends us ends what we started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    whole = any(argument.startswith("tests/") for argument in arguments)
    port = free_port()
    with (
        tempfile.TemporaryDirectory(prefix="redis-") as folder,
        postgresql() as database,
        redis(Path(folder), port),
    ):
        services = {"DATABASE_URL": database.url, "REDIS_URL": f"redis://127.0.0.1:{port}/0"}
        chosen = [] if whole else left_out()
        profile = either("few", "usual")
        command = [sys.executable, "-m", "pytest", f"--hypothesis-profile={profile}", *chosen, *arguments]
        return subprocess.run(command, cwd=ROOT, env={**os.environ, **services}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
