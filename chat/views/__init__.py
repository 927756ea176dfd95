"""The pages: choose a name and a room; talk; make a room, be invited into one; whether the process is alive."""

from chat.views.entering import create, direct, index, invite
from chat.views.status import healthz, whoami
from chat.views.talking import room

__all__ = ["create", "direct", "healthz", "index", "invite", "room", "whoami"]
