"""``python -m chatsite.healthcheck [PATH [PORT]]`` requests a page of the local server: an image has no curl.

The exit code is 0 if the response is 200. Otherwise it is 1, and the response is printed. The defaults are
/healthz and port 8000.
"""

import os
import sys
from http.client import HTTPConnection, HTTPException

TIMEOUT = 4.0
"""Seconds. The image allows five for the whole check."""


def check(path: str = "/healthz", port: str = "8000") -> str:
    """Request the path. Returns an error, or ""."""
    connection = HTTPConnection("127.0.0.1", int(port), timeout=TIMEOUT)
    try:
        connection.request("GET", path, headers={"Host": host()})
        response = connection.getresponse()
        body = response.read().decode(errors="replace")
    except (OSError, HTTPException) as error:
        return f"no answer: {error}"
    finally:
        connection.close()
    return "" if response.status == 200 else f"{response.status} {body}"  # noqa: PLR2004 HTTP's OK


def host() -> str:
    """A host name that the site accepts."""
    first = os.environ.get("ALLOWED_HOSTS", "").split(",")[0].strip()
    return first.lstrip(".*") or "localhost"


if __name__ == "__main__":
    sys.exit(check(*sys.argv[1:]) or 0)
