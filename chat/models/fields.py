from base64 import urlsafe_b64encode
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.utils.crypto import salted_hmac

AUTHOR_LENGTH = 128
"""Characters of who somebody is: the longest is "name:" and a name's key, which may be three times the name."""


def account_key(pk: Any) -> str:
    """Who an account is, in the columns and on the sockets that name people."""
    return f"account:{pk}"


def author_key(author: str) -> str:
    """The key by which browsers know an author as the same person: 12 characters, opaque; "" for nobody lasting.

    Everybody in a room sees it, so it is no secret: the account's number and the session can't be
    found from it without SECRET_KEY. A name alone (``name:…``) has no key, because anybody can say it.
    """
    return _author_key(author, settings.SECRET_KEY) if author.startswith(("account:", "guest:")) else ""


@lru_cache(maxsize=10_000)
def _author_key(author: str, secret: str) -> str:
    digest = salted_hmac("chat.author", author, secret=secret, algorithm="sha256").digest()
    # 72 bits.
    return urlsafe_b64encode(digest[:9]).decode()
