"""The people in each room, in one process or in several."""

from chat.presence.presence import Presence
from chat.presence.state import Claim, Entry, JoinRequest, Person, RoomPresence, Seen

__all__ = ["Claim", "Entry", "JoinRequest", "Person", "Presence", "RoomPresence", "Seen"]
