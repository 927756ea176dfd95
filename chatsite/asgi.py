"""The ASGI application: HTTP goes to Django, /ws to the chat, and any other socket is refused."""

import os

from channels.routing import ProtocolTypeRouter, URLRouter
from django import setup

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatsite.settings")
# The imports below need the apps to be loaded.
setup(set_prefix=False)

from chat import loops  # noqa: E402
from chat.auth import OriginCheck  # noqa: E402
from chat.limits.requests import RequestLimit  # noqa: E402
from chat.routing import websocket_urlpatterns  # noqa: E402
from chatsite.handlers.pages import PageHandler  # noqa: E402
from chatsite.handlers.probes import ProbeHandler  # noqa: E402
from chatsite.handlers.static_files import StaticFilesHandler  # noqa: E402
from chatsite.session_cleanup import SessionCleanup  # noqa: E402

# Beside the chat's objects of each event loop.
loops.add_builder(SessionCleanup.build)

# Cheap requests first: static files and probes use neither sessions nor the queue of the pages.
http = StaticFilesHandler(ProbeHandler(PageHandler()))

application = ProtocolTypeRouter(
    {"http": RequestLimit(http, cheap=http.is_cheap), "websocket": OriginCheck(URLRouter(websocket_urlpatterns))}
)
