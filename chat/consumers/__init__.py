"""The WebSocket consumer."""

from chat.consumers.consumer import ChatConsumer

__all__ = ["ChatConsumer"]
