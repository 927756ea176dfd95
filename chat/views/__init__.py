"""The pages: the first page, the room's page, invitations, and the status of the process."""

from chat.views.first_page import create, direct, index, invite
from chat.views.room_page import room, room_by_name
from chat.views.status import healthz, readyz, show_metrics, whoami

__all__ = [
    "create",
    "direct",
    "healthz",
    "index",
    "invite",
    "readyz",
    "room",
    "room_by_name",
    "show_metrics",
    "whoami",
]
