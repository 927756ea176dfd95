from base64 import urlsafe_b64encode
from functools import lru_cache
from typing import Any, Protocol

from django.core.signals import setting_changed
from django.dispatch import receiver
from django.utils.crypto import salted_hmac

AUTHOR_LENGTH = 128
"""Characters of an author's key: the longest is "name:" and a name's key, which may be three times the name."""


BOT = "bot:"
"""Beginning of the key of a bot: a name under which a program of the site posts."""


class Actor(Protocol):
    """The parts of a chat.auth.Identity that the models need: they can't import it."""

    @property
    def key(self) -> str: ...

    @property
    def name(self) -> str | None: ...

    @property
    def account(self) -> Any: ...


def account_key(pk: Any) -> str:
    """An account's key, in columns and on connections that identify users."""
    return f"account:{pk}"


@lru_cache(maxsize=10_000)
def author_key(author: str) -> str:
    """The public key by which browsers recognize an author: 12 opaque characters; "" for a name alone.

    Everybody in a room sees it, so it is no secret: the account's number and the session can't be
    found from it without SECRET_KEY. A name alone (``name:…``) has no key, because anybody can claim it.
    """
    if not author.startswith(("account:", "guest:", BOT)):
        return ""
    digest = salted_hmac("chat.author", author, algorithm="sha256").digest()
    # 72 bits.
    return urlsafe_b64encode(digest[:9]).decode()


@receiver(setting_changed)
def _forget_keys(setting: str, **_: Any) -> None:
    """For tests. The cache does not read the setting: that would cost more than the rest of a message's key."""
    if setting == "SECRET_KEY":
        author_key.cache_clear()
