"""The pages: choose a name and a room; talk; make a room, be invited into one; how the process is."""

from chat.views.entering import create, direct, index, invite
from chat.views.status import healthz, readyz, show_metrics, whoami
from chat.views.talking import called, room

__all__ = ["called", "create", "direct", "healthz", "index", "invite", "readyz", "room", "show_metrics", "whoami"]
