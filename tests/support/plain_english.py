"""Lint for the language of comments, docstrings and docs. `make check` runs it.

It finds two things:

- sentences without a subject, such as "Who waits is served first." or "Of a room that is gone: nothing.";
- words that docs/glossary.md replaces with a word of the field. A name in backticks or in capitals is not a word.

Questions that end in "?" are allowed, and so is "That" before a noun ("That request failed.").
"""

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from passages import passages, readable

ROOT = Path(__file__).parents[2]
GLOSSARY = "docs/glossary.md"

_RELATIVE = "who|whom|whose|whoever|whomever|what|whatever"
_BEFORE_IT = (
    "after|all|and|as|at|before|but|by|except|for|from|in|like|of|on|only|than|to|under|until|up to|with|without"
)
_NO_NOUN = (
    "is|was|are|were|has|had|have|does|do|did|can|could|may|might|must|will|would|should|shall|"
    "i|it|he|she|they|we|you|one|the|a|an|this|these|those|there|its|their|our|his|her|"
    "no|none|nobody|nothing|somebody|someone|something|anybody|anything|everybody|everything|"
    "some|any|every|each|all|both|most|many|few|in|on|at|to|for|from|by|with|without|"
    "which|who|whom|what|where|when|why|how|if|also|alone|too|not|never|made|took|gave|kept|left|cost|let|came|went"
)
HEADLESS = re.compile(
    rf"""
    (?: {_RELATIVE} ) \b
    | (?: {_BEFORE_IT} )\ (?: {_RELATIVE} ) \b
    | of \b (?!\ course\b)
    | one\ (?: that|who|whom|whose|which ) \b
    # "That" without a noun: a verb, a pronoun or the end of the clause follows.
    | that (?: 's\b | \ (?: {_NO_NOUN} )\b | \ \w+(?<![su])s\b | \ \w+ed\b | [,.:;] )
    """,
    re.VERBOSE | re.IGNORECASE,
)
"""The opening of a sentence whose subject is missing, or is a whole clause."""
PLAIN = re.compile(r"what (?:happens|to do) (?:when|if|where|while|after|before)\b", re.IGNORECASE)
"""Such an opening that everybody understands: of a heading or of a table's column."""
QUOTES = "\"'(*_`"


class Finding(NamedTuple):
    path: str
    line: int
    fault: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.fault}"


def without_subject(text: str) -> Iterator[str]:
    """Yield the sentences of a passage that open on a headless clause."""
    for position, sentence in enumerate(re.split(rf"(?<=[.!?])[{QUOTES})]*\s+(?=[{QUOTES}]*[A-Z])", text)):
        words = sentence.replace("*", "").strip(QUOTES + ")")
        # Only the first sentence of a passage may begin with a small letter.
        if (position == 0 or words[:1].isupper()) and is_headless(words):
            yield sentence


def is_headless(sentence: str) -> bool:
    """True if a sentence of more than one word, that is no question, opens on a headless clause."""
    if " " not in sentence or sentence.endswith("?"):
        return False
    return bool(HEADLESS.match(sentence)) and not PLAIN.match(sentence)


def replaced_words(glossary: str) -> dict[str, str]:
    """Read the glossary's last table: {word in small letters: what to write}."""
    _, _, table = glossary.partition("## Not this word, but that\n")
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \|", table, re.MULTILINE)[2:]
    return {word.strip().lower(): instead.strip() for words, instead in rows for word in words.split(",")}


def as_pattern(words: Mapping[str, str]) -> re.Pattern[str]:
    """Make the pattern that finds whole words; a part of a path or of a longer name is none."""
    alternatives = "|".join(sorted(map(re.escape, words), key=len, reverse=True)) or "(?!)"
    return re.compile(rf"`[^`]*`|(?<![\w./<$-])({alternatives})(?![\w/(=-]|\.\w)", re.IGNORECASE)


def findings(path: str, text: str, words: Mapping[str, str]) -> Iterator[Finding]:
    """Yield the faults of a file."""
    pattern = as_pattern(words)
    for line, passage in passages(path, text):
        for sentence in without_subject(passage):
            yield Finding(path, line, f"no subject: {sentence[:90]}")
        for word in filter(None, pattern.findall(passage)):
            if path != GLOSSARY and not word.isupper():
                yield Finding(path, line, f"{word}: write {words[word.lower()]} (docs/glossary.md)")


def tracked() -> Iterator[tuple[str, str]]:
    """Yield the path and the text of each readable file in version control."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for path in filter(readable, filter(None, listed.split("\0"))):
        if (ROOT / path).is_file():
            yield path, (ROOT / path).read_text(encoding="utf-8", errors="replace")


def all_findings() -> list[Finding]:
    """Return the faults of all tracked files."""
    words = replaced_words((ROOT / GLOSSARY).read_text(encoding="utf-8"))
    return [one for path, text in tracked() for one in findings(path, text, words)]


if __name__ == "__main__":
    found = all_findings()
    print(*found, sep="\n", end="\n" if found else "")
    sys.exit(bool(found))
