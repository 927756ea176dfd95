"""The path of a request in the log; tests/e2e has the rest of the server."""

import pytest

from chatsite.server.server import loggable


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/ws", "/ws"),
        ("/ws?token=secret", "/ws"),
        ("/?", "/"),
        ("/r\u00e4ume", "/r\u00e4ume"),
        ("/a\r\nb", r"'/a\r\nb'"),
        ("/\x1b[31m?\n", r"'/\x1b[31m'"),
    ],
)
def test_a_path_in_the_log_has_no_query_and_no_control_characters(path: str, shown: str) -> None:
    """Queries hold secrets, and control characters make lines and colours."""
    assert loggable(path) == shown
