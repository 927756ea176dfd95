"""Whose address it is: the peer's, or what a proxy that we trust says of it."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from chat.conf import chat_settings

PREFIX = 64
"""Bits of an IPv6 address that count: a customer gets at least that many networks' worth of addresses (RFC 6177),
and may take a new one for each connection."""
FORWARDED_LIMIT = 4_096
"""Characters of X-Forwarded-For that are read. Longer ones no proxy makes."""
FORWARDED_FOR = b"x-forwarded-for"


@lru_cache(maxsize=16_384)
def limited_as(address: str) -> str:
    """The key under which an address is limited: an IPv6 address's network; an IPv4 address, itself.

    What is no address is its own key.
    """
    ip = _parsed(address)
    if isinstance(ip, IPv6Address):
        # As a number, for a scope (`%eth0`) is not part of it.
        return f"{IPv6Address(int(ip) >> (128 - PREFIX) << (128 - PREFIX))}/{PREFIX}"
    return str(ip) if ip else address


@lru_cache(maxsize=16_384)
def is_proxy(address: str, proxies: tuple[str, ...]) -> bool:
    """Is it in one of these networks?"""
    ip = _parsed(address)
    return ip is not None and any(ip in network for network in _networks(proxies))


def address_of(peer: str, forwarded_for: Sequence[str], proxies: tuple[str, ...]) -> str:
    """The client's address.

    That is the peer's, unless the peer is a proxy of ours. Then it is the last that the X-Forwarded-For headers
    name, all lines joined in order, and that is no proxy of ours: what stands before it the client may have made
    up. Where there is none, or what is there is no address, it is the peer's.
    """
    if not proxies or not is_proxy(peer, proxies):
        return peer
    named = ",".join(forwarded_for)
    if len(named) > FORWARDED_LIMIT:
        return peer
    for part in reversed(named.split(",")):
        # A scope (`%eth0`) means something on one machine only, and may be any text.
        ip = None if "%" in part else _parsed(part.strip())
        if ip is None:
            return peer
        if not is_proxy(str(ip), proxies):
            return str(ip)
    return peer


def address_in(scope: Mapping[str, Any]) -> str:
    """The client's address in an ASGI scope; empty where the server does not know one."""
    client, proxies = scope.get("client"), chat_settings().PROXIES
    if not client or not proxies:
        return str(client[0]) if client else ""
    return address_of(str(client[0]), forwarded_for(scope.get("headers", ())), proxies)


def address_asking(meta: Mapping[str, Any]) -> str:
    """The same of a Django request, by its ``META``."""
    named = meta.get("HTTP_X_FORWARDED_FOR", "")
    return address_of(meta.get("REMOTE_ADDR") or "", [named], chat_settings().PROXIES)


def forwarded_for(headers: Iterable[tuple[bytes, bytes]]) -> list[str]:
    return [value.decode("latin-1") for name, value in headers if name.lower() == FORWARDED_FOR]


def _parsed(address: str) -> IPv4Address | IPv6Address | None:
    """The address; an IPv4 address in IPv6's clothes is one of IPv4. None where it is no address."""
    try:
        ip = ip_address(address)
    except ValueError:
        return None
    return (ip.ipv4_mapped or ip) if isinstance(ip, IPv6Address) else ip


@lru_cache(maxsize=16)
def _networks(proxies: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    # That they can be read chat.conf has seen.
    return tuple(ip_network(proxy, strict=False) for proxy in proxies)
