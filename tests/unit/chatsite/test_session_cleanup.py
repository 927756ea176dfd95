"""Expired sessions are removed in the background."""

import asyncio
from datetime import timedelta
from functools import partial

import pytest
from django.contrib.sessions.models import Session
from django.utils import timezone
from doubles import Clock, until
from pytest_django import Settings

from chat.database import run_write
from chat.loops import close_current, current
from chatsite import session_cleanup


def session(key: str, days: float) -> Session:
    found: Session = Session.objects.create(
        session_key=key, session_data="", expire_date=timezone.now() + timedelta(days=days)
    )
    return found


async def test_expired_sessions_are_removed_a_few_at_a_time(
    rooms: None, monkeypatch: pytest.MonkeyPatch, transactions: list[str]
) -> None:
    """All of them, and nobody else's; other writes come in between."""
    monkeypatch.setattr(session_cleanup, "BATCH", 4)

    def make() -> None:
        for number in range(10):
            session(f"expired{number}", -number - 0.1)
        session("alive", 1)

    await run_write(make)
    transactions.clear()
    assert await session_cleanup.remove_expired() == 10
    # The last finds none.
    assert len(transactions) == 4
    assert await run_write(lambda: [found.pk for found in Session.objects.all()]) == ["alive"]
    assert await session_cleanup.remove_expired() == 0


async def test_a_round_has_an_end(rooms: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A million rows are removed in parts, one each hour."""
    monkeypatch.setattr(session_cleanup, "BATCH", 2)
    monkeypatch.setattr(session_cleanup, "ROUND_LIMIT", 4)
    await run_write(lambda: [session(f"expired{number}", -1) for number in range(7)])
    assert await session_cleanup.remove_expired() == 4


async def test_they_are_removed_now_and_then_as_long_as_pages_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    """Each process at a moment of its own."""
    rounds: list[float] = []
    loop = asyncio.get_running_loop()

    async def remove() -> int:
        rounds.append(loop.time())
        return 0

    monkeypatch.setattr(session_cleanup, "remove_expired", remove)
    start = loop.time()
    current(session_cleanup.SessionCleanup).start()
    for _ in range(3):
        heard = len(rounds)
        await clock.skip(1.5 * session_cleanup.INTERVAL)
        await until(partial(_grew, rounds, heard))
    assert rounds[0] - start >= 0.5 * session_cleanup.INTERVAL
    await close_current()


def _grew(what: list[float], before: int) -> bool:
    return len(what) > before


async def test_sessions_that_are_no_rows_are_left_to_their_keeper(settings: Settings) -> None:
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    assert current(session_cleanup.SessionCleanup)._task is None
    await close_current()
