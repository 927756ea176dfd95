"""The lint for plain English finds what it must find, and nothing else."""

import shutil

import pytest
from passages import passages
from plain_english import GLOSSARY, ROOT, all_findings, as_pattern, findings, replaced_words, without_subject
from servers import needs
from tables import table

WORDS = {"gossip": "cluster event", "put out": "remove", "lane": "transport"}


@table(
    "sentence",
    [
        "Who does not read what was said is not listened to either.",
        "What waits for a socket is bounded.",
        "Whom the room has forgotten gets an error.",
        "Whose connection is lost stays listed.",
        "Whoever asks gets an answer.",
        "Of a room that is gone: nobody may be in it.",
        "of the loop, in seconds",
        "One that is new must be tried too.",
        "One who left is not listed.",
        "That it is gone is told later.",
        "That is the limit.",
        "That's the limit.",
        "That serves two purposes.",
        "That ended the matter.",
        "For whom the room is closed there is an error.",
        "As what a client sent.",
        "By what the request says.",
        "It is closed. Who waits is told.",
        "(What is left goes to the next.)",
        "``x`` is closed. *That* is all of it.",
        "Is it closed? What is left goes to the next.",
    ],
)
def test_a_sentence_without_a_subject_is_found(sentence: str) -> None:
    """A clause with who, what, whom, whose, that, of or "one that" cannot open a sentence."""
    assert len(list(without_subject(sentence))) == 1


@table(
    "sentence",
    [
        "The client that does not read gets no answers.",
        "That request is refused.",
        "That process held the lock.",
        "That address is the proxy's.",
        "Who may post here?",
        "What happens when Redis is away",
        "What to do if the disk is full",
        "What",
        "Often the queue is empty.",
        "One member that leaves is enough.",
        "Whole rooms move at once.",
        "Of course the queue is bounded.",
        "Whether the user may post.",
        "The first wins. So does who the room knows.",
        "A number (e.g. that of the room)",
    ],
)
def test_a_plain_sentence_passes(sentence: str) -> None:
    """Nouns open the others, real questions are fine, and so is a heading that anyone understands."""
    assert list(without_subject(sentence)) == []


@table(
    ("path", "text", "lines"),
    [
        ("a.py", '"""What is here."""\n', [1]),
        ("a.py", 'X = 1\n"""What X is."""\n', [2]),
        ("a.py", "x = 1  # of the loop\n", [1]),
        ("a.py", "# The first line and\n# what follows it.\n\n# What is apart.\n", [4]),
        ("a.py", "x = 1  # The first.\n# What is below.\n", [2]),
        ("a.py", "x = '# What is in a string.'\ny = \"# What is here.\"\n", []),
        ("a.py", "x = 1  # noqa: X1  # What for.\n", []),
        ("a.py", 'x = """\n# What a string holds.\n"""\n', []),
        ("chat/a.py", "x = 1\ny = _('What')\nz = _(\"What is shown.\")\n", [3]),
        ("chat/a.py", "x = '\"What is quoted.\"'\n", []),
        ("tests/a.py", 'say("What is for lunch.")\n', []),
        ("chat/a.js", 'const a = `What is said.`;\nconst b = "What";\n', [1]),
        ("tests/a.js", 'say("What is for lunch.");\ntest("What is sent arrives.", () => {});\n', [2]),
        ("templates/a.html", '<p>{% translate "What is shown" %}</p>\n', [1]),
        ("a.js", "const a = 1; // what is left\n/**\n * The list.\n * What it holds is new.\n */\n", [1, 3]),
        ("a.js", "/**\n * @param {string} name what is looked for\n * @returns {Who} The user.\n */\n", [2]),
        ("a.js", 'const a = "https://what is this";\n', []),
        ("a.css", "a { color: red; } /* What is red. */\n", [1]),
        ("a.lua", "local a = 1 -- What is counted.\n", [1]),
        ("Makefile", "x:  ## What it makes.\n\ty\n", [1]),
        ("a.html", "{# What is shown. #}\n<p>What is text.</p>\n", [1]),
        ("a.md", "# Heading\n\nA text.\n\n- What is listed.\n- A text.\n", [5]),
        ("a.md", "| a | b |\n| --- | --- |\n| one | what two does |\n", [3]),
        ("a.md", "```text\nWhat is code.\n```\n\nWhat is none.\n", [5]),
        ("a.json", '"What is data."\n', []),
    ],
)
def test_each_kind_of_file_is_read(path: str, text: str, lines: list[int]) -> None:
    """Comments, docstrings, pages and the app's sentences are read; code is not."""
    assert [one.line for one in findings(path, text, {})] == lines


def test_lines_of_a_comment_are_one_passage() -> None:
    """A sentence that goes on in the next line is one sentence."""
    assert [text for _, text in passages("a.py", "# It is open until\n# it is closed.\nx = 1\n")] == [
        "It is open until it is closed."
    ]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("A lane of the socket.", 1),
        ("Lane: it is put  out.", 1),
        ("It is put out. Gossip!", 2),
        ("The `lane` was renamed.", 0),
        ("The setting LANE.", 0),
        ("Planes and lanes-of-two.", 0),
        ("See chat/lane.py and lane.py.", 0),
    ],
)
def test_replaced_words_are_found_as_whole_words(text: str, count: int) -> None:
    """In any case; not within a longer word, a path or backticks, and not in capitals."""
    assert len(list(findings("a.md", text, WORDS))) == count


def test_a_finding_names_the_word_to_write() -> None:
    """The message holds the place, the word found and its replacement."""
    assert [str(one) for one in findings("a.md", "The gossip.", WORDS)] == [
        "a.md:1: gossip: write cluster event (docs/glossary.md)"
    ]


def test_the_words_come_from_the_glossary() -> None:
    """Each cell of the table's first column holds one word or several, with commas between them."""
    words = replaced_words((ROOT / GLOSSARY).read_text(encoding="utf-8"))
    assert words["warden"] == words["wardens"] == "enforcement, AccessEnforcer"
    assert "not" not in words
    assert as_pattern({}).findall("anything") == []


def test_the_project_has_none() -> None:
    """All tracked files pass."""
    needs((ROOT / ".git").exists() and shutil.which("git"), "git, and a clone")
    assert [str(one) for one in all_findings()] == []
