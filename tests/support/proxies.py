"""A real nginx and a real Caddy in front of our servers, over TLS, as the files of deploy/ configure them.

Only names, ports and the certificate are replaced in those files.
"""

import json
import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from http.client import HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any

from servers import PATIENCE, ROOT, free_port, listens, needs

NAME = "localhost"
"""The site's: it needs no server of names."""
CURVE = "ec_paramgen_curve:prime256v1"


@dataclass(frozen=True)
class Certificate:
    """One for NAME, by an authority that nobody knows but who trusts its file."""

    authority: Path
    chain: Path
    key: Path


@dataclass(frozen=True)
class Proxy:
    """A running proxy. Where a server has its address, this has the site's."""

    process: subprocess.Popen[bytes]
    # The ports of https and of http.
    port: int
    plain: int
    # Trusts the certificate's authority and no other.
    trust: ssl.SSLContext

    @property
    def http(self) -> str:
        return f"https://{NAME}:{self.port}"

    @property
    def ws(self) -> str:
        return f"wss://{NAME}:{self.port}/ws"

    def connected(self) -> ssl.SSLSocket:
        """A connection to say on it what no library says."""
        return self.trust.wrap_socket(
            socket.create_connection((NAME, self.port), timeout=PATIENCE), server_hostname=NAME
        )

    def sockets_from(self, source: str) -> dict[str, Any]:
        """Options of a socket that comes from this address of ours (all of 127.0.0.0/8 is)."""
        return {"ssl": self.trust, "host": "127.0.0.1", "local_addr": (source, 0)}

    def ask(
        self, path: str, method: str = "GET", body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> HTTPResponse:
        """The response, with its ``body``."""
        connection = HTTPSConnection(NAME, self.port, timeout=PATIENCE, context=self.trust)
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        response.body = response.read()  # type: ignore[attr-defined]
        connection.close()
        return response


Front = Callable[[Path, Certificate, Sequence[str]], AbstractContextManager[Proxy]]
"""Starts a proxy in front of nodes, each an address: ``with front(folder, certificate, nodes) as proxy``."""


def certificate(folder: Path) -> Certificate:
    """Made anew, by openssl."""
    needs(shutil.which("openssl"), "openssl: apt-get install openssl")
    made = Certificate(folder / "authority.pem", folder / "chain.pem", folder / "key.pem")
    secret = folder / "authority.key"
    request = ["openssl", "req", "-x509", "-nodes", "-days", "2", "-newkey", "ec", "-pkeyopt", CURVE]
    for arguments in (
        ["-subj", "/CN=Tests", "-addext", "keyUsage=keyCertSign", "-keyout", secret, "-out", made.authority],
        [
            *("-CA", made.authority, "-CAkey", secret, "-addext", "basicConstraints=critical,CA:FALSE"),
            *("-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}"),
            *("-keyout", made.key, "-out", made.chain),
        ],
    ):
        subprocess.run([*request, *map(str, arguments)], check=True, capture_output=True, timeout=PATIENCE)
    return made


@contextmanager
def nginx(folder: Path, made: Certificate, nodes: Sequence[str]) -> Iterator[Proxy]:
    """nginx with the site deploy/nginx.conf, and around it what Debian's nginx.conf has too."""
    # It is not on everybody's PATH.
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    needs(program, "nginx: apt-get install nginx")
    port, plain = free_port(), free_port()
    (folder / "site.conf").write_text(nginx_site(made, nodes, port=port, plain=plain))
    # As root it would give its files to another user, who can't enter a test's folder.
    user = "user root;\n" if os.geteuid() == 0 else ""
    kept = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main = (
        f"{user}daemon off;\nworker_processes 2;\npid {folder}/nginx.pid;\nerror_log {folder}/nginx.log;\n"
        f"events {{ worker_connections 1024; }}\n"
        f"http {{\n{kept}\naccess_log off;\ninclude {folder}/site.conf;\n}}\n"
    )
    (folder / "nginx.conf").write_text(main)
    command = [str(program), "-c", str(folder / "nginx.conf"), "-e", str(folder / "nginx.log")]
    with _running(command, folder / "nginx.log", [port, plain]) as process:
        yield Proxy(process, port, plain, ssl.create_default_context(cafile=made.authority))


def nginx_site(made: Certificate, nodes: Sequence[str], *, port: int, plain: int) -> str:
    """deploy/nginx.conf with other names, ports and nodes."""
    site = (ROOT / "deploy/nginx.conf").read_text()
    node = "server 127.0.0.1:8000 max_fails=1 fail_timeout=5s;"
    changes = {
        node: "\n".join(node.replace("127.0.0.1:8000", each) for each in nodes),
        "/etc/letsencrypt/live/chat.example.com/fullchain.pem": str(made.chain),
        "/etc/letsencrypt/live/chat.example.com/privkey.pem": str(made.key),
        "chat.example.com": NAME,
        "listen 80;": f"listen 127.0.0.1:{plain};",
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "listen [::]:80;": "",
        "listen [::]:443 ssl http2;": "",
    }
    for old, new in changes.items():
        assert old in site, old
        site = site.replace(old, new)
    return site


@contextmanager
def caddy(folder: Path, made: Certificate, nodes: Sequence[str]) -> Iterator[Proxy]:
    """Caddy with deploy/Caddyfile, as its own adapter reads it."""
    needs(shutil.which("caddy"), "caddy: apt-get install caddy")
    port, plain = free_port(), free_port()
    (folder / "caddy.json").write_text(json.dumps(caddy_config(made, nodes, port=port, plain=plain)))
    environment = {**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    command = ["caddy", "run", "--config", str(folder / "caddy.json")]
    with _running(command, folder / "caddy.log", [port, plain], environment) as process:
        yield Proxy(process, port, plain, ssl.create_default_context(cafile=made.authority))


def caddy_config(made: Certificate, nodes: Sequence[str], *, port: int, plain: int) -> dict[str, Any]:
    """deploy/Caddyfile as JSON, with other ports and a certificate that is there."""
    environment = {**os.environ, "SITE": NAME, "NODES": " ".join(nodes)}
    adapt = ["caddy", "adapt", "--config", str(ROOT / "deploy/Caddyfile")]
    adapted = subprocess.run(adapt, env=environment, check=True, capture_output=True, timeout=PATIENCE).stdout
    config: dict[str, Any] = json.loads(adapted)
    http = config["apps"]["http"]
    http |= {"http_port": plain, "https_port": port}
    http["servers"]["srv0"] |= {
        "listen": [f"127.0.0.1:{port}"],
        # It goes on to redirect.
        "automatic_https": {"disable_certificates": True},
    }
    pair = {"certificate": str(made.chain), "key": str(made.key)}
    config["apps"]["tls"] = {"certificates": {"load_files": [pair]}}
    return {**config, "admin": {"disabled": True}}


@contextmanager
def _running(
    command: list[str], log: Path, ports: Sequence[int], environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """The program, from when it listens on all of these."""
    with log.open("ab") as out:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + PATIENCE
        while not all(listens(f"127.0.0.1:{port}") for port in ports):
            assert process.poll() is None, log.read_text()[-4000:]
            assert time.monotonic() < deadline, log.read_text()[-4000:]
            time.sleep(0.02)
        yield process
    finally:
        process.terminate()
        process.wait(PATIENCE)


FRONTS: dict[str, Front] = {"nginx": nginx, "caddy": caddy}
