"""The environment's variables: right ones are read, wrong ones stop with their name and without a secret."""

import contextlib
import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from tables import table

from chatsite import environment
from chatsite.environment import boolean, choice, database, listed, origins, prefix, redis, secret_key, text

SECRET = "hunter2"


@pytest.fixture
def variable(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sets the variable X."""
    return lambda value: monkeypatch.setenv("X", value)


Set = Callable[[str], None]


def complaint(read: Callable[[], object]) -> str:
    """The error for a bad value, with everything that a traceback would show of it."""
    with pytest.raises(ImproperlyConfigured) as caught:
        read()
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return str(caught.value)


def test_a_variable_that_is_not_set_has_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is required."""
    monkeypatch.delenv("X", raising=False)
    assert (text("X"), text("X", "d")) == ("", "d")
    assert (boolean("X", default=True), boolean("X", default=False)) == (True, False)
    assert (listed("X"), listed("X", "a,b"), origins("X"), redis("X")) == ([], ["a", "b"], [], {})


def test_text_has_no_space_around(variable: Set) -> None:
    """A line of an env file may end in a space."""
    variable("  a b \n")
    assert text("X", "d") == "a b"


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        *[(word, True) for word in ("1", "true", "TRUE", "yes", "on", " On ")],
        *[(word, False) for word in ("0", "false", "No", "off")],
    ],
)
def test_a_truth_value_is_read(variable: Set, value: str, meant: bool) -> None:
    """The common words are understood, whatever their case and the default."""
    variable(value)
    assert boolean("X", default=not meant) is meant


def test_an_empty_truth_value_is_the_default(variable: Set) -> None:
    """DEBUG= says nothing."""
    variable("")
    assert boolean("X", default=True) is True


@pytest.mark.parametrize("value", ["2", "ture", "none", "1 1", "-"])
def test_a_bad_truth_value_is_named(variable: Set, value: str) -> None:
    """DEBUG=ture is not taken for off."""
    variable(value)
    assert complaint(lambda: boolean("X", default=False)).startswith("X must be 1, true, yes, on or 0")


@pytest.mark.parametrize(
    ("value", "parts"), [("a", ["a"]), ("a,b", ["a", "b"]), (" a , b ,, ", ["a", "b"]), ("", []), (",", [])]
)
def test_a_list_is_read(variable: Set, value: str, parts: list[str]) -> None:
    """Commas part, spaces don't count, nothing between two commas is nothing."""
    variable(value)
    assert listed("X", "default") == parts


# --- Origins ---


@pytest.mark.parametrize(
    "value",
    [
        "https://chat.example.com",
        "http://localhost:8000",
        "https://chat.example.com,http://127.0.0.1:8000",
        "http://[::1]:8000",
        "https://*.example.com",
        "https://xn--mnchen-3ya.example",
    ],
)
def test_origins_are_read(variable: Set, value: str) -> None:
    """Scheme, host and port, as browsers send them."""
    variable(value)
    assert origins("X") == value.split(",")


@table(
    "value",
    [
        "chat.example.com",
        "//chat.example.com",
        "https://",
        "https://:443",
        "https://chat.example.com/",
        "https://chat.example.com/chat",
        "https://chat.example.com?x",
        "https://chat.example.com#x",
        "https://Chat.Example.com",
        "HTTPS://chat.example.com",
        "https://chat.example.com:",
        "https://chat.example.com:port",
        "https://chat.example.com:70000",
        "https://[::1",
        "ws://chat.example.com",
        "null",
        "*",
        f"https://alice:{SECRET}@chat.example.com",
        "https://chat.example.com, https://other.example.com/",
    ],
)
def test_a_bad_origin_is_named(variable: Set, value: str) -> None:
    """A value that no browser sends as an Origin could never match, so it stops the start."""
    variable(value)
    said = complaint(lambda: origins("X"))
    assert said.startswith("X ")
    assert SECRET not in said


# --- Databases and Redis ---


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (
            "sqlite:////srv/chat/db.sqlite3",
            {"ENGINE": "django.db.backends.sqlite3", "NAME": "/srv/chat/db.sqlite3"},
        ),
        (
            f"postgres://alice:{SECRET}@db.example.com:5433/chat",
            {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": "chat",
                "USER": "alice",
                "PASSWORD": SECRET,
                "HOST": "db.example.com",
                "PORT": 5433,
            },
        ),
        ("postgresql://db.example.com/chat", {"ENGINE": "django.db.backends.postgresql", "NAME": "chat"}),
        ("postgres://alice:p%40ss%2Fword@db/chat", {"PASSWORD": "p@ss/word", "HOST": "db"}),
    ],
)
def test_a_database_is_read(variable: Set, value: str, expected: dict[str, Any]) -> None:
    """A URL becomes Django's entry, with what is escaped in the password unescaped."""
    variable(value)
    config = database("X", "sqlite:///default")
    assert {key: config[key] for key in expected} == expected


def test_a_database_that_is_not_set_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a variable there is the file that the settings name."""
    monkeypatch.delenv("X", raising=False)
    assert database("X", "sqlite:////srv/default")["NAME"] == "/srv/default"


BAD_URLS = [
    "db.sqlite3",
    "mysql://db.example.com/chat",
    f"postgre://alice:{SECRET}@db.example.com/chat",
    f"postgre://alice:{SECRET}/x@db.example.com/chat",
    f"postgre://alice:x#{SECRET}@db.example.com/chat",
    f"postgre://alice:x?{SECRET}@db.example.com/chat",
    f"postgre://alice:x@{SECRET}@db.example.com/chat",
    f"alice:{SECRET}@db.example.com/chat",
    f"mysql://db.example.com/chat?password={SECRET}",
    f"postgres://alice:{SECRET}/x@db.example.com/chat",
    f"postgres://alice:{SECRET}@db.example.com:port/chat",
    f"postgres://alice:{SECRET}@db.example.com:70000/chat",
    f"postgres://alice:{SECRET}@[db.example.com/chat",
    f"postgres://alice:[{SECRET}@db.example.com/chat",
    f"redis://:{SECRET}@db.example.com:port/0",
    f"redis://:{SECRET}/x@db.example.com/0",
    f"redi://:{SECRET}@db.example.com/0",
    f"unix://:{SECRET}@/var/run/redis.sock",
]


@table("value", [*BAD_URLS, f"postgres://alice:{SECRET}@db.example.com"])
def test_a_bad_database_is_named_and_its_password_not_shown(variable: Set, value: str) -> None:
    """For any fault of the URL, the error names the variable and does not contain the password."""
    variable(value)
    said = complaint(lambda: database("X", ""))
    assert said.startswith("X ")
    assert SECRET not in said


BAD_REDIS = [
    *("localhost:6379", "redis://", "redis:///0", "http://localhost:6379"),
    *("redis+sentinel://a.example.com", "redis+sentinel:///mymaster", "redis+sentinel://a,,b/mymaster"),
    f"redis+sentinel://:{SECRET}@a:port/mymaster",
    f"redis+sentinel://:{SECRET}@a/mymaster/zero",
    f"sentinel://:{SECRET}@a/mymaster",
]


@pytest.mark.parametrize(
    "value",
    [
        "redis://localhost",
        "redis://127.0.0.1:6379/0",
        "redis://[::1]:6379",
        f"rediss://:{SECRET}@r.example.com:6380/1",
        "rediss://r.example.com?ssl_ca_certs=/etc/ssl/ca.pem",
    ],
)
def test_a_redis_is_read(variable: Set, value: str) -> None:
    """The URL is handed on as it is."""
    variable(value)
    assert redis("X") == {"address": value}


def test_a_redis_that_sentinels_know_is_read(variable: Set) -> None:
    """All that the layer needs to ask them; their port is the usual one where none is said, TLS is for both."""
    variable("redis+sentinel://a.example.com,b.example.com:26380/mymaster")
    asked = redis("X")
    assert asked.pop("sentinel_kwargs") == {"socket_timeout": 5}
    assert asked == {
        "sentinels": [("a.example.com", 26379), ("b.example.com", 26380)],
        "master_name": "mymaster",
        "db": 0,
    }
    variable(f"rediss+sentinel://alice:{SECRET}%2F@[::1]:1/the-master/3")
    assert redis("X") == {
        "sentinels": [("::1", 1)],
        "master_name": "the-master",
        "db": 3,
        "username": "alice",
        "password": f"{SECRET}/",
        "ssl": True,
        "sentinel_kwargs": {"socket_timeout": 5, "ssl": True},
    }


@table("value", [*BAD_URLS, *BAD_REDIS])
def test_a_bad_redis_is_named_and_its_password_not_shown(variable: Set, value: str) -> None:
    """As for the database."""
    variable(value)
    said = complaint(lambda: redis("X"))
    assert said.startswith("X ")
    assert SECRET not in said


@pytest.mark.parametrize(("value", "meant"), [("", "chat"), ("a", "a"), (" the-site:1 ", "the-site:1")])
def test_a_prefix_is_read(variable: Set, value: str, meant: str) -> None:
    """Letters, digits and what separates words in Redis' keys; empty is the default."""
    variable(value)
    assert prefix("X", "chat") == meant


@pytest.mark.parametrize("value", ["a b", "a*", "[a]", "a?", "\N{SNOWMAN}", "a" * 41])
def test_a_bad_prefix_is_named(variable: Set, value: str) -> None:
    """A prefix that Redis takes for a pattern would match another site's keys."""
    variable(value)
    assert complaint(lambda: prefix("X", "chat")).startswith("X must be 1-40 letters")


def test_what_is_shown_of_a_url_helps(variable: Set) -> None:
    """The error shows the rest of the URL: scheme, host, name."""
    variable(f"postgre://alice:{SECRET}@db.example.com/chat")
    assert "'postgre://***@db.example.com/chat'" in complaint(lambda: database("X", ""))


# --- One word of several ---


@pytest.mark.parametrize(("value", "word"), [("json", "json"), (" JSON ", "json"), ("", "line"), ("line", "line")])
def test_a_word_is_read(variable: Set, value: str, word: str) -> None:
    """In any case; an empty value is the default."""
    variable(value)
    assert choice("X", "line", ("line", "json")) == word


@pytest.mark.parametrize("value", ["jsonl", "json,line", "1"])
def test_a_word_that_is_none_of_them_is_named(variable: Set, value: str) -> None:
    """With all that are."""
    variable(value)
    said = complaint(lambda: choice("X", "line", ("line", "json")))
    assert said == f"X must be one of line, json, not {value!r}."


# --- The secret key ---


def test_a_secret_key_is_the_variable_s(variable: Set, tmp_path: Path) -> None:
    """A key that is given is used, and no file is made."""
    variable("k" * 32)
    assert secret_key("X", tmp_path / "key") == "k" * 32
    assert list(tmp_path.iterdir()) == []


def test_a_short_secret_key_is_refused_and_not_shown(variable: Set, tmp_path: Path) -> None:
    """31 characters are too few."""
    variable(SECRET * 4)
    said = complaint(lambda: secret_key("X", tmp_path / "key"))
    assert said == "X must have at least 32 characters, not 28."


def test_a_secret_key_is_made_once(variable: Set, tmp_path: Path) -> None:
    """On a fresh clone a key is made, in a file for its owner alone, and found again."""
    variable("")
    kept_in = tmp_path / "new" / "key"
    key = secret_key("X", kept_in)
    assert len(key) > 50
    assert secret_key("X", kept_in) == key
    assert stat.S_IMODE(kept_in.stat().st_mode) == 0o600
    assert list(kept_in.parent.iterdir()) == [kept_in]
    assert secret_key("X", tmp_path / "another") != key


def test_processes_that_start_together_have_one_key(variable: Set, tmp_path: Path) -> None:
    """All processes use the same key, whichever is first, and none reads half of it."""
    variable("")
    ready = threading.Barrier(8)
    keys: list[str] = []

    def start() -> None:
        ready.wait(10)
        keys.append(secret_key("X", tmp_path / "key"))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(keys) == 8
    assert len(set(keys)) == 1


def test_the_first_key_stays(tmp_path: Path) -> None:
    """A process that saw no file a moment ago does not replace another's."""
    (tmp_path / "key").write_text("first")
    environment._write_once(tmp_path / "key", "second")
    assert (tmp_path / "key").read_text() == "first"
    assert len(list(tmp_path.iterdir())) == 1


def test_an_empty_key_file_is_named(variable: Set, tmp_path: Path) -> None:
    """A file that a full disk left empty is no key."""
    variable("")
    (tmp_path / "key").touch()
    said = complaint(lambda: secret_key("X", tmp_path / "key"))
    assert said.startswith("X ")
    assert str(tmp_path / "key") in said


# --- The command ---


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["/srv/chat/manage.py", "serve", "--port", "80"], "serve"),
        (["manage.py"], "help"),
        (["/usr/bin/django-admin", "check"], "check"),
        (["/usr/bin/uvicorn", "chatsite.asgi:application"], ""),
        (["-c"], ""),
    ],
)
def test_the_command_is_known(monkeypatch: pytest.MonkeyPatch, arguments: list[str], command: str) -> None:
    """The settings can tell development from serving, and an ASGI server from both."""
    assert environment.command() == "pytest"
    monkeypatch.delitem(sys.modules, "pytest")
    monkeypatch.setattr(sys, "argv", arguments)
    assert environment.command() == command


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DEBUG", "maybe"),
        ("HTTPS", "maybe"),
        ("SIGN_UP", "maybe"),
        ("SECRET_KEY", "short"),
        ("TRUSTED_ORIGINS", "chat.example.com"),
        ("DATABASE_URL", "oracle://db/x"),
        ("REDIS_URL", "localhost"),
        ("REDIS_PREFIX", "all chats*"),
        ("CHAT_GRACE", "long"),
        ("CHAT_GRAZE", "5"),
    ],
)
def test_the_settings_stop_with_the_variable_s_name(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each variable that the site reads is loud on a bad value."""
    monkeypatch.setenv(name, value)
    said = complaint_of_the_settings()
    assert name in said
    assert len(said) < 300


@pytest.mark.parametrize(
    ("command", "query", "options"),
    [
        ("serve", "", "-c lock_timeout=5s"),
        ("migrate", "", "-c lock_timeout=2s"),
        ("migrate", "?options=-c%20lock_timeout=1min&sslmode=require", "-c lock_timeout=1min"),
    ],
)
def test_nobody_waits_for_ever_on_postgresql(
    command: str, query: str, options: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not for a lock, `migrate` least of all, nor for a machine that is gone; what the URL says comes first."""
    monkeypatch.setenv("DATABASE_URL", f"postgres://db.example.com/chat{query}")
    show = (
        f"import json, runpy, sys; sys.argv = ['manage.py', {command!r}]; "
        "print(json.dumps(runpy.run_module('chatsite.settings')['DATABASES']['default']['OPTIONS']))"
    )
    shown = json.loads(subprocess.run([sys.executable, "-c", show], stdout=subprocess.PIPE, check=True).stdout)
    assert shown["options"] == options
    assert shown["connect_timeout"] == 5
    assert shown["tcp_user_timeout"] == 10_000
    assert shown.get("sslmode") == ("require" if "sslmode" in query else None)


def complaint_of_the_settings() -> str:
    """The output of a new import of the settings; the module that the tests run with stays."""
    spec_of = "import runpy; runpy.run_module('chatsite.settings')"
    done = subprocess.run([sys.executable, "-c", spec_of], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    with contextlib.suppress(ValueError):
        return done.stderr[done.stderr.rindex("ImproperlyConfigured: ") :].strip()
    raise AssertionError(done.stderr)


def test_a_folder_for_the_database_is_not_made(tmp_path: Path) -> None:
    """Where the folder that the variable names is missing, it may be a disk that is: no other takes its place."""
    elsewhere = {**os.environ, "DATABASE_URL": f"sqlite:///{tmp_path}/disk/db.sqlite3"}
    subprocess.run([sys.executable, "-c", "import chatsite.settings"], env=elsewhere, check=True)
    assert not (tmp_path / "disk").exists()
