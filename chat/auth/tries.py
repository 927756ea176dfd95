"""The former name of chat.auth.password_attempts, for settings that name ``chat.auth.tries.CountedTries``."""

from chat.auth.password_attempts import CountedTries

__all__ = ["CountedTries"]
