"""A fault in a log, as `manage.py chat_check` prints it."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of a room, of a topic, or of the search index that all rooms share."""

    # The room's slug, the topic's name, or "search".
    where: str
    what: str
    # A statement for the database, or an instruction.
    repair: str
    # Carries out the repair; None if only the operator can.
    fix: Callable[[], object] | None = None

    def __str__(self) -> str:
        return f"{self.where}: {self.what}. To repair: {self.repair}"
