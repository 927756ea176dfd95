"""Checks whether sign-ins are still valid, for many sockets at once. Runs on a thread that may use the ORM.

Django checks a session with each request; a socket is checked once, at its start. Without this check a user who
signs out, changes the password, or is deactivated or deleted would keep their sockets (Channels leaves them open).
"""

from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from chat.auth.identity import Identity, account, accounts_of

TABLE_ENGINES = {"django.contrib.sessions.backends.db", "django.contrib.sessions.backends.cached_db"}
"""Session engines that answer for many sessions with one query."""

COOKIE_ENGINE = "django.contrib.sessions.backends.signed_cookies"
"""The engine that stores sessions only in cookies, so that no session can be ended."""


def revalidate(identities: Sequence[Identity]) -> list[Identity | None]:
    """Each identity as it is now, or None if it is lost. At most two queries if sessions are in a table."""
    users = accounts_of(identities)
    alive = _alive({who.proof.session for who in identities if who.proof.session})
    return [_renewed(who, users, alive) for who in identities]


def _renewed(who: Identity, users: dict[str, AbstractBaseUser], alive: set[str]) -> Identity | None:
    proof = who.proof
    if proof.session and proof.session not in alive:
        return None
    if who.account is None:
        return who
    user = users.get(who.account)
    if user is None or not user.is_active or user.get_username() != who.name:
        return None
    now = account(user, session=proof.session, expires=proof.expires, sealed=bool(proof.hash))
    return replace(now, browser=who.browser) if constant_time_compare(now.proof.hash, proof.hash) else None


def _alive(keys: set[str]) -> set[str]:
    """The sessions that still exist."""
    if not keys:
        return set()
    if settings.SESSION_ENGINE in TABLE_ENGINES:
        from django.contrib.sessions.models import Session  # noqa: PLC0415 a project may not have that app

        rows = Session.objects.filter(session_key__in=keys, expire_date__gt=timezone.now())
        return set(rows.values_list("session_key", flat=True))
    engine = import_module(settings.SESSION_ENGINE)
    if settings.SESSION_ENGINE == COOKIE_ENGINE:
        # Its ``exists`` always returns False. A session with a valid signature that is not too old counts.
        return {key for key in keys if engine.SessionStore(key).load()}
    store = engine.SessionStore()
    return {key for key in keys if store.exists(key)}
