"""The tables of a chat: rooms, roles and restrictions; messages and reactions; reports and the audit log.

Each room counts its changes. A new message, an edit, a deletion, an emoji added or removed takes the room's next
number, in the transaction that makes it (chat.message_log). A message's ``number`` is the one that made it, and
its id in the room; ``seq`` is the number of its last change. So "the changes since n" is one read of an index, and
yields each message once, as it is now. The changes of a room's settings, roles and restrictions are counted too
(``rules``).

Topics are the same for everything else that is live: an Entry is to a Topic what a Message is to a Room. A
publication waits in the Outbox from its transaction's commit until the server numbers it (chat.topics).

Open connections live in the processes that hold them, not in rows that a crash would leave stale. So
``Connection`` has no table.
"""

from chat.models.direct_rooms import Closed, Pair, pair_key, pairs_of
from chat.models.fields import AUTHOR_LENGTH, BOT, account_key, author_key
from chat.models.messages import Message, Reaction, ReadPosition, allow, digest
from chat.models.moderation import AccountName, AuditEntry, Connection, Report
from chat.models.rooms import (
    ACTIVE_FROM_CHANGES,
    ACTIVE_PRECISION,
    Invitation,
    Membership,
    Restriction,
    Room,
    new_epoch,
    new_hidden_slug,
)
from chat.models.topics import Entry, Outbox, PublishedRef, Topic

__all__ = [
    "ACTIVE_FROM_CHANGES",
    "ACTIVE_PRECISION",
    "AUTHOR_LENGTH",
    "BOT",
    "AccountName",
    "AuditEntry",
    "Closed",
    "Connection",
    "Entry",
    "Invitation",
    "Membership",
    "Message",
    "Outbox",
    "Pair",
    "PublishedRef",
    "Reaction",
    "ReadPosition",
    "Report",
    "Restriction",
    "Room",
    "Topic",
    "account_key",
    "allow",
    "author_key",
    "digest",
    "new_epoch",
    "new_hidden_slug",
    "pair_key",
    "pairs_of",
]
