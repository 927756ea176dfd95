"""A program that is forked is as one that is started: its words, environment, output and end are its own."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
import zygote
from servers import ROOT

LOOK = """
import json, os, sys, threading
files = [number for number in range(3, 64) if os.path.exists(f"/proc/self/fd/{number}")]
print(json.dumps([__name__, sys.argv, sys.orig_argv, os.getcwd(), os.environ.get("WORD"), sys.path[:2], files]))
print("wrong", file=sys.stderr)
print(sorted(name for name in sys.modules if name.split(".")[0] in {"chat", "chatsite"}))
print(threading.active_count(), "twisted.internet.reactor" in sys.modules, len(sys.modules) > 500)
"""


@pytest.fixture
def out() -> Iterator[IO[bytes]]:
    with tempfile.TemporaryFile() as file:
        yield file


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "folder" / "look.py"
    path.parent.mkdir()
    path.write_text(LOOK)
    return path


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, **more}


def test_a_fork_is_as_a_start(script: Path, tmp_path: Path) -> None:
    """It is the main program, sees its own words, folder and variables, and has none of our modules or files."""
    found = zygote.run([str(script), "a", "b c"], environment(WORD="one", PYTHONPATH="/there"), tmp_path)
    first, ours, rest = found.splitlines()
    path = [str(script.parent), "/there"]
    words = [str(script), "a", "b c"]
    expected = ["__main__", words, [sys.executable, *words], str(tmp_path), "one", path, []]
    assert json.loads(first) == expected
    assert (ours, rest) == ("[]", "1 False True")


def test_children_know_nothing_of_each_other(script: Path, tmp_path: Path) -> None:
    """A child does not inherit the environment of the one before."""
    zygote.run([str(script)], environment(WORD="one"), tmp_path)
    assert '"one"' not in zygote.run([str(script)], environment(), tmp_path)


def test_a_module_is_run_by_its_name(tmp_path: Path) -> None:
    """The module runs as by `python -m`, from the folder it is started in."""
    (tmp_path / "spoken.py").write_text("import sys; print(__name__, sys.argv[1:])")
    assert zygote.run(["-m", "spoken", "hi"], environment(), tmp_path) == "__main__ ['hi']\n"


@pytest.mark.parametrize(
    ("program", "code"),
    [("raise SystemExit(3)", 3), ("1 / 0", 1), ("", 0), ("import os, signal; os.kill(os.getpid(), 9)", -9)],
)
def test_its_end_is_told(program: str, code: int, tmp_path: Path, out: IO[bytes]) -> None:
    """With the code that it ended with, or the signal."""
    (tmp_path / "it.py").write_text(program)
    process = zygote.start(["it.py"], environment(), tmp_path, out)
    assert process.wait(30) == process.poll() == process.returncode == code
    process.kill()


def test_an_end_may_be_told_before_the_pid_is_read() -> None:
    """A busy machine reads late: the pid and the exit code wait together."""
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.sendall(zygote.padded(123) + zygote.padded(-9))
    process = zygote.Forked(ours)
    assert (process.pid, process.wait(30)) == (123, -9)


def test_one_that_runs_has_no_end(tmp_path: Path, out: IO[bytes]) -> None:
    """A wait lasts as long as its timeout; a signal reaches the child, and is its own."""
    (tmp_path / "it.py").write_text("import time; print('here', flush=True); time.sleep(600)")
    process = zygote.start(["it.py"], environment(), tmp_path, out)
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == -signal.SIGTERM


def test_a_run_that_fails_says_what_was_wrong(tmp_path: Path) -> None:
    """The error has the code and what the program wrote."""
    (tmp_path / "it.py").write_text("print('so far'); raise ValueError('no')")
    with pytest.raises(subprocess.CalledProcessError) as failed:
        zygote.run(["it.py"], environment(), tmp_path)
    assert (failed.value.returncode, failed.value.output) == (1, "so far\n")
    assert "ValueError: no" in failed.value.stderr


READ = """
import os, sys
asked, plain = set(), os._Environ.__getitem__
os._Environ.__getitem__ = lambda self, name: asked.add(name) or plain(self, name)
sys.path.insert(0, "tests/support")
import zygote
zygote.warm_up()
print(*sorted(asked))
"""


def test_no_variable_of_a_program_is_read_before_the_fork(tmp_path: Path) -> None:
    """A module that reads one as it is imported is for the child to import."""
    (tmp_path / "it.py").write_text(READ)
    # wsgiref copies all that is there.
    nothing = {"PATH": os.environ["PATH"]}
    command = [sys.executable, str(tmp_path / "it.py")]
    started = subprocess.run(
        command, cwd=ROOT, env=nothing, check=True, capture_output=True, text=True, timeout=60
    )
    ours = ("CHAT", "DATABASE", "DJANGO", "HTTPS", "LOG_", "PROMETHEUS", "REDIS", "SECRET", "SERVE", "DEBUG")
    found = set(started.stdout.split())
    assert "AUTOBAHN_USE_NVX" in found
    assert [name for name in found if name.upper().startswith(ours)] == []


@pytest.mark.parametrize("name", ["LD_PRELOAD", "PYTHONASYNCIODEBUG", "PYTHONDEVMODE"])
def test_what_only_a_start_can_do_is_started(name: str, tmp_path: Path, out: IO[bytes]) -> None:
    """A variable that the linker or Python reads as it starts would do nothing in a fork."""
    assert not zygote.can_fork(environment(**{name: ""}))
    (tmp_path / "it.py").write_text("import sys; print('django' in sys.modules)")
    started = zygote.start(["it.py"], environment(**{name: ""}), tmp_path, out)
    assert isinstance(started, subprocess.Popen)
    assert started.wait(30) == 0
    out.seek(0)
    assert out.read() == b"False\n"


def test_a_command_of_django_s_is_forked(tmp_path: Path) -> None:
    """`manage.py` finds the settings that its environment names."""
    words = ["-c", "from django.conf import settings; print(settings.DATABASES['default']['NAME'])"]
    database = f"sqlite:///{tmp_path / 'it.sqlite3'}"
    said = zygote.run(["manage.py", "shell", "--no-imports", *words], environment(DATABASE_URL=database), ROOT)
    assert said.strip() == str(tmp_path / "it.sqlite3")
