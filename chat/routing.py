"""The WebSocket routes, for a project's URLRouter.

The last route refuses every other path. Without it Channels logs a traceback for an unknown path.
"""

from django.urls import path, re_path

from chat.auth import refuse
from chat.consumers import ChatConsumer

websocket_urlpatterns = [
    path("ws", ChatConsumer.as_asgi()),
    re_path(r"", refuse),  # type: ignore[arg-type]  # URLRouter accepts ASGI applications in place of views
]
