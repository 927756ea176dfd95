"""The client's address: the peer's, or the one that a trusted proxy names."""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from chat.conf import chat_settings
from chat.limits.rare_warning import RareWarning

logger = logging.getLogger("chat.limits")

IPV6_PREFIX = 64
"""Bits of an IPv6 address that are compared. A customer gets at least a /64 (RFC 6177), and may use a new address
for each connection."""
IPV6_SITE_PREFIX = 48
"""Bits of an IPv6 address that a whole site shares (RFC 6177). Tunnel brokers give away such networks free."""
FORWARDED_LIMIT = 4_096
"""Characters of X-Forwarded-For that are read. No proxy makes a longer one."""
FORWARDED_FOR = b"x-forwarded-for"
FORWARDING = {
    *(b"forwarded", FORWARDED_FOR, b"x-forwarded-host", b"x-forwarded-proto", b"x-real-ip", b"x-client-ip"),
    *(b"true-client-ip", b"cf-connecting-ip", b"fastly-client-ip", b"fly-client-ip"),
}
"""Headers that proxies add. Only X-Forwarded-For is read."""

PORT = re.compile(r"(?::(?:[0-9]{1,5}|_[A-Za-z0-9._-]{1,32})?)?")
"""A port after an address. It may be empty (RFC 3986) or obfuscated (RFC 7239, section 6.3)."""
ZONE = re.compile(r"%(?:25)?[A-Za-z0-9._~-]{1,32}$")
"""The interface of a link-local address (RFC 4007, RFC 6874). It has a meaning on one machine only."""

PRIVATE_NETWORKS = [
    ip_network(network)
    for network in (
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "169.254.0.0/16", "100.64.0.0/10"),
        *("fc00::/7", "fe80::/10", "::1/128"),
    )
]
"""Private, loopback, link-local and shared networks. A peer in them that forwards is a proxy of this site."""
UNLISTED_LIMIT = 1_024
"""Most peers to remember that forward and are not listed in PROXIES."""

IP = IPv4Address | IPv6Address


@lru_cache(maxsize=16_384)
def limit_key(address: str) -> str:
    """The key under which an address is limited: the /64 network of an IPv6 address, else the address itself.

    Any other text is its own key.
    """
    return _network(address, IPV6_PREFIX)


@lru_cache(maxsize=16_384)
def site_key(address: str) -> str:
    """Like ``limit_key``, with the widest IPv6 network that one customer may have."""
    return _network(address, IPV6_SITE_PREFIX)


@lru_cache(maxsize=16_384)
def is_proxy(address: str, proxies: tuple[str, ...]) -> bool:
    """True if the address is in one of these networks."""
    ip = _parsed(address)
    return ip is not None and any(ip in network for network in _networks(proxies))


def client_address(peer: str, forwarded_for: Sequence[str], proxies: tuple[str, ...]) -> str:
    """The client's address: the peer's, unless the peer is in ``proxies``.

    A proxy's X-Forwarded-For lines are joined in order, and the last address that is not a proxy's counts. The
    client may have forged the addresses before it. If no such address can be read, the proxy's own counts.
    """
    if not proxies or not is_proxy(peer, proxies):
        return peer
    named = ",".join(forwarded_for)
    if not named.strip():
        return peer
    last = "" if len(named) > FORWARDED_LIMIT else _last_foreign(named, proxies)
    if last is None:
        return peer
    if not last:
        _unreadable.warn(
            "X-Forwarded-For %.200r of the proxy %s can't be read: the proxy's own address counts instead",
            named,
            peer,
        )
    return last or peer


def scope_address(scope: Mapping[str, Any]) -> str:
    """The client's address in an ASGI scope; "" if the server does not know it."""
    client, headers = scope.get("client"), scope.get("headers", ())
    if not client:
        return ""
    forwards = any(name.lower() in FORWARDING for name, _ in headers)
    return _address(str(client[0]), ",".join(forwarded_for(headers)), forwards=forwards)


def request_address(meta: Mapping[str, Any]) -> str:
    """The client's address in a Django request's ``META``."""
    forwards = any(name in meta for name in _IN_META)
    return _address(meta.get("REMOTE_ADDR") or "", meta.get("HTTP_X_FORWARDED_FOR", ""), forwards=forwards)


def _address(peer: str, named: str, *, forwards: bool) -> str:
    """``client_address``, with a warning if it can't be the client's. ``forwards``: the headers name a proxy."""
    proxies = chat_settings().PROXIES
    if not proxies or not is_proxy(peer, proxies):
        if forwards:
            unlisted_proxies.note(peer)
        return peer
    if forwards and not named.strip(" \t,"):
        _unreadable.warn(
            "the proxy %s forwards without an X-Forwarded-For: its own address counts instead of the client's",
            peer,
        )
        return peer
    return client_address(peer, [named], proxies)


def forwarded_for(headers: Iterable[tuple[bytes, bytes]]) -> list[str]:
    return [value.decode("latin-1") for name, value in headers if name.lower() == FORWARDED_FOR]


def is_shared_address(address: str) -> bool:
    """True for the address of a proxy, listed in PROXIES or not. Anybody may be behind it."""
    return is_proxy(address, chat_settings().PROXIES) or address in unlisted_proxies.private


class UnlistedProxies:
    """Peers that forward requests, by their headers, and are not listed in PROXIES."""

    def __init__(self) -> None:
        self._warning = RareWarning(logger)
        # Peers that a warning has named.
        self._warned_of: set[str] = set()
        # Peers in PRIVATE_NETWORKS. Any other client can send such a header itself, and would use it to escape
        # restrictions of its address.
        self.private: set[str] = set()

    def note(self, peer: str) -> None:
        """Log one warning for each peer, at most one a minute."""
        if not peer or peer in self._warned_of:
            return
        if _is_private(peer) and len(self.private) < UNLISTED_LIMIT:
            self.private.add(peer)
        if len(self._warned_of) < UNLISTED_LIMIT and self._warning.warn(
            "%s forwards for others and is not in CHAT['PROXIES'] (CHAT_PROXIES): everybody behind it counts as "
            "one address. If it is your proxy, list it there.",
            peer,
        ):
            self._warned_of.add(peer)

    def clear(self) -> None:
        """Forget all peers. For tests."""
        self._warning.clear()
        self._warned_of.clear()
        self.private.clear()


unlisted_proxies = UnlistedProxies()
_unreadable = RareWarning(logger)
_IN_META = [f"HTTP_{name.decode().upper().replace('-', '_')}" for name in FORWARDING]


def _last_foreign(named: str, proxies: tuple[str, ...]) -> str | None:
    """The last address that is not a proxy's; "" if an entry can't be read, None if all are proxies."""
    entries = named.split(",")
    for place in range(len(entries) - 1, -1, -1):
        # Empty elements of a list don't count (RFC 9110, section 5.6.1). But the last one is what our proxy wrote.
        if not entries[place].strip() and place < len(entries) - 1:
            continue
        ip = _entry(entries[place])
        if ip is None:
            return ""
        if not is_proxy(str(ip), proxies):
            return str(ip)
    return None


def _entry(text: str) -> IP | None:
    """Parse an address as proxies write it: with a port, in brackets, in quotes (RFC 7239, section 6)."""
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1].strip()
    if text.startswith("["):
        address, _, rest = text[1:].partition("]")
        known = "]" in text
    elif text.count(":") == 1:
        address, _, port = text.partition(":")
        known, rest = True, f":{port}"
    else:
        address, known, rest = text, True, ""
    if not known or not PORT.fullmatch(rest):
        return None
    address = ZONE.sub("", address)
    # ``ip_address`` accepts any text after a "%" as a zone, and would keep it.
    return None if "%" in address else _parsed(address)


def _parsed(address: str) -> IP | None:
    """The address; an IPv4-mapped IPv6 address as IPv4. None if the text is not an address."""
    try:
        ip = ip_address(address)
    except ValueError:
        return None
    return (ip.ipv4_mapped or ip) if isinstance(ip, IPv6Address) else ip


def _network(address: str, prefix: int) -> str:
    ip = _parsed(address)
    if isinstance(ip, IPv6Address):
        # The number has no zone (`%eth0`).
        return f"{IPv6Address(int(ip) >> (128 - prefix) << (128 - prefix))}/{prefix}"
    return str(ip) if ip else address


def _is_private(address: str) -> bool:
    ip = _parsed(address)
    return ip is not None and any(ip in network for network in PRIVATE_NETWORKS)


@lru_cache(maxsize=16)
def _networks(proxies: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    # chat.conf has checked that they can be parsed.
    return tuple(ip_network(proxy, strict=False) for proxy in proxies)
