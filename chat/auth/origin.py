"""Where a socket may come from.

A cookie goes out with a socket that any page on the web opens (cross-site WebSocket hijacking), and the Origin
header is what tells such a page apart.
"""

import logging

from django.conf import settings
from django.http.request import split_domain_port, validate_host

from chat.auth.headers import Application, Receive, Scope, Send, cookies, headers
from chat.metrics.counters import RefusalReason, counters

logger = logging.getLogger("chat.auth")


class OriginCheck:
    """Lets a WebSocket through only from our own pages.

    The Origin must be the very host and port that was asked for (and https where session cookies are), or one of
    CSRF_TRUSTED_ORIGINS. Programs send no Origin: they are let in as long as they bring no session cookie, for
    then nothing rides on a browser's credentials.
    """

    def __init__(self, application: Application) -> None:
        self.application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if _origin_is_ours(scope):
            await self.application(scope, receive, send)
        else:
            await refuse(scope, receive, send)


def _origin_is_ours(scope: Scope) -> bool:
    hosts, origins = headers(scope, b"host"), headers(scope, b"origin")
    if len(hosts) != 1 or len(origins) > 1:
        return False
    domain, _ = split_domain_port(hosts[0])
    if not domain or not validate_host(domain, _allowed_hosts()):
        return False
    if not origins:
        return settings.SESSION_COOKIE_NAME not in cookies(scope)
    if origins[0] in settings.CSRF_TRUSTED_ORIGINS:
        return True
    schemes = {"https"} if settings.SESSION_COOKIE_SECURE else {"http", "https"}
    return any(origins[0] == f"{scheme}://{_without_default_port(hosts[0], scheme)}" for scheme in schemes)


def _without_default_port(host: str, scheme: str) -> str:
    return host.lower().removesuffix(":443" if scheme == "https" else ":80")


def _allowed_hosts() -> list[str]:
    """As Django's own request does it: local names, while debugging and nothing is set."""
    if settings.DEBUG and not settings.ALLOWED_HOSTS:
        return [".localhost", "127.0.0.1", "[::1]"]
    return settings.ALLOWED_HOSTS


async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """Turn a WebSocket away before it opens: the client sees HTTP 403. One line in the log."""
    await receive()
    counters.connects_refused[RefusalReason.ORIGIN] += 1
    origin = ", ".join(headers(scope, b"origin")) or "none"
    logger.warning("refused a WebSocket to %.200r from origin %.200r", scope["path"], origin)
    await send({"type": "websocket.close", "code": 1000})
