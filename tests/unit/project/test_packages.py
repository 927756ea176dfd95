"""The packages' ``__init__.py`` files define nothing."""

import ast
from pathlib import Path

import pytest
from servers import ROOT
from tables import table

PACKAGES = [path for app in ("chat", "chatsite") for path in sorted((ROOT / app).rglob("__init__.py"))]


def definitions(source: str) -> list[str]:
    """Statements of a module that are not its docstring, an import or ``__all__``, each as its first line."""
    return [ast.unparse(statement).splitlines()[0] for statement in ast.parse(source).body if _defines(statement)]


def _defines(statement: ast.stmt) -> bool:
    match statement:
        case ast.Import() | ast.ImportFrom() | ast.Expr(ast.Constant(str())):
            return False
        case ast.Assign(targets=[ast.Name("__all__")]):
            return False
        case _:
            return True


@table("path", PACKAGES)
def test_a_package_only_re_exports(path: Path) -> None:
    """A reader finds a definition by its module's name, so no package holds one."""
    assert definitions(path.read_text(encoding="utf-8")) == []


@table("path", PACKAGES)
def test_no_module_has_the_name_of_an_export(path: Path) -> None:
    """A module and an export of one name would be one attribute of the package, whichever was imported last."""
    exported = {
        alias.asname or alias.name
        for statement in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
        if statement.module != path.parent.relative_to(ROOT).as_posix().replace("/", ".")
    }
    modules = {file.stem for file in path.parent.glob("*.py")} | {
        file.parent.name for file in path.parent.glob("*/*.py")
    }
    assert exported & modules == set()


@pytest.mark.parametrize(
    "line",
    [
        "def f(): pass",
        "async def f(): pass",
        "class C: pass",
        "LIMIT = 1",
        "LIMIT: int = 1",
        "__all__ += ['f']",
        "if True:\n    LIMIT = 1",
        "f()",
    ],
)
def test_a_definition_is_seen(line: str) -> None:
    """Functions, classes, assignments of any form, and code that runs at import."""
    assert definitions(f'"""Doc."""\n\nfrom chat import models\n\n__all__ = ["models"]\n{line}\n') != []


def test_re_exports_are_no_definitions() -> None:
    """The docstring, imports and ``__all__`` are what a package may hold."""
    assert definitions('"""Doc."""\n\nimport os\nfrom chat import models\n\n__all__ = ["models"]\n') == []
