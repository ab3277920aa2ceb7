"""Where SQL connectors may connect to: an address is resolved, checked, and pinned."""

import ipaddress
import socket
from dataclasses import dataclass
from typing import TypeAlias

from agents.errors import ConnectorInvalid, ConnectorUnreachable
from domain.addresses import POSTGRES_PORT, AddressRules
from domain.text import quote

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class PinnedAddress:
    """The address that was checked; connecting to it asks no name server again."""

    host: str
    address: str
    port: int


def pin_address(host: str, port: int | None, *, rules: AddressRules) -> PinnedAddress:
    """Resolve a host, check every address that it has, and choose the first.

    Raises:
        ConnectorUnreachable: the name is not known now.
        ConnectorInvalid: it is this machine, or a server that is always refused.
    """
    chosen_port = port or POSTGRES_PORT
    found = _resolve(host, chosen_port)
    if not found:
        raise ConnectorUnreachable(
            f"The name {quote(host)} in the connector's `url` is not known to any name server.",
            hint="Correct it, or try again when the network is up.",
        )
    own = {
        (address, endpoint.port)
        for endpoint in rules.refused
        for address in _resolve(endpoint.host, endpoint.port)
    }
    own_ports_here = {port for address, port in own if _is_this_machine(address)}
    for address in found:
        is_here = _is_this_machine(address)
        is_own = (address, chosen_port) in own or (is_here and chosen_port in own_ports_here)
        is_allowed = any(
            address.version == network.version and address in network for network in rules.allowed
        )
        if is_own or ((is_here or _is_no_server(address)) and not is_allowed):
            raise ConnectorInvalid(
                f"The connector's `url` leads to {quote(host)}, where connectors may not read.",
                hint="Give the address of your own database server. An operator may allow "
                "addresses of this machine with `TENANTRY_CONNECTOR_NETWORKS`, but never the "
                "platform's own databases.",
            )
    return PinnedAddress(host, str(found[0]), chosen_port)


def _resolve(host: str, port: int) -> tuple[Address, ...]:
    """List the addresses of a host, in every spelling that the system's resolver takes."""
    name = host.removesuffix(".")
    if name.casefold().endswith(".localhost"):
        # All of them are this machine (RFC 6761), whatever a name server says.
        name = "localhost"
    try:
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ()
    addresses = (ipaddress.ip_address(str(each[4][0]).partition("%")[0]) for each in found)
    return tuple(dict.fromkeys(_unwrap(address) for address in addresses))


def _unwrap(address: Address) -> Address:
    """Find the IPv4 address inside an IPv6 one that only carries it."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _is_no_server(address: Address) -> bool:
    """Say whether an address is of no server of anybody's: clouds keep credentials on some."""
    return address.is_link_local or address.is_multicast or address.is_reserved


def _is_this_machine(address: Address) -> bool:
    if address.is_loopback or address.is_unspecified:
        return True
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        # Only a machine's own addresses can be bound to; nothing is sent.
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True
