"""The Lua scripts of the registry are files: each is loaded, and an installed package has them."""

import tomllib
from pathlib import Path

import chat
from chat.presence import registry

PACKAGE = Path(chat.__path__[0])
SCRIPTS = PACKAGE / "presence" / "scripts"


def test_each_script_is_loaded_after_the_common_part() -> None:
    """A file that the registry does not load would be dead code."""
    common = (SCRIPTS / "common.lua").read_text(encoding="utf-8")
    loaded = {value for name, value in vars(registry).items() if name.isupper() and isinstance(value, str)}
    files = {path.read_text(encoding="utf-8") for path in SCRIPTS.iterdir()} - {common}
    assert len(files) == 8
    assert loaded == {common + script for script in files}


def test_an_installed_package_has_every_file_that_is_no_python() -> None:
    """The patterns of package data name all of them; setuptools leaves out what no pattern names."""
    pyproject = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = pyproject["tool"]["setuptools"]["package-data"]["chat"]
    packaged = {path for pattern in patterns for path in PACKAGE.glob(pattern) if path.is_file()}
    # Python before 3.13: "**" alone matches folders only.
    packaged |= {path for pattern in patterns if pattern.endswith("/**") for path in PACKAGE.glob(f"{pattern}/*")}
    files = {path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix not in {".py", ".pyc"}}
    assert files <= packaged
    assert set(SCRIPTS.iterdir()) <= packaged
