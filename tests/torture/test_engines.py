"""The shared services fail as the run tells them to: otherwise a fault would have no effect."""

import socket
from collections.abc import Iterator

import psycopg
import pytest
from programs import PostgreSQL
from redis import Redis as Client
from redis.exceptions import RedisError

from torture import engines
from torture.engines import Redis, plugged

pytestmark = pytest.mark.e2e


@pytest.fixture
def redis() -> Iterator[Redis]:
    with engines.redis() as redis:
        yield redis


def asked(port: int) -> object:
    with Client(port=port) as client:
        return client.get("word")


def said(port: int, word: str) -> None:
    with Client(port=port) as client:
        client.set("word", word)


def test_a_redis_that_was_killed_has_what_it_had(redis: Redis) -> None:
    said(redis.port, "kept")
    redis.end()
    with pytest.raises(RedisError):
        asked(redis.port)
    redis.start()
    assert asked(redis.port) == b"kept"


def test_a_redis_that_forgot_has_nothing(redis: Redis) -> None:
    said(redis.port, "lost")
    redis.end()
    redis.forget()
    redis.start()
    assert asked(redis.port) is None
    said(redis.port, "lost again")
    redis.flush()
    assert asked(redis.port) is None


def test_a_redis_without_memory_tells_and_takes_nothing(redis: Redis) -> None:
    """So does a replica; afterwards both take all again."""
    said(redis.port, "told")
    redis.fill(full=True)
    assert asked(redis.port) == b"told"
    with pytest.raises(RedisError):
        said(redis.port, "not taken")
    redis.fill(full=False)
    said(redis.port, "taken")
    redis.follow(another=True)
    assert asked(redis.port) == b"taken"
    with pytest.raises(RedisError):
        said(redis.port, "not taken")
    redis.follow(another=False)
    said(redis.port, "taken again")


def test_a_cable_that_is_frozen_carries_nothing_and_then_all(redis: Redis) -> None:
    """Data sent meanwhile comes afterwards, on the same connection."""
    with plugged(redis.port) as cable, socket.create_connection(("127.0.0.1", cable.port), 5.0) as end:
        end.sendall(b"PING\r\n")
        assert end.recv(100) == b"+PONG\r\n"
        cable.freeze(frozen=True)
        end.sendall(b"PING\r\n")
        end.settimeout(0.2)
        with pytest.raises(TimeoutError):
            end.recv(100)
        end.settimeout(5.0)
        cable.freeze(frozen=False)
        assert end.recv(100) == b"+PONG\r\n"


def test_a_cable_that_is_cut_ends_both_sides(redis: Redis) -> None:
    """And data passes again when it is connected again."""
    with plugged(redis.port) as cable:
        with socket.create_connection(("127.0.0.1", cable.port), 5.0) as end:
            end.sendall(b"PING\r\n")
            assert end.recv(100) == b"+PONG\r\n"
            cable.end()
            assert end.recv(100) == b""
        cable.start()
        said(cable.port, "carried")
        assert asked(redis.port) == b"carried"


def test_a_postgresql_that_ended_at_once_has_what_was_committed() -> None:
    def kept(database: PostgreSQL, statement: str) -> list[tuple[object, ...]]:
        with psycopg.connect(database.url, autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    with engines.postgresql() as database:
        kept(database, "CREATE TABLE word (says text)")
        kept(database, "INSERT INTO word VALUES ('kept')")
        database.end(database.STOP)
        with pytest.raises(psycopg.OperationalError):
            kept(database, "SELECT 1")
        database.start()
        assert kept(database, "SELECT says FROM word") == [("kept",)]
