"""Every test asserts something: itself, or by a helper that does."""

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from servers import ROOT

Function = ast.FunctionDef | ast.AsyncFunctionDef

ASSERTING = {
    "pytest.raises",
    "pytest.fail",
    "pytest.warns",
    # Playwright's.
    "expect",
    # Hypothesis runs the invariants and rules of the machine.
    "run_state_machine_as_test",
    # pytest-django's.
    "django_assert_num_queries",
    "django_assert_max_num_queries",
    # It fails when what must come does not come.
    "until",
}
"""Calls that fail a test, from elsewhere than a helper that asserts."""
COMMON = {name for kind in (str, bytes, list, dict, set, tuple, Path) for name in dir(kind)}
"""Methods of other things than ours."""


def functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def called(function: ast.AST) -> Iterator[str]:
    """The names of the functions that a function calls. A method's name is its last part."""
    for node in ast.walk(function):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                yield node.func.id
            elif isinstance(node.func, ast.Attribute) and node.func.attr not in COMMON:
                yield node.func.attr


def asserts(function: ast.AST) -> bool:
    """True if the function itself asserts something."""
    for node in ast.walk(function):
        match node:
            case ast.Assert():
                return True
            case ast.Raise(exc=ast.AST() as error) if "AssertionError" in ast.unparse(error):
                return True
            case ast.Call(func=ast.Name(id=name)) if name in ASSERTING:
                return True
            case ast.Call(func=ast.Attribute(value=ast.Name(id=of), attr=name)) if f"{of}.{name}" in ASSERTING:
                return True
    return False


@dataclass(frozen=True)
class Summary:
    """A function: whether it asserts, and the names that it calls."""

    asserts: bool
    called: frozenset[str]

    def fails_by(self, helpers: set[str]) -> bool:
        """True if the function asserts, by itself or by one of these helpers."""
        return self.asserts or not helpers.isdisjoint(self.called)


def summary(function: Function) -> Summary:
    return Summary(asserts(function), frozenset(called(function)))


def helpers_that_assert(trees: Sequence[ast.AST]) -> set[str]:
    """The names of functions that assert, or that call one that does.

    A name doesn't tell which of several functions is called: at least half of those with the name must assert.
    """
    definitions: dict[str, list[Summary]] = defaultdict(list)
    for tree in trees:
        for function in functions(tree):
            definitions[function.name].append(summary(function))
    known: set[str] = set()
    while more := {
        name
        for name, found in definitions.items()
        if name not in known and 2 * sum(one.fails_by(known) for one in found) >= len(found)
    }:
        known |= more
    return known


def empty_tests(tests: Mapping[str, ast.AST], helpers: Sequence[ast.AST]) -> list[str]:
    """The tests in these files that assert nothing."""
    known = helpers_that_assert([*tests.values(), *helpers])
    return [
        f"{path}:{test.lineno} {test.name}"
        for path, tree in tests.items()
        for test in functions(tree)
        if test.name.startswith("test_") and not summary(test).fails_by(known)
    ]


def test_every_test_asserts_something() -> None:
    """A test that only calls something passes whatever that does, as long as it raises nothing."""
    files = [path for path in (ROOT / "tests").rglob("*.py") if "node_modules" not in path.parts]
    trees = {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in files}
    tests = {path: tree for path, tree in trees.items() if Path(path).name.startswith("test_")}
    assert len(tests) > 80
    assert empty_tests(tests, [tree for path, tree in trees.items() if path not in tests]) == []


@pytest.mark.parametrize(
    "body",
    [
        "    lane.flush()",
        "    ', '.join(names)",
        "    with suppress(OSError):\n        lane.close()",
        "    helper()",
        "    expected(page)",
        "    '''assert True'''",
    ],
)
def test_a_test_without_an_assertion_is_found(body: str) -> None:
    """A call, a context that only swallows, a helper that asserts nothing and a text are none."""
    helper = ast.parse(
        "def helper():\n    print('hi')\ndef close():\n    pass\ndef expected(page):\n    return page"
    )
    assert empty_tests({"x": ast.parse(f"def test_x():\n{body}")}, [helper]) == ["x:1 test_x"]


@pytest.mark.parametrize(
    "body",
    [
        "    assert 1",
        "    with pytest.raises(OSError):\n        lane.close()",
        "    await expect(page).to_be_visible()",
        "    checked()",
        "    lane.deeply()",
        "    for one in lanes:\n        pytest.fail(one)",
    ],
)
def test_an_assertion_is_seen_where_it_stands(body: str) -> None:
    """In the test, in a helper, in a helper's helper, and what Playwright and pytest raise."""
    helpers = ast.parse(
        "def checked():\n    raise AssertionError('no')\nclass Lane:\n    def deeply(self):\n        checked()"
    )
    assert empty_tests({"x": ast.parse(f"async def test_x():\n{body}")}, [helpers]) == []
