"""The ASGI application: HTTP to Django, /ws to the chat, every other socket turned away."""

import os

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatsite.settings")
# Before the imports below: it loads the apps that they need.
http = get_asgi_application()

from chat.auth import OriginCheck  # noqa: E402
from chat.routing import websocket_urlpatterns  # noqa: E402

application = ProtocolTypeRouter({"http": http, "websocket": OriginCheck(URLRouter(websocket_urlpatterns))})
