"""The examples of docs/api.md run."""

import re
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import Group, User

from chat import api, models

DOCUMENT = (Path(settings.BASE_DIR) / "docs/api.md").read_text(encoding="utf-8")


def test_the_examples_run(rooms: None, capsys: pytest.CaptureFixture[str]) -> None:
    """They run one after another, as in a shell."""
    models.Room.objects.create(slug="lobby")
    names: dict[str, Any] = {"user": User.objects.create(username="Ann"), "order": Group(name="Order 42")}
    blocks = re.findall(r"^```python\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)
    for block in blocks:
        exec(compile(block, "docs/api.md", "exec"), names)  # noqa: S102 our own document
    api.post("lobby", "Hello", user=names["user"])
    assert capsys.readouterr().out == "Ann posted in lobby\n"
    assert len(blocks) == 6
    assert names["authorize"](names["user"], names["room"], "post")
    api.message_posted.disconnect(names["count"])


def test_each_name_is_documented() -> None:
    """Async twins are documented by their rule."""
    names = {name for name in api.__all__ if name[0] != "a" or name[1:] not in api.__all__}
    assert {name for name in names if f"`{name}" not in DOCUMENT} == set()
