"""The allowed origins of sockets.

A browser sends the session cookie with a socket that any page on the web opens (cross-site WebSocket hijacking).
Only the Origin header tells such a page from the site's own.
"""

import logging

from django.conf import settings
from django.http.request import split_domain_port, validate_host

from chat.auth.headers import Application, Receive, Scope, Send, cookies, headers
from chat.metrics.counters import RefusalReason, counters

logger = logging.getLogger("chat.auth")


class OriginCheck:
    """ASGI middleware that accepts a WebSocket only from the site's own pages.

    The Origin must be the host and port of the request, or one of CSRF_TRUSTED_ORIGINS. It must be https if
    session cookies are. Programs send no Origin: they are accepted without a session cookie, because then they
    don't use a browser's credentials.
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
    """ALLOWED_HOSTS, or local names with DEBUG if it is empty, as in Django's ``HttpRequest.get_host``."""
    if settings.DEBUG and not settings.ALLOWED_HOSTS:
        return [".localhost", "127.0.0.1", "[::1]"]
    return settings.ALLOWED_HOSTS


async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse a WebSocket before it opens: the client gets HTTP 403. Logs one line."""
    await receive()
    counters.connects_refused[RefusalReason.ORIGIN] += 1
    origin = ", ".join(headers(scope, b"origin")) or "none"
    logger.warning("refused a WebSocket to %.200r from origin %.200r", scope["path"], origin)
    await send({"type": "websocket.close", "code": 1000})
