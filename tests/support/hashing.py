"""A hasher for tests: cheap, and with all that ours add to Django's."""

from django.contrib.auth.hashers import MD5PasswordHasher

from chat.auth.hashers import Bounded

CHEAP = "hashing.Cheap"
"""For PASSWORD_HASHERS."""


class Cheap(Bounded, MD5PasswordHasher):
    pass
