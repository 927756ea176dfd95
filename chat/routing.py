"""The WebSocket routes, for a project's URLRouter.

The last route takes every other path: without it Channels answers a path that nobody serves with a traceback.
"""

from django.urls import path, re_path

from chat.auth import refuse
from chat.consumers import ChatConsumer

websocket_urlpatterns = [
    path("ws", ChatConsumer.as_asgi()),
    re_path(r"", refuse),  # type: ignore[arg-type]  # URLRouter takes ASGI applications where Django has views
]
