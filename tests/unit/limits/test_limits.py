"""Token buckets and their holders, the budgets of sockets, sharing, and client addresses behind proxies."""

import asyncio
import math
import random
import threading
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from doubles import Clock, returns_at_once
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings
from tables import table

from chat import limits, protocol
from chat.conf import chat_settings
from chat.limits import (
    COST,
    COSTS,
    Allowance,
    Attempt,
    Bucket,
    Holders,
    Limits,
    Refusal,
    SignInLimits,
    addresses,
    buckets,
    client_address,
    is_proxy,
    is_shared_address,
    limit_key,
    request_address,
    scope_address,
    sharing,
)
from chat.limits.rare_warning import RareWarning

HOME, OFFICE = "192.0.2.1", "192.0.2.2"
SMALL = {
    "SOCKET_RATE": 1.0,
    "SOCKET_BURST": 5.0,
    "PERSON_RATE": 2.0,
    "PERSON_BURST": 8.0,
    "ADDRESS_RATE": 4.0,
    "ADDRESS_BURST": 12.0,
    "CONNECT_RATE": 1.0,
    "CONNECT_BURST": 3.0,
    "SOCKETS_PER_PERSON": 2,
    "SOCKETS_PER_ADDRESS": 3,
    "SOCKETS": 4,
    "SIGN_IN_RATE": 0.5,
    "SIGN_IN_BURST": 3.0,
}


@pytest.fixture
def _small(settings: Settings) -> None:
    settings.CHAT = SMALL


@pytest.fixture
async def clock(clock: Clock) -> Clock:
    clock.stop()
    return clock


@pytest.fixture
async def kept(_small: None, clock: Clock) -> Limits:
    return Limits()


def spend(allowance: Allowance, cost: float = 1) -> float:
    """Spend until it is refused; how much went."""
    spent = 0.0
    while not allowance.take(cost):
        spent += cost
    return spent


# --- Buckets ---


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    """Five at once, then one for each half second."""
    bucket = Bucket(rate=2, burst=5)
    assert [bucket.take(1, 100.0) for _ in range(6)] == [0, 0, 0, 0, 0, 0.5]
    assert bucket.take(1, 100.5) == 0
    assert bucket.take(1, 100.5) == 0.5
    assert bucket.tokens(101.0) == 1
    # It is never fuller than full.
    assert bucket.tokens(1e6) == bucket.burst == 5


def test_what_is_refused_costs_nothing() -> None:
    """However often it is asked for."""
    bucket = Bucket(1, 2)
    assert bucket.take(2, 0) == 0
    assert {bucket.take(1, 0.5) for _ in range(100)} == {0.5}
    assert bucket.take(1, 1.0) == 0


def test_what_costs_more_than_the_burst_takes_a_full_bucket_and_a_debt() -> None:
    """Else it would never be possible."""
    bucket = Bucket(1, 2)
    assert bucket.take(5, 0) == 0
    assert bucket.tokens(0) == 0
    assert bucket.take(1, 0) == 4
    assert bucket.take(5, 1) == 4


AMOUNTS = st.floats(0.05, 5)


@given(
    rate=st.floats(0.01, 1_000),
    burst=st.floats(5, 1_000),
    steps=st.lists(st.tuples(st.floats(0, 10), AMOUNTS), max_size=60),
    start=st.floats(0, 1e7),
)
def test_no_schedule_gets_more_than_the_burst_and_the_rate(
    rate: float, burst: float, steps: list[tuple[float, float]], start: float
) -> None:
    """Within any stretch of time; and who waits as long as told is let through."""
    bucket, now = Bucket(rate, burst), start
    accepted: list[tuple[float, float]] = []
    for pause, cost in steps:
        now += pause
        wait = bucket.take(cost, now)
        if wait:
            now += math.ceil(wait * 1_000) / 1_000
            assert bucket.take(cost, now) == 0
        accepted.append((now, cost))
    for first, (since, _) in enumerate(accepted):
        spent = 0.0
        for until, cost in accepted[first:]:
            spent += cost
            # Moments are doubles: at 1e7 seconds they are 2e-9 apart, and each step rounds.
            assert spent <= burst + rate * (until - since + 1e-6) + 1e-6


# --- Holders ---


def holders() -> Holders:
    return Holders(lambda: Bucket(1, 10))


def test_an_idle_holder_with_a_full_bucket_is_forgotten() -> None:
    """A new bucket would be the same."""
    known = holders()
    for number in range(100):
        known.find(f"p{number}", 0).bucket.take(5, 0)
    assert len(known) == 100
    known.find("late", 6)
    assert [holder.key for holder in known.all()] == ["late"]


def test_an_idle_holder_without_all_tokens_is_kept() -> None:
    """Or going and coming back would fill a bucket."""
    known = holders()
    holder = known.add_socket("alice", 0)
    assert holder.bucket.take(10, 0) == 0
    known.remove_socket(holder, 0)
    known.find("bob", 1)
    assert known.add_socket("alice", 1).bucket.tokens(1) == 1


def test_a_holder_with_a_socket_keeps_even_a_full_bucket() -> None:
    """Two sockets of one person share one bucket, whatever happened between them."""
    known = holders()
    first = known.add_socket("alice", 0)
    for number in range(10):
        known.find(f"p{number}", 1_000 * number)
    assert known.add_socket("alice", 1e6) is first
    assert known.sockets("alice") == first.sockets == 2


def test_past_the_bound_who_was_away_longest_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not who came last, nor who has a socket."""
    monkeypatch.setattr(buckets, "IDLE_LIMIT", 3)
    known = holders()
    stays = known.add_socket("stays", 0)
    for key in "abcd":
        known.find(key, 0).bucket.take(10, 0)
        known.find("a", 0)
    assert [holder.key for holder in known.all()] == [stays.key, "c", "d", "a"]


# --- One socket ---


async def test_a_socket_spends_its_own(kept: Limits) -> None:
    """Then it is told how many milliseconds to wait, and that is true."""
    alice = kept.allowance(HOME)
    assert spend(alice) == SMALL["SOCKET_BURST"]
    assert alice.take(1) == 1_000
    assert alice.take(0.5) == 500


async def test_waiting_helps(kept: Limits, clock: Clock) -> None:
    """After the time that it was told a socket may go on."""
    alice = kept.allowance(HOME)
    spend(alice)
    await clock.skip(alice.take(1) / 1_000)
    assert spend(alice) == 1


async def test_a_person_s_sockets_share_their_person_s_tokens(kept: Limits) -> None:
    """However many they open."""
    first, second = kept.allowance(HOME), kept.allowance(OFFICE)
    assert first.assign_to("account:1")
    assert second.assign_to("account:1")
    assert spend(first) + spend(second) == SMALL["PERSON_BURST"]


async def test_an_address_s_people_share_its_tokens(kept: Limits) -> None:
    """However many they are."""
    sockets = [kept.allowance(HOME) for _ in range(4)]
    assert sum(map(spend, sockets)) == SMALL["ADDRESS_BURST"]
    assert spend(kept.allowance(OFFICE)) == SMALL["SOCKET_BURST"]


async def test_a_reconnect_fills_the_socket_s_bucket_only(kept: Limits) -> None:
    """Its person and its address are remembered."""
    spent = 0.0
    for _ in range(5):
        alice = kept.allowance(HOME)
        alice.assign_to("account:1")
        spent += spend(alice)
        alice.close()
    assert spent == SMALL["PERSON_BURST"]


async def test_all_buckets_pay_or_none(kept: Limits) -> None:
    """If the user's bucket is empty, nothing is taken from the socket or the address."""
    first, second = kept.allowance(HOME), kept.allowance(HOME)
    first.assign_to("account:1")
    second.assign_to("account:1")
    spend(first)
    spend(second)
    before = tokens(kept)
    assert second.take(4) > 0
    assert tokens(kept) == before
    # Its own bucket has the two that the person's had not.
    assert second.assign_to("account:2")
    assert spend(second) == 2


def tokens(kept: Limits) -> dict[tuple[str, str], float]:
    return {(kind, key): left for kind, key, left, _, _ in kept.snapshot()}


@given(st.lists(st.tuples(st.integers(0, 3), AMOUNTS, st.floats(0, 2)), max_size=50))
def test_whoever_spends_in_whatever_order_no_bucket_gives_too_much(
    steps: list[tuple[int, float, float]],
) -> None:
    """Two people with two sockets each at two addresses: each sum stays within its burst and rate."""

    async def run() -> None:
        clock = Clock()
        clock.stop()
        kept, loop = Limits(), asyncio.get_running_loop()
        start = loop.time()
        sockets = [kept.allowance(address) for address in (HOME, OFFICE, HOME, OFFICE)]
        people = ["ann", "ann", "ben", "ben"]
        for allowance, person in zip(sockets, people, strict=True):
            assert allowance.assign_to(person)
        spent = [0.0] * 4
        for number, cost, pause in steps:
            await clock.skip(pause)
            before = tokens(kept)
            if sockets[number].take(cost):
                assert tokens(kept) == before
            else:
                spent[number] += cost
        passed = loop.time() - start
        for burst, rate, groups in (
            (5, 1, [(0,), (1,), (2,), (3,)]),
            (8, 2, [(0, 1), (2, 3)]),
            (12, 4, [(0, 2), (1, 3)]),
        ):
            for group in groups:
                assert sum(spent[number] for number in group) <= burst + rate * passed + 1e-6
        clock.start()

    with override_settings(CHAT=SMALL):
        asyncio.run(run())


async def test_a_socket_without_an_address_has_the_other_two(kept: Limits) -> None:
    """Where a server can't tell the address, as on a Unix socket, all would share one."""
    assert [spend(kept.allowance("")) for _ in range(4)] == [SMALL["SOCKET_BURST"]] * 4
    assert kept.admit("") is Refusal.FULL


async def test_without_limits_everything_is_allowed(settings: Settings) -> None:
    """But counted: the admin shows who has how many sockets."""
    settings.CHAT = {**SMALL, "LIMITS": False}
    kept = Limits()
    sockets = [kept.allowance(HOME) for _ in range(10)]
    assert all(allowance.assign_to("account:1") for allowance in sockets)
    assert not any(sockets[0].take(5) for _ in range(100))
    assert kept.admit(HOME) is None
    assert not any(kept.connect(HOME) for _ in range(100))
    assert {(row.key, row.sockets) for row in kept.snapshot()} == {("account:1", 10), (HOME, 10)}


async def test_other_settings_hold_for_who_comes_then(kept: Limits, settings: Settings) -> None:
    """A bucket keeps the size that it was made with."""
    alice = kept.allowance(HOME)
    settings.CHAT = {**SMALL, "SOCKET_BURST": 2.0}
    assert spend(kept.allowance(OFFICE)) == 2
    assert spend(alice) == SMALL["SOCKET_BURST"]


# --- How many sockets ---


async def test_an_address_has_so_many_sockets(kept: Limits) -> None:
    """A closed socket makes room for another."""
    sockets = [kept.allowance(HOME) for _ in range(3)]
    assert kept.admit(HOME) is Refusal.ADDRESS
    assert kept.admit(OFFICE) is None
    sockets[0].close()
    assert kept.admit(HOME) is None


async def test_the_process_has_so_many_sockets(kept: Limits) -> None:
    """Sockets of any users."""
    for number in range(4):
        assert kept.admit(f"192.0.2.{number}") is None
        kept.allowance(f"192.0.2.{number}")
    assert kept.admit("192.0.2.9") is Refusal.FULL


async def test_a_person_has_so_many_sockets(kept: Limits) -> None:
    """One too many is told so, and belongs to nobody; one that ends makes room."""
    first, second, third = (kept.allowance(HOME) for _ in range(3))
    assert first.assign_to("account:1")
    assert second.assign_to("account:1")
    assert not third.assign_to("account:1")
    assert third.assign_to("account:2")
    # Once more counts once.
    assert first.assign_to("account:1")
    first.close()
    assert third.assign_to("account:1")
    assert (kept.people.sockets("account:1"), kept.people.sockets("account:2")) == (2, 0)


async def test_closing_twice_counts_once(kept: Limits) -> None:
    """And nothing of a closed socket is left, nor can it be brought back."""
    alice, bob = kept.allowance(HOME), kept.allowance(HOME)
    alice.assign_to("account:1")
    bob.assign_to("account:1")
    for _ in range(3):
        alice.close()
    assert (kept.sockets, kept.people.sockets("account:1"), kept.addresses.sockets(HOME)) == (1, 1, 1)
    assert alice.assign_to("account:1")
    assert alice.take(1_000) == 0
    assert kept.people.sockets("account:1") == 1
    bob.close()
    assert (kept.sockets, kept.people.sockets("account:1"), kept.addresses.sockets(HOME)) == (0, 0, 0)


async def test_whatever_sockets_come_and_go_nothing_is_left(settings: Settings) -> None:
    """A thousand of them, in any order."""
    settings.CHAT = {}
    kept, chance = Limits(), random.Random(7)
    sockets: list[Allowance] = []
    for _ in range(1_000):
        if sockets and chance.random() < 0.5:
            sockets.pop(chance.randrange(len(sockets))).close()
        else:
            sockets.append(kept.allowance(f"192.0.2.{chance.randrange(20)}"))
            sockets[-1].assign_to(f"account:{chance.randrange(100)}")
        assert kept.sockets == len(sockets)
        assert sum(row.sockets for row in kept.snapshot(1_000) if row.kind == "address") == len(sockets)
    for allowance in sockets:
        allowance.close()
    # Nobody spent anything: they need not be remembered, but for who left last.
    assert (len(kept.people), len(kept.addresses)) == (1, 1)


async def test_connections_of_an_address_are_counted_as_they_come(kept: Limits, clock: Clock) -> None:
    """Three at once, then one a second; another address has its own."""
    assert [kept.connect(HOME) for _ in range(4)] == [0, 0, 0, pytest.approx(1)]
    assert kept.connect(OFFICE) == 0
    assert kept.connect("") == 0
    await clock.skip(1)
    assert kept.connect(HOME) == 0
    assert kept.connect(HOME) > 0


async def test_an_ipv6_network_is_one_address(kept: Limits) -> None:
    """A client with one address of a /64 has all of them."""
    assert [kept.connect(f"2001:db8::{number:x}") for number in range(4)][-1] > 0
    assert kept.connect("2001:db8:0:1::1") == 0


async def test_a_snapshot_has_the_emptiest_first(kept: Limits) -> None:
    """With the remaining tokens, the burst, and the number of sockets that share it; another thread may ask."""
    busy, quiet = kept.allowance(HOME), kept.allowance(OFFICE)
    busy.assign_to("account:1")
    quiet.assign_to("account:2")
    busy.take(4)
    quiet.take(1)
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.extend(kept.snapshot(3)))
    thread.start()
    thread.join()
    assert [tuple(row) for row in found] == [
        ("person", "account:1", pytest.approx(4), pytest.approx(8), 1),
        ("address", HOME, pytest.approx(8), pytest.approx(12), 1),
        ("person", "account:2", pytest.approx(7), pytest.approx(8), 1),
    ]


async def test_closing_the_limits_is_nothing_to_wait_for(kept: Limits) -> None:
    """They are of a loop, which closes what it keeps."""
    assert returns_at_once(kept.close())


# --- Costs ---


def test_costs_follow_the_work() -> None:
    """A ping costs less than a message, a search more; the burst of a socket pays for each command."""
    assert COSTS[protocol.Ping] < COSTS[protocol.Post] < COSTS[protocol.Search]
    assert max(*COSTS.values(), COST) <= chat_settings().SOCKET_BURST


# --- Signing in ---


@pytest.fixture
def tries(_small: None) -> tuple[SignInLimits, list[float]]:
    now = [0.0]
    return SignInLimits(lambda: now[0]), now


def test_a_name_is_tried_so_often_from_one_network(tries: tuple[SignInLimits, list[float]]) -> None:
    """However it is written; and from another it is free."""
    sign_in_limits, now = tries
    names = ["Alice", "ALICE", "alice", "\uff41lice"]
    addresses = [f"2001:db8:0:{n}::1" for n in range(4)]
    assert [sign_in_limits.take(Attempt(*each)) for each in zip(addresses, names, strict=True)] == [
        0,
        0,
        0,
        pytest.approx(2),
    ]
    assert sign_in_limits.take(Attempt(HOME, "Alice")) == 0
    now[0] += 2
    assert sign_in_limits.take(Attempt(addresses[0], "Alice")) == 0


def test_a_name_that_many_networks_try_is_slowed(tries: tuple[SignInLimits, list[float]]) -> None:
    """Each network must have made good its own tries; one that made none may try at once, always."""
    sign_in_limits, now = tries
    for n in range(100):
        assert sign_in_limits.take(Attempt(f"192.0.2.{n}", "Alice")) == 0
    assert [sign_in_limits.take(Attempt(f"192.0.2.{n}", "Alice")) for n in range(100)] == [2] * 100
    # The other way to pay is the name's own budget, which comes back while nobody tries.
    now[0] += 2
    assert sign_in_limits.take(Attempt("192.0.2.50", "Alice")) == 0


def test_an_address_tries_so_often_whatever_the_names(tries: tuple[SignInLimits, list[float]]) -> None:
    """And a try that its address may not make is not counted for the name."""
    sign_in_limits, _ = tries
    assert [sign_in_limits.take(Attempt(HOME, f"name {n}")) for n in range(4)][-1] > 0
    for _ in range(10):
        assert sign_in_limits.take(Attempt(HOME, "Bob")) > 0
    assert [sign_in_limits.take(Attempt(OFFICE, "Bob")) for _ in range(3)] == [0, 0, 0]


def test_refused_tries_push_nobody_out(tries: tuple[SignInLimits, list[float]]) -> None:
    """However many names a network without budget goes on with."""
    sign_in_limits, _ = tries
    for n in range(100):
        sign_in_limits.take(Attempt(HOME, f"name {n}"))
    assert len(sign_in_limits._names) == len(sign_in_limits._names_by_network) == 3


def test_a_known_browser_has_a_budget_of_its_own(tries: tuple[SignInLimits, list[float]]) -> None:
    """It is not the network's, nor the name's, and it has an end."""
    sign_in_limits, _ = tries
    known, other = Attempt(HOME, "Alice", "browser 1"), Attempt(HOME, "Alice")
    assert [sign_in_limits.take(other) for _ in range(4)][-1] > 0
    assert [sign_in_limits.take(known) for _ in range(4)] == [0, 0, 0, pytest.approx(2)]
    assert sign_in_limits.take(Attempt(HOME, "Alice", "browser 2")) == 0


@pytest.mark.parametrize(
    "attempt", [Attempt(HOME, "Alice"), Attempt("", "Alice"), Attempt(HOME), Attempt(HOME, "Alice", "browser")]
)
def test_what_is_given_back_was_not_taken(tries: tuple[SignInLimits, list[float]], attempt: Attempt) -> None:
    """Each budget that was paid from is as if nobody had tried."""
    sign_in_limits, _ = tries
    for _ in range(50):
        assert sign_in_limits.take(attempt) == 0
        sign_in_limits.refund(attempt)
    assert [sign_in_limits.take(attempt) for _ in range(4)] == [0, 0, 0, pytest.approx(2)]


def test_a_name_of_any_length_costs_little(tries: tuple[SignInLimits, list[float]]) -> None:
    """Only its beginning is kept."""
    sign_in_limits, _ = tries
    assert [sign_in_limits.take(Attempt("", "x" * 1_000_000 + str(n))) for n in range(4)][-1] > 0
    assert sign_in_limits.take(Attempt()) == 0


def test_without_limits_everybody_may_try(settings: Settings) -> None:
    """As often as they like."""
    settings.CHAT = {**SMALL, "LIMITS": False}
    sign_in_limits = SignInLimits()
    assert not any(sign_in_limits.take(Attempt(HOME, "Alice")) for _ in range(100))


def test_threads_share_the_tries(settings: Settings) -> None:
    """Eight threads at once get no more than one would."""
    settings.CHAT = {"SIGN_IN_RATE": 0.001, "SIGN_IN_BURST": 100.0}
    allowed: list[bool] = []
    sign_in_limits = SignInLimits(lambda: 0.0)

    def try_often() -> None:
        allowed.extend(not sign_in_limits.take(Attempt(HOME, "Alice")) for _ in range(50))

    threads = [threading.Thread(target=try_often) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(allowed) == 100


@pytest.mark.usefixtures("_small")
def test_tries_can_be_forgotten() -> None:
    """Between tests, for the process has one count."""
    for _ in range(5):
        limits.sign_in_limits.take(Attempt(HOME, "Alice"))
    assert limits.sign_in_limits.take(Attempt(HOME, "Alice")) > 0
    limits.sign_in_limits.clear()
    assert limits.sign_in_limits.take(Attempt(HOME, "Alice")) == 0
    limits.sign_in_limits.clear()


# --- Addresses ---

PROXIES = ("127.0.0.1", "10.0.0.0/8", "fd00::/8")


@table(
    ("peer", "lines", "address"),
    [
        # The peer is no proxy: what it says of itself is nothing.
        (HOME, ["198.51.100.7"], HOME),
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", [HOME], HOME),
        # The client's forged addresses come before the one that our proxy saw.
        ("127.0.0.1", [f"203.0.113.66, {HOME}"], HOME),
        ("127.0.0.1", [f"made up, {HOME}"], HOME),
        # A proxy before a proxy.
        ("127.0.0.1", [f"203.0.113.66, {HOME}, 10.1.2.3"], HOME),
        # Several lines are one, in order.
        ("127.0.0.1", ["203.0.113.66", HOME, "10.1.2.3"], HOME),
        # Only proxies.
        ("127.0.0.1", ["10.9.9.9, 10.1.2.3"], "127.0.0.1"),
        # No address.
        ("127.0.0.1", [f"{HOME}, unknown"], "127.0.0.1"),
        ("127.0.0.1", [""], "127.0.0.1"),
        ("127.0.0.1", [f"{HOME}, "], "127.0.0.1"),
        ("127.0.0.1", ["fe80::1%\x1b[31m"], "127.0.0.1"),
        ("127.0.0.1", [f"{HOME}:47115555"], "127.0.0.1"),
        ("127.0.0.1", [f"{HOME}:http"], "127.0.0.1"),
        ("127.0.0.1", [f"[{HOME}"], "127.0.0.1"),
        ("127.0.0.1", [f'"{HOME}'], "127.0.0.1"),
        ("127.0.0.1", ["[2001:db8::1]x"], "127.0.0.1"),
        ("127.0.0.1", ["[]:80"], "127.0.0.1"),
        ("127.0.0.1", ["unix:"], "127.0.0.1"),
        ("127.0.0.1", ["_hidden"], "127.0.0.1"),
        # With a port, in brackets, in quotes, with a zone, with spaces: as proxies write it.
        ("127.0.0.1", [f"{HOME}:4711"], HOME),
        ("127.0.0.1", [f'"{HOME}:4711"'], HOME),
        ("127.0.0.1", [f"{HOME}:"], HOME),
        ("127.0.0.1", [f"[{HOME}]:4711"], HOME),
        ("127.0.0.1", [f"\t {HOME} "], HOME),
        ("127.0.0.1", ["[2001:db8::1]"], "2001:db8::1"),
        ("127.0.0.1", ["[2001:db8::1]:4711"], "2001:db8::1"),
        ("127.0.0.1", ['"[2001:db8::1]"'], "2001:db8::1"),
        ("127.0.0.1", ['" [2001:DB8::1]:_port "'], "2001:db8::1"),
        ("127.0.0.1", ["fe80::1%eth0"], "fe80::1"),
        ("127.0.0.1", ["[fe80::1%25en0]:443"], "fe80::1"),
        ("127.0.0.1", [f"[::ffff:{HOME}]:4711"], HOME),
        ("127.0.0.1", [f"::ffff:{HOME}"], HOME),
        # A proxy's own address, and what stands before it, written so.
        ("127.0.0.1", [f"203.0.113.66, {HOME}:80, [fd00::2]:90, 10.1.2.3:4711"], HOME),
        ("127.0.0.1", [f"made up, , {HOME}:80"], HOME),
        ("127.0.0.1", [f"{HOME},, 10.1.2.3"], HOME),
        # Too long to be a proxy's.
        ("127.0.0.1", ["203.0.113.66, " * 1_000 + HOME], "127.0.0.1"),
        # IPv6, and IPv4 in its clothes.
        ("fd00::1", ["2001:db8::1"], "2001:db8::1"),
        ("::ffff:127.0.0.1", [HOME], HOME),
        ("127.0.0.1", [f"::ffff:{HOME}, ::ffff:10.0.0.1"], HOME),
        # Not known.
        ("", [HOME], ""),
    ],
)
def test_only_our_proxies_say_who_a_client_is(peer: str, lines: list[str], address: str) -> None:
    """The last address that they name and that is none of theirs."""
    assert client_address(peer, lines, PROXIES) == address


def test_without_proxies_nobody_says_who_a_client_is() -> None:
    """Not even this machine."""
    assert client_address("127.0.0.1", [HOME], ()) == "127.0.0.1"


@pytest.fixture
def unlisted_proxies(monkeypatch: pytest.MonkeyPatch) -> addresses.UnlistedProxies:
    """Nobody has forwarded so far, and nothing was said of it."""
    fresh = addresses.UnlistedProxies()
    monkeypatch.setattr(addresses, "unlisted_proxies", fresh)
    return fresh


@pytest.fixture
def seldom(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time of what is logged at most once a minute; so far nothing was."""
    now = [0.0]
    for holder, name in ((addresses, "_unreadable"), (addresses.unlisted_proxies, "_warning")):
        monkeypatch.setattr(holder, name, RareWarning(addresses.logger, lambda: now[0]))
    return now


def test_what_can_t_be_read_is_told_once_a_minute(seldom: list[float], caplog: pytest.LogCaptureFixture) -> None:
    """The log has the header, cut, and the address that counts instead."""
    for _ in range(3):
        client_address("127.0.0.1", [f"{HOME}, unknown\x1b[31m"], PROXIES)
    client_address("10.0.0.1", ["x" * 5_000], PROXIES)
    (said,) = caplog.messages
    assert f"'{HOME}, unknown\\x1b[31m' of the proxy 127.0.0.1 can't be read: the proxy's own address" in said
    seldom[0] += 60
    client_address("10.0.0.1", ["x" * 5_000], PROXIES)
    assert "10.0.0.1" in caplog.messages[1]
    assert len(caplog.messages[1]) < 350


@pytest.mark.parametrize("lines", [[], [""], [HOME], ["10.9.9.9"], [f"{HOME}:80, 10.0.0.1"]])
def test_what_can_be_read_is_not_told(
    seldom: list[float], caplog: pytest.LogCaptureFixture, lines: list[str]
) -> None:
    """Nor that there is nothing to read."""
    client_address("127.0.0.1", lines, PROXIES)
    assert caplog.messages == []


@pytest.mark.parametrize("header", ["Forwarded", "X-Real-IP", "CF-Connecting-IP", "X-Forwarded-Proto"])
def test_a_named_proxy_that_says_nobody_s_address_is_told_of(
    seldom: list[float], caplog: pytest.LogCaptureFixture, settings: Settings, header: str
) -> None:
    """It forwards, but not with the header that is read: all its clients would count as one in silence."""
    settings.CHAT = {"PROXIES": ["10.0.0.1"]}
    lines = [(header.lower().encode(), b"203.0.113.66"), (b"x-forwarded-for", b" ")]
    for headers in (lines[:1], lines):
        assert scope_address({"client": ["10.0.0.1", 1], "headers": headers}) == "10.0.0.1"
    assert (
        request_address({"REMOTE_ADDR": "10.0.0.1", f"HTTP_{header.upper().replace('-', '_')}": HOME})
        == "10.0.0.1"
    )
    (said,) = caplog.messages
    assert "the proxy 10.0.0.1 forwards without an X-Forwarded-For" in said
    # A probe of the proxy itself forwards for nobody.
    seldom[0] += 60
    scope_address({"client": ["10.0.0.1", 1], "headers": [(b"host", b"x")]})
    assert len(caplog.messages) == 1


@pytest.mark.parametrize(
    "header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "X-Forwarded-Proto", "True-Client-IP"]
)
def test_a_proxy_that_is_not_named_is_told_of(
    unlisted_proxies: addresses.UnlistedProxies,
    seldom: list[float],
    caplog: pytest.LogCaptureFixture,
    settings: Settings,
    header: str,
) -> None:
    """At its first header, whether a page or a socket brings it, and once; the others are, a minute later."""
    settings.CHAT = {"PROXIES": ["10.0.0.1"]}
    for _ in range(2):
        assert (
            scope_address({"client": ["10.0.0.2", 1], "headers": [(header.lower().encode(), b"x")]}) == "10.0.0.2"
        )
    meta = f"HTTP_{header.upper().replace('-', '_')}"
    assert request_address({"REMOTE_ADDR": "172.16.0.3", meta: HOME}) == "172.16.0.3"
    assert [message.split()[0] for message in caplog.messages] == ["10.0.0.2"]
    assert "CHAT_PROXIES" in caplog.messages[0]
    seldom[0] += 60
    request_address({"REMOTE_ADDR": "10.0.0.2", meta: HOME})
    request_address({"REMOTE_ADDR": "172.16.0.3", meta: HOME})
    assert [message.split()[0] for message in caplog.messages] == ["10.0.0.2", "172.16.0.3"]
    # A proxy that is named, and a peer that forwards nothing.
    seldom[0] += 60
    both = [(name, HOME.encode()) for name in (header.lower().encode(), b"x-forwarded-for")]
    scope_address({"client": ["10.0.0.1", 1], "headers": both})
    scope_address({"client": ["10.0.0.4", 1], "headers": [(b"host", b"x")]})
    assert len(caplog.messages) == 2


def test_addresses_that_many_share(unlisted_proxies: addresses.UnlistedProxies, settings: Settings) -> None:
    """A named proxy, and a private peer that forwards. Outside, a header may be anybody's own."""
    settings.CHAT = {"PROXIES": ["10.0.0.1"]}
    for peer in ("10.0.0.2", "127.0.0.1", "fd00::7", HOME):
        assert not is_shared_address(peer)
        request_address({"REMOTE_ADDR": peer, "HTTP_X_FORWARDED_FOR": "203.0.113.66"})
    many = [each for each in ("10.0.0.1", "10.0.0.2", "127.0.0.1", "fd00::7", HOME, "") if is_shared_address(each)]
    assert many == ["10.0.0.1", "10.0.0.2", "127.0.0.1", "fd00::7"]


@given(st.lists(st.text(max_size=60), max_size=5), st.sampled_from(["127.0.0.1", HOME, "", "fd00::1"]))
def test_whatever_a_header_says_an_address_comes_out(lines: list[str], peer: str) -> None:
    """The peer's, or one that is spelt as addresses are."""
    address = client_address(peer, lines, PROXIES)
    assert address == peer or (limit_key(address).split("/")[0] and not is_proxy(address, PROXIES))


@pytest.mark.parametrize(
    ("address", "key"),
    [
        (HOME, HOME),
        (f"::ffff:{HOME}", HOME),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:0DB8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("", ""),
        ("unix", "unix"),
    ],
)
def test_what_is_limited_is_a_network_of_ipv6(address: str, key: str) -> None:
    """A /64 is what one customer has at least."""
    assert limit_key(address) == key


def test_a_scope_tells_the_address(settings: Settings) -> None:
    """As the proxies say, where there are any."""
    scope = {
        "client": ["127.0.0.1", 1],
        "headers": [(b"X-Forwarded-For", b"203.0.113.66"), (b"x-forwarded-for", b"192.0.2.1")],
    }
    settings.CHAT = {}
    assert scope_address(scope) == "127.0.0.1"
    settings.CHAT = {"PROXIES": ["127.0.0.0/8"]}
    assert scope_address(scope) == HOME
    assert scope_address({"client": None}) == scope_address({}) == ""


@pytest.mark.parametrize("proxies", [["10.0.0.0/33"], ["proxy.example"], [""], ["127.0.0.1", "x"], "127.0.0.1"])
def test_a_network_that_is_none_stops_with_the_setting_s_name(proxies: Any, settings: Settings) -> None:
    """And says what would be right."""
    settings.CHAT = {"PROXIES": proxies}
    with pytest.raises(ImproperlyConfigured, match=r"CHAT\['PROXIES'\] must be .*10\.0\.0\.0/8"):
        chat_settings()


# --- Several processes ---


@pytest.fixture
async def two(kept: Limits) -> tuple[Limits, Limits]:
    return kept, Limits()


def exchange(one: Limits, other: Limits) -> int:
    """Each tells the other what it has to tell; how many told anything."""
    told = [(one, other, one.report()), (other, one, other.report())]
    for origin, to, news in told:
        if news:
            to.receive(str(id(origin)), news)
    return sum(bool(news) for _, _, news in told)


def of(kept: Limits, address: str, person: str) -> Allowance:
    allowance = kept.allowance(address)
    assert allowance.assign_to(person)
    return allowance


MANY = {"SOCKETS_PER_PERSON": 100, "SOCKETS_PER_ADDRESS": 100, "SOCKETS": 100}
"""So many sockets that nobody's are told of."""


async def test_who_goes_from_process_to_process_pays_in_all(
    two: tuple[Limits, Limits], settings: Settings
) -> None:
    """Tokens that a user, and an address, took in one process are gone in the other; they are reported once."""
    settings.CHAT = {**SMALL, **MANY}
    here, there = two
    assert spend(of(here, HOME, "account:1")) == 5
    assert exchange(here, there) == 1
    # Three of the person's eight are left; they have a socket's bucket of its own there.
    assert spend(of(there, HOME, "account:1")) == 3
    assert spend(of(there, HOME, "account:2")) == 12 - 5 - 3
    exchange(here, there)
    assert exchange(here, there) == 0
    assert spend(of(here, HOME, "account:3")) == 0


async def test_who_takes_little_is_not_told_of(kept: Limits, clock: Clock, settings: Settings) -> None:
    """Less than a sixteenth of a full bucket waits for more, and regained tokens are forgotten."""
    settings.CHAT = {**SMALL, **MANY, "SOCKET_BURST": 1_000, "PERSON_BURST": 160, "ADDRESS_BURST": 1_600}
    small = Limits()
    allowance = of(small, HOME, "account:1")
    for _ in range(9):
        assert allowance.take(1) == 0
    assert small.report() == ()
    assert allowance.take(1) == 0
    assert small.report() == ((("person", "account:1", 10),), ())
    for _ in range(9):
        allowance.take(1)
    await clock.skip(100)
    allowance.take(2)
    assert small.report() == ()


async def test_what_is_told_is_not_told_again(two: tuple[Limits, Limits], settings: Settings) -> None:
    """A process does not report what it received: that would come back for ever."""
    settings.CHAT = {**SMALL, **MANY}
    here, there = two
    spend(of(here, HOME, "account:1"))
    exchange(here, there)
    assert there.report() == ()


async def test_sockets_are_counted_in_all_processes(two: tuple[Limits, Limits], settings: Settings) -> None:
    """A person, and an address, with as many as they may have in one gets none in another; then one is free."""
    settings.CHAT = {**SMALL, "SOCKETS": 100}
    here, there = two
    mine = [of(here, HOME, "account:1") for _ in range(2)]
    exchange(here, there)
    assert not there.allowance(OFFICE).assign_to("account:1")
    third = of(here, HOME, "account:2")
    exchange(here, there)
    assert there.admit(HOME) is Refusal.ADDRESS
    assert there.admit(OFFICE) is None
    for allowance in (*mine, third):
        allowance.close()
    exchange(here, there)
    assert there.admit(HOME) is None
    assert there.allowance(OFFICE).assign_to("account:1")


async def test_a_process_that_is_gone_holds_nobody_up(two: tuple[Limits, Limits], clock: Clock) -> None:
    """Its report of sockets holds for some seconds."""
    here, there = two
    for _ in range(2):
        of(here, HOME, "account:1")
    exchange(here, there)
    assert not there.has_room_for("account:1")
    await clock.skip(sharing.REPORT_EXPIRY + 1)
    assert there.has_room_for("account:1")


async def test_connections_are_told_of_too(two: tuple[Limits, Limits]) -> None:
    """A client that connects to one process after the other gets no more than from one."""
    here, there = two
    assert [here.connect(HOME) for _ in range(3)] == [0, 0, 0]
    exchange(here, there)
    assert there.connect(HOME) == 1


async def test_without_limits_nothing_is_reported(kept: Limits, settings: Settings) -> None:
    """There is nothing to share."""
    spend(of(kept, HOME, "account:1"))
    settings.CHAT = {"LIMITS": False}
    assert kept.report() == ()


@pytest.mark.usefixtures("_small")
def test_tries_to_sign_in_are_those_of_all_processes() -> None:
    """A guesser gains nothing from another process: by network, by name, and with a known browser."""
    here, there = SignInLimits(lambda: 0.0), SignInLimits(lambda: 0.0)
    assert [here.take(Attempt(HOME, "alice")) for _ in range(3)] == [0, 0, 0]
    assert [here.take(Attempt(HOME, "alice", "browser")) for _ in range(3)] == [0, 0, 0]
    there.receive(here.report())
    assert there.take(Attempt(HOME, "bob")) == there.take(Attempt(OFFICE, "alice", "browser")) == 2
    assert there.take(Attempt(HOME, "alice", counts_for_network=False)) == 2
    assert there.take(Attempt(OFFICE, "bob")) == 0
    # The name is slowed there too: one more try of this network, not three.
    assert there.take(Attempt(OFFICE, "alice")) == 0
    assert there.take(Attempt(OFFICE, "alice")) == 2
    assert here.report() == ()
