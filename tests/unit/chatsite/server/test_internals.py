"""The server starts only with libraries that have the names it uses; the list of these names is complete."""

import ast
import importlib.util
import inspect
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from pkgutil import resolve_name
from types import CodeType, FunctionType
from typing import Any

import pytest

from chatsite.server import admission, drain, http, inbox, internals, server, websocket, wire
from chatsite.server.internals import OVERRIDDEN, USED

SITE = Path(server.__file__).parents[1]
MODULES = (admission, drain, http, inbox, server, websocket, wire)
LIBRARIES = ("autobahn", "daphne", "twisted")
PLACES = [(place, internal.name, internal.purpose) for internal in USED for place in internal.places]
PUBLIC = [(place, name) for place, names in OVERRIDDEN.items() for name in names.split()]
LISTED = {internal.name for internal in USED}


def rename(monkeypatch: pytest.MonkeyPatch, place: str, name: str) -> None:
    """Give the name another form there, as a new version of the library would."""
    found = resolve_name(place)
    if isinstance(found, FunctionType):
        monkeypatch.setattr(found, "__code__", renamed(found.__code__, name))
        return
    if inspect.isclass(found):
        remove(monkeypatch, found, name)
    else:
        monkeypatch.delitem(vars(found), name)


def remove(monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> None:
    """Also from the base classes, which may have a method of the same name."""
    for each in owner.__mro__:
        if name in vars(each):
            monkeypatch.delattr(each, name)


def renamed(code: CodeType, name: str) -> CodeType:
    constants = tuple(
        renamed(each, name) if isinstance(each, CodeType) else f"{name}_renamed" if each == name else each
        for each in code.co_consts
    )
    names = tuple(f"{name}_renamed" if each == name else each for each in code.co_names)
    return code.replace(co_names=names, co_consts=constants)


def refusal() -> str:
    """The error of an import of the server's main module, under another name in the same package."""
    spec = importlib.util.spec_from_file_location("chatsite.server.again", server.__file__)
    assert spec is not None
    assert spec.loader is not None
    with pytest.raises(ImportError) as raised:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    return str(raised.value)


def test_the_installed_libraries_have_every_name() -> None:
    assert list(internals._missing()) == []


@pytest.mark.parametrize(("place", "name", "purpose"), PLACES)
def test_a_renamed_internal_refuses_the_import(
    monkeypatch: pytest.MonkeyPatch, place: str, name: str, purpose: str
) -> None:
    """The sentence names the library, its version, the name, where it was, and what would stop working."""
    library = place.partition(".")[0]
    rename(monkeypatch, place, name)
    where = place.strip(":").replace(":", ".")
    sentence = f"{library} {version(library)} has no {name} in {where}: without it {purpose} would stop working."
    assert sentence in refusal().splitlines()


@pytest.mark.parametrize(("place", "name"), PUBLIC)
def test_a_renamed_method_that_is_overridden_refuses_the_import(
    monkeypatch: pytest.MonkeyPatch, place: str, name: str
) -> None:
    library = place.partition(".")[0]
    remove(monkeypatch, resolve_name(place), name)
    assert f"{library} {version(library)} has no {name} in {place.replace(':', '.')}: " in refusal()


def test_several_missing_names_have_a_sentence_each(monkeypatch: pytest.MonkeyPatch) -> None:
    for place, name, _ in PLACES[:3]:
        rename(monkeypatch, place, name)
    *sentences, last = refusal().splitlines()
    assert [name in sentence for sentence, (_, name, _) in zip(sentences, PLACES[:3], strict=True)] == [True] * 3
    assert last == "Install the versions that requirements.txt has."


def test_a_class_that_is_gone_is_a_missing_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(vars(resolve_name("twisted.web.http")), "HTTPChannel")
    assert "has no _savedTimeOut in twisted.web.http.HTTPChannel.requestDone: " in refusal()


# --- The list is complete ---


def sources() -> Iterator[ast.Module]:
    for path in SITE.rglob("*.py"):
        if path.name != "internals.py":
            yield ast.parse(path.read_text(encoding="utf-8"))


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def classes() -> Iterator[tuple[type, list[type]]]:
    """The server's classes that have bases in the libraries, and these bases."""
    for module in MODULES:
        for each in vars(module).values():
            if inspect.isclass(each) and each.__module__ == module.__name__:
                bases = [base for base in each.__mro__ if base.__module__.startswith(LIBRARIES)]
                if bases:
                    yield each, bases


def names_in(value: Any) -> Iterator[str]:
    if isinstance(value, property):
        value = value.fget
    if isinstance(value, FunctionType):
        yield from internals._names(value.__code__)


def known_to(bases: list[type]) -> set[str]:
    """The names that the libraries' classes have, and those that their methods use."""
    known = {name for base in bases for name in vars(base)}
    return known | {name for base in bases for value in vars(base).values() for name in names_in(value)}


def test_every_private_name_that_is_used_is_on_the_list() -> None:
    """A private name that no class or module of the site defines belongs to a library."""
    used, ours = set(), set()
    for tree in sources():
        for node in ast.walk(tree):
            match node:
                case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name, ctx=ast.Store()):
                    ours.add(name)
                case ast.Attribute(attr=name):
                    used.add(name)
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.Name(id=name):
                    ours.add(name)
    assert {name for name in used - ours if private(name)} <= LISTED


@pytest.mark.parametrize(("ours", "bases"), [pytest.param(*each, id=each[0].__name__) for each in classes()])
def test_every_private_name_of_a_subclass_is_ours_or_on_the_list(ours: type, bases: list[type]) -> None:
    """A name that the libraries' classes have or use too is theirs, even if our code defines it."""
    mine = {name for value in vars(ours).values() for name in names_in(value)} | set(vars(ours))
    assert {name for name in mine & known_to(bases) if private(name)} <= LISTED


def test_every_method_that_is_overridden_is_on_the_list() -> None:
    found = {
        (base, name)
        for ours, bases in classes()
        for name in vars(ours)
        if not name.startswith("_")
        for base in [next((each for each in bases if name in vars(each)), None)]
        if base is not None and callable(vars(base)[name])
    }
    assert found == {(resolve_name(place), name) for place, name in PUBLIC}


def test_every_name_on_the_list_is_used() -> None:
    text = "\n".join(ast.unparse(tree) for tree in sources())
    assert [name for name in LISTED if name not in text] == []
