"""Servers and networks as an operator names them, and what connectors may reach of them."""

import ipaddress
from dataclasses import dataclass
from typing import TypeAlias

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

POSTGRES_PORT = 5432


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server by name and port."""

    host: str
    port: int = POSTGRES_PORT


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressRules:
    """What the operator says of addresses. Without a word, this machine itself is refused."""

    allowed: tuple[Network, ...] = ()
    """Networks of this machine that connectors may reach all the same."""
    refused: tuple[Endpoint, ...] = ()
    """Servers that no connector may reach, whatever is allowed: the platform's own databases."""


def read_networks(text: str) -> tuple[Network, ...]:
    """Read networks such as `127.0.0.1, 10.0.0.0/8`, separated by commas.

    Raises:
        ValueError: one is none.
    """
    return tuple(ipaddress.ip_network(each.strip()) for each in text.split(",") if each.strip())


def read_endpoints(text: str) -> tuple[Endpoint, ...]:
    """Read servers such as `db.internal:5433, [::1]:5432`, separated by commas.

    Raises:
        ValueError: a port is no number.
    """
    return tuple(_read_endpoint(each.strip()) for each in text.split(",") if each.strip())


def _read_endpoint(text: str) -> Endpoint:
    if text.count(":") > 1 and not text.startswith("["):
        return Endpoint(text)
    host, _, port = text.rpartition(":") if ":" in text.rpartition("]")[2] else (text, "", "")
    return Endpoint(host.strip("[]"), int(port) if port else POSTGRES_PORT)
