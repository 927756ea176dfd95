"""Keeps a site's files private: they hold session keys, private messages and the secret key."""

import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from stat import S_IMODE, S_ISDIR, S_ISREG

logger = logging.getLogger("chatsite")

PUBLIC = frozenset({"", "check", "collectstatic", "compilemessages", "help", "makemessages"})
PUBLIC |= {"chat_protocol", "pytest", "startapp", "startproject", "test"}
"""Commands that write what others read, static files or texts, or nothing; "" is a server that imported us.
Not makemigrations: it asks the database what it has, and so makes one where there is none."""
FOLDER, FILE = 0o700, 0o600
BESIDE = ("", "-wal", "-shm", "-journal")
"""Suffixes of SQLite's files, after the database's name."""


def umask_for(command: str) -> None:
    """Let only the command's user read the files that it makes from here on: the database, exports, logs."""
    if command not in PUBLIC:
        os.umask(0o077)


def tighten(folder: Path, database: str = "") -> None:
    """Take from others what they may do with the site's folder and what is in it, and with an SQLite database.

    The group keeps its rights to a database elsewhere: they are its operator's decision.
    """
    changed = [path for path in _of_folder(folder.resolve()) if _narrow(path, FOLDER if path.is_dir() else FILE)]
    if database and Path(database).parent != folder:
        changed += [path for path in _of_database(database) if _narrow(path, 0o770)]
    if changed:
        logger.warning("others could read %s: not any more", _named(changed))


def _of_folder(folder: Path) -> Iterator[Path]:
    # Another user's is shut to us, and nothing of ours is in it: root may have collected the static files.
    with suppress(OSError):
        if folder.is_dir():
            yield folder
            # Deeper ones are shut in with it.
            yield from list(folder.iterdir())


def _of_database(name: str) -> Iterator[Path]:
    return (Path(name + end) for end in BESIDE)


def _narrow(path: Path, most: int) -> bool:
    """Take away all rights beyond these. False where there were none, or where the file is not ours to change."""
    try:
        status = path.lstat()
        mode = S_IMODE(status.st_mode)
        if not (S_ISREG(status.st_mode) or S_ISDIR(status.st_mode)) or not mode & ~most:
            return False
        path.chmod(mode & most)
    except OSError:
        # It is gone meanwhile, another user's, or on a disk that is only read.
        return False
    return True


def _named(paths: Iterable[Path]) -> str:
    return ", ".join(map(str, paths))
