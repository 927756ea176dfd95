"""A foreign project takes the app over by the README's steps: those of today, and those of 0.1.0."""

import asyncio
import os
import re
import shutil
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest
import zygote
from helpers import over_socket
from servers import PATIENCE, ROOT, free_port, listens

from chat.protocol import Ack, Message

pytestmark = pytest.mark.e2e

README = (ROOT / "README.md").read_text(encoding="utf-8")

URLS = """
from django.urls import include, path
urlpatterns = [path("chat/", include("chat.urls"))]
"""
BASE = """
from pathlib import Path
BASE_DIR = Path(__file__).parent.parent
SECRET_KEY = "a secret of at least thirty-two bytes"
ALLOWED_HOSTS = ["127.0.0.1"]
DEBUG = True
ROOT_URLCONF = "yoursite.urls"
STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "static"
LOGIN_URL = "/login/"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "django.contrib.messages",
    "django.contrib.staticfiles", "channels", "chat",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [{
    "BACKEND": "django.template.backends.django.DjangoTemplates",
    "DIRS": [BASE_DIR / "templates"],
    "APP_DIRS": True,
    "OPTIONS": {"context_processors": [
        "django.template.context_processors.request",
        "django.contrib.auth.context_processors.auth",
        "django.contrib.messages.context_processors.messages",
    ]},
}]
"""
"""The settings of a new project, without the admin."""
DATABASE = """
DATABASES = {"default": {
    "ENGINE": "django.db.backends.sqlite3",
    "NAME": BASE_DIR / "db.sqlite3",
    "OPTIONS": {
        "transaction_mode": "IMMEDIATE",
        "timeout": 5,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    },
}}
ASGI_APPLICATION = "yoursite.asgi.application"
CHANNEL_LAYERS = {"default": {"BACKEND": "chat.layers.ProcessChannelLayer"}}
CHAT = {"GRACE": 10.0}
"""
SIGN_INS = """
MIDDLEWARE.insert(1, "chat.middleware.SignIns")
AUTHENTICATION_BACKENDS = ["{tries}", "django.contrib.auth.backends.ModelBackend"]
PASSWORD_HASHERS = ["chat.auth.hashers.Argon2", "chat.auth.hashers.PBKDF2"]
"""
OLD = DATABASE
"""The settings that 0.1.0 required."""
BETWEEN = DATABASE + SIGN_INS.format(tries="chat.auth.tries.CountedTries")
"""The same after 0.1.0, when the module of CountedTries had its former name."""
NOW = DATABASE + SIGN_INS.format(tries="chat.auth.password_attempts.CountedTries")

OLD_ASGI = """
import os
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "yoursite.settings")
http = get_asgi_application()
from chat.auth import OriginCheck
from chat.filters import no_links_from_guests
from chat.limits.requests import RequestLimit
from chat.log.upkeep import hide, post, prune
from chat.log.maintenance import count_prunable, in_pieces
from chat.metrics import exposition, forget, registry
from chat.routing import websocket_urlpatterns
application = ProtocolTypeRouter(
    {"http": RequestLimit(http), "websocket": OriginCheck(URLRouter(websocket_urlpatterns))}
)
"""
"""The imports of a project that uses former names."""


def block(after: str) -> str:
    """The README's first Python block after these words."""
    found = re.search(r"```python\n(.*?)```", README[README.index(after) :], re.DOTALL)
    assert found
    return textwrap.dedent(found[1])


def project(folder: Path, settings: str, asgi: str) -> dict[str, str]:
    """Make the project in the folder; the environment in which it runs."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "chat", folder / "chat", ignore=ignored)
    shutil.copytree(ROOT / "templates", folder / "templates", ignore=ignored)
    site = folder / "yoursite"
    site.mkdir()
    for name, text in {"__init__": "", "settings": BASE + settings, "urls": URLS, "asgi": asgi}.items():
        (site / f"{name}.py").write_text(text)
    return {
        **{
            name: value for name, value in os.environ.items() if not name.startswith(("DATABASE", "REDIS", "CHAT"))
        },
        "DJANGO_SETTINGS_MODULE": "yoursite.settings",
        "PYTHONPATH": str(folder),
        "PYTHONUNBUFFERED": "1",
    }


def read(url: str) -> str:
    with urlopen(url, timeout=PATIENCE) as page:  # noqa: S310 of ours
        text: str = page.read().decode()
    return text


@contextmanager
def serving(folder: Path, environment: dict[str, str]) -> Iterator[str]:
    """The address of the project's server: a uvicorn."""
    address = f"127.0.0.1:{free_port()}"
    words = ["-m", "uvicorn", "yoursite.asgi:application", "--port", address.split(":")[1]]
    log = folder / "server.log"
    with log.open("wb") as out:
        process = zygote.start(words, environment, folder, out)
    try:
        while not listens(address):
            assert process.poll() is None, log.read_text()
        yield address
    finally:
        process.kill()
        process.wait(PATIENCE)
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize(
    ("settings", "asgi"),
    [(OLD, OLD_ASGI), (BETWEEN, OLD_ASGI), (NOW, block("`yoursite/asgi.py`"))],
    ids=["0.1.0", "the former names", "the README"],
)
async def test_a_project_takes_the_app_over(tmp_path: Path, settings: str, asgi: str) -> None:
    """It is checked and migrated, serves the pages, and two users chat."""
    environment = project(tmp_path, settings, asgi)
    manage = ["-m", "django"]
    assert "no issues" in zygote.run([*manage, "check"], environment, tmp_path) or settings == OLD
    zygote.run([*manage, "migrate", "--verbosity", "0"], environment, tmp_path)
    zygote.run([*manage, "collectstatic", "--noinput", "--verbosity", "0"], environment, tmp_path)
    assert (tmp_path / "static/chat/client.js").is_file()
    with serving(tmp_path, environment) as address:
        assert "<title>" in await asyncio.to_thread(read, f"http://{address}/chat/")
        url = f"ws://{address}/ws"
        async with over_socket(url, "Ann") as ann, over_socket(url, "Bob") as bob:
            await ann.join()
            await bob.join()
            await ann.send("message", content="hi", ref="1")
            await ann.expect(Ack, ref="1")
            await bob.expect(Message, content="hi")
