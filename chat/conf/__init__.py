"""The app's settings, ``CHAT``."""

from chat.conf.settings import FIELDS, ChatSettings, chat_settings, from_environment, option_of

__all__ = ["FIELDS", "ChatSettings", "chat_settings", "from_environment", "option_of"]
