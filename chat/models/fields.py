from typing import Any

AUTHOR_LENGTH = 128
"""Characters of who somebody is: the longest is "name:" and a name's key, which may be three times the name."""


def account_key(pk: Any) -> str:
    """Who an account is, in the columns and on the sockets that name people."""
    return f"account:{pk}"
