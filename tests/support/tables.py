"""A table of cases in one test: a case of ``pytest.mark.parametrize`` costs more than a check of a pure function.

The collection, the report and the fixtures of a case take about 5 ms of CPU, in two processes. So a table is for
checks that share nothing and take no time. Other tests keep ``parametrize``.
"""

import inspect
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

import pytest

Test = Callable[..., Any]


def table(names: str | tuple[str, ...], rows: Iterable[Any]) -> Callable[[Test], Test]:
    """Run a test with each row, in order, and report all rows that fail.

    Its arguments are as for ``pytest.mark.parametrize``: one name and its values, or a tuple of names and a tuple
    of values for each row. Two tables above one test give each combination. A table without rows is refused.
    """
    cases = [dict([(names, row)] if isinstance(names, str) else zip(names, row, strict=True)) for row in rows]
    assert cases, f"the table of {names} has no row"

    def decorate(test: Test) -> Test:
        if inspect.iscoroutinefunction(test):

            @wraps(test)
            async def run(**fixtures: Any) -> None:
                failures = _Failures()
                for case in cases:
                    with failures.of(case):
                        await test(**case, **fixtures)
                failures.report(len(cases))

        else:

            @wraps(test)
            def run(**fixtures: Any) -> None:
                failures = _Failures()
                for case in cases:
                    with failures.of(case):
                        test(**case, **fixtures)
                failures.report(len(cases))

        run.__signature__ = _without(inspect.signature(test), cases[0])  # type: ignore[attr-defined]  # pytest reads it
        return run

    return decorate


def _without(signature: inspect.Signature, names: Iterable[str]) -> inspect.Signature:
    """The signature of a test without its cases' arguments: what is left are fixtures."""
    left = dict(signature.parameters)
    for name in names:
        del left[name]
    return signature.replace(parameters=list(left.values()))


class _Failures:
    """Rows that failed."""

    def __init__(self) -> None:
        self._found: list[BaseException] = []
        self._case: dict[str, Any] = {}

    def of(self, case: dict[str, Any]) -> "_Failures":
        self._case = case
        return self

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> bool:
        # pytest.raises fails with an error that is no Exception.
        if not isinstance(error, Exception | pytest.fail.Exception):
            return False
        error.add_note(f"in the row {self._case!a}")
        self._found.append(error)
        return True

    def report(self, number: int) -> None:
        if self._found:
            raise BaseExceptionGroup(f"{len(self._found)} of {number} rows", self._found)
