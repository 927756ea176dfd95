"""``python -m chatsite.healthcheck [PATH [PORT]]`` asks the server of this machine: an image has no curl.

Exits with 0 where the answer is 200, else with 1 and what was said. Without more it asks /healthz on port 8000.
"""

import os
import sys
from http.client import HTTPConnection, HTTPException

PATIENCE = 4.0
"""Seconds; the image gives it five."""


def ask(path: str = "/healthz", port: str = "8000") -> str:
    """What is wrong; empty: nothing is."""
    connection = HTTPConnection("127.0.0.1", int(port), timeout=PATIENCE)
    try:
        connection.request("GET", path, headers={"Host": host()})
        response = connection.getresponse()
        said = response.read().decode(errors="replace")
    except (OSError, HTTPException) as error:
        return f"no answer: {error}"
    finally:
        connection.close()
    return "" if response.status == 200 else f"{response.status} {said}"  # noqa: PLR2004 the status


def host() -> str:
    """A name that the site answers to."""
    first = os.environ.get("ALLOWED_HOSTS", "").split(",")[0].strip()
    return first.lstrip(".*") or "localhost"


if __name__ == "__main__":
    sys.exit(ask(*sys.argv[1:]) or 0)
