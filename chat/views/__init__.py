"""The pages: choose a name and a room; talk; make a room, be invited into one; how the process is."""

from chat.views.first_page import create, direct, index, invite
from chat.views.room_page import called, room
from chat.views.status import healthz, readyz, show_metrics, whoami

__all__ = ["called", "create", "direct", "healthz", "index", "invite", "readyz", "room", "show_metrics", "whoami"]
