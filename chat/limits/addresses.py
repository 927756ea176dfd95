"""Whose address it is: the peer's, or what a proxy that we trust says of it."""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from chat.conf import chat_settings
from chat.limits.rare_warning import RareWarning

logger = logging.getLogger("chat.limits")

PREFIX = 64
"""Bits of an IPv6 address that count: a customer gets at least that many networks' worth of addresses (RFC 6177),
and may take a new one for each connection."""
SITE = 48
"""Bits of an IPv6 address that a whole site shares (RFC 6177): tunnels give such networks away for nothing."""
FORWARDED_LIMIT = 4_096
"""Characters of X-Forwarded-For that are read. Longer ones no proxy makes."""
FORWARDED_FOR = b"x-forwarded-for"
FORWARDING = {
    *(b"forwarded", FORWARDED_FOR, b"x-forwarded-host", b"x-forwarded-proto", b"x-real-ip", b"x-client-ip"),
    *(b"true-client-ip", b"cf-connecting-ip", b"fastly-client-ip", b"fly-client-ip"),
}
"""Headers that proxies add. Only X-Forwarded-For is read."""

PORT = re.compile(r"(?::(?:[0-9]{1,5}|_[A-Za-z0-9._-]{1,32})?)?")
"""A port after an address, also an empty (RFC 3986) or an obfuscated one (RFC 7239, section 6.3)."""
ZONE = re.compile(r"%(?:25)?[A-Za-z0-9._~-]{1,32}$")
"""The network interface of a link-local address (RFC 4007, RFC 6874). It means something on one machine only."""

INSIDE = [
    ip_network(network)
    for network in (
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "169.254.0.0/16", "100.64.0.0/10"),
        *("fc00::/7", "fe80::/10", "::1/128"),
    )
]
"""Private, loopback, link-local and shared networks: a peer there that forwards is a proxy on the way to us."""
REMEMBERED = 1_024
"""Peers that are remembered for forwarding without being named in PROXIES."""

IP = IPv4Address | IPv6Address


@lru_cache(maxsize=16_384)
def limit_key(address: str) -> str:
    """The key under which an address is limited: an IPv6 address's network; an IPv4 address, itself.

    What is no address is its own key.
    """
    return _network(address, PREFIX)


@lru_cache(maxsize=16_384)
def site_of(address: str) -> str:
    """The same, but with the widest IPv6 network that one customer may have."""
    return _network(address, SITE)


@lru_cache(maxsize=16_384)
def is_proxy(address: str, proxies: tuple[str, ...]) -> bool:
    """Is it in one of these networks?"""
    ip = _parsed(address)
    return ip is not None and any(ip in network for network in _networks(proxies))


def client_address(peer: str, forwarded_for: Sequence[str], proxies: tuple[str, ...]) -> str:
    """The client's address.

    That is the peer's, unless the peer is a proxy of ours. Then it is the last that the X-Forwarded-For headers
    name, all lines joined in order, and that is no proxy of ours: what stands before it the client may have made
    up. Where there is none, or what is there is no address, it is the peer's.
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
    """The client's address in an ASGI scope; empty where the server does not know one."""
    client, headers = scope.get("client"), scope.get("headers", ())
    if not client:
        return ""
    forwards = any(name.lower() in FORWARDING for name, _ in headers)
    return _address(str(client[0]), ",".join(forwarded_for(headers)), forwards=forwards)


def request_address(meta: Mapping[str, Any]) -> str:
    """The same of a Django request, by its ``META``."""
    forwards = any(name in meta for name in _IN_META)
    return _address(meta.get("REMOTE_ADDR") or "", meta.get("HTTP_X_FORWARDED_FOR", ""), forwards=forwards)


def _address(peer: str, named: str, *, forwards: bool) -> str:
    """``client_address``, with a warning if it can't be the client's. ``forwards``: the headers name a proxy."""
    proxies = chat_settings().PROXIES
    if not proxies or not is_proxy(peer, proxies):
        if forwards:
            unnamed.note(peer)
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
    """Is it a proxy's address, named in PROXIES or not, behind which anybody may be?"""
    return is_proxy(address, chat_settings().PROXIES) or address in unnamed.inside


class Unnamed:
    """Peers that forward for others, as far as their headers tell, and that are not named in PROXIES."""

    def __init__(self) -> None:
        self._seldom = RareWarning(logger)
        self._told: set[str] = set()
        # Peers in networks that the internet does not reach. Any other client may send such a header itself, and
        # would escape restrictions of its address by it.
        self.inside: set[str] = set()

    def note(self, peer: str) -> None:
        """One line for each of them, but not more than one a minute."""
        if not peer or peer in self._told:
            return
        if _is_inside(peer) and len(self.inside) < REMEMBERED:
            self.inside.add(peer)
        if len(self._told) < REMEMBERED and self._seldom.warn(
            "%s forwards for others and is not in CHAT['PROXIES'] (CHAT_PROXIES): everybody behind it counts as "
            "one address. If it is a proxy of yours, name it there.",
            peer,
        ):
            self._told.add(peer)

    def clear(self) -> None:
        """Forget all: for tests."""
        self._seldom.clear()
        self._told.clear()
        self.inside.clear()


unnamed = Unnamed()
_unreadable = RareWarning(logger)
_IN_META = [f"HTTP_{name.decode().upper().replace('-', '_')}" for name in FORWARDING]


def _last_foreign(named: str, proxies: tuple[str, ...]) -> str | None:
    """The last address that is no proxy's; empty where an entry can't be read, None where all are proxies'."""
    entries = named.split(",")
    for place in range(len(entries) - 1, -1, -1):
        # An empty element of a list is none (RFC 9110, section 5.6.1). But the last is what our proxy wrote.
        if not entries[place].strip() and place < len(entries) - 1:
            continue
        ip = _entry(entries[place])
        if ip is None:
            return ""
        if not is_proxy(str(ip), proxies):
            return str(ip)
    return None


def _entry(text: str) -> IP | None:
    """An address as proxies write it: with a port, in brackets, in quotes (RFC 7239, section 6)."""
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
    # ``ip_address`` takes any text after a "%" for a zone, and would keep it.
    return None if "%" in address else _parsed(address)


def _parsed(address: str) -> IP | None:
    """The address; an IPv4 address in IPv6's clothes is one of IPv4. None where it is no address."""
    try:
        ip = ip_address(address)
    except ValueError:
        return None
    return (ip.ipv4_mapped or ip) if isinstance(ip, IPv6Address) else ip


def _network(address: str, prefix: int) -> str:
    ip = _parsed(address)
    if isinstance(ip, IPv6Address):
        # The number leaves out a scope (`%eth0`).
        return f"{IPv6Address(int(ip) >> (128 - prefix) << (128 - prefix))}/{prefix}"
    return str(ip) if ip else address


def _is_inside(address: str) -> bool:
    ip = _parsed(address)
    return ip is not None and any(ip in network for network in INSIDE)


@lru_cache(maxsize=16)
def _networks(proxies: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    # That they can be read chat.conf has seen.
    return tuple(ip_network(proxy, strict=False) for proxy in proxies)
