"""The documentation against the code: what the docs name exists, and what the code has is in the docs."""

import ast
import re
import tomllib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import pytest
from django.core.management import CommandError, call_command, get_commands
from servers import ROOT
from tables import table

from chat import conf, protocol
from chat.message_log import search_words
from chat.protocol import CloseCode, ErrorCode
from chat.routing import websocket_urlpatterns

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "bench/README.md"])
SOURCES = [
    *(path for folder in ("chat", "chatsite", "bench/rig") for path in (ROOT / folder).rglob("*.py")),
    *(ROOT / "tests/torture").glob("*.py"),
    *(ROOT / "chat/static").rglob("*.js"),
    *(path for path in (ROOT / "deploy").iterdir() if path.is_file()),
    ROOT / "Makefile",
]
PAST = "CHANGELOG.md"
"""It also names what is no longer there."""
Schema = dict[str, Any]


def text(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def document(path: str) -> Schema:
    read: Schema = msgspec.json.decode(text(path))
    return read


def named(pattern: str) -> set[tuple[str, str]]:
    """The matches of a pattern in the pages: (page, found)."""
    return {
        (str(page.relative_to(ROOT)), found)
        for page in PAGES
        for found in re.findall(pattern, page.read_text(encoding="utf-8"), re.MULTILINE)
    }


# --- What is generated ---


def test_the_generated_files_say_what_the_code_says(capsys: pytest.CaptureFixture[str]) -> None:
    """`make docs` would change nothing."""
    call_command("chat_protocol", directory=ROOT / "docs", check=True)
    assert "docs is up to date" in capsys.readouterr().out


def test_a_stale_file_is_told_and_mended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--check shows the difference and fails; without it the file is written, and the prose around stays."""
    call_command("chat_protocol", directory=tmp_path)
    page = tmp_path / "protocol.md"
    right = page.read_text() + "Said by hand.\n"
    page.write_text(right.replace("Report that the user is typing.", "Something else."))
    with pytest.raises(CommandError, match=r"protocol\.md: out of date"):
        call_command("chat_protocol", directory=tmp_path, check=True)
    assert "+Report that the user is typing." in capsys.readouterr().out
    call_command("chat_protocol", directory=tmp_path)
    assert page.read_text() == right


def test_a_page_without_its_markers_is_left_alone(tmp_path: Path) -> None:
    """The command does not guess where the generated part belongs."""
    page = tmp_path / "protocol.md"
    page.write_text("All by hand.\n")
    with pytest.raises(CommandError, match="needs these two lines"):
        call_command("chat_protocol", directory=tmp_path)
    assert page.read_text() == "All by hand.\n"


def test_every_type_and_code_is_in_the_reference() -> None:
    """A command, a reply, an event, an error code or a close code has its place in docs/protocol.md."""
    page = text("docs/protocol.md")
    for tag in protocol.COMMANDS:
        assert f"\n### Command `{tag}`\n" in page
    for tag in protocol.OUTGOING:
        assert re.search(rf"^### (Reply|Event) `{tag}`$", page, re.MULTILINE), tag
    for error in ErrorCode:
        assert f"| `{error}` | {error.meaning} |" in page
    for close in CloseCode:
        assert f"| {close:d} | `{close.name}` | {close.meaning} |" in page


def test_the_prose_tells_what_to_do_on_every_close_code() -> None:
    """The hand-written table of close codes leaves none out."""
    _, _, table = text("docs/protocol.md").partition("## When the socket is closed")
    rows, _, _ = table.partition("\n## ")
    told = {int(code) for row in re.findall(r"^\| ([\d, ]+) \|", rows, re.MULTILINE) for code in row.split(", ")}
    assert set(CloseCode) <= told


def test_every_setting_is_in_operations_with_its_default() -> None:
    """The settings' table has each one of chat/conf/."""
    page = text("docs/operations.md")
    for name, field in conf.FIELDS.items():
        default = list(field.default) if isinstance(field.default, tuple) else field.default
        shown = "" if field.default in ("", ()) else f" `{default!r}`"
        assert f"| `{name}` |{shown} |" in page.replace("|  |", "| |")


def test_every_module_has_its_place_in_the_architecture() -> None:
    """The table of layers names each module and package of the app."""
    page = text("docs/architecture.md")
    packages = [path.parent.name for path in (ROOT / "chat").glob("*/__init__.py")]
    modules = {path.name for path in (ROOT / "chat").glob("*.py")} - {"__init__.py"}
    for name in [*modules, *(f"{package}/" for package in set(packages) - {"migrations"})]:
        assert f"`chat/{name}`" in page, name


def test_every_logger_is_in_operations() -> None:
    """The table has each logger, with each level from WARNING on."""
    page = text("docs/operations.md")
    for path in [*(ROOT / "chat").rglob("*.py"), *(ROOT / "chatsite").rglob("*.py")]:
        source = path.read_text(encoding="utf-8")
        for name in re.findall(r"getLogger\(\"([\w.]+)\"\)", source):
            levels = {"warning": "WARNING", "error": "ERROR", "exception": "ERROR"}
            said = re.findall(r"\blog(?:ger)?\.(warning|error|exception)\(", source)
            for level in {levels[word] for word in said}:
                assert f"| `{name}` | {level} |" in page, (name, level)


# --- The schema and the examples ---

SCHEMA = document("docs/protocol.schema.json")
EXAMPLES = [
    (name, example)
    for name, schema in SCHEMA["$defs"].items()
    for example in schema.get("examples", ())
]  # fmt: skip
KNOWN = {
    *(
        "type",
        "enum",
        "properties",
        "required",
        "items",
        "pattern",
        "minLength",
        "maxLength",
        "minimum",
        "maximum",
    ),
    *("oneOf", "anyOf", "$ref", "$defs", "$schema", "title", "description", "examples", "default"),
}
TYPES = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool}


def faults(value: Any, schema: Schema, at: str = "$") -> Iterator[str]:
    """How a value breaks a schema of the keywords that ours has; another keyword is a fault as well."""
    yield from (f"{at}: this check doesn't know {word}" for word in schema.keys() - KNOWN)
    if place := schema.get("$ref"):
        yield from faults(value, SCHEMA["$defs"][place.removeprefix("#/$defs/")], at)
    for union, right in (("oneOf", {1}), ("anyOf", {1, 2})):
        matching = [option for option in schema.get(union, ()) if not list(faults(value, option, at))]
        if union in schema and len(matching) not in right:
            yield f"{at}: {len(matching)} of {union} match"
    kind = TYPES.get(schema.get("type", ""))
    if kind and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
        yield f"{at}: {value!r} is no {schema['type']}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{at}: {value!r} is not one of {schema['enum']}"
    yield from _parts(value, schema, at)


def _parts(value: Any, schema: Schema, at: str) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (f"{at}: {name} is missing" for name in set(schema.get("required", ())) - value.keys())
        for name in schema.get("properties", {}).keys() & value.keys():
            yield from faults(value[name], schema["properties"][name], f"{at}.{name}")
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from faults(item, schema.get("items", {}), f"{at}[{i}]")
    elif isinstance(value, str):
        if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
            yield f"{at}: {value!r} has the wrong length"
        # In ECMA-262 a $ is the very end; in Python it also stands before a last line break.
        if "pattern" in schema and not re.search(schema["pattern"].replace("$", r"\Z"), value):
            yield f"{at}: {value!r} has another form"
    elif isinstance(value, int) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        yield f"{at}: {value} is out of range"


def test_every_type_has_an_example() -> None:
    """The schema shows each command and each thing that the server says."""
    kinds = {kind.__name__ for kind in (*protocol.COMMANDS.values(), *protocol.OUTGOING.values())}
    assert {name for name, _ in EXAMPLES} == kinds


@table(("name", "example"), EXAMPLES)
def test_an_example_is_valid(name: str, example: Schema) -> None:
    """It fits its own schema and the whole one, and the code reads it."""
    assert not list(faults(example, SCHEMA["$defs"][name]))
    assert not list(faults(example, SCHEMA))
    frame = msgspec.json.encode(example).decode()
    command = any(kind.__name__ == name for kind in protocol.COMMANDS.values())
    read = protocol.decode(frame) if command else protocol.decode_outgoing(frame)
    assert type(read).__name__ == name


@table(
    "frame",
    [
        {"type": "message"},
        {"type": "message", "content": ""},
        {"type": "message", "content": "x" * 4_001},
        {"type": "message", "content": "hi", "room": "Lobby"},
        {"type": "message", "content": "hi", "room": "lobby\n"},
        {"type": "message", "content": "hi", "ref": ""},
        {"type": "message", "content": 1},
        {"type": "history", "limit": 101},
        {"type": "history", "before": -1},
        {"type": "history", "before": 2**53},
        {"type": "history", "before": True},
        {"type": "message", "content": "hi", "replyTo": "1"},
        {"type": "edit", "id": 1},
        {"type": "edit", "content": "hi"},
        {"type": "delete"},
        {"type": "react", "id": 1, "emoji": ""},
        {"type": "react", "id": 1, "emoji": "\N{CAT FACE}", "on": 1},
        {"type": "read", "seq": -1},
        {"type": "search", "query": ""},
        {"type": "search", "query": "x" * 201},
        {"type": "shout", "content": "hi"},
        {},
    ],
)
def test_the_schema_refuses_what_the_code_refuses(frame: Schema) -> None:
    """A frame that `decode` calls invalid does not fit the schema of a command."""
    with pytest.raises(protocol.Invalid):
        protocol.decode(msgspec.json.encode(frame).decode())
    assert list(faults(frame, SCHEMA["$defs"]["Command"]))


def test_the_examples_on_the_page_are_those_of_the_schema() -> None:
    """Each JSON block of docs/protocol.md is one of the checked examples."""
    blocks = re.findall(r"^```json\n(.*?)^```", text("docs/protocol.md"), re.MULTILINE | re.DOTALL)
    shown = [msgspec.json.decode(block) for block in blocks]
    assert len(shown) == len(EXAMPLES)
    assert all(example in shown for _, example in EXAMPLES)


def test_the_asyncapi_document_holds_together() -> None:
    """Its references resolve, its address is the route's, and each command and event is an operation."""
    api = document("docs/asyncapi.json")
    for reference in _references(api):
        found: Any = api
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]
    assert api["channels"]["chat"]["address"] == f"/{websocket_urlpatterns[0].pattern}"
    messages = {
        message["$ref"].rpartition("/")[2]
        for operation in api["operations"].values()
        for message in (*operation["messages"], *operation.get("reply", {}).get("messages", ()))
    }
    assert messages == {name for name, _ in EXAMPLES}


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        yield from (node["$ref"],) if "$ref" in node else ()
        node = list(node.values())
    for child in node if isinstance(node, list) else ():
        yield from _references(child)


# --- The client's constants ---


def constants(name: str) -> dict[str, int | str]:
    """An exported object of numbers and strings in protocol.js."""
    found = re.search(
        rf"export const {name} = \{{(.*?)\}}", text("chat/static/chat/client/protocol.js"), re.DOTALL
    )
    assert found, name
    pairs = re.findall(r"(\w+): (\d+|\"[^\"]*\")", found[1])
    return {key: msgspec.json.decode(value) for key, value in pairs}


def test_the_clients_constants_are_the_servers() -> None:
    """chat/static/chat/client/protocol.js has the codes, limits and version of chat/protocol/."""
    assert constants("CLOSE") == {code.name: code.value for code in CloseCode}
    assert constants("ERROR") == {code.name: code.value for code in ErrorCode}
    limits = constants("LIMIT")
    assert {"NAME", "CONTENT", "HISTORY"} <= limits.keys()
    assert limits == {name: getattr(protocol, f"{name}_LIMIT") for name in limits}
    assert f"export const VERSION = {protocol.VERSION};" in text("chat/static/chat/client/protocol.js")


def characters(ranges: str) -> set[str]:
    """A class of a regular expression in JavaScript, or one in Python, as its characters' ranges."""
    plain = re.sub(r"\\u\{?([0-9a-f]+)\}?", lambda code: chr(int(code[1], 16)), ranges)
    return {"".join(ends) for ends in re.findall(r"(.)(?:-(.))?", plain)}


@pytest.mark.parametrize("name", ["UNSPACED", "SYMBOLS"])
def test_the_page_cuts_texts_where_the_server_does(name: str) -> None:
    """chat/static/chat/page/search/highlight.js has the ranges of chat/message_log/search_words.py."""
    found = re.search(
        rf"export const {name} = String\.raw`(.*?)`", text("chat/static/chat/page/search/highlight.js")
    )
    assert found
    assert characters(found[1]) == characters(getattr(search_words, name))


# --- The pages ---


def test_every_variable_is_in_the_readme() -> None:
    """Each variable that chatsite/settings.py reads has a row in the README's table."""
    calls = [node for node in ast.walk(ast.parse(text("chatsite/settings.py"))) if isinstance(node, ast.Call)]
    read = {
        call.args[0].value
        for call in calls
        if ast.unparse(call.func).startswith("environment.")
        and call.args
        and isinstance(call.args[0], ast.Constant)
    }
    rows = set(re.findall(r"^\| `([A-Z_]+)` \|", text("README.md"), re.MULTILINE))
    assert {"SECRET_KEY", "DATABASE_URL"} <= read
    assert read == rows
    assert "| `CHAT_<SETTING>` |" in text("README.md")


def test_the_changelogs_top_version_is_the_projects() -> None:
    """A version gets its entry before it gets its number."""
    versions = re.findall(r"^## \[?(\d[^\s\]]*)", text("CHANGELOG.md"), re.MULTILINE)
    assert versions[0] == tomllib.loads(text("pyproject.toml"))["project"]["version"]


def test_every_dependency_has_its_reason() -> None:
    """docs/decisions.md says why each package of pyproject.toml is there."""
    project = tomllib.loads(text("pyproject.toml"))
    extras = project["project"]["optional-dependencies"].values()
    wanted = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"], *chain(*extras)]
    reasons = text("docs/decisions.md")
    for requirement in wanted:
        name = re.split(r"[^\w-]", requirement)[0]
        assert re.search(rf"^(### |\| )(.*\b)?{name}\b", reasons, re.MULTILINE), name


def test_links_resolve() -> None:
    """A link between the pages leads to a file, and to a heading in it."""
    for page, target in named(r"\]\((?!https?://)([^)\s]+)\)"):
        path, _, anchor = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.exists(), f"{page}: {target}"
        assert not anchor or anchor in anchors(file), f"{page}: {target}"


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_make_target_exists() -> None:
    """`make something` in the docs is in the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", text("Makefile"), re.MULTILINE))
    for page, target in named(r"(?:`|^)make ([a-z-]+)"):
        assert target in targets, f"{page}: make {target}"


def test_every_management_command_exists() -> None:
    """`manage.py something` in the docs is a command of the site."""
    for page, command in named(r"manage\.py (\w+)"):
        assert command in get_commands(), f"{page}: manage.py {command}"


def test_every_path_exists() -> None:
    """A file or folder that a page names in backticks is there."""
    for page, path in named(
        r"`((?:chat|chatsite|deploy|docs|templates|tests|bench)/(?!\.venv|node_modules)[\w/.-]*)`"
    ):
        assert (ROOT / path).exists(), f"{page}: {path}"


def test_every_name_in_capitals_exists() -> None:
    """A setting, a variable or a constant that a page names in backticks is in the code."""
    words = set(re.findall(r"\w+", "\n".join(path.read_text(encoding="utf-8") for path in SOURCES)))
    for page, name in named(r"`([A-Z]+(?:_[A-Z]+)+)`"):
        assert page == PAST or name in words or name.removeprefix("CHAT_") in words, f"{page}: {name}"


@pytest.mark.parametrize("page", ["docs/reliability.md", "docs/security.md"])
def test_every_test_that_shows_something_exists(page: str) -> None:
    """Each test that a row names is in the files that the row names."""
    rows = re.findall(r"^\|.*\|$", text(page), re.MULTILINE)
    named = [(re.findall(r"`([\w/]+\.py)`", row), re.findall(r"`(test_\w+)`", row)) for row in rows]
    assert any(tests for _, tests in named)
    for files, tests in named:
        sources = "\n".join(text(f"tests/{file}") for file in files)
        for test in tests:
            assert f"def {test}(" in sources, f"{page}: {test} is not in {files}"


def test_every_fault_that_is_named_is_one_of_the_torture() -> None:
    """Each fault that a page says `make torture` causes has a function."""
    does = text("tests/torture/faults.py") + text("tests/torture/outages.py")
    for clause in re.findall(r"`make torture`[^(|;]*\(([^)]*)\)", text("docs/reliability.md")):
        for name in re.findall(r"`(\w+)`", clause):
            assert f"async def {name}(scene: Scene)" in does, name


def test_every_check_exists() -> None:
    """A system check that a page names by its id is one of ours."""
    checks = text("chat/checks.py")
    for page, name in named(r"`(chat\.[EW]\d+)`"):
        assert name in checks, f"{page}: {name}"


@pytest.mark.parametrize(("program", "language"), [("client.mjs", "js"), ("client.py", "python")])
def test_the_protocols_programs_are_marked(program: str, language: str) -> None:
    """Each stands whole after its marker, where the tests in e2e/ find it to run it."""
    marker = rf"^<!-- program: {re.escape(program)} URL NAME TEXT -->\n\n```{language}\n(.+?)^```$"
    found = re.findall(marker, text("docs/protocol.md"), re.MULTILINE | re.DOTALL)
    assert len(found) == 1
    if language == "python":
        compile(found[0], program, "exec")
