"""The architecture page claims what the code does: its table of layers, and what is done in one place only."""

import re
import tomllib
from pathlib import Path

import pytest
from servers import ROOT

from chat.protocol import CloseCode

PAGE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
CLOSE_CODES = "|".join(str(int(code)) for code in CloseCode if code >= 4000)
ONLY_IN = {
    "the channel layer (`group_send`, `group_add`, `group_discard`)": r"\.group_(?:send|add|discard)\(",
    "ASGI messages of a socket": r"\"type\": \"websocket\.",
    "decoding of commands": r"\bDecoder\(Any(?:Command|Outgoing)\)",
    "the numbers of close codes": rf"(?:= |\bclose\()(?:{CLOSE_CODES})\b",
    "writes to messages, emoji and read positions": (
        # The readiness probe's statement changes no row.
        r"\b(?:UPDATE|INSERT INTO|DELETE FROM) (?:chat_(?:message|reaction|readposition)\b|\{)(?!.*WHERE false)"
        r"|\binsert_rows\(\s*[\w.]+,\s*\"chat_(?:message|reaction|readposition)\""
        r"|\b(?:Message|Reaction|ReadPosition)\.objects\b[^\n]*\.(?:(?:bulk_|get_or_)?create|update|delete)\("
    ),
    "writes to topics and entries": (
        r"\b(?:UPDATE|INSERT INTO|DELETE FROM) chat_(?:topic|entry|publishedref)\b"
        r"|\binsert_rows\(\s*[\w.]+,\s*\"chat_(?:entry|publishedref|outbox)\""
    ),
    "threads": r"\b(?:Thread|ThreadPoolExecutor)\(",
    "the client of Prometheus": r"^\s*(?:import|from) prometheus_client\b",
    "new audit entries": r"\b(?:AuditEntry\.objects|self)\.create\(",
    "the table of look-alikes": r"\bimport [^\n]*\bTABLE\b",
    "the library for tokens": r"^\s*(?:import|from) jwt\b",
    "the cookie of a known browser": r"\.set_cookie\(",
    "the setting `CHAT`": r"\bsettings\.CHAT\b|getattr\(settings, \"CHAT\"",
    "environment variables": r"\bos\.(?:environ|getenv)\b",
}
"""The first column of the page's table, and what the code has nowhere else."""


def rows(heading: str) -> list[list[str]]:
    """The cells of the table below a line that begins so."""
    _, _, below = PAGE.partition(heading)
    table, _, _ = below[below.index("\n|") + 1 :].partition("\n\n")
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines()[2:]]


def paths(cell: str) -> list[str]:
    return re.findall(r"`((?:chat|chatsite)/[\w/.]*)`", cell)


def module(path: str) -> str:
    """The name that a contract has for a path: "metrics.collector" for "chat/metrics/collector.py"."""
    return path.removeprefix("chat/").removesuffix("/").removesuffix(".py").replace("/", ".")


def test_the_layers_are_those_of_the_contract() -> None:
    """The page's rows are the contract's, in its order; the first row is the site's."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    [contract] = [
        contract
        for contract in settings["tool"]["importlinter"]["contracts"]
        if contract.get("containers") == ["chat"]
    ]
    assert contract["exhaustive"]
    assert [{module(path) for path in paths(row[1])} for row in rows("## Layers\n")[1:]] == [
        set(layer.split(" | ")) for layer in contract["layers"]
    ]


def holders(pattern: str) -> set[str]:
    """The modules of the app and the site in which a pattern is found."""
    files = [file for app in ("chat", "chatsite") for file in (ROOT / app).rglob("*.py")]
    return {
        file.relative_to(ROOT).as_posix()
        for file in files
        if "migrations" not in file.parts and re.search(pattern, file.read_text(encoding="utf-8"), re.MULTILINE)
    }


ROWS = rows("Some things are done in one place only.")


def test_each_row_has_its_check() -> None:
    """The page claims nothing that no pattern looks for."""
    assert [row[0] for row in ROWS] == list(ONLY_IN)


@pytest.mark.parametrize(("what", "where"), ROWS)
def test_it_is_done_only_there(what: str, where: str) -> None:
    """The modules that do it are in the places of its row, and each place has one that does."""
    found = holders(ONLY_IN[what])
    places = paths(where)
    assert [file for file in found if not any(Path(file).is_relative_to(place) for place in places)] == []
    assert [place for place in places if not any(Path(file).is_relative_to(place) for file in found)] == []
