"""The JavaScript modules that a page's script imports, for its preload links."""

import re
from functools import cache
from pathlib import Path
from posixpath import dirname, join, normpath

from django.conf import settings

STATIC = Path(__file__).parents[1] / "static"
IMPORT = re.compile(r"""^(?:import|export)\s(?:[^"';]*?\sfrom\s*)?["'](\.{1,2}/[^"']+)["']""", re.MULTILINE)
"""An import or re-export of another module, by a relative path."""


def imported_modules(script: str) -> tuple[str, ...]:
    """The names of all modules that a script imports, for ``{% static %}``. The script itself is not among them.

    Without preload links a browser finds a module only after it has parsed its importer: a round trip for each
    level. The files are read once per process, with DEBUG at each call, as they may have changed.
    """
    return find_imports(script) if settings.DEBUG else _find_imports_once(script)


def find_imports(script: str) -> tuple[str, ...]:
    """As ``imported_modules``, read from the files."""
    found = {script: None}  # a dict, because it keeps the order
    queue = [script]
    while queue:
        name = queue.pop(0)
        for path in IMPORT.findall((STATIC / name).read_text(encoding="utf-8")):
            module = normpath(join(dirname(name), path))
            if module not in found:
                found[module] = None
                queue.append(module)
    return tuple(found)[1:]


_find_imports_once = cache(find_imports)
