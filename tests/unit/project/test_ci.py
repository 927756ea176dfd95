"""CI's script fails when the tests change the tree, and gives them a home and temporary files of their own."""

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from servers import PATIENCE, ROOT, needs

MAKE = """#!/bin/sh
echo "$*: $HOME $TMPDIR $(stat -c %a "$TMPDIR/.." "$TMPDIR" | xargs)" >> "$LOG"
[ "$*" != test ] || eval "$TESTS"
"""
"""In the place of the real one; what the tests do is in TESTS."""


class Clone:
    """A clone in which ``.ci/run`` can be run, with a `make` of our own."""

    def __init__(self, folder: Path) -> None:
        needs(shutil.which("git"), "git")
        self.folder = folder
        self.log = folder / "log"
        self.tree = folder / "tree"
        (self.tree / ".ci").mkdir(parents=True)
        shutil.copy(ROOT / ".ci/run", self.tree / ".ci/run")
        (self.tree / "kept").write_text("as it was\n")
        (self.tree / ".gitignore").write_text("ignored\n")
        (folder / "bin").mkdir()
        make = folder / "bin/make"
        make.write_text(MAKE)
        make.chmod(0o755)
        self.git("init", "--quiet")
        self.git("add", ".")
        self.git("commit", "--quiet", "--message", "all")

    def git(self, *words: str) -> None:
        who = ["-c", "user.name=Alice", "-c", "user.email=alice@example.org"]
        subprocess.run(["git", *who, *words], cwd=self.tree, check=True, timeout=PATIENCE)

    def run(self, tests: str) -> subprocess.CompletedProcess[str]:
        """CI, where the tests do this."""
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        variables = {**os.environ, "PATH": path, "LOG": str(self.log), "TESTS": tests, "HOME": "/nowhere"}
        variables["TMPDIR"] = str(self.folder)
        return subprocess.run(
            [self.tree / ".ci/run"], env=variables, check=False, capture_output=True, text=True, timeout=PATIENCE
        )


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path)


@pytest.mark.parametrize(
    ("tests", "named"),
    [
        ("echo port 42355 >> kept", "+port 42355"),
        ("echo new > new", "?? new"),
        ("mkdir a; echo new > a/new", "?? a/new"),
        ("rm kept", " D kept"),
        ("chmod +x kept", "new mode"),
        ("git mv kept renamed", "kept -> renamed"),
    ],
)
def test_ci_fails_where_the_tests_change_the_tree(clone: Clone, tests: str, named: str) -> None:
    """A file that is changed, new, gone or renamed is named."""
    done = clone.run(tests)
    assert done.returncode == 1
    assert "The tests changed the tree" in done.stderr
    assert named in done.stderr


@pytest.mark.parametrize("tests", [":", "echo x > ignored", "echo x > kept; git checkout --quiet kept"])
def test_ci_passes_where_the_tree_is_as_it_was(clone: Clone, tests: str) -> None:
    """Ignored files, and files that were put back, are no change."""
    done = clone.run(tests)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_somebody_works_on_is_no_change_of_the_tests(clone: Clone) -> None:
    """A tree that was changed before is compared with itself."""
    (clone.tree / "kept").write_text("in work\n")
    assert clone.run(":").returncode == 0
    assert clone.run("echo more >> kept").returncode == 1


def test_ci_says_that_the_tests_failed(clone: Clone) -> None:
    """Their exit code is CI's."""
    assert clone.run("exit 2").returncode == 2


def test_the_tests_have_a_home_and_temporary_files_of_their_own(clone: Clone) -> None:
    """They are new, open to the user that PostgreSQL runs as, and gone at the end."""
    clone.run('echo x > "$HOME/x"; echo x > "$TMPDIR/x"')
    lines = clone.log.read_text().splitlines()
    assert [line.partition(":")[0] for line in lines] == ["check", "tools", "test"]
    home, temporary, *modes = lines[-1].split()[1:]
    assert home.startswith(str(clone.folder))
    assert temporary.startswith(str(clone.folder))
    assert modes == ["755", "1777"]
    assert not Path(home).parent.exists()
    assert stat.S_IMODE((ROOT / ".ci/run").stat().st_mode) & stat.S_IXUSR
