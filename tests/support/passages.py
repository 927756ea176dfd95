"""The text that a file holds for people: comments, docstrings and sentences, or a page's paragraphs."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Passage(NamedTuple):
    """A paragraph, a list item, a heading, a table cell or a block of comments, joined to one line."""

    line: int
    text: str


PYTHON = re.compile(
    r"""
    (?P<comment> \#[^\n]*)
  # A text that stands alone on its lines is a docstring.
  | (?:(?<=\n)|(?<=\A)) [ ]* r?\"{3} (?P<body> (?:[^\\\"]|\\.|\"(?!\"\"))* ) \"{3} [ ]* (?=\#|\n|\Z)
  | \"{3} (?:[^\\\"]|\\.|\"(?!\"\"))* \"{3}
  | '{3} (?:[^\\']|\\.|'(?!''))* '{3}
  | \" (?P<text> [A-Z] (?:[^\\\"\n]|\\.)* [ ] (?:[^\\\"\n]|\\.)* ) \"
  | \" (?:[^\\\"\n]|\\.)* \"
  | ' (?:[^\\'\n]|\\.)* '
    """,
    re.VERBOSE | re.DOTALL,
)
"""Strings are matched too, so that a `#` in them begins no comment. "text": a string that may be a sentence."""
SLASHES = re.compile(
    r"""
    (?:^|(?<=\s)) (?: (?P<comment> //(?:[ \t][^\n]*|$)) | /\*+ (?P<body>.*?) \*/ )
  | ["`] (?P<text> [A-Z] [^"`\n]* [ ] [^"`\n]* ) ["`]
    """,
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)
HASHES = re.compile(r"(?:^|(?<=\s))(?P<comment>\#{1,2}(?:[ \t][^\n]*|$))", re.MULTILINE)
DASHES = re.compile(r"(?:^|(?<=\s))(?P<comment>--(?:[ \t][^\n]*|$))", re.MULTILINE)
TEMPLATE = re.compile(
    r"""
    \{\# (?P<comment>[^\n]*?) \#\} | \{%\ comment\ %\} (?P<body>.*?) \{%\ endcomment\ %\}
  | translate\ "(?P<text>[^"\n]*)"
    """,
    re.VERBOSE | re.DOTALL,
)
LANGUAGES = {
    ".py": PYTHON,
    **dict.fromkeys((".js", ".mjs", ".css", ".c", ".h"), SLASHES),
    **dict.fromkeys((".toml", ".yaml", ".conf", ".service", ".env", ""), HASHES),
    ".lua": DASHES,
    ".html": TEMPLATE,
}
"""The pattern that finds comments, by the suffix of the file's name."""

SPEAKING = ("chat/", "chatsite/", "templates/")
"""Folders whose strings people read. In tests these are only the tests' names: other strings are users' input."""

_SIGN = re.compile(r"#+|//+|--+")
_STAR = re.compile(r"^[ \t]*\*(?=\s|$)", re.MULTILINE)
_DIRECTIVE = re.compile(r"\s*(?:noqa|type:|fmt:|pragma|eslint|@ts-|!|mypy:)")
_BEGINS = re.compile(
    r"""\s*(?:
      [-*+]\s+ | \d+\.\s+ | \#+\s+ | >\s+
      | @\w+ (?:\s+\{[^}]*\})? (?:\s+\[?[\w.$]+\]?)? \s* -? \s*    # A tag of JSDoc, its type and its name.
    )""",
    re.VERBOSE,
)
"""The start of a line that does not go on with the sentence before it."""


def readable(path: str) -> bool:
    """Migrations are history: they keep the texts of their time."""
    return "/migrations/" not in path and (path.endswith(".md") or Path(path).suffix in LANGUAGES)


def passages(path: str, text: str) -> Iterator[Passage]:
    """Yield the passages of a file in their order."""
    if path.endswith(".md"):
        yield from _passages(1, _without_code(text))
    elif language := LANGUAGES.get(Path(path).suffix):
        for line, block in _comments(text, language):
            yield from _passages(line, block)
        yield from _sentences(text, language, "" if path.startswith(SPEAKING) else "test(")


def _sentences(text: str, language: re.Pattern[str], before: str) -> Iterator[Passage]:
    """Yield the strings that may be sentences and follow ``before``: errors, help texts, names of tests."""
    for found in language.finditer(text):
        sentence = found.groupdict().get("text")
        if sentence and text.endswith(before, 0, found.start()):
            yield Passage(text.count("\n", 0, found.start()) + 1, sentence)


def _comments(text: str, language: re.Pattern[str]) -> Iterator[tuple[int, str]]:
    """Yield each comment with its first line. Comments below each other in one column are one."""
    block: list[str] = []
    first = column = 0
    for line, place, comment, body in _found(text, language):
        alone = place >= 0
        if not (comment is not None and block and alone and (line, place) == (first + len(block), column)):
            yield first, "\n".join(block)
            block, first, column = [], line, place
        if body is not None:
            yield line, _STAR.sub("", body)
        elif comment is not None:
            words = _SIGN.sub("", comment, count=1)
            block.append("" if _DIRECTIVE.match(words) else words)
    yield first, "\n".join(block)


def _found(text: str, language: re.Pattern[str]) -> Iterator[tuple[int, int, str | None, str | None]]:
    """Yield (line, column, comment, body) of what is found. The column is -1 beside code."""
    line, position = 1, 0
    for found in language.finditer(text):
        groups = found.groupdict()
        comment, body = groups.get("comment"), groups.get("body")
        if comment is None and body is None:
            continue
        line += text.count("\n", position, found.start())
        position = found.start()
        before = text[text.rfind("\n", 0, position) + 1 : position]
        yield line, -1 if before.strip() else len(before), comment, body


def _without_code(page: str) -> str:
    """Empty the lines of fenced and indented blocks, so that the other lines keep their numbers."""
    fenced = re.sub(r"^( *)```.*?^\1```$", _emptied, page, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"(?<=\n\n)(?: {4}(?! *[-*\d])[^\n]*\n)+", _emptied, fenced)


def _emptied(block: re.Match[str]) -> str:
    return "\n" * block[0].count("\n")


def _passages(line: int, text: str) -> Iterator[Passage]:
    """Join the lines of each paragraph. A list item, a heading and a table cell begin a passage of their own."""
    joined: list[str] = []
    first = line
    for number, row in enumerate(text.split("\n"), line):
        begins = _BEGINS.match(row)
        cells = row.lstrip().startswith("|")
        if joined and (begins or cells or not row.strip()):
            yield Passage(first, " ".join(joined))
            joined = []
        if cells:
            yield from (Passage(number, cell.strip()) for cell in row.strip().strip("|").split("|"))
        elif row.strip():
            first = first if joined else number
            joined.append(row[begins.end() :].strip() if begins else row.strip())
    if joined:
        yield Passage(first, " ".join(joined))
