"""Presence: the users in each room, in one process or in several."""

from chat.presence.claims import Claim, JoinRequest
from chat.presence.entries import RegistryEntry
from chat.presence.presence import Presence
from chat.presence.state import Occupant, RoomPresence, ShownName

__all__ = ["Claim", "JoinRequest", "Occupant", "Presence", "RegistryEntry", "RoomPresence", "ShownName"]
