"""One run: a crowd lives, its servers suffer, all calm down, and the verdict is given."""

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from torture.case import Problem
from torture.client import Person, Visitor
from torture.crowd import Crowd, gathered, until
from torture.database import Database
from torture.engines import Engines, plugged
from torture.faults import ALL, Does, Scene, suffer
from torture.life import Habits
from torture.on_presence import RECOVERY
from torture.on_states import token
from torture.on_topics import topics
from torture.records import History, Log, Sent
from torture.report import Report, counted
from torture.site import Site
from torture.timeline import Place
from torture.verdict import judge

SEARCHES = 40
PATIENCE = 5.0
"""Seconds for what nobody answers."""
FAREWELL = 20.0
"""Seconds in which a server ends that is asked to. It gives its clients 5."""
FAREWELLS = (Visitor.cut, Visitor.leave, Visitor.close)


@dataclass(frozen=True)
class Plan:
    """How long, with how many, and by which chance."""

    seed: int
    rounds: int = 20
    clients: int = 50
    servers: int = 1
    faults: tuple[Does, ...] = ALL
    # Seconds before a round's fault, at most; and of faults that last.
    calm: float = 1.5
    least: float = 1.0
    most: float = 4.0
    longest: float = 20.0
    # Seconds for all to come to an end.
    patience: float = 60.0
    habits: Habits = field(default_factory=Habits)
    # The servers', beside those of every run.
    settings: Mapping[str, str] = field(default_factory=dict)


async def torture(
    plan: Plan, folder: Path, database: Database, engines: Engines | None = None
) -> tuple[Report, History, Log]:
    """A run, with what was recorded and what is in the database in the end. Servers with engines are a cluster."""
    began, history = time.monotonic(), History()
    with ExitStack() as stack:
        sites = [_site(stack, plan, folder, database, engines) for _ in range(plan.servers)]
        await asyncio.gather(*(site.start() for site in sites))
        of_topics: dict[str, int | float] = {}
        log, problems = await _live_through(plan, sites, history, engines, of_topics)
    problems += [problem for site in sites for problem in _of_site(site)]
    counts = counted(history, log, sum(site.away for site in sites)) | of_topics
    report = Report(seed=plan.seed, seconds=time.monotonic() - began, counts=counts, problems=problems)
    return report, history, log


def _site(stack: ExitStack, plan: Plan, folder: Path, database: Database, engines: Engines | None) -> Site:
    """A server, not started; with a cable of its own to what it shares."""
    cable = stack.enter_context(plugged(engines.redis.port)) if engines else None
    site = Site(folder, database, cable, **plan.settings)
    stack.callback(site.close)
    return site


async def _live_through(
    plan: Plan,
    sites: Sequence[Site],
    history: History,
    engines: Engines | None,
    counts: dict[str, int | float],
) -> tuple[Log, list[Problem]]:
    """All come, live, suffer and calm down; then they are asked what they hold."""
    database, urls = sites[0].database, [site.url for site in sites]
    crowd = Crowd(urls, f"torture-{plan.seed}", history, plan.seed, habits=plan.habits)
    async with gathered(crowd), topics(urls, database, plan.seed) as followers:
        people = _People(crowd, database)
        for _ in range(plan.clients):
            people.come()
        lasting = (plan.least, plan.most, plan.longest)
        await _suffer_all(plan, Scene(sites, crowd, random.Random(plan.seed), engines, *lasting), people)
        log = await _come_to_rest(plan, crowd, database)
        of_topics = await followers.judge(plan.patience)
        counts.update(followers.counts())
        # Without Redis processes look for each other's changes once a second, and twice to be sure.
        lag = 3.0 if plan.servers > 1 else 0.1
        together = plan.servers == 1 or engines is not None
        return log, of_topics + judge(history.events, log, crowd.holdings(), lag=lag, together=together)


async def _suffer_all(plan: Plan, scene: Scene, people: "_People") -> None:
    """Each round its fault; each fault in its turn, in an order of chance."""
    left: list[Does] = []
    for number in range(plan.rounds):
        left = left or scene.chance.sample(plan.faults, len(plan.faults))
        people.visit()
        await asyncio.sleep(scene.chance.uniform(0, plan.calm))
        await suffer(scene, left.pop())
        await scene.crowd.send_home(scene.chance.choice(FAREWELLS), 1)
        if number % 4 == 3:
            people.come_late()
    await scene.crowd.send_home(Visitor.cut)


async def _come_to_rest(plan: Plan, crowd: Crowd, database: Database) -> Log:
    await crowd.calm()
    # Whether they did is for the verdict to say.
    await crowd.agreed(2 * RECOVERY)
    if await crowd.settled(lambda: database.position(crowd.room)[0], plan.patience):
        await _look_around(plan, crowd, database)
    return database.log(crowd.room)


async def _look_around(plan: Plan, crowd: Crowd, database: Database) -> None:
    """Now that nothing changes any more: all have read it, and look for words that were there at some time."""
    chance, (seq, _) = random.Random(plan.seed), database.position(crowd.room)
    lasting = [client for client in crowd.clients if client.person.session]
    for client in lasting:
        client.read(seq)
    said = sorted({str(sent.command["content"]) for sent in crowd.history.of(Sent) if "content" in sent.command})
    for text in chance.sample(said, min(SEARCHES, len(said))):
        chance.choice(crowd.clients).do("search", query=token(text), limit=10)
    authors = {client.person.author for client in lasting}
    with suppress(TimeoutError):
        await until(lambda: all(client.idle for client in crowd.clients), plan.patience)
        await until(lambda: authors <= _at(database.read_positions(crowd.room), seq), PATIENCE)


def _at(positions: dict[str, int], seq: int) -> set[str]:
    return {name for name, position in positions.items() if position == seq}


def _of_site(site: Site) -> list[Problem]:
    """Faults that the server's logs and exit codes show."""
    problems = [Problem("traceback", text) for text in site.tracebacks()]
    wrong = [each for each in site.exits if each[0] or each[1] > FAREWELL]
    return problems + [Problem("exit", f"asked to end, it ended with {code} after {s:.1f} s") for code, s in wrong]


class _People:
    """The users: most with a session each, some with a second tab, some programs with a bare name."""

    def __init__(self, crowd: Crowd, database: Database) -> None:
        self.crowd, self.database = crowd, database
        self.numbers = count()
        self.last: Person | None = None

    def come(self, place: Place | None = None) -> None:
        self.last = self._person(next(self.numbers))
        self.crowd.add(self.last, place)

    def _person(self, number: int) -> Person:
        name = f"P{number}"
        if number % 7 == 6:
            return Person(name, name)
        if number % 7 == 3 and self.last and self.last.session:
            return Person(name, self.last.author, self.last.session)
        return Person(name, name, self.database.session(name))

    def visit(self) -> None:
        """Two who will go for good."""
        for _ in range(2):
            self.crowd.visit(self._person(next(self.numbers)))

    def come_late(self) -> None:
        """A client with a page from the room's beginning, and a client without any."""
        _, epoch = self.database.position(self.crowd.room)
        self.come(Place(0, epoch) if epoch else None)
        self.come()
