"""``manage.py runserver``: Daphne's, with reloading, on our server."""

from typing import Any

from daphne.management.commands.runserver import Command as DaphneRunserver

from chatsite.server import ChatServer


class Command(DaphneRunserver):  # type: ignore[misc]  # daphne ships no types
    help = "Serve the site for development: reloads on change, serves static files from where they are written."
    server_cls = ChatServer

    def get_application(self, options: dict[str, Any]) -> Any:
        # Static files come from WhiteNoise, also where DEBUG is off.
        return super().get_application({**options, "use_static_handler": False})
