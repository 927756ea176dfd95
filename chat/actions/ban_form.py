"""The address of the admin's form to ban somebody, filled in."""

import re
from urllib.parse import urlencode

from django.urls import NoReverseMatch, reverse

from chat.auth import Identity

GUEST_PATTERN = re.compile(r"guest:[0-9a-f]{16}(?::.*)?", re.DOTALL)
"""An identity's key of a guest with a session."""


def ban_url(key: str, *, address: str = "", room: str = "", name: str = "") -> str:
    """The form for this identity's key or address. "" if neither finds them again, or the project has no admin."""
    known = Identity(key).account is not None or GUEST_PATTERN.fullmatch(key)
    whom = {"person": key if known else "", "address": address, "username": name}
    if not (whom["person"] or address):
        return ""
    given = {part: value for part, value in {"kind": "ban", "room": room, **whom}.items() if value}
    try:
        return f"{reverse('admin:chat_restriction_add')}?{urlencode(given)}"
    except NoReverseMatch:
        return ""
