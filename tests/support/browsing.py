"""A browser without a screen: it keeps cookies and fills in forms; and accounts for it to sign in with."""

import os
import urllib.request
from html.parser import HTMLParser
from http.cookiejar import CookieJar
from urllib.parse import urlencode

import zygote
from servers import ROOT, Server

PASSWORD = "a long passphrase"
ACCOUNTS = f"""
from django.contrib.auth.models import User
for name in ("Alice", "Bob"):
    User.objects.create_user(name, password={PASSWORD!r})
User.objects.create_superuser("Sam", password={PASSWORD!r})
"""


def shell(server: Server, script: str) -> None:
    """Run a script in Django, in a process of its own, in the server's environment."""
    zygote.run(["manage.py", "shell", "-v0", "-c", script], {**os.environ, **server.variables}, ROOT)


class Form(HTMLParser):
    """The fields of a page, as a browser would send them back unchanged."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        ticked = given.get("type") not in {"checkbox", "radio", "submit"} or "checked" in given
        if tag == "input" and given.get("name") and ticked:
            self.fields[str(given["name"])] = given.get("value") or ""


class Browser:
    """Keeps cookies, and fills in forms."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._jar = CookieJar()
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(self._jar)
        )

    def get(self, path: str) -> str:
        with self._opener.open(f"{self.server.http}{path}", timeout=30) as response:
            return str(response.read().decode())

    def post(self, path: str, form: str | None = None, **fields: str | None) -> str:
        """Send the form of the page ``form`` to ``path``, with these fields; None: without."""
        given = {**Form(self.get(form or path)).fields, **fields}
        data = urlencode({name: value for name, value in given.items() if value is not None}).encode()
        request = urllib.request.Request(f"{self.server.http}{path}", data, {"Origin": self.server.http})  # noqa: S310 a server of ours
        with self._opener.open(request, timeout=30) as response:
            return str(response.read().decode())

    def sign_in(self, name: str) -> "Browser":
        self.post("/login/", username=name, password=PASSWORD)
        assert f"{name}" in self.get("/")
        return self

    @property
    def headers(self) -> dict[str, str]:
        """Headers of a socket that a page of ours opens."""
        cookie = "; ".join(f"{one.name}={one.value}" for one in self._jar)
        return {"Cookie": cookie, "Origin": self.server.http}
