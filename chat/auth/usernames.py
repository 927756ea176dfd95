"""Accounts' names belong to the accounts: no guest takes one, or one that looks like it.

Each account has a row with its name's key, kept by a signal. What no signal tells of (``bulk_create``, a script in
SQL) ``add_missing_names`` finds.
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
from chat.models import AccountName
from chat.protocol import name_key, visible_part

_BATCH = 500
"""Names of one query: SQLite took at most 999 parameters for long."""
_KEY_LENGTH = 600
"""The column's: most keys are shorter, and no guest's is as long."""


def account_named(username: str) -> AbstractBaseUser | None:
    """The account of exactly this name, active or not; or of the same name with or without what draws nothing.

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
    """Does an account, active or not, other than ``by`` (its primary key) have a name that looks like this one?"""
    return AccountName.objects.filter(key=_key(name)).exclude(user=by).exists()


def keep(user: AbstractBaseUser) -> None:
    """Note how the account's name looks."""
    _write([_row(user)])


def add_missing_names(*, stale: bool = False) -> int:
    """Note the accounts that have no row: one query where there are none. How many there were.

    With ``stale`` all accounts are read, and those corrected whose row tells of another name, or was made by other
    rules: for after ``migrate``.
    """
    row = AccountName.objects.filter(user=OuterRef("pk"))
    users = get_user_model()._base_manager.annotate(chat_key=Subquery(row.values("key")))  # noqa: SLF001 the documented one that leaves nobody out
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
    """Asks for many at once. One per event loop: ``of_this_loop(Names)``.

    When thousands of guests come back together, those who ask while a query runs share the next one.
    """

    def __init__(self) -> None:
        # By key: who waits for a query that has not begun. One that runs may have missed what was saved since.
        self._asked: dict[str, asyncio.Future[bool]] = {}
        # Asks as long as somebody waits; None while nobody does.
        self._asking: asyncio.Task[None] | None = None

    async def is_taken(self, name: str) -> bool:
        """``name_is_taken``, for a guest. Raises what the database raises."""
        key = _key(name)
        if key not in self._asked:
            self._asked[key] = asyncio.get_running_loop().create_future()
        answer = self._asked[key]
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask(), name="chat names")
        # Others may wait for the same answer when this one's socket goes.
        return await asyncio.shield(answer)

    async def close(self) -> None:
        """Who still waits is cancelled."""
        if self._asking:
            self._asking.cancel()
            await asyncio.wait([self._asking])

    async def _ask(self) -> None:
        batch: dict[str, asyncio.Future[bool]] = {}
        try:
            while self._asked:
                batch = {key: self._asked.pop(key) for key in list(islice(self._asked, _BATCH))}
                await _answer(batch)
        finally:
            self._asking = None
            for waiting in (*batch.values(), *self._asked.values()):
                waiting.cancel()
            self._asked.clear()


async def _answer(batch: dict[str, "asyncio.Future[bool]"]) -> None:
    try:
        found = await run_read(partial(_known, batch))
    except Exception as error:  # noqa: BLE001 those who asked raise it
        for answer in batch.values():
            answer.set_exception(error)
            # Where nobody waits any more, asyncio would log it.
            answer.exception()
    else:
        for key, answer in batch.items():
            answer.set_result(key in found)


def _known(keys: Iterable[str]) -> set[str]:
    return set(AccountName.objects.filter(key__in=list(keys)).values_list("key", flat=True))
