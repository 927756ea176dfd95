"""The files of deploy/ against the code and each other: what they name exists, what they promise is so."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest
from django.core.management import load_command_class
from proxies import Certificate, caddy_config
from servers import PATIENCE, ROOT, free_port, needs

from chat import conf
from chatsite.server.http import BODY_LIMIT, Deadlines
from chatsite.server.server import PING_INTERVAL, PING_TIMEOUT


def text(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def readable(name: str) -> bool:
    """Is it a variable that the site reads?"""
    setting = name.removeprefix("CHAT_")
    return f"| `{name}` |" in text("README.md") or (setting != name and setting in conf.FIELDS)


def assigned(path: str) -> set[str]:
    """The variables of a file of such, those too that are there to be uncommented."""
    return set(re.findall(r"^#?([A-Z_]+)=", text(path), re.MULTILINE))


def services() -> dict[str, str]:
    """The services of compose.yaml, each with its lines."""
    _, _, rest = text("deploy/compose.yaml").partition("\nservices:\n")
    part, _, _ = rest.partition("\nnetworks:\n")
    return dict(re.findall(r"^  (\w+):\n((?:(?:    .*)?\n)+)", part, re.MULTILINE))


def networks() -> dict[str, str]:
    """The networks of compose.yaml, each with its lines."""
    _, _, rest = text("deploy/compose.yaml").partition("\nnetworks:\n")
    part, _, _ = rest.partition("\nvolumes:\n")
    return dict(re.findall(r"^  (\w+):\n((?:(?:    .*)?\n)+)", part, re.MULTILINE))


def fixed() -> Iterator[tuple[str, IPv4Address]]:
    """The addresses that services of compose.yaml have for good, each with its network."""
    for lines in services().values():
        for network, address in re.findall(r"^      (\w+):\n        ipv4_address: (\S+)$", lines, re.MULTILINE):
            yield network, IPv4Address(address)


def test_nobody_else_gets_a_fixed_address() -> None:
    """The first container gets the lowest free address of the dynamic range: no fixed one may be there."""
    found = dict(fixed())
    assert found
    for network, address in found.items():
        lines = networks()[network]
        ranges = {name: IPv4Network(found) for name, found in re.findall(r"(subnet|ip_range): (\S+)", lines)}
        subnet, dealt_out = ranges["subnet"], ranges["ip_range"]
        assert dealt_out.subnet_of(subnet)
        assert address in subnet
        assert address not in dealt_out
        # The first is the gateway, if no other is named; the last is everybody's.
        assert address not in (subnet.network_address, subnet[1], subnet.broadcast_address)
        # Each process of each service has one, and some are left for those that are replaced.
        assert dealt_out.num_addresses > 10 * len(services())


def test_the_proxy_that_is_believed_is_the_proxy() -> None:
    """CHAT_PROXIES names its fixed address and no other: a trusted proxy may set any client's address."""
    (named,) = re.findall(r"CHAT_PROXIES: (\S+)", text("deploy/compose.yaml"))
    (address,) = re.findall(r"ipv4_address: (\S+)", services()["proxy"])
    assert named == address


def test_beside_a_proxy_on_the_machine_its_own_address_is_believed() -> None:
    """nginx asks the chat where it listens by default, and comes from there: the addresses of one machine."""
    (named,) = re.findall(r"^CHAT_PROXIES=(\S+)$", text("deploy/chat.env"), re.MULTILINE)
    upstreams = re.findall(r"^    server (\S+):(\d+)", text("deploy/nginx.conf"), re.MULTILINE)
    assert upstreams
    for host, port in upstreams:
        assert (host, port) == (named, "8000")
    assert "{$NODES:127.0.0.1:8000}" in text("deploy/Caddyfile")


def test_the_proxies_say_what_clients_can_t_make_up() -> None:
    """nginx replaces the header; Caddy does so for all untrusted clients."""
    assert "proxy_set_header X-Forwarded-For $remote_addr;" in text("deploy/nginx.conf")
    assert "trusted_proxies" not in text("deploy/Caddyfile")


# --- The proxies ---


def seconds(pattern: str) -> float:
    """A time in nginx.conf."""
    found = re.search(pattern + r" (\d+)s;", text("deploy/nginx.conf"))
    assert found, pattern
    return float(found[1])


def test_nginx_outwaits_the_servers_pings() -> None:
    """A silent socket is pinged, and its pong is waited for, long before nginx would cut it off."""
    assert seconds("proxy_read_timeout") > PING_INTERVAL + PING_TIMEOUT
    assert seconds("proxy_send_timeout") > PING_INTERVAL + PING_TIMEOUT


def test_nginx_has_the_servers_bounds() -> None:
    """nginx refuses what the server would refuse, and closes idle connections before the server does."""
    assert "client_max_body_size 1m;" in text("deploy/nginx.conf")
    assert BODY_LIMIT == 1 << 20
    assert seconds("client_header_timeout") <= Deadlines().head
    assert seconds("client_body_timeout") <= Deadlines().body
    assert seconds("\n    keepalive_timeout") < Deadlines().idle


def test_caddy_has_the_servers_bounds(tmp_path: Path) -> None:
    """The same, and nothing that would cut a silent socket off."""
    needs(shutil.which("caddy"), "caddy: apt-get install caddy")
    config = caddy_config(Certificate(tmp_path, tmp_path, tmp_path), ["127.0.0.1:8000"], port=443, plain=80)
    server = config["apps"]["http"]["servers"]["srv0"]
    second = 1_000_000_000
    assert server["read_header_timeout"] <= Deadlines().head * second
    assert server["read_timeout"] <= Deadlines().body * second
    assert "write_timeout" not in server
    found = json.dumps(config)
    assert f'"idle_timeout": {30 * second}' in found
    assert Deadlines().idle > 30
    assert '"max_size": 1000000' in found
    assert BODY_LIMIT > 1_000_000
    assert "stream_timeout" not in found


def test_the_page_shows_the_files_own_lines() -> None:
    """The nginx part of docs/deployment.md is in the file, except for the nodes' addresses."""
    (shown,) = re.findall(r"^```nginx\n(.+?)^```$", text("docs/deployment.md"), re.MULTILINE | re.DOTALL)
    lines = set(text("deploy/nginx.conf").splitlines())
    assert {re.sub(r"10\.0\.0\.\d+", "127.0.0.1", line) for line in shown.splitlines()} <= lines


# --- compose.yaml ---


def test_only_the_proxy_can_be_reached() -> None:
    """No other service publishes a port, and what keeps data is on a network without a way out."""
    found = services()
    assert found.keys() == {"proxy", "web", "migrate", "postgres", "redis"}
    assert [name for name, lines in found.items() if "    ports:\n" in lines] == ["proxy"]
    for name in ("postgres", "redis", "migrate"):
        assert "    networks: [back]\n" in found[name]
    assert "  back:\n    internal: true\n" in text("deploy/compose.yaml")


def test_the_proxy_is_believed_and_nobody_else() -> None:
    """CHAT_PROXIES is the one address that the proxy has."""
    (address,) = re.findall(r"ipv4_address: (\S+)", services()["proxy"])
    assert f"CHAT_PROXIES: {address}\n" in services()["web"]
    assert text("deploy/compose.yaml").count("ipv4_address") == 1


def test_services_wait_for_each_other() -> None:
    """The tables before the processes, the processes before the proxy; and each one's health is looked at."""
    found = services()
    waits = {
        name: re.findall(r"^      (\w+):\n        condition: (\w+)$", found[name], re.MULTILINE) for name in found
    }
    assert waits["proxy"] == [("web", "service_healthy")]
    assert waits["web"] == [("migrate", "service_completed_successfully"), ("redis", "service_healthy")]
    assert waits["migrate"] == [("postgres", "service_healthy")]
    for name in ("proxy", "postgres", "redis"):
        assert "    healthcheck:\n" in found[name]
    # The image's own.
    assert "healthcheck" not in found["web"]
    assert "\nHEALTHCHECK " in text("Dockerfile")


def test_images_have_versions_and_memory() -> None:
    """No image is just the newest; what must last is on a named volume."""
    images = re.findall(r"^    image: (\S+)$", text("deploy/compose.yaml"), re.MULTILINE)
    assert {image for image in images if not re.search(r":\d", image)} == {"chat"}
    named = text("deploy/compose.yaml").partition("\nvolumes:\n")[2]
    for volume in ("postgres", "caddy-data"):
        assert f"      - {volume}:/" in text("deploy/compose.yaml")
        assert f"  {volume}:\n" in named


def test_files_that_are_mounted_exist() -> None:
    """A path that is not there Docker makes a folder of."""
    mounted = re.findall(r"^      - \./(\S+?):", text("deploy/compose.yaml"), re.MULTILINE)
    assert mounted == ["Caddyfile", "redis.conf"]
    assert all((ROOT / "deploy" / name).is_file() for name in mounted)


# --- Variables ---


def test_variables_of_the_site_exist() -> None:
    """The site reads each variable that the files set."""
    told = set(re.findall(r"^      ([A-Z_]+): ", services()["web"], re.MULTILINE))
    assert {"SECRET_KEY", "DATABASE_URL", "REDIS_URL"} <= told
    for name in told | (assigned("deploy/chat.env") - {"SERVE"}):
        assert readable(name), name


def test_variables_of_compose_are_explained() -> None:
    """compose.env has each that compose.yaml takes, and no other."""
    taken = set(re.findall(r"\$\{([A-Z_]+)", text("deploy/compose.yaml")))
    assert taken == assigned("deploy/compose.env")
    for name in ("SITE", "SECRET_KEY", "POSTGRES_PASSWORD"):
        assert f"${{{name}:?" in text("deploy/compose.yaml")


def test_variables_of_caddy_are_given() -> None:
    """compose.yaml tells Caddy all that its file asks for."""
    asked = set(re.findall(r"\{\$([A-Z_]+)", text("deploy/Caddyfile")))
    assert asked == set(re.findall(r"^      ([A-Z_]+): ", services()["proxy"], re.MULTILINE))


@pytest.mark.parametrize("path", ["deploy/compose.env", "deploy/chat.env"])
def test_no_secret_is_in_the_files(path: str) -> None:
    """Each operator has to make their own."""
    for name in ("SECRET_KEY", "POSTGRES_PASSWORD"):
        assert name not in assigned(path) or f"\n{name}=\n" in text(path)
    assert "SECRET_KEY" in assigned(path)


def test_options_of_serve_exist() -> None:
    """`serve` accepts the commands of the image, compose.yaml and chat.env."""
    parser = load_command_class("chatsite", "serve").create_parser("manage.py", "serve")
    (listed,) = re.findall(r"command: \[serve, (.+)\]", text("deploy/compose.yaml"))
    started = [words.split() for words in re.findall(r"^#?SERVE=(.*)$", text("deploy/chat.env"), re.MULTILINE)]
    assert len(started) == 2
    for words in (*started, [word.strip('" ') for word in listed.split(",")]):
        parser.parse_args(words)


# --- The unit ---


def test_the_unit_is_what_systemd_wants(tmp_path: Path) -> None:
    """systemd finds nothing wrong with it, and little that it could do beyond its work."""
    needs(shutil.which("systemd-analyze"), "systemd-analyze: apt-get install systemd")
    # Where the program is there.
    unit = tmp_path / "chat.service"
    unit.write_text(text("deploy/chat.service").replace("/srv/chat/.venv/bin/python", sys.executable))
    environment = {**os.environ, "SYSTEMD_LOG_LEVEL": "warning"}
    for command in (["verify", "--man=no"], ["security", "--offline=true", "--threshold=20", "--no-pager"]):
        asked = subprocess.run(
            ["systemd-analyze", *command, unit],
            env=environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert asked.returncode == 0, asked.stdout[-500:] + asked.stderr
        assert not asked.stderr


def test_the_unit_reads_what_chat_env_says() -> None:
    """The options of `serve` are the unit's; the folder of SQLite is one that it may write."""
    unit = text("deploy/chat.service")
    assert "\nEnvironmentFile=/etc/chat.env\n" in unit
    assert "/srv/chat/manage.py serve $SERVE\n" in unit
    assert "\nStateDirectory=chat\n" in unit
    assert "\nDATABASE_URL=sqlite:////var/lib/chat/" in text("deploy/chat.env")


# --- Redis ---


def directives() -> dict[str, list[str]]:
    """The settings of redis.conf: the values of each name."""
    found: dict[str, list[str]] = {}
    for line in text("deploy/redis.conf").splitlines():
        if line and not line.startswith("#"):
            name, value = line.split(maxsplit=1)
            found.setdefault(name, []).append(value)
    return found


def test_redis_s_file_says_what_the_chat_needs() -> None:
    """It does not set where to listen, which clients to accept or where to write: the operator decides that."""
    assert directives() == {
        "save": ['""'],
        "appendonly": ["no"],
        "maxmemory": ["256mb"],
        "maxmemory-policy": ["noeviction"],
        "client-output-buffer-limit": ["pubsub 32mb 8mb 60"],
        "timeout": ["0"],
        "tcp-keepalive": ["60"],
    }


@contextmanager
def redis_by_its_file(folder: Path) -> Iterator[str]:
    """A Redis as deploy/redis.conf has it, but for where it listens; its port.

    On a copy: a Redis that is told to (CONFIG REWRITE) writes into the file that it was started with.
    """
    port = str(free_port())
    place = ["--port", port, "--bind", "127.0.0.1", "--dir", str(folder)]
    copy = shutil.copy(ROOT / "deploy/redis.conf", folder)
    with subprocess.Popen(["redis-server", copy, *place], stdout=subprocess.PIPE, text=True) as redis:
        assert redis.stdout
        try:
            assert any("Ready to accept connections" in line for line in redis.stdout)
            yield port
        finally:
            redis.terminate()


def ask_redis(port: str, *command: str) -> str:
    asking = ["redis-cli", "-p", port, *command]
    return subprocess.run(asking, check=True, capture_output=True, text=True, timeout=PATIENCE).stdout


def test_redis_takes_its_file(tmp_path: Path) -> None:
    """It writes no file, forgets nothing for want of memory, and cuts off a subscriber that does not read."""
    needs(shutil.which("redis-server"), "redis-server: apt-get install redis-server")
    right = {"save": "", "appendonly": "no", "maxmemory-policy": "noeviction", "timeout": "0"}
    with redis_by_its_file(tmp_path) as port:
        for name, value in right.items():
            assert ask_redis(port, "config", "get", name) == f"{name}\n{value}\n"
        assert "pubsub 33554432 8388608 60" in ask_redis(port, "config", "get", "client-output-buffer-limit")


def test_a_redis_of_a_test_leaves_the_file_alone(tmp_path: Path) -> None:
    """A Redis that is asked to save its settings writes them elsewhere."""
    needs(shutil.which("redis-server"), "redis-server: apt-get install redis-server")
    before = text("deploy/redis.conf")
    with redis_by_its_file(tmp_path) as port:
        assert ask_redis(port, "config", "rewrite") == "OK\n"
    assert text("deploy/redis.conf") == before
    assert "CONFIG REWRITE" in (tmp_path / "redis.conf").read_text()
