"""The modules that a page's script imports, for its preload links."""

import re
from pathlib import Path
from posixpath import dirname, join, normpath

import pytest
from django.conf import settings
from django.contrib.staticfiles.storage import staticfiles_storage
from django.template import Context, Template

from chat.views import modules
from chatsite.storage import HashedStaticFilesStorage


@pytest.fixture
def static(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(modules, "STATIC", tmp_path)
    return tmp_path


def write(static: Path, **texts: str) -> None:
    for name, text in texts.items():
        path = static / f"{name.replace('__', '/')}.js"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_imports_are_followed_through_folders(static: Path) -> None:
    """Each module is listed once, also in import cycles. The script itself is not listed."""
    write(
        static,
        page__room='import {a,\n  b} from "./log/view.js";\nimport * as c from "../client/c.js";\n',
        page__log__view='import "./view.css.js";\nexport {d} from "../../client/c.js";\n',
        **{"page__log__view.css": "export const x = 1;\n"},
        client__c='/** import {no} from "./none.js"; */\nimport {r} from "../page/room.js";\n',
    )
    assert modules.find_imports("page/room.js") == ("page/log/view.js", "client/c.js", "page/log/view.css.js")


def test_files_are_read_again_only_while_debugging(static: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(static, again="export {a} from './a.js';\n", a="", b="")
    assert modules.imported_modules("again.js") == ("a.js",)
    write(static, again="export {b} from './b.js';\n")
    assert modules.imported_modules("again.js") == ("a.js",)
    monkeypatch.setattr(settings, "DEBUG", True)
    assert modules.imported_modules("again.js") == ("b.js",)


def test_the_tag_writes_links_to_the_files_as_they_are_served() -> None:
    page = Template('{% load chat %}{% chat_module_preloads "chat/page/room.js" %}').render(Context())
    links = re.findall(r'<link rel="modulepreload" href="([^"]+)">', page)
    assert links == [staticfiles_storage.url(name) for name in modules.imported_modules("chat/page/room.js")]
    assert len(links) == len(set(links)) > 20


def test_collected_modules_import_collected_modules(tmp_path: Path) -> None:
    """Each import has its file's hash, also from the client's old address, so no deploy mixes versions."""
    storage = HashedStaticFilesStorage(location=str(tmp_path))
    names = [str(path.relative_to(modules.STATIC)) for path in modules.STATIC.rglob("*") if path.is_file()]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((modules.STATIC / name).read_bytes())
    failed = [
        done
        for *_, done in storage.post_process({name: (storage, name) for name in names})
        if done not in (True, False)
    ]
    assert failed == []
    hashed = {name: storage.stored_name(name) for name in names}
    for name in names:
        if name.endswith(".js"):
            imports = modules.IMPORT.findall((tmp_path / hashed[name]).read_text())
            assert {normpath(join(dirname(name), path)) for path in imports} <= set(hashed.values()), name
    assert "client/client." in (tmp_path / hashed["chat/client.js"]).read_text()
