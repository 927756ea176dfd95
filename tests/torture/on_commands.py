"""The commands' outcomes: no acknowledged change is lost, none is there twice, and all are in order."""

from collections import defaultdict
from collections.abc import Iterator

from torture.case import Case, Operation, Problem


def lost(case: Case) -> Iterator[Problem]:
    """Every message that was acknowledged is in the log, under the id that was told."""
    for operation in _posts(case):
        for ack in operation.acked:
            row = case.rows.get(ack.id or 0)
            if row is None or (row.state.username, row.ref) != (operation.author, operation.ref):
                says = f"{operation.author}'s {operation.ref} was acknowledged as {ack.id}, and is not there"
                yield Problem("lost", says, [*operation.facts, *([row] if row else [])])
                break


def answered_twice(case: Case) -> Iterator[Problem]:
    """All answers to a ref name the same message."""
    for operation in case.operations.values():
        answers = {ack.id for ack in operation.acked}
        if operation.kind != "message":
            answers.add(operation.about)
        if len(answers) > 1:
            says = f"{operation.author}'s {operation.ref} was acknowledged as each of {sorted(answers, key=str)}"
            yield Problem("two answers", says, operation.facts)


def twice(case: Case) -> Iterator[Problem]:
    """A message is in the log once, and nothing is there that nobody said."""
    found = defaultdict(list)
    for row in case.log.rows:
        key = (row.state.username, row.ref or "")
        found[key].append(row)
        if key not in case.operations:
            yield Problem("stranger", f"nobody said message {row.state.id}", [row])
    for (author, ref), rows in found.items():
        if len(rows) > 1:
            operation = case.operations.get((author, ref))
            says = f"{author}'s {ref} is in the log {len(rows)} times"
            yield Problem("twice", says, [*(operation.facts if operation else []), *rows])


def unanswered(case: Case) -> Iterator[Problem]:
    """Every command has its answer in the end."""
    for operation in case.operations.values():
        if not operation.acked and not operation.refused:
            says = f"{operation.author}'s {operation.kind} {operation.ref} has no answer"
            yield Problem("unanswered", says, operation.facts)


def refused(case: Case) -> Iterator[Problem]:
    """A command is refused only where it is about a message that somebody had begun to delete by then."""
    for operation in case.operations.values():
        for refusal in operation.refused:
            deleted = any(
                other.kind == "delete" and other.began < refusal.at
                for other in case.operations_on[operation.about or 0]
            )
            if not (operation.kind in {"edit", "react"} and refusal.code == "not_found" and deleted):
                says = f"{operation.author}'s {operation.kind} {operation.ref} was refused: {refusal.code}"
                facts = [*operation.facts, *case.facts(operation.about or 0)]
                yield Problem("refused", says, facts)


def refused_and_kept(case: Case) -> Iterator[Problem]:
    """A message that was refused is not in the log."""
    kept = {(row.state.username, row.ref): row for row in case.log.rows}
    for operation in _posts(case):
        row = kept.get((operation.author, operation.ref))
        if operation.refused and row:
            says = f"{operation.author}'s {operation.ref} was refused, and is there"
            yield Problem("refused and kept", says, [*operation.facts, row])


def out_of_order(case: Case) -> Iterator[Problem]:
    """A message that was sent after an ack has a higher number than the acknowledged one."""
    acks = sorted(
        (ack for operation in case.operations.values() for ack in operation.acked), key=lambda ack: ack.at
    )
    highest, at = None, 0
    for operation in sorted(_posts(case), key=lambda operation: operation.began):
        while at < len(acks) and acks[at].at < operation.began:
            if highest is None or (acks[at].seq or 0) > (highest.seq or 0):
                highest = acks[at]
            at += 1
        if highest and operation.acked and (operation.about or 0) <= (highest.seq or 0):
            says = f"{operation.ref} was said after {highest.seq} was acknowledged, and became {operation.about}"
            yield Problem("order", says, [highest, *operation.facts])


def changed_too_often(case: Case) -> Iterator[Problem]:
    """A command changes a message at most once, however often it is sent.

    Only where two tabs of one author undo each other's may a retry change it once more.
    """
    for number, row in case.rows.items():
        operations = [operation for operation in case.operations_on[number] if operation.kind != "message"]
        most = sum(_times(case, operation) for operation in operations)
        if row.changes > most:
            says = f"{most} commands changed message {number}, and it counts {row.changes} changes"
            yield Problem("changed too often", says, case.facts(number))


def _times(case: Case, operation: Operation) -> int:
    alone = sum(holding.author == operation.author for holding in case.holdings) == 1
    return 1 if alone else len(operation.sent)


def _posts(case: Case) -> Iterator[Operation]:
    return (operation for operation in case.operations.values() if operation.kind == "message")


CHECKS = (
    *(lost, answered_twice, twice, unanswered, refused, refused_and_kept),
    *(out_of_order, changed_too_often),
)
