"""The wire protocol, without an event loop, a socket or Django: texts become commands or errors."""

import json
import subprocess
import sys
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import UNSET, Raw
from tables import table

from chat import protocol
from chat.protocol import (
    COMMANDS,
    CONTENT_LIMIT,
    EMOJI_LIMIT,
    FRAME_LIMIT,
    HISTORY_LIMIT,
    LOBBY,
    MAX_INTEGER,
    NAME_LIMIT,
    OUTGOING,
    QUERY_LIMIT,
    Ack,
    AnyCommand,
    Appoint,
    Ban,
    CloseCode,
    Configure,
    Create,
    Delete,
    Deleted,
    Direct,
    Edit,
    Edited,
    Entries,
    Error,
    ErrorCode,
    Expiring,
    Found,
    GetHistory,
    GetMembers,
    GetSharing,
    History,
    Invalid,
    Invite,
    Invited,
    Join,
    Joined,
    Kick,
    Late,
    Leave,
    Left,
    Member,
    Members,
    Message,
    Mute,
    Outgoing,
    Person,
    Ping,
    Pong,
    Position,
    Post,
    Present,
    Publication,
    Publications,
    React,
    Reacted,
    Reaction,
    Read,
    ReadUpTo,
    Reconnect,
    Removed,
    Report,
    Restricted,
    RoomChanged,
    RoomEvent,
    Search,
    Sharing,
    ShowToken,
    Signal,
    Subscribed,
    Typing,
    TypingNow,
    UserList,
    Welcome,
    decode,
    decode_outgoing,
    encode,
)


def refusal(text: str) -> Invalid:
    """The error that ``decode`` raises for the text."""
    with pytest.raises(Invalid) as caught:
        decode(text)
    return caught.value


def frame(**fields: object) -> str:
    return json.dumps(fields)


# --- Valid commands ---


@table(
    ("text", "command"),
    [
        ('{"type":"join","username":"Alice"}', Join(username="Alice")),
        ('{"type":"join"}', Join(room=LOBBY)),
        ('{"type":"join","room":"tea","since":0,"epoch":"e1"}', Join(room="tea", since=0, epoch="e1")),
        ('{"type":"leave"}', Leave(room=LOBBY)),
        ('{"type":"message","content":"hi","ref":"a1"}', Post(content="hi", ref="a1")),
        ('{"type":"typing","room":"tea"}', Typing(room="tea")),
        ('{"type":"history","before":7,"limit":3}', GetHistory(before=7, limit=3)),
        ('{"type":"history"}', GetHistory(limit=50)),
        ('{"type":"history","after":7}', GetHistory(after=7, limit=50)),
        ('{"type":"message","content":"yes","replyTo":7}', Post(content="yes", reply_to=7)),
        ('{"type":"edit","id":7,"content":"no"}', Edit(id=7, content="no")),
        ('{"type":"delete","id":7,"room":"tea"}', Delete(id=7, room="tea")),
        ('{"type":"react","id":7,"emoji":"\N{THUMBS UP SIGN}"}', React(id=7, emoji="\N{THUMBS UP SIGN}", on=True)),
        ('{"type":"react","id":7,"emoji":"\N{CAT FACE}","on":false}', React(id=7, emoji="\N{CAT FACE}", on=False)),
        ('{"type":"read","seq":7}', Read(seq=7)),
        ('{"type":"search","query":"two words"}', Search(query="two words", limit=20)),
        ('{"type":"search","query":"x","before":9,"limit":1}', Search(query="x", before=9, limit=1)),
        ('{"type":"ping"}', Ping()),
        (' \n{ "type" : "ping" }\t', Ping()),
        ('{"content":"hi","type":"message"}', Post(content="hi")),
    ],
)
def test_a_command_is_decoded(text: str, command: AnyCommand) -> None:
    """Each command is decoded from its JSON; the default room is the lobby."""
    assert decode(text) == command


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ('{"type":"join","username":"Alice","timestamp":1700000000000}', Join(username="Alice")),
        ('{"type":"message","username":"Eve","content":"hi","timestamp":1}', Post(content="hi")),
        ('{"type":"message","content":"hi","users":["a"],"x":{"y":[1,null,true]}}', Post(content="hi")),
        ('{"type":"leave","username":"Alice","timestamp":1}', Leave()),
        ('{"type":"ping","x":' + "9" * 5_000 + "}", Ping()),
    ],
)
def test_the_article_s_frames_are_decoded(text: str, command: AnyCommand) -> None:
    """Unknown fields are ignored: the article's client sends a name and a time with every command."""
    assert decode(text) == command


@table(
    ("field", "value"),
    [
        ("content", "x" * CONTENT_LIMIT),
        ("content", "\N{PILE OF POO}" * CONTENT_LIMIT),
        ("content", "two\nlines\n\tand a tab"),
        ("content", "<b>not markup</b> & \u202eright to left\u202c"),
        ("content", "type"),
        ("content", "content"),
        ("content", '"type"'),
        ("content", '{"type":"ping","type":"ping"}'),
        ("room", "a"),
        ("room", "0-_" + "x" * 47),
        ("room", "room"),
        ("ref", "r" * 64),
        ("ref", "ref"),
        ("ref", "\N{PILE OF POO}"),
    ],
)
@table("ascii_only", [True, False])
def test_a_value_at_its_limit_is_accepted(field: str, value: str, ascii_only: bool) -> None:
    """Limits count characters, also escaped ones, and a text may look like a field's name."""
    fields = {"type": "message", "content": "hi", field: value}
    assert getattr(decode(json.dumps(fields, ensure_ascii=ascii_only)), field) == value


@pytest.mark.parametrize("number", [0, 1, 2**31, MAX_INTEGER])
def test_a_number_up_to_2_53_is_accepted(number: int) -> None:
    """Every integer that all JSON parsers keep exact is a valid position."""
    assert decode(frame(type="join", since=number)) == Join(since=number)


def test_a_frame_at_the_limit_is_decoded() -> None:
    """65,536 bytes are accepted; one more gets ``too_large``."""
    short = '{"type":"ping","x":""}'
    full = short.replace('""', '"' + "x" * (FRAME_LIMIT - len(short)) + '"')
    assert decode(full) == Ping()
    assert refusal(full + " ").code is ErrorCode.TOO_LARGE
    assert str(FRAME_LIMIT) in refusal(full + " ").message


def test_the_frame_limit_counts_bytes() -> None:
    """A frame with few characters can have too many bytes."""
    assert refusal("\N{PILE OF POO}" * (FRAME_LIMIT // 4 + 1)).code is ErrorCode.TOO_LARGE


# --- Texts that are no commands ---

DEEP = 20_000

NO_JSON_OBJECT = [
    "",
    " ",
    "x",
    "null",
    "true",
    "1",
    '"ping"',
    "[]",
    '[{"type":"ping"}]',
    "{",
    '{"type":"ping"',
    '{"type":"ping",}',
    '{"type":"ping"} x',
    '{"type":"ping"}{"type":"ping"}',
    "{'type':'ping'}",
    '{type:"ping"}',
    '{"type":"ping","x":NaN}',
    '{"type":"ping","x":Infinity}',
    '{"type":"ping","x":01}',
    '{"type":"ping","x":"\\x41"}',
    '{"type":"ping","x":"\x00"}',
    '{"type":"ping","x":"a\nb"}',
    '{"type":"ping"}\x00',
    '\ufeff{"type":"ping"}',
    '{"type":"ping"}\ud800',
    "\ud800",
    "[" * DEEP,
    '{"type":"ping","x":' + "[" * DEEP + "]" * DEEP + "}",
    '{"type":"ping","x":' + '{"x":' * 10_000 + "1" + "}" * 10_000 + "}",
    '{"type":"ping","type":"ping","x":' + "[" * DEEP + "]" * DEEP + "}",
]


@table("text", NO_JSON_OBJECT)
def test_a_text_that_is_not_one_json_object_is_refused(text: str) -> None:
    """Every text but one JSON object in valid Unicode is bad_json, also with a byte order mark or deep nesting."""
    refused = refusal(text)
    assert refused.code is ErrorCode.BAD_JSON
    assert len(refused.message) < 200


@table(
    "text",
    [
        "{}",
        '{"Type":"ping"}',
        '{"type":"Ping"}',
        '{"type":"welcome"}',
        '{"type":"userList"}',
        '{"type":""}',
        '{"type":null}',
        '{"type":1}',
        '{"type":["ping"]}',
        '{"type":{"type":"ping"}}',
        '{"type":"ping\\u0000"}',
        '{"username":"Alice"}',
    ],
)
def test_an_unknown_type_is_refused(text: str) -> None:
    """A missing, wrong or outgoing type is unknown_type, and the error lists the commands."""
    refused = refusal(text)
    assert (refused.code, refused.field) == (ErrorCode.UNKNOWN_TYPE, "type")
    assert "command" in refused.message or all(known in refused.message for known in COMMANDS)


WRONG_FIELDS: list[tuple[str, dict[str, Any], str]] = [
    ("username", {"type": "join", "username": ""}, f"1 to {NAME_LIMIT}"),
    ("username", {"type": "join", "username": "   "}, f"1 to {NAME_LIMIT}"),
    ("username", {"type": "join", "username": "x" * (NAME_LIMIT + 1)}, f"1 to {NAME_LIMIT}"),
    ("username", {"type": "join", "username": "x" * 4 * NAME_LIMIT + "x"}, f"1 to {NAME_LIMIT}"),
    ("username", {"type": "join", "username": 7}, "str"),
    ("username", {"type": "join", "username": None}, "str"),
    ("username", {"type": "join", "username": ["Alice"]}, "str"),
    ("username", {"type": "join", "username": "Al\x00ice"}, "U+0000"),
    ("username", {"type": "join", "username": "Al\ud83dice"}, "surrogate"),
    ("room", {"type": "join", "room": ""}, "1-50"),
    ("room", {"type": "join", "room": "x" * 51}, "1-50"),
    ("room", {"type": "join", "room": "Lobby"}, "a-z"),
    ("room", {"type": "join", "room": "lobby\n"}, "a-z"),
    ("room", {"type": "join", "room": "-x"}, "letter or digit"),
    ("room", {"type": "join", "room": "__x"}, "letter or digit"),
    ("room", {"type": "leave", "room": "a b"}, "a-z"),
    ("room", {"type": "typing", "room": "r\u00e9"}, "a-z"),
    ("room", {"type": "message", "content": "hi", "room": "../etc"}, "a-z"),
    ("room", {"type": "history", "room": 5}, "str"),
    ("content", {"type": "message"}, "required"),
    ("content", {"type": "message", "content": ""}, "1"),
    ("content", {"type": "message", "content": " \n\t\u3000"}, "blank"),
    ("content", {"type": "message", "content": "x" * (CONTENT_LIMIT + 1)}, str(CONTENT_LIMIT)),
    ("content", {"type": "message", "content": 5}, "str"),
    ("content", {"type": "message", "content": None}, "str"),
    ("content", {"type": "message", "content": {"text": "hi"}}, "str"),
    ("since", {"type": "join", "since": -1}, "0"),
    ("since", {"type": "join", "since": MAX_INTEGER + 1}, str(MAX_INTEGER)),
    ("since", {"type": "join", "since": 10**25}, str(MAX_INTEGER)),
    ("since", {"type": "join", "since": 1.0}, "int"),
    ("since", {"type": "join", "since": "1"}, "int"),
    ("since", {"type": "join", "since": True}, "int"),
    ("since", {"type": "join", "since": None}, "int"),
    ("epoch", {"type": "join", "epoch": "e" * 33}, "32"),
    ("epoch", {"type": "join", "epoch": 5}, "str"),
    ("before", {"type": "history", "before": -1}, "0"),
    ("before", {"type": "history", "before": 2**64}, str(MAX_INTEGER)),
    ("limit", {"type": "history", "limit": 0}, "1"),
    ("limit", {"type": "history", "limit": HISTORY_LIMIT + 1}, str(HISTORY_LIMIT)),
    ("limit", {"type": "history", "limit": "all"}, "int"),
    ("after", {"type": "history", "after": -1}, "0"),
    ("after", {"type": "history", "after": 5, "before": 9}, "before"),
    ("replyTo", {"type": "message", "content": "hi", "replyTo": -1}, "0"),
    ("replyTo", {"type": "message", "content": "hi", "replyTo": "7"}, "int"),
    ("replyTo", {"type": "message", "content": "hi", "replyTo": None}, "int"),
    ("id", {"type": "edit", "content": "hi"}, "required"),
    ("id", {"type": "edit", "content": "hi", "id": 1.5}, "int"),
    ("id", {"type": "delete"}, "required"),
    ("id", {"type": "delete", "id": -1}, "0"),
    ("id", {"type": "react", "emoji": "\N{CAT FACE}", "id": MAX_INTEGER + 1}, str(MAX_INTEGER)),
    ("content", {"type": "edit", "id": 1}, "required"),
    ("content", {"type": "edit", "id": 1, "content": " \n"}, "blank"),
    ("content", {"type": "edit", "id": 1, "content": "x" * (CONTENT_LIMIT + 1)}, str(CONTENT_LIMIT)),
    ("emoji", {"type": "react", "id": 1}, "required"),
    ("emoji", {"type": "react", "id": 1, "emoji": ""}, "1"),
    ("emoji", {"type": "react", "id": 1, "emoji": "yes"}, "one emoji"),
    ("emoji", {"type": "react", "id": 1, "emoji": "\N{CAT FACE}" * (EMOJI_LIMIT + 1)}, str(EMOJI_LIMIT)),
    ("emoji", {"type": "react", "id": 1, "emoji": 5}, "str"),
    ("on", {"type": "react", "id": 1, "emoji": "\N{CAT FACE}", "on": 1}, "bool"),
    ("seq", {"type": "read"}, "required"),
    ("seq", {"type": "read", "seq": -1}, "0"),
    ("query", {"type": "search"}, "required"),
    ("query", {"type": "search", "query": ""}, "1"),
    ("query", {"type": "search", "query": " "}, "blank"),
    ("query", {"type": "search", "query": "x" * (QUERY_LIMIT + 1)}, str(QUERY_LIMIT)),
    ("limit", {"type": "search", "query": "x", "limit": 0}, "1"),
]


@table(("field", "fields", "limit"), WRONG_FIELDS)
def test_an_invalid_field_is_named_with_its_limit(field: str, fields: dict[str, Any], limit: str) -> None:
    """The error has the field and the command's ref; its message names the limit."""
    refused = refusal(json.dumps({**fields, "ref": "r1"}))
    assert (refused.code, refused.field, refused.ref) == (ErrorCode.BAD_FIELD, field, "r1")
    assert refused.message.startswith(f"{field}: ")
    assert limit in refused.message


@pytest.mark.parametrize("ref", ["", "r" * 65, 5, None, ["r"], "a\x00b", "a\nb\x1b", "\ud83d"])
def test_an_invalid_ref_is_named_and_not_repeated(ref: object) -> None:
    """A reply does not have a ref that it may not carry."""
    refused = refusal(frame(type="ping", ref=ref))
    assert (refused.code, refused.field, refused.ref) == (ErrorCode.BAD_FIELD, "ref", None)


@table("ref", ["r" * 65, 5, None, ["r"], "a\x00b", "\ud83d"])
@table("fields", [{"type": "shout"}, {}, {"type": "message", "content": "cut \ud83d"}])
def test_the_error_of_an_invalid_ref_has_no_ref(fields: dict[str, Any], ref: object) -> None:
    """An error's ref is valid or None, also if other fields are invalid."""
    assert refusal(frame(**fields, ref=ref)).ref is None


def test_a_25_digit_number_is_refused_by_field() -> None:
    """A number of any length gets an error for its field, without a conversion that Python refuses."""
    for digits in (17, 25, 4_301, 50_000):
        assert refusal('{"type":"join","since":1' + "0" * digits + "}").field == "since"


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ('{"type":"ping","type":"ping"}', "type"),
        ('{"type":"message","content":"a","content":"b"}', "content"),
        ('{"type":"message","content":"a","room":"a","room":"b"}', "room"),
        ('{"type":"ping","ref":"a","\\u0072ef":"b"}', "ref"),
        ('{"type":"message","\\u0063ontent":"a","conten\\u0074":"b"}', "content"),
        ('{"type":"join", "username" : "a" , "username"\n:"b"}', "username"),
    ],
)
def test_a_field_that_occurs_twice_is_refused(text: str, field: str) -> None:
    """Parsers disagree on which of two equal keys counts, so both are refused, also if one is escaped."""
    refused = refusal(text)
    assert refused.code is ErrorCode.BAD_JSON
    assert f"'{field}' occurs twice" in refused.message


@pytest.mark.parametrize("ref", ["r", "ref", "type"])
def test_a_repeated_unknown_key_is_ignored_for_any_values(ref: str) -> None:
    """A repeated unknown key is ignored, whatever the values look like."""
    assert decode(f'{{"type":"ping","ref":"{ref}","x":1,"x":2}}') == Ping(ref=ref)


def test_a_value_can_not_imitate_an_error() -> None:
    """A value that looks like part of msgspec's error is not taken for it."""
    refused = refusal(frame(type="x` - at `$.room`", room="Bad"))
    assert refused.field == "type"


# --- Arbitrary texts ---

texts = st.text(st.characters(), max_size=60)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
fields_of_ours = st.sampled_from(
    [
        *("type", "ref", "room", "username", "content", "since", "epoch", "before", "limit"),
        *("after", "id", "replyTo", "emoji", "on", "seq", "query"),
    ]
)
almost_commands = st.builds(
    lambda kind, fields, dumped: json.dumps({**kind, **fields}, ensure_ascii=dumped),
    st.fixed_dictionaries({"type": st.sampled_from(sorted(COMMANDS)) | values}),
    st.dictionaries(fields_of_ours.filter(lambda field: field != "type") | texts, values, max_size=5),
    st.booleans(),
)


def broken(text: str, at: int, length: int, instead: str) -> str:
    at %= len(text) + 1
    return text[:at] + instead + text[at + length :]


@table("rest", ["", ",", ',"ref":', ',"a":}', ',"ref":"r"]', ',"\\ud800', ',"a":"\\ud800"}', ",1"])
@table("room", ["My Room", "Lobby", "\N{CYRILLIC SMALL LETTER KA}\N{CYRILLIC SMALL LETTER U}"])
def test_an_invalid_room_in_a_broken_frame_is_refused(room: str, rest: str) -> None:
    """The search for its slug in a broken frame raises nothing else."""
    with pytest.raises(Invalid) as refused:
        decode(f'{{"type":"join","room":"{room}"{rest}')
    assert refused.value.code in {ErrorCode.BAD_FIELD, ErrorCode.BAD_JSON}


@settings(max_examples=300)
@given(text=texts | almost_commands | st.builds(broken, almost_commands, st.integers(0), st.integers(0, 3), texts))
@example(text="\udfff")
@example(text='{"type":"join","username":"\ufdfa"}')
def test_decode_raises_only_invalid(text: str) -> None:
    """Any text is a command, or an error with a known code, a short message and a ref that encodes."""
    try:
        command = decode(text)
    except Invalid as refused:
        error = Error(
            code=refused.code,
            message=refused.message,
            timestamp=0,
            field=refused.field or UNSET,
            ref=refused.ref or UNSET,
        )
        assert decode_outgoing(encode(error)) == error
        assert len(refused.message) < 300  # noqa: PT017 most texts are refused, and some are not
    else:
        assert isinstance(command, AnyCommand)


@settings(max_examples=300)
@given(text=almost_commands)
def test_space_around_a_frame_does_not_matter(text: str) -> None:
    """The result is the same with a line break before the frame and a space after it."""
    assert outcome(text) == outcome(f"\n{text} ")


def outcome(text: str) -> tuple[str, object]:
    try:
        return "command", decode(text)
    except Invalid as refused:
        return refused.code, refused.field


names = st.text(
    st.characters(min_codepoint=32, categories=["L", "N", "P", "S", "Zs", "Mn"]), min_size=1, max_size=8
)
contents = st.text(st.characters(categories=["L", "N", "P", "S", "Zs", "Mn", "Cf"]), min_size=1, max_size=40)
refs = st.just(UNSET) | st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1, max_size=64)
refs_given = st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1, max_size=64)
titles = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=40)
seconds = st.just(UNSET) | st.integers(1, 100_000_000)
rooms = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,49}", fullmatch=True)
numbers = st.integers(0, MAX_INTEGER)
maybe_numbers = st.just(UNSET) | numbers
emojis = st.sampled_from(["\N{THUMBS UP SIGN}", "\N{CAT FACE}", "\u2764\ufe0f", "\U0001f1eb\U0001f1f7"])
commands = st.one_of(
    st.builds(Join, username=names, room=rooms, since=maybe_numbers, epoch=st.just(UNSET) | names, ref=refs),
    st.builds(Leave, room=rooms, ref=refs),
    st.builds(Post, content=contents, room=rooms, reply_to=maybe_numbers, ref=refs),
    st.builds(Edit, id=numbers, content=contents, room=rooms, ref=refs),
    st.builds(Delete, id=numbers, room=rooms, ref=refs),
    st.builds(React, id=numbers, emoji=emojis, on=st.booleans(), room=rooms, ref=refs),
    st.builds(Read, seq=numbers, room=rooms, ref=refs),
    st.builds(Typing, room=rooms, ref=refs),
    st.builds(GetHistory, room=rooms, before=maybe_numbers, limit=st.integers(1, HISTORY_LIMIT), ref=refs),
    st.builds(GetHistory, room=rooms, after=maybe_numbers, ref=refs),
    st.builds(Search, query=contents, room=rooms, before=maybe_numbers, ref=refs),
    st.builds(Ping, ref=refs),
    st.builds(ShowToken, token=refs_given, ref=refs),
    st.builds(Create, title=titles, kind=st.sampled_from(["private", "members", "public"]), ref=refs),
    st.builds(Direct, username=refs_given, ref=refs),
    st.builds(
        Configure,
        room=rooms,
        title=titles | st.just(UNSET),
        read_only=st.booleans() | st.just(UNSET),
        slow=st.integers(0, 3_600) | st.just(UNSET),
        archived=st.booleans() | st.just(UNSET),
        ref=refs,
    ),
    st.builds(Invite, room=rooms, username=refs_given | st.just(UNSET), ref=refs),
    st.builds(Appoint, room=rooms, username=refs_given, role=st.sampled_from(["owner", "none"]), ref=refs),
    st.builds(GetMembers, room=rooms, ref=refs),
    st.builds(GetSharing, room=rooms, username=refs_given, ref=refs),
    st.builds(Kick, room=rooms, username=refs_given, reason=titles, address=st.booleans(), ref=refs),
    st.builds(Mute, room=rooms, username=refs_given, on=st.booleans(), seconds=seconds, reason=titles, ref=refs),
    st.builds(Ban, room=rooms, username=refs_given, on=st.booleans(), seconds=seconds, reason=titles, ref=refs),
    st.builds(Report, room=rooms, id=numbers, reason=titles, ref=refs),
)


@given(command=commands)
def test_a_decoded_command_encodes_to_an_equal_one(command: AnyCommand) -> None:
    """Decoding is stable: encoding a command and decoding it again gives an equal one."""
    try:
        once = decode(msgspec.json.encode(command).decode())
    except Invalid as refused:
        # The strategies yield some blank texts, and names that NFKC makes too long or blank; nothing else.
        assert refused.field in {"username", "content", "query", "title", "reason"}  # noqa: PT017 which ones is the example's matter
        return
    assert decode(msgspec.json.encode(once).decode()) == once


# --- Replies and events ---

said_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
stamps = {"room": rooms, "timestamp": numbers}
reactions = st.lists(
    st.builds(Reaction, emoji=emojis, usernames=st.lists(said_texts, max_size=2), count=numbers), max_size=2
)
changed = {"room": rooms, "id": numbers, "seq": numbers, "follows": maybe_numbers}
state = {"content": said_texts, "edited": maybe_numbers, "reactions": reactions}
messages = st.builds(
    Message,
    **changed,
    **state,
    username=said_texts,
    timestamp=numbers,
    reply_to=maybe_numbers,
    deleted=st.booleans(),
)
about = {
    "role": st.sampled_from(["owner", "moderator", "member", "guest"]),
    "title": said_texts,
    "kind": st.sampled_from(["public", "members", "private", "direct"]),
    "read_only": st.booleans(),
    "slow": st.integers(0, 3_600),
    "archived": st.booleans(),
    "muted": maybe_numbers,
}
topics = st.from_regex(protocol.TOPIC_PATTERN, fullmatch=True)
documents = st.sampled_from([b"{}", b'{"status":"paid"}', b'{"deep":[1,{"a":null}]}']).map(Raw)
maybe_keys = st.just(UNSET) | said_texts.filter(bool).map(lambda text: text[: protocol.KEY_LIMIT])
publications = st.builds(
    Publication,
    topic=topics,
    id=numbers,
    seq=numbers,
    event=st.just(UNSET) | st.just("moved"),
    data=st.just(UNSET) | documents,
    patch=st.just(UNSET) | documents,
    key=maybe_keys,
    gone=st.booleans(),
    by=st.just(UNSET),
    username=st.just(UNSET) | said_texts,
    timestamp=numbers,
    follows=maybe_numbers,
)
OUTGOING_STRATEGIES: dict[str, st.SearchStrategy[Outgoing]] = {
    "welcome": st.builds(
        Welcome,
        **stamps,
        **about,
        username=said_texts,
        seq=numbers,
        epoch=st.text("abcdef", max_size=32),
        resumed=st.booleans(),
        read=maybe_numbers,
        ref=refs,
    ),
    "room": st.builds(RoomChanged, **stamps, **about),
    "removed": st.builds(
        Removed, **stamps, code=st.sampled_from(ErrorCode), message=said_texts, retry_after=maybe_numbers
    ),
    "expiring": st.builds(Expiring, after=numbers, timestamp=numbers),
    "late": st.builds(Late, late=st.booleans(), timestamp=numbers),
    "invite": st.builds(Invited, **stamps, path=said_texts, expires=numbers, ref=refs),
    "members": st.builds(
        Members,
        **stamps,
        members=st.lists(st.builds(Member, username=said_texts, role=st.sampled_from(["owner", "member"]))),
        restricted=st.lists(
            st.builds(
                Restricted,
                username=said_texts,
                kind=st.sampled_from(["mute", "ban"]),
                until=maybe_numbers,
                reason=said_texts,
            )
        ),
        ref=refs,
    ),
    "sharing": st.builds(
        Sharing,
        **stamps,
        username=said_texts,
        others=numbers,
        restrictable=st.booleans(),
        known=st.booleans(),
        ref=refs,
    ),
    "join": st.builds(Joined, **stamps, username=said_texts),
    "leave": st.builds(Left, **stamps, username=said_texts),
    "userList": st.builds(UserList, **stamps, users=st.lists(said_texts, max_size=3), count=numbers),
    "message": messages,
    "edit": st.builds(Edited, **changed, **state),
    "delete": st.builds(Deleted, **changed),
    "react": st.builds(Reacted, **changed, reactions=reactions),
    "position": st.builds(Position, room=rooms, seq=numbers, follows=maybe_numbers),
    "read": st.builds(ReadUpTo, room=rooms, username=said_texts, seq=numbers),
    "event": st.builds(RoomEvent, room=rooms, timestamp=numbers, event=st.just("bell"), data=documents),
    "typing": st.builds(TypingNow, **stamps, username=said_texts),
    "history": st.builds(History, **stamps, messages=st.lists(messages, max_size=2), more=st.booleans(), ref=refs),
    "found": st.builds(Found, **stamps, messages=st.lists(messages, max_size=2), more=st.booleans(), ref=refs),
    "ack": st.builds(Ack, **stamps, id=maybe_numbers, seq=maybe_numbers, ref=refs),
    "pong": st.builds(Pong, timestamp=numbers, ref=refs),
    "reconnect": st.builds(Reconnect, after=numbers, reason=said_texts, timestamp=numbers),
    "error": st.builds(
        Error,
        code=st.sampled_from(ErrorCode),
        message=said_texts,
        timestamp=numbers,
        field=st.just(UNSET) | said_texts,
        ref=refs,
        retry_after=maybe_numbers,
    ),
    "subscribed": st.builds(
        Subscribed,
        topic=topics,
        seq=numbers,
        epoch=st.just("5f0c2b9e"),
        resumed=st.booleans(),
        keep=st.sampled_from(["log", "latest", "memory"]),
        timestamp=numbers,
        may=st.lists(st.sampled_from(["publish", "signal", "present"])),
        you=st.just(UNSET) | st.just("Zt5cW9aRf3Ue"),
        ref=refs,
    ),
    "publication": publications,
    "publications": st.builds(
        Publications,
        topic=topics,
        seq=numbers,
        entries=st.lists(st.just(["reading", "cpu7", {"value": 1}]) | st.just([None, "cpu7"]), max_size=3),
        follows=maybe_numbers,
    ),
    "signal": st.builds(
        Signal,
        topic=topics,
        event=st.just("typing"),
        data=documents,
        timestamp=numbers,
        key=maybe_keys,
        by=st.just(UNSET) | said_texts.map(lambda text: text[:32]),
        username=st.just(UNSET) | said_texts,
    ),
    "present": st.builds(
        Present,
        topic=topics,
        came=st.lists(
            st.builds(Person, by=st.just("Zt5cW9aRf3Ue"), username=said_texts, state=documents), max_size=2
        ),
        went=st.lists(st.just("q7KxY2mVb0Ls"), max_size=2),
        whole=st.booleans(),
    ),
    "entries": st.builds(
        Entries,
        topic=topics,
        entries=st.lists(publications, max_size=2),
        more=st.booleans(),
        timestamp=numbers,
        ref=refs,
    ),
}


@pytest.mark.parametrize("tag", OUTGOING)
@settings(max_examples=20)
@given(data=st.data())
def test_replies_and_events_round_trip(tag: str, data: st.DataObject) -> None:
    """Every reply and event is equal after encoding and decoding, with and without optional fields."""
    outgoing = data.draw(OUTGOING_STRATEGIES[tag])
    text = encode(outgoing)
    assert decode_outgoing(text) == outgoing
    assert json.loads(text)["type"] == tag


def test_empty_fields_are_omitted() -> None:
    """An ack without a ref has no ref, not a null; an unchanged message has no fields of changes."""
    assert json.loads(encode(Ack(room="lobby", timestamp=1))) == {"type": "ack", "room": "lobby", "timestamp": 1}
    message = Message(room="a", id=1, seq=1, username="Alice", content="hi", timestamp=1)
    assert json.loads(encode(message)).keys() == {"type", "room", "id", "seq", "username", "content", "timestamp"}


def test_the_event_without_reactions_has_an_empty_list() -> None:
    """The event has all reactions, so after the last is removed it has an empty list."""
    reacted = Reacted(room="a", id=1, seq=2, reactions=[])
    assert json.loads(encode(reacted)) == {"type": "react", "room": "a", "id": 1, "seq": 2, "reactions": []}


def test_welcome_always_has_the_protocol_s_version() -> None:
    """The version is encoded although it is a default."""
    welcome = Welcome(room="a", username="Alice", seq=0, epoch="e", resumed=False, timestamp=1)
    assert json.loads(encode(welcome)) == {
        "type": "welcome",
        "room": "a",
        "username": "Alice",
        "seq": 0,
        "epoch": "e",
        "resumed": False,
        "timestamp": 1,
        "protocol": 1,
    }


def test_names_on_the_wire_are_camel_case() -> None:
    """Python's retry_after is JSON's retryAfter, and reply_to its replyTo."""
    error = Error(code=ErrorCode.BUSY, message="Later.", timestamp=1, retry_after=200)
    assert json.loads(encode(error))["retryAfter"] == 200
    answer = Message(room="a", id=2, seq=2, username="Alice", content="yes", timestamp=1, reply_to=1)
    assert json.loads(encode(answer))["replyTo"] == 1


def test_each_tag_is_unique_in_its_table() -> None:
    """Docs and clients use the tags: each is once among the commands, and once among replies and events."""
    assert set(COMMANDS) == {
        *("join", "leave", "message", "edit", "delete", "react", "read", "typing", "history", "search", "ping"),
        *("token", "create", "direct", "room", "invite", "role", "members", "sharing"),
        *("kick", "mute", "ban", "report"),
        *("subscribe", "unsubscribe", "publish", "signal", "present", "entries"),
    }
    assert set(OUTGOING) == {
        *{
            "welcome",
            "room",
            "removed",
            "expiring",
            "late",
            "invite",
            "members",
            "sharing",
            "join",
            "leave",
            "userList",
            "message",
            "edit",
            "delete",
            "react",
            "position",
            "event",
            "read",
            "typing",
            "history",
            "found",
            "ack",
            "pong",
            "reconnect",
            "error",
            "subscribed",
            "publication",
            "publications",
            "signal",
            "present",
            "entries",
        }
    }


def test_now_is_an_integer_of_milliseconds() -> None:
    """A timestamp is an integer of 13 digits, in this century and the next two."""
    assert isinstance(protocol.now(), int)
    assert 1_700_000_000_000 < protocol.now() < 9_000_000_000_000


@pytest.mark.parametrize("code", CloseCode)
def test_a_close_code_decides_whether_a_client_reconnects(code: CloseCode) -> None:
    """Below 4400 a client reconnects; from 4400 on it does not."""
    assert code.client_reconnects == (code in {1000, 1011, 1012, 4008, 4009, 4029})
    assert code.meaning.endswith(".")
    assert code in {1000, 1011, 1012} or 3000 <= code <= 4999


@table("code", ErrorCode)
def test_an_error_code_has_a_meaning(code: ErrorCode) -> None:
    """Each code has a sentence, and only temporary errors may be retried."""
    assert code.meaning.endswith(".")
    assert code.retry == (code in {ErrorCode.BUSY, ErrorCode.TOO_MANY, ErrorCode.SLOW_MODE})
    assert json.loads(encode(Error(code=code, message="x", timestamp=1)))["code"] == code.value


def test_the_protocol_needs_no_django() -> None:
    """A client can import the package without a configured or installed Django."""
    program = "import sys, chat.protocol; print({'django', 'asyncio', 'channels'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
