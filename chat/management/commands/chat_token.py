"""``manage.py chat_token``: print a token for an account, for a program without cookies."""

from pathlib import Path
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser

from chat.auth import keys, tokens
from chat.auth.usernames import account_named
from chat.protocol import Invalid

HOURS_LIMIT = 24 * 366
"""Longest life of a token, in hours: after a year nobody remembers it."""


class Command(BaseCommand):
    help = "Print a token with which a program signs in as USER, until it expires or the password changes."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", metavar="USER", help="the account's name")
        parser.add_argument(
            "--hours", type=float, default=24.0, help="how long it lasts (default: %(default)g hours)"
        )
        parser.add_argument(
            "--key",
            type=Path,
            metavar="FILE",
            help="the private key to sign with, in PEM; else the site's own secret",
        )
        parser.add_argument(
            "--alg", choices=("RS256", "ES256", "EdDSA"), help="the algorithm that the key must be for"
        )

    def handle(self, *, user: str, hours: float, key: Path | None, alg: str | None, **_: Any) -> None:
        if not 0 < hours <= HOURS_LIMIT:
            raise CommandError(f"--hours must be more than 0 and at most {HOURS_LIMIT}, not {hours:g}.")
        if alg and key is None:
            raise CommandError("--alg needs --key: the site's own secret is for HS256.")
        account = _account(user)
        signing = None if key is None else _private(key, alg)
        self.stdout.write(_token(account, hours, signing))


def _account(name: str) -> AbstractBaseUser:
    user = account_named(name)
    if user is None:
        raise CommandError(f"There is no account {name!r}.")
    if not user.is_active:
        raise CommandError(f"The account {name!r} is not active.")
    return user


def _token(account: AbstractBaseUser, hours: float, key: tuple[str, keys.PrivateKey] | None) -> str:
    """A token that this site accepts."""
    try:
        token = tokens.mint(account, hours, key)
        tokens.authenticate(token)
    except ImproperlyConfigured as error:
        raise CommandError(str(error)) from None
    except Invalid:
        raise CommandError("This site would refuse the token: check JWT_KEY, JWT_JWKS, JWT_USER_FIELD.") from None
    return token


def _private(path: Path, algorithm: str | None) -> tuple[str, keys.PrivateKey]:
    try:
        found, key = keys.private_key(path.read_bytes())
    except OSError as error:
        raise CommandError(f"--key: {path} can't be read: {error.strerror}.") from None
    except ValueError as error:
        raise CommandError(f"--key: {path} {error}.") from None
    if algorithm not in (None, found):
        raise CommandError(f"--alg: {path} is a key for {found}, not for {algorithm}.")
    return found, key
