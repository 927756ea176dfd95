"""The final state: each client holds what the log holds, and the log holds the acknowledged changes."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from math import inf

from torture.case import Case, Operation, Problem
from torture.records import HasRead, Holding, Lost, Paged, Row, Searched


def held(case: Case) -> Iterator[Problem]:
    """Everybody has all messages since they came, in order and as the log has them, and no others."""
    for holding in case.holdings:
        states = {state.id: state for state in holding.messages}
        if [state.id for state in holding.messages] != sorted(states):
            yield Problem("unordered", f"{holding.who} has messages out of order or twice", [holding])
        for number, row in case.rows.items():
            if number > holding.first and number not in states:
                yield _missing(case, holding, row)
        for number, state in states.items():
            known = case.rows.get(number)
            if known is None:
                yield Problem("ghost", f"{holding.who} has {number}, which the log does not have", [holding])
            elif state.seen() != known.state.seen():
                facts = [*case.heard(holding.who, number), *case.facts(number)]
                yield Problem("state", f"{holding.who} has {state}, and the log {known.state}", facts)


def _missing(case: Case, holding: Holding, row: Row) -> Problem:
    says = f"{holding.who} does not have message {row.state.id}"
    return Problem("missing", says, [row, *case.around(holding.who, row.state.id)])


def behind(case: Case) -> Iterator[Problem]:
    """Everybody has come to the log's end, and waits for nothing."""
    for holding in case.holdings:
        if holding.last != case.log.seq:
            says = f"{holding.who} is at {holding.last}, the log at {case.log.seq}"
            yield Problem("behind", says, case.around(holding.who, case.log.seq + 1))


def deleted(case: Case) -> Iterator[Problem]:
    """Deleted texts are in no client, nor anywhere in the database."""
    everything = "\n".join(case.log.texts)
    for number, row in case.rows.items():
        if not row.state.deleted:
            continue
        texts = {str(operation.command.get("content", "")) for operation in case.operations_on[number]} - {""}
        if row.state.content or row.reactors or any(token(text) in everything for text in texts):
            yield Problem(
                "kept", f"message {number} was deleted, and is still in the database", case.facts(number)
            )


def remembered(case: Case) -> Iterator[Problem]:
    """No client still holds a text that is gone from the log."""
    gone = {row.state.id for row in case.log.rows if row.state.deleted}
    for holding in case.holdings:
        for state in holding.messages:
            if state.id in gone and (state.content or state.reactions or not state.deleted):
                facts = [*case.heard(holding.who, state.id), *case.facts(state.id)]
                yield Problem("remembered", f"{holding.who} still has {state.id}, which was deleted", facts)


def forgotten(case: Case) -> Iterator[Problem]:
    """An edit, a deletion, an emoji that was acknowledged has happened, and nothing that nobody asked for."""
    for number, row in case.rows.items():
        operations = case.operations_on[number]
        erased = [operation for operation in operations if operation.kind == "delete"]
        if not row.state.deleted and not _none_acked(erased):
            yield Problem("forgotten", f"message {number} is not deleted", case.facts(number))
        if row.state.deleted and not erased:
            yield Problem("stranger", f"nobody deleted message {number}", case.facts(number))
        if not row.state.deleted:
            yield from _text(case, row, operations)
            yield from _emoji(case, row, operations)


def _none_acked(operations: Iterable[Operation]) -> bool:
    return not any(operation.acked for operation in operations)


def _text(case: Case, row: Row, operations: Iterable[Operation]) -> Iterator[Problem]:
    writes = [operation for operation in operations if operation.kind in {"message", "edit"}]
    possible = {operation.command["content"] for operation in last_of(writes)}
    if row.state.content not in possible:
        says = f"message {row.state.id} says {row.state.content[:80]!r}, which is not what was written last"
        yield Problem("forgotten", says, case.facts(row.state.id))


def _emoji(case: Case, row: Row, operations: Iterable[Operation]) -> Iterator[Problem]:
    """Each person's each emoji is a register of its own."""
    writes: dict[tuple[str, str], list[Operation]] = defaultdict(list)
    for operation in operations:
        if operation.kind == "react":
            writes[str(operation.command["emoji"]), operation.author].append(operation)
    counts = Counter(row.reactors)
    for key in counts.keys() | writes.keys():
        last = last_of(writes[key])
        possible = {int(bool(operation.command["on"])) for operation in last}
        if _none_acked(writes[key]):
            possible.add(0)
        if counts[key] not in possible:
            says = f"message {row.state.id} has {key[0]} of {key[1]} {counts[key]} times, not {sorted(possible)}"
            yield Problem("forgotten", says, case.facts(row.state.id))


def last_of(writes: list[Operation]) -> list[Operation]:
    """Those that may be the last: no other that certainly happened was begun after they were acknowledged."""
    latest = max((write.began for write in writes if write.ended < inf), default=-inf)
    return [write for write in writes if latest <= write.ended]


def numbers(case: Case) -> Iterator[Problem]:
    """The room's counter is the sum of its messages and their changes, and no number is given twice."""
    log, states = case.log, [row.state for row in case.log.rows]
    counted = log.pruned + sum(1 + row.changes for row in log.rows)
    if log.seq != counted:
        yield Problem("numbers", f"the room counts {log.seq}, its messages and changes are {counted}", [])
    for name, given in (("number", [s.id for s in states]), ("seq", [s.seq for s in states])):
        again = [number for number, times in Counter(given).items() if times > 1]
        if again:
            yield Problem("numbers", f"the {name} {again[:10]} was given twice", [])
    wrong = [row for row in log.rows if not row.state.id <= row.state.seq <= log.seq]
    if wrong or log.seq != max((state.seq for state in states), default=log.pruned):
        yield Problem("numbers", f"the room's last number is {log.seq}, its messages' another", list(wrong[:10]))


def pages(case: Case) -> Iterator[Problem]:
    """A page of history has the messages of its stretch, all of them, and says truly whether there are more."""
    known = sorted(case.rows)
    for event in case.events:
        if isinstance(event, Paged) and (wrong := _wrong_with(event, known)):
            yield Problem("page", f"{event.who}: a page of history {wrong}", [event])


def _wrong_with(page: Paged, known: list[int]) -> str | None:
    """Newer messages may have come since; older ones not."""
    if len(page.ids) > page.limit:
        return "is too long"
    reach = [n for n in known if n > page.after] if page.after is not None else known
    reach = [n for n in reach if n < page.before] if page.before is not None else reach
    if not page.ids:
        return "says that there are more" if page.more else "is empty" if page.before and reach else None
    if page.after is not None:
        complete, further = page.ids == reach[: len(page.ids)], len(reach) > len(page.ids)
        return None if complete and (further or not page.more) else "leaves something out"
    upto = [n for n in reach if n <= page.ids[-1]] if page.before is None else reach
    complete, further = page.ids == upto[-len(page.ids) :], len(upto) > len(page.ids)
    return None if complete and further == page.more else "leaves something out"


def searches(case: Case) -> Iterator[Problem]:
    """A search finds what holds its words now: not what was deleted, nor what a text said before it was edited."""
    for event in case.events:
        if isinstance(event, Searched):
            right = {number for number, row in case.rows.items() if event.query in row.state.content}
            if set(event.ids) != right:
                says = f"a search for {event.query} found {event.ids}, not {sorted(right)}"
                yield Problem("search", says, [event, *(fact for id_ in event.ids for fact in case.facts(id_))])


def read(case: Case) -> Iterator[Problem]:
    """How far somebody has read is kept, and never goes back; but what was under way at a loss may be lost."""
    said: dict[str, list[HasRead]] = defaultdict(list)
    lost: dict[str, float] = {}
    for event in case.events:
        if isinstance(event, HasRead):
            said[event.author].append(event)
        elif isinstance(event, Lost):
            lost[event.who] = event.at
    for author, events in said.items():
        kept, most = case.log.read.get(author, 0), max(event.seq for event in events)
        least = max((event.seq for event in events if event.at > lost.get(event.who, -1)), default=0)
        if not least <= kept <= most:
            says = f"{author} said that they read up to {least} or {most}, and {kept} is kept"
            yield Problem("read", says, [*events[-5:]])


def token(text: str) -> str:
    """The first word of a text, which no other text has."""
    return text.split(" ", 1)[0]


CHECKS = (held, behind, deleted, remembered, forgotten, numbers, pages, searches, read)
