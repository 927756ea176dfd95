"""The users' actions: they post, edit, delete, react, and read the history."""

import asyncio
import random
from dataclasses import dataclass
from string import ascii_lowercase
from typing import Any, Self

from torture.client import Client
from torture.records import State

EMOJI = ("👍", "❤️", "😂", "🎉", "🤔", "👨‍👩‍👧‍👦")
QUEUE = 10
"""Commands that may wait; somebody who sees that many waiting stops and looks."""
AGO = 40
"""How many messages back people look when they react and edit."""


def new_word(chance: random.Random) -> str:
    """The first word of a text, which no other text has. Letters only: every index takes it for one word."""
    return "".join(chance.choices(ascii_lowercase, k=14))


FRAMES = 7_000
"""Frames that all clients together may receive in a second, about."""


@dataclass(frozen=True)
class Habits:
    """Seconds between two things that somebody does, at least and at most; and characters of a long message."""

    pause: tuple[float, float] = (0.1, 0.6)
    long: int = 1_500

    @classmethod
    def of(cls, clients: int) -> Self:
        """Messages of this many users in one room: each receives all others, and the machine must keep up."""
        least, most = cls.pause
        slower = max(1.0, 2 * clients**2 / (least + most) / FRAMES)
        return cls((least * slower, most * slower))


class Life:
    """One client's user, until cancelled."""

    def __init__(self, client: Client, chance: random.Random, habits: Habits) -> None:
        self.client, self.chance, self.habits = client, chance, habits

    async def live(self) -> None:
        while True:
            await asyncio.sleep(self.chance.uniform(*self.habits.pause))
            if len(self.client.courier.entries) < QUEUE:
                self.act()

    def act(self) -> None:
        actions = [self.say, self.edit, self.remove, self.react, self.say_again, self.look, self.read]
        if self.client.person.session is None:
            # A program's messages can't be changed: any client could use its name.
            actions, weights = [self.say, self.say_again, self.look], [85, 10, 5]
        else:
            weights = [52, 12, 5, 17, 5, 5, 4]
        self.chance.choices(actions, weights)[0]()

    def say(self) -> None:
        fields: dict[str, Any] = {}
        if (other := self._one_of(self._recent())) and self.chance.random() < 0.2:
            fields["replyTo"] = other.id
        self.client.do("message", content=self.text(), **fields)

    def edit(self) -> None:
        if own := self._one_of(self._own()):
            self.client.do("edit", id=own.id, content=self.text())

    def remove(self) -> None:
        if own := self._one_of(self._own()):
            self.client.do("delete", id=own.id)

    def react(self) -> None:
        if other := self._one_of(self._recent()):
            on = self.chance.random() < 0.7
            self.client.do("react", id=other.id, emoji=self.chance.choice(EMOJI), on=on)

    def say_again(self) -> None:
        if self.client.said:
            self.client.again(self.chance.choice(self.client.said[-AGO:]))

    def look(self) -> None:
        ways: list[dict[str, Any]] = [{}]
        if held := self.client.timeline.states:
            some = self.chance.choice(list(held))
            ways += [{"before": some}, {"after": some}]
        self.client.do("history", limit=self.chance.choice((1, 20, 100)), **self.chance.choice(ways))

    def read(self) -> None:
        self.client.read(self.client.place.last or 0)

    def text(self) -> str:
        """Something that nobody said before. One in ten is long."""
        length = self.chance.randrange(self.habits.long) if self.chance.random() < 0.1 else 20
        return f"{new_word(self.chance)} " + "tälk ✨ " * (length // 8 + 1)

    def _recent(self) -> list[State]:
        states = self.client.timeline.states
        return [state for number in list(states)[-AGO:] if not (state := states[number]).deleted]

    def _own(self) -> list[State]:
        return [state for state in self._recent() if state.username == self.client.person.author]

    def _one_of(self, states: list[State]) -> State | None:
        return self.chance.choice(states) if states else None
