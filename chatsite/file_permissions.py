"""Makes a site's files private: they hold session keys, private messages and the secret key."""

import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from stat import S_IMODE, S_ISDIR, S_ISREG

logger = logging.getLogger("chatsite")

PUBLIC = frozenset({"", "check", "collectstatic", "compilemessages", "help", "makemessages"})
PUBLIC |= {"chat_protocol", "pytest", "startapp", "startproject", "test"}
"""Commands that write public files (static files, source) or none; "" is a server that imported the settings.
makemigrations is not one of them: it reads the database, and so creates an SQLite file if there is none."""
FOLDER, FILE = 0o700, 0o600
DATABASE_SUFFIXES = ("", "-wal", "-shm", "-journal")
"""Endings of SQLite's files, after the database's name."""


def umask_for(command: str) -> None:
    """Make files that the command creates from here on private to its user: the database, exports, logs."""
    if command not in PUBLIC:
        os.umask(0o077)


def tighten(folder: Path, database: str = "") -> None:
    """Remove other users' rights to the site's folder, to the files in it, and to an SQLite database.

    The group keeps its rights to a database in another folder: the operator decides about them.
    """
    changed = [path for path in _of_folder(folder.resolve()) if _narrow(path, FOLDER if path.is_dir() else FILE)]
    if database and Path(database).parent != folder:
        changed += [path for path in _of_database(database) if _narrow(path, 0o770)]
    if changed:
        logger.warning("others could read %s: not any more", _named(changed))


def _of_folder(folder: Path) -> Iterator[Path]:
    # Another user's folder can't be read, and holds nothing of ours: root may have collected the static files.
    with suppress(OSError):
        if folder.is_dir():
            yield folder
            # The folder's own mode protects the levels below.
            yield from list(folder.iterdir())


def _of_database(name: str) -> Iterator[Path]:
    return (Path(name + end) for end in DATABASE_SUFFIXES)


def _narrow(path: Path, most: int) -> bool:
    """Remove all rights but ``most``. False if there were no others, or if the file is not ours to change."""
    try:
        status = path.lstat()
        mode = S_IMODE(status.st_mode)
        if not (S_ISREG(status.st_mode) or S_ISDIR(status.st_mode)) or not mode & ~most:
            return False
        path.chmod(mode & most)
    except OSError:
        # It was deleted meanwhile, belongs to another user, or is on a read-only disk.
        return False
    return True


def _named(paths: Iterable[Path]) -> str:
    return ", ".join(map(str, paths))
