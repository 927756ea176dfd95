"""Names of accounts are reserved: no guest may use one, or a name that looks the same.

Each account has a row with the key of its name, saved by a signal. Accounts that send no signal (``bulk_create``,
a script in SQL) are found by ``add_missing_names``.
"""

import asyncio
import unicodedata
from collections.abc import Iterable
from functools import partial
from itertools import islice
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.db.models import Exists, OuterRef, Subquery

from chat.database import run_read
from chat.loops import end_tasks
from chat.models import AccountName
from chat.protocol import name_key, visible_part

_BATCH = 500
"""Names per query: older versions of SQLite take at most 999 parameters."""
_KEY_LENGTH = 600
"""The length of the column. Most keys are shorter, and no guest's key is as long."""


def account_named(username: str) -> AbstractBaseUser | None:
    """The account with this name, active or not. Without an exact match, invisible characters don't count.

    Keyboards differ in the joiners that they put between letters, and nobody sees which were typed.
    """
    accounts = get_user_model()
    manager = accounts._default_manager  # noqa: SLF001 Django's documented name for it
    found: AbstractBaseUser | None = manager.filter(**{accounts.USERNAME_FIELD: username}).first()
    if found or username.isascii():
        return found
    alike = manager.filter(pk__in=AccountName.objects.filter(key=_key(username)).values("user"))
    same = [account for account in alike if _shown(account.get_username()) == _shown(username)]
    return same[0] if len(same) == 1 else None


def _shown(name: str) -> str:
    return visible_part(unicodedata.normalize("NFKC", name))


def name_is_taken(name: str, by: Any = None) -> bool:
    """True if an account other than ``by`` (a primary key) has a name that looks the same. It may be inactive."""
    return AccountName.objects.filter(key=_key(name)).exclude(user=by).exists()


def save_name(user: AbstractBaseUser) -> None:
    """Save the row with the key of the account's name."""
    _write([_row(user)])


def add_missing_names(*, stale: bool = False) -> int:
    """Add the rows of accounts that have none. Returns their number. Takes one query if there are none.

    ``stale``: read all accounts, and correct rows with another name or with a key made by other rules. For use
    after ``migrate``.
    """
    row = AccountName.objects.filter(user=OuterRef("pk"))
    users = get_user_model()._base_manager.annotate(chat_key=Subquery(row.values("key")))  # noqa: SLF001 the documented manager that filters nothing
    rows = [
        made
        for user in (users if stale else users.filter(~Exists(row))).iterator()
        if (made := _row(user)).key != user.chat_key
    ]
    _write(rows)
    return len(rows)


def _key(name: str) -> str:
    return name_key(name)[:_KEY_LENGTH]


def _row(user: AbstractBaseUser) -> AccountName:
    return AccountName(user_id=user.pk, key=_key(user.get_username()))


def _write(rows: list[AccountName]) -> None:
    AccountName.objects.bulk_create(
        rows, batch_size=_BATCH, update_conflicts=True, unique_fields=["user"], update_fields=["key"]
    )


class NameLookup:
    """Looks up many names with one query. One per event loop: ``current(NameLookup)``.

    When thousands of guests reconnect together, those who ask while a query runs share the next one.
    """

    def __init__(self) -> None:
        # Answers of the next query, by key. The query that runs may miss names saved since it began.
        self._waiting: dict[str, asyncio.Future[bool]] = {}
        # Task that runs the queries; None while no answer is awaited.
        self._task: asyncio.Task[None] | None = None

    async def is_taken(self, name: str) -> bool:
        """Like ``name_is_taken``, for a guest. Raises the database's errors."""
        key = _key(name)
        if key not in self._waiting:
            self._waiting[key] = asyncio.get_running_loop().create_future()
        answer = self._waiting[key]
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="chat names")
        # Others may wait for the same answer when this socket disconnects.
        return await asyncio.shield(answer)

    async def close(self) -> None:
        """Cancel all lookups."""
        if self._task:
            await end_tasks(self._task)

    async def _run(self) -> None:
        batch: dict[str, asyncio.Future[bool]] = {}
        try:
            while self._waiting:
                batch = {key: self._waiting.pop(key) for key in list(islice(self._waiting, _BATCH))}
                await _answer(batch)
        finally:
            self._task = None
            for answer in (*batch.values(), *self._waiting.values()):
                answer.cancel()
            self._waiting.clear()


async def _answer(batch: dict[str, "asyncio.Future[bool]"]) -> None:
    try:
        found = await run_read(partial(_known, batch))
    except Exception as error:  # noqa: BLE001 the callers raise it
        for answer in batch.values():
            answer.set_exception(error)
            # Without this, asyncio would log an error that nobody awaits any more.
            answer.exception()
    else:
        for key, answer in batch.items():
            answer.set_result(key in found)


def _known(keys: Iterable[str]) -> set[str]:
    return set(AccountName.objects.filter(key__in=list(keys)).values_list("key", flat=True))
