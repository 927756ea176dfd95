"""A site's files are private: only its user may read them."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from stat import S_IMODE

import pytest
from servers import ROOT

from chatsite import file_permissions


def mode(path: Path) -> int:
    return S_IMODE(path.stat().st_mode)


def made(path: Path, rights: int) -> Path:
    path.write_text("secret")
    path.chmod(rights)
    return path


@pytest.fixture
def local(tmp_path: Path) -> Path:
    """A site's folder, as one was made by a version that let others read it."""
    folder = tmp_path / "local"
    folder.mkdir()
    folder.chmod(0o755)
    for name in ("db.sqlite3", "db.sqlite3-wal", "db.sqlite3-shm", "secret_key", "torture-1.jsonl", "server.log"):
        made(folder / name, 0o644)
    (folder / "backups").mkdir()
    (folder / "backups").chmod(0o755)
    return folder


def test_a_folder_that_others_could_read_is_shut(local: Path, caplog: pytest.LogCaptureFixture) -> None:
    """And all that is in it; the log says so once."""
    file_permissions.tighten(local, str(local / "db.sqlite3"))
    assert mode(local) == mode(local / "backups") == 0o700
    assert {mode(path) for path in local.iterdir() if path.is_file()} == {0o600}
    (said,) = caplog.messages
    assert str(local / "db.sqlite3-wal") in said
    file_permissions.tighten(local, str(local / "db.sqlite3"))
    assert len(caplog.messages) == 1


def test_nothing_gets_rights_that_it_had_not(local: Path) -> None:
    """A file that its owner may only read stays so."""
    (local / "secret_key").chmod(0o444)
    (local / "server.log").chmod(0o000)
    file_permissions.tighten(local)
    assert (mode(local / "secret_key"), mode(local / "server.log")) == (0o400, 0o000)


def test_a_database_elsewhere_is_its_groups_too(tmp_path: Path, local: Path) -> None:
    """Its folder is somebody else's, and a group was given its rights by somebody; others have none."""
    elsewhere = tmp_path / "data"
    elsewhere.mkdir(mode=0o755)
    paths = [made(elsewhere / f"chat.sqlite3{end}", 0o664) for end in ("", "-wal", "-shm")]
    beside = made(elsewhere / "notes.txt", 0o644)
    file_permissions.tighten(local, str(paths[0]))
    assert {mode(path) for path in paths} == {0o660}
    assert (mode(elsewhere), mode(beside)) == (0o755, 0o644)


def test_what_is_not_there_or_not_ours_is_left(
    tmp_path: Path, local: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A link may lead to what others need; a start does not fail for it."""
    target = made(tmp_path / "shared", 0o644)
    (local / "link").symlink_to(target)
    file_permissions.tighten(local, ":memory:")
    file_permissions.tighten(tmp_path / "nowhere", str(tmp_path / "nowhere.sqlite3"))
    assert mode(target) == 0o644
    assert len(caplog.messages) == 1


def test_another_user_s_folder_stops_no_start(local: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root has collected the static files, and with it made a folder that the chat's user can't look into."""

    def shut(*_: object, **__: object) -> None:
        raise PermissionError

    with monkeypatch.context() as patched:
        patched.setattr(Path, "iterdir", shut)
        patched.setattr(Path, "chmod", shut)
        file_permissions.tighten(local, str(local / "db.sqlite3"))
    assert mode(local) == 0o755


def test_a_folder_behind_a_link_is_shut(tmp_path: Path, local: Path) -> None:
    """A mounted volume may be such a link."""
    (tmp_path / "link").symlink_to(local)
    file_permissions.tighten(tmp_path / "link")
    assert (mode(local), mode(local / "secret_key")) == (0o700, 0o600)


def run(*command: str, database: Path, umask: int = 0o022) -> None:
    environment = {**os.environ, "DATABASE_URL": f"sqlite:///{database}", "SECRET_KEY": "x" * 50}
    subprocess.run([sys.executable, "manage.py", *command], cwd=ROOT, env=environment, umask=umask, check=True)


def test_what_commands_make_is_the_sites_own(tmp_path: Path) -> None:
    """The database of migrate, and what is beside it while it is used; an export. Static files are everybody's."""
    database, export = tmp_path / "db.sqlite3", tmp_path / "export.json"
    run("migrate", "--verbosity", "0", database=database)
    run("dumpdata", "auth.group", "--output", str(export), database=database)
    assert mode(database) == mode(export) == 0o600
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE more (id INTEGER)")
        assert {mode(path) for path in tmp_path.glob("db.sqlite3-*")} == {0o600}
    connection.close()


@pytest.mark.parametrize("command", ["serve", "migrate", "runserver", "dumpdata", "shell", "chat_check"])
def test_a_command_that_keeps_something_keeps_it_to_itself(command: str) -> None:
    """Also one that is made later: those that write for others are listed, not these."""
    before = os.umask(0o022)
    try:
        file_permissions.umask_for(command)
        assert os.umask(0o022) == 0o077
        file_permissions.umask_for("collectstatic")
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)


def test_the_log_is_told_before_it_is_set_up(local: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Settings are read before logging is: a warning goes to the terminal all the same."""
    code = (
        f"from pathlib import Path; from chatsite.file_permissions import tighten; tighten(Path({str(local)!r}))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    assert "others could read" in capfd.readouterr().err
