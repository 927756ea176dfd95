"""The counters, and their export to Prometheus, by one process and by several."""

import dataclasses
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Thread

import prometheus_client
import pytest
from django.contrib.auth.models import User
from django.test import AsyncClient
from doubles import Clock, FakeLayer, Outage, message_log, until
from helpers import Closed, CommunicatorPersona, Enter
from hypothesis import given
from hypothesis import strategies as st
from logs import Visitor, commit, edit, elsewhere, post, posts
from members import browser, member
from prometheus_client import CollectorRegistry
from pytest_django import Settings
from scraped import Numbers, Since, now
from servers import PATIENCE, ROOT
from twisted.internet.address import IPv4Address
from twisted.internet.protocol import Factory

from chat import protocol
from chat.actions import AccessEnforcer
from chat.hub import Hub
from chat.log import Change
from chat.loops import close_current, current
from chat.message_log import MessageLog
from chat.metrics import prometheus
from chat.metrics.collector import INTERVAL, Collector
from chat.metrics.counters import SIZES, Counters, Histogram, RefusalReason
from chat.protocol import COMMANDS, CloseCode, ErrorCode, Message, Reaction, UserList
from chatsite.server.admission import AdmissionFactory

Persona = CommunicatorPersona


@pytest.fixture
async def hub(rooms: None) -> AsyncIterator[Hub]:
    yield current(Hub)
    await close_current()


# --- The counters ---


@given(st.lists(st.tuples(st.sampled_from([0, 0.5, *SIZES, 500.5, 1e9]), st.integers(1, 100)), max_size=20))
def test_a_histogram_counts_as_prometheus_does(values: list[tuple[float, int]]) -> None:
    """The buckets and the sum are equal to those of prometheus_client, value by value."""
    histogram, registry = Histogram(SIZES), CollectorRegistry()
    ours = prometheus.ExportedHistogram("ours", "Ours.", buckets=SIZES, registry=registry)
    theirs = prometheus_client.Histogram("theirs", "Theirs.", buckets=SIZES, registry=registry)
    for value, times in values:
        histogram.add(value, times)
        for _ in range(times):
            theirs.observe(value)
    ours.add_counts(histogram.counts, histogram.total)
    samples = [sample for family in registry.collect() for sample in family.samples]
    compared = [each for each in samples if each.name in ("theirs_bucket", "theirs_count", "theirs_sum")]
    assert len(compared) == len(SIZES) + 3
    for sample in compared:
        same = registry.get_sample_value(sample.name.replace("theirs", "ours"), sample.labels)
        assert same == pytest.approx(sample.value)


def test_every_counter_is_exported() -> None:
    """Each field of Counters has its metric, and each of these metrics its field."""
    counted = {field.name for field in dataclasses.fields(Counters)}
    assert counted == {*prometheus.COUNTERS, *prometheus.LABELLED_COUNTERS, *prometheus.HISTOGRAMS}


def test_an_export_adds_only_the_difference() -> None:
    """A second export adds nothing; a later one adds what was counted in between."""
    counted = Counters()
    exporter = prometheus.Exporter(counted)

    def exported() -> tuple[float, float, float]:
        exporter.export()
        numbers = Numbers(prometheus.exposition().decode())
        return (
            numbers.of("chat_deliveries_total"),
            numbers.of("chat_closed_total", by="client", code="1015"),
            numbers.of("chat_commit_size_sum"),
        )

    before = exported()
    for times in (1, 2):
        counted.delivered(frames=3, sockets=2)
        counted.closed["client", "1015"] += 1
        counted.commit_size.add(7, 2)
        after = exported()
        assert after == tuple(old + times * new for old, new in zip(before, (6, 1, 14), strict=True))
    assert exported() == after


@given(
    st.text(st.characters(codec="utf-8"), max_size=200),
    st.sampled_from(["", '"timestamp":1,"', '\\"timestamp":1']),
)
def test_a_message_s_timestamp_is_found_whatever_its_text(text: str, field: str) -> None:
    """No user's text is taken for the timestamp: not in the content, nor in a name before or after it."""
    text = field + text
    message = Message(room="lobby", id=1, seq=1, username=text, content=text, timestamp=1_763_800_000_123)
    message.reactions = [Reaction(text, [text], 1)]
    assert protocol.timestamp_of(protocol.encode(message)) == 1_763_800_000_123


def test_an_event_without_a_timestamp_has_none() -> None:
    """Its timestamp is 0."""
    assert protocol.timestamp_of(protocol.encode(protocol.Deleted(room="lobby", id=1, seq=2))) == 0


# --- Counters in a conversation ---


async def test_each_message_is_a_delivery_to_each_socket(person: Enter, settings: Settings) -> None:
    """5 messages to 3 sockets are 15 deliveries, each of them timed; a write may carry several."""
    settings.CHAT = {**settings.CHAT, "USER_LIST_INTERVAL": 0}
    people = [await person(name) for name in ("Alice", "Bob", "Eve")]
    for each in people:
        await each.join()
    for each in people:
        # The room is quiet after this event.
        await each.expect(UserList, count=3)
    since = Since()
    for number in range(5):
        await people[0].send("message", content=f"{number}")
    for each in people:
        await each.expect(Message, content="4")
    assert since.of("chat_deliveries_total") == 15
    assert since.of("chat_delivery_seconds_count") == 15
    assert 3 <= since.of("chat_writes_total") <= 15
    assert since.of("chat_messages_total") == since.of("chat_changes_total") == 5
    assert since.of("chat_commit_size_sum") == 5
    assert since.of("chat_commit_size_count") == since.of("chat_commit_seconds_count") >= 1
    assert since.of("chat_commands_total", type="message") == since.of("chat_commands_total") == 5
    assert since.of("chat_layer_published_total") >= 1
    assert since.of("chat_layer_received_total") >= 1


async def test_an_edit_is_not_counted_as_a_message(hub: Hub) -> None:
    """An edit is a change of the log, and its event has no timestamp."""
    visitor = await enter(hub)
    await commit(message_log(hub), post(hub.rooms()["tea"].log))
    await visitor.reaches(1)
    since = Since()
    await commit(message_log(hub), edit(hub.rooms()["tea"].log, 1, "another"))
    await visitor.reaches(2)
    assert (since.of("chat_changes_total"), since.of("chat_messages_total")) == (1, 0)
    assert (since.of("chat_deliveries_total"), since.of("chat_delivery_seconds_count")) == (1, 0)


@pytest.mark.parametrize(("ago", "seconds"), [(2_000, 2.0), (-60_000, 0.0)])
async def test_a_delivery_is_timed_from_the_message_s_timestamp(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, ago: int, seconds: float
) -> None:
    """A message written two seconds after its timestamp counts two; if the clock was set back, none."""
    visitors = [await enter(hub) for _ in range(3)]
    since, moment = Since(), protocol.now()
    monkeypatch.setattr(protocol, "now", lambda: moment)
    message = Message(room="tea", id=1, seq=1, username="Bob", content="hi", timestamp=moment - ago)
    frame = protocol.encode(message)
    hub.rooms()["tea"].deliver([Change(1, 1, frame, frame)])
    for visitor in visitors:
        await visitor.reaches(1)
    assert since.of("chat_delivery_seconds_count") == 3
    assert since.of("chat_delivery_seconds_sum") == pytest.approx(3 * seconds)


async def test_reads_of_the_log_are_counted(hub: Hub) -> None:
    """A gap counts once. A client that resumes from before the changes in memory counts once, and as caught up."""
    log = await message_log(hub).open("tea")
    await elsewhere(*posts(log, 10))
    since = Since()
    visitor = await enter(hub, since=0)
    await visitor.reaches(10)
    assert (since.of("chat_stretches_read_total"), since.of("chat_gaps_read_total")) == (1, 0)
    assert (since.of("chat_caught_up_total"), since.of("chat_deliveries_total")) == (10, 0)
    await elsewhere(post(log))
    await commit(message_log(hub), post(log))
    await visitor.reaches(12)
    assert (since.of("chat_stretches_read_total"), since.of("chat_gaps_read_total")) == (1, 1)
    assert (since.of("chat_caught_up_total"), since.of("chat_deliveries_total")) == (10, 2)


async def test_a_slow_consumer_lags(hub: Hub, settings: Settings) -> None:
    """It fell behind once, and lags until it has read everything, however many rooms it is in."""
    settings.CHAT = {**settings.CHAT, "OUTBOX": 1_024}
    visitor = await enter(hub)
    hub.enter(await hub.open("cake"), visitor.socket)
    since = Since()
    visitor.ear.open.clear()
    await commit(message_log(hub), post(hub.rooms()["tea"].log, "x" * 2_000))
    await until(lambda: visitor.socket.transport.full)
    assert (since.of("chat_falls_total"), now().of("chat_lagging_sockets")) == (1, 1)
    visitor.ear.open.set()
    await until(lambda: not visitor.socket.transport.full)
    assert (since.of("chat_falls_total"), now().of("chat_lagging_sockets")) == (1, 0)


async def enter(hub: Hub, since: int | None = None) -> Visitor:
    """A new visitor in the room "tea"."""
    visitor = Visitor()
    hub.add(visitor.socket)
    hub.enter(await hub.open("tea"), visitor.socket, since)
    return visitor


async def test_open_sockets_users_and_rooms_are_exported(person: Enter) -> None:
    """The gauges have the sockets, their users and their rooms; the counters have the closes."""
    since = Since()
    ann, again = await member(person, "Ann"), await member(person, "Ann")
    bob = await person("Bob")
    await ann.join("tea")
    await bob.join("cake")
    numbers = now()
    assert (numbers.of("chat_sockets"), numbers.of("chat_people"), numbers.of("chat_rooms")) == (3, 2, 2)
    await ann.vanish(1001)
    await again.vanish(3_333)
    await bob.vanish()
    assert (now().of("chat_sockets"), now().of("chat_people")) == (0, 0)
    assert since.of("chat_connects_total") == since.of("chat_closed_total", by="client") == 3
    for code in ("1001", "1006", "other"):
        assert since.of("chat_closed_total", by="client", code=code) == 1


async def test_our_closes_and_refusals_are_counted_by_code(alice: Persona, charlie: Persona) -> None:
    """A refused command, invalid frames until the socket is closed, and a sign-in that ends."""
    since = Since()
    await charlie.send("message", content="hi")
    await charlie.refused(ErrorCode.NOT_JOINED)
    for _ in range(10):
        await charlie.write("nonsense")
    assert await charlie.closed() == CloseCode.BAD_INPUT
    await charlie.vanish()
    assert since.of("chat_refused_total", code="not_joined") == 1
    assert since.of("chat_refused_total", code="bad_json") == 10
    assert since.of("chat_closed_total", by="server", code="4400") == since.of("chat_closed_total") == 1

    (socket,) = current(Hub).sockets.values()
    for _ in range(2):
        current(AccessEnforcer).end_session(socket)
    await alice.closed()
    await alice.vanish()
    assert since.of("chat_sign_ins_ended_total") == 1
    assert since.of("chat_closed_total", by="server", code="4401") == 1


@pytest.mark.parametrize(
    ("limit", "reason"),
    [("SOCKETS", "full"), ("SOCKETS_PER_ADDRESS", "address"), ("SOCKETS_PER_PERSON", "person")],
)
async def test_sockets_over_a_limit_are_counted_by_that_limit(
    person: Enter, settings: Settings, limit: str, reason: str
) -> None:
    """Each limit has its own reason, and the close is counted too."""
    settings.CHAT = {"LIMITS": True, limit: 1}
    client = AsyncClient()
    await client.aforce_login(await User.objects.acreate(username="Ann"))
    headers, since = browser(client.cookies["sessionid"].value), Since()
    _, ann = [await person("Ann", headers=headers, client=("192.0.2.1", 1)) for _ in range(2)]
    assert await ann.closed() == CloseCode.TOO_MANY
    await ann.vanish()
    assert since.of("chat_connects_refused_total", reason=reason) == since.of("chat_connects_refused_total") == 1
    assert since.of("chat_closed_total", by="server", code="4029") == 1


async def test_a_refused_origin_is_counted(person: Enter) -> None:
    """It counts as a refused connection, not as an opened socket."""
    since = Since()
    with pytest.raises(Closed):
        await person("Eve", headers={"origin": "https://evil.example"})
    assert since.of("chat_connects_refused_total", reason="origin") == 1
    assert since.of("chat_connects_total") == since.of("chat_closed_total") == 0


async def test_connections_over_the_rate_are_counted(hub: Hub, settings: Settings) -> None:
    """They are refused before anything of them is read."""
    settings.CHAT = {"LIMITS": True, "CONNECT_BURST": 1, "CONNECT_RATE": 0.01}
    door, since = AdmissionFactory(Factory.forProtocol(object)), Since()
    with pytest.raises(AttributeError):
        # This one is admitted; ``object`` is no protocol.
        door.buildProtocol(IPv4Address("TCP", "192.0.2.1", 1))
    assert door.buildProtocol(IPv4Address("TCP", "192.0.2.1", 2)) is None
    assert since.of("chat_connects_refused_total", reason="rate") == 1


async def test_an_unreachable_layer_is_exported(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Failed calls are counted, and nothing is counted as published."""
    layer = FakeLayer()
    monkeypatch.setattr(hub._bus, "_layer", layer)
    assert now().of("chat_layer_away") == 0
    layer.error = ConnectionError("away")
    since = Since()
    visitor = await enter(hub)
    await commit(message_log(hub), post(hub.rooms()["tea"].log))
    await visitor.reaches(1)
    assert now().of("chat_layer_away") == 1
    assert since.of("chat_layer_failed_total") >= 1
    assert since.of("chat_layer_published_total") == 0


async def test_changes_waiting_for_the_database_are_exported(hub: Hub, outage: Outage) -> None:
    """The gauge has their number while they wait. A failed commit is timed too."""
    log = await message_log(hub).open("tea")
    since = Since()
    with outage.begin():
        for write in posts(log, 3):
            message_log(hub).append(write)
        assert now().of("chat_log_waiting") == 3
        await current(MessageLog).close()
    assert now().of("chat_log_waiting") == 0
    assert since.of("chat_commit_seconds_count") == 1
    assert since.of("chat_messages_total") == 0


async def test_a_busy_loop_lags(hub: Hub, clock: Clock) -> None:
    """A timer that fires 0.4 s late adds 0.4 to the histogram."""
    current(Collector).start()
    since = Since()
    clock.stop()
    await clock.skip(INTERVAL + 0.4)
    assert since.of("chat_loop_lag_seconds_count") == 1
    assert since.of("chat_loop_lag_seconds_sum") == pytest.approx(0.4)


async def test_the_gauges_are_updated_every_second(hub: Hub, clock: Clock) -> None:
    """They are updated without a scrape, because another process may answer it."""
    current(Collector).start()
    await enter(hub)
    hub.draining = True
    await clock.skip(INTERVAL)
    numbers = Numbers(prometheus.exposition().decode())
    assert (numbers.of("chat_sockets"), numbers.of("chat_rooms"), numbers.of("chat_draining")) == (1, 1, 1)
    assert numbers.of("chat_resident_bytes") > 10_000_000
    assert numbers.of("chat_cpu_seconds_total") > 0


async def test_labelled_counters_start_at_zero(hub: Hub) -> None:
    """A rate counts the first event only if a zero came before it."""
    numbers = now()
    for name, label, known in (
        ("chat_refused_total", "code", {str(code) for code in ErrorCode}),
        ("chat_commands_total", "type", set(COMMANDS)),
        ("chat_connects_refused_total", "reason", {str(reason) for reason in RefusalReason}),
    ):
        assert {sample.labels[label] for sample in numbers.each(name)} == known
    codes = {sample.labels["code"] for sample in numbers.each("chat_closed_total", by="server")}
    assert codes == {str(int(code)) for code in CloseCode if code != CloseCode.NORMAL}


# --- Several processes ---

PROCESS = """
import sys
from chat.metrics import prometheus
from chat.metrics.counters import counters

for line in sys.stdin:
    if line == "scrape\\n":
        print(prometheus.exposition().decode() + "# the end", flush=True)
    else:
        counters.delivered(int(line), 1)
        counters.closed["server", "4400"] += 1
        counters.commit_size.add(3)
        prometheus.SOCKETS.set(int(line))
        prometheus.exporter.export()
        print("# the end", flush=True)
"""


class Process:
    """A process that counts on command, and exports the numbers of all processes of its folder."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.pid = process.pid

    def count(self, number: int) -> None:
        self._ask(str(number))

    def scrape(self) -> Numbers:
        return Numbers(self._ask("scrape"))

    def _ask(self, line: str) -> str:
        assert self.process.stdin
        assert self.process.stdout
        print(line, file=self.process.stdin, flush=True)
        said = "".join(iter(self.process.stdout.readline, "# the end\n"))
        assert self.process.poll() is None
        return said

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)


@contextmanager
def processes(folder: Path | None, number: int) -> Iterator[list[Process]]:
    variables = {"PYTHONPATH": str(ROOT)} | ({"PROMETHEUS_MULTIPROC_DIR": str(folder)} if folder else {})
    with ExitStack() as stack:
        yield [
            Process(
                stack.enter_context(
                    subprocess.Popen(
                        [sys.executable, "-c", PROCESS],
                        env=variables,
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        text=True,
                    )
                )
            )
            for _ in range(number)
        ]


def test_one_process_answers_for_all(tmp_path: Path) -> None:
    """Counters are summed; gauges are exported for each process."""
    with processes(tmp_path, 3) as some:
        for number, process in enumerate(some, 1):
            process.count(number)
        some[0].count(10)
        numbers = some[2].scrape()
        assert numbers.of("chat_deliveries_total") == 16
        assert numbers.of("chat_closed_total", by="server", code="4400") == 4
        assert (numbers.of("chat_commit_size_count"), numbers.of("chat_commit_size_sum")) == (4, 12)
        assert numbers.of("chat_commit_size_bucket", le="2.0") == 0
        assert numbers.of("chat_commit_size_bucket", le="5.0") == 4
        sockets = {sample.labels["pid"]: sample.value for sample in numbers.each("chat_sockets")}
        assert sockets == {str(process.pid): value for process, value in zip(some, (10, 2, 3), strict=True)}


def test_single_and_shared_processes_export_the_same_names(tmp_path: Path) -> None:
    """The names do not depend on whether the numbers are in memory or in files."""
    with processes(None, 1) as (alone,), processes(tmp_path, 1) as (together,):
        for process in (alone, together):
            process.count(1)
        assert alone.scrape().names == together.scrape().names
        assert len(alone.scrape().names) > 25


def test_an_ended_process_has_no_gauges_and_keeps_its_counts(tmp_path: Path) -> None:
    """Its gauges are removed, its counters stay in the sums, and a second one leaves no more files."""
    with processes(tmp_path, 3) as (one, two, three):
        for process in (one, two, three):
            process.count(5)
        sizes = []
        for process in (one, two):
            process.kill()
            prometheus.forget(process.pid, tmp_path)
            numbers = three.scrape()
            assert numbers.of("chat_deliveries_total") == 15
            assert numbers.of("chat_commit_size_count") == 3
            assert numbers.of("chat_commit_size_sum") == 9
            sizes.append(len(list(tmp_path.iterdir())))
        assert [sample.labels["pid"] for sample in numbers.each("chat_sockets")] == [str(three.pid)]
        assert sizes[0] > sizes[1] == 3 + 2
        prometheus.forget(one.pid, tmp_path)
        assert three.scrape().of("chat_deliveries_total") == 15


def test_a_scrape_counts_nothing_twice_while_files_are_merged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every scrape has the same sum."""
    monkeypatch.setattr(prometheus, "_SHARED", str(tmp_path))
    with processes(tmp_path, 1) as (one,):
        one.count(5)
        copies = range(1_000_000, 1_000_040)
        for pid in copies:
            for path in tmp_path.glob(f"*_{one.pid}.db"):
                (tmp_path / path.name.replace(str(one.pid), str(pid))).write_bytes(path.read_bytes())
        right = 5 * (1 + len(copies))

        def forget_all() -> None:
            for pid in copies:
                prometheus.forget(pid, tmp_path)

        thread = Thread(target=forget_all)
        thread.start()
        seen = set()
        while thread.is_alive():
            seen.add(Numbers(prometheus.exposition().decode()).of("chat_deliveries_total"))
        thread.join()
        assert seen | {Numbers(prometheus.exposition().decode()).of("chat_deliveries_total")} == {right}
