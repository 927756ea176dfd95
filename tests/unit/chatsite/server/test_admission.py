"""The log of refused connections."""

import pytest

from chatsite.server.admission import LOGGED_ADDRESSES, MINUTE, RefusalLog


def test_who_is_refused_is_told_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """However often; an IPv6 network is one."""
    now = [100.0]
    refusals = RefusalLog(lambda: now[0])
    for _ in range(1_000):
        refusals.address_refused("192.0.2.1")
        refusals.address_refused("2001:db8::1")
        refusals.address_refused("2001:db8::2")
    assert [record.args for record in caplog.records] == [("192.0.2.1",), ("2001:db8::/64",)]
    now[0] += MINUTE
    caplog.clear()
    refusals.address_refused("192.0.2.1")
    assert [record.args for record in caplog.records] == [(3_000,), ("192.0.2.1",)]


def test_that_files_run_out_is_told_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """And those who are refused for it are counted with the others."""
    now = [100.0]
    refusals = RefusalLog(lambda: now[0])
    for _ in range(100):
        refusals.files_ran_out()
    (record,) = caplog.records
    assert "too many open files" in record.message
    now[0] += MINUTE
    caplog.clear()
    refusals.address_refused("192.0.2.1")
    assert [record.args for record in caplog.records] == [(100,), ("192.0.2.1",)]


def test_many_addresses_are_not_all_told(caplog: pytest.LogCaptureFixture) -> None:
    """A flood from everywhere fills no log, and what is kept of it is bounded."""
    refusals = RefusalLog(lambda: 100.0)
    for number in range(10_000):
        refusals.address_refused(f"192.0.{number // 250}.{number % 250}")
    assert len(caplog.records) == LOGGED_ADDRESSES
