"""The ASGI application: HTTP to Django, /ws to the chat, every other socket turned away."""

import os

from channels.routing import ProtocolTypeRouter, URLRouter
from django import setup

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatsite.settings")
# Before the imports below: it loads the apps that they need.
setup(set_prefix=False)

from chat.auth import OriginCheck  # noqa: E402
from chat.limits.requests import RequestLimit  # noqa: E402
from chat.routing import websocket_urlpatterns  # noqa: E402
from chatsite.handlers.pages import PageHandler  # noqa: E402
from chatsite.handlers.probes import ProbeHandler  # noqa: E402
from chatsite.handlers.static_files import StaticFilesHandler  # noqa: E402

# The cheap ones first: neither knows of sessions or of the database.
http = StaticFilesHandler(ProbeHandler(PageHandler()))

application = ProtocolTypeRouter(
    {"http": RequestLimit(http, cheap=http.is_cheap), "websocket": OriginCheck(URLRouter(websocket_urlpatterns))}
)
